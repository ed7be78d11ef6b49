//! Kernels that share memory between invocations, run in an interpreter that looks for races and divergent barriers.
//! Software adapters run invocations in lockstep and hide both; hardware does not.

#[path = "common/kernels.rs"]
mod kernels;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use kernels::{Described, launches};
use ocellus::tensor::DType;

const BARRIER: &str = "workgroupBarrier();";

fn shares_memory(launch: &Described) -> bool {
    launch.launch.source.contains("var<workgroup>")
}

/// The kernels to run: for each file and variant the one with the fewest invocations in all.
fn smallest() -> Vec<Described> {
    let mut smallest: BTreeMap<String, Described> = BTreeMap::new();
    let size = |d: &Described| {
        let groups: u32 = d.launch.workgroups.iter().product();
        groups as usize * 1000 + d.buffers.iter().map(|b| b.1).sum::<usize>()
    };
    for launch in launches(&[DType::F32]).into_iter().filter(shares_memory) {
        match smallest.get(&launch.name) {
            Some(known) if size(known) <= size(&launch) => {}
            _ => drop(smallest.insert(launch.name.clone(), launch)),
        }
    }
    smallest.into_values().collect()
}

fn describe(name: &str, kernel: &Described, source: &str) -> serde_json::Value {
    let buffers: Vec<_> =
        kernel.buffers.iter().map(|(ty, words)| serde_json::json!({ "type": ty, "words": words })).collect();
    // One workgroup tells: invocations of different workgroups share no workgroup memory.
    serde_json::json!({
        "name": name, "source": source, "workgroups": [1, 1, 1], "params": kernel.launch.params, "buffers": buffers,
    })
}

/// What the interpreter found in each kernel; empty if nothing. It takes its time: two work side by side.
fn findings(kernels: &[serde_json::Value]) -> BTreeMap<String, String> {
    let (even, odd): (Vec<_>, Vec<_>) = kernels.iter().enumerate().partition(|(i, _)| i % 2 == 0);
    std::thread::scope(|scope| {
        let workers = [even, odd].map(|half| {
            let half: Vec<&serde_json::Value> = half.into_iter().map(|(_, kernel)| kernel).collect();
            scope.spawn(move || interpret(&half))
        });
        workers.into_iter().flat_map(|worker| worker.join().expect("the interpreter runs")).collect()
    })
}

fn interpret(kernels: &[&serde_json::Value]) -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/races");
    assert!(folder.join("node_modules/wgsl_reflect").is_dir(), "run `npm ci` in tests/races first, or scripts/test");
    let file = tempfile::NamedTempFile::new().unwrap();
    serde_json::to_writer(&file, kernels).unwrap();
    let output = Command::new("node").arg(folder.join("check.mjs")).arg(file.path()).output().expect("node runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|l| l.split_once('\t')).map(|(n, f)| (n.to_owned(), f.to_owned())).collect()
}

#[test]
fn no_kernel_races() {
    let kernels = smallest();
    assert!(!kernels.is_empty(), "no kernel uses workgroup memory");
    let mut cases: Vec<serde_json::Value> = kernels.iter().map(|k| describe(&k.name, k, &k.launch.source)).collect();
    for kernel in &kernels {
        // The control: without its first barrier, a kernel that needed it must be caught.
        let broken = kernel.launch.source.replacen(BARRIER, "", 1);
        cases.push(describe(&format!("without a barrier: {}", kernel.name), kernel, &broken));
    }
    let found = findings(&cases);
    assert_eq!(found.len(), cases.len());
    let (controls, real): (Vec<_>, Vec<_>) = found.iter().partition(|(name, _)| name.starts_with("without"));
    let objections: Vec<_> = real.iter().filter(|(_, f)| !f.is_empty()).collect();
    assert!(objections.is_empty(), "{objections:#?}");
    let missed: Vec<_> = controls.iter().filter(|(_, f)| f.is_empty()).map(|(n, _)| n).collect();
    assert!(missed.is_empty(), "a barrier taken out was not noticed: {missed:#?}");
}
