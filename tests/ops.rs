//! Every op, on all its samples: its gradient rule against finite differences, the `cpu` backend and each kernel variant
//! on each adapter against the f64 reference.

use ocellus::check::{Outcome, check_cpu, check_gpu, check_gradients};
use ocellus::gpu::{Gpu, adapters, describe};

const SEED: u64 = 20;

fn demand(outcomes: &[Outcome]) {
    assert!(!outcomes.is_empty(), "no sample was run");
    let failures: Vec<String> = outcomes
        .iter()
        .filter_map(|o| {
            o.failure.as_ref().map(|f| format!("{} #{} [{}] {}: {f}", o.family, o.sample, o.variant, o.what))
        })
        .collect();
    assert!(failures.is_empty(), "{} of {} failed:\n{}", failures.len(), outcomes.len(), failures.join("\n"));
}

fn only() -> String {
    std::env::var("OCELLUS_TEST_OP").unwrap_or_default()
}

#[test]
fn gradients_match_finite_differences() {
    let mut outcomes = Vec::new();
    check_gradients(&only(), SEED, |o| outcomes.push(o)).unwrap();
    demand(&outcomes);
}

#[test]
fn cpu_matches_reference() {
    let mut outcomes = Vec::new();
    check_cpu(&only(), SEED, |o| outcomes.push(o)).unwrap();
    demand(&outcomes);
}

#[test]
fn every_kernel_on_every_adapter_matches_reference() {
    let adapters = adapters();
    assert!(
        !adapters.is_empty(),
        "no GPU adapter: install a driver, or a software one (Debian: apt-get install mesa-vulkan-drivers)"
    );
    for adapter in adapters {
        let name = describe(&adapter).name;
        println!("{name}");
        let gpu = Gpu::from_adapter(&adapter).unwrap();
        let mut outcomes = Vec::new();
        check_gpu(&gpu, &only(), SEED, |o| outcomes.push(o)).unwrap();
        println!("{name}: {} kernels run", outcomes.len());
        demand(&outcomes);
    }
}
