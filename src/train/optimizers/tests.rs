//! Each optimizer on both backends against its formula in f64, over several steps.

use super::{Adam, Optimizer, RmsProp, Sgd};
use crate::device::{Arena, Device};
use crate::graph::{Graph, Layout};
use crate::tensor::Meta;

const RATE: f64 = 0.05;

/// A formula in f64: moves one parameter with its two moments.
type Formula = fn(&Optimizer, u64, g: f64, decayed: bool, p: &mut f64, a: &mut f64, b: &mut f64);

fn formula(optimizer: &Optimizer, t: u64, g: f64, decayed: bool, p: &mut f64, a: &mut f64, b: &mut f64) {
    let decay = |weight_decay: f32| if decayed { 1.0 - RATE * f64::from(weight_decay) } else { 1.0 };
    match optimizer {
        Optimizer::Sgd(o) => {
            let mu = f64::from(o.momentum);
            *a = mu * *a - RATE * g;
            *p = *p * decay(o.weight_decay) + if o.nesterov { mu * *a - RATE * g } else { *a };
        }
        Optimizer::Adam(o) | Optimizer::AdamW(o) => {
            let (b1, b2) = (f64::from(o.beta1), f64::from(o.beta2));
            *a = b1 * *a + (1.0 - b1) * g;
            *b = b2 * *b + (1.0 - b2) * g * g;
            let rate = RATE * (1.0 - b2.powi(t as i32)).sqrt() / (1.0 - b1.powi(t as i32));
            *p = *p * decay(o.weight_decay) - rate * *a / (b.sqrt() + f64::from(o.epsilon));
        }
        Optimizer::RmsProp(o) => {
            let rho = f64::from(o.rho);
            *a = rho * *a + (1.0 - rho) * g * g;
            *b = f64::from(o.momentum) * *b + RATE * g / (*a + f64::from(o.epsilon)).sqrt();
            *p = *p * decay(o.weight_decay) - *b;
        }
    }
}

/// A network whose gradients are its input: `loss = sum(weight * x) + sum(bias * y)`.
fn graph() -> Graph {
    let mut graph = Graph::new();
    let weight = graph.parameter("weight", [9, 13]);
    let bias = graph.parameter("bias", [5]);
    let x = graph.input("x", Meta::f32([9, 13]));
    let y = graph.input("y", Meta::f32([5]));
    let a = crate::ops::mul(&mut graph, weight, x).unwrap();
    let b = crate::ops::mul(&mut graph, bias, y).unwrap();
    let a = crate::ops::sum(&mut graph, a, &[0, 1], false).unwrap();
    let b = crate::ops::sum(&mut graph, b, &[0], false).unwrap();
    let loss = crate::ops::add(&mut graph, a, b).unwrap();
    graph.output("loss", loss);
    graph.differentiate_parameters(loss).unwrap();
    graph
}

/// Factors of the learning rates of `weight` and `bias`, and the share of the average that stays.
struct Refinement {
    factors: [f64; 2],
    ema: f64,
}

fn follow(device: &Device, optimizer: Optimizer, formula: Formula, clip: Option<f64>, refinement: Option<&Refinement>) {
    let graph = graph();
    let update = match refinement {
        None => optimizer.update(),
        Some(refinement) => optimizer.refined_update(true, Some(refinement.ema as f32)),
    };
    let weights = device.weights(Layout::parameters(&graph), Layout::states(&graph), update.moments()).unwrap();
    let mut program = device.compile(&graph, &weights, Some(update.clone())).unwrap();
    let layout = weights.parameters().clone();
    let n = layout.len();
    let start: Vec<f32> = (0..n).map(|i| (i as f32 * 0.37).sin()).collect();
    weights.write(Arena::Parameters, &start);
    if let (Some(Refinement { factors, .. }), Some(rates), Some(average)) =
        (refinement, update.rates(), update.average())
    {
        let border = layout.decayed();
        let rate = |i: usize| if i < border { factors[0] as f32 } else { factors[1] as f32 };
        weights.write(Arena::Moment(rates), &(0..n).map(rate).collect::<Vec<_>>());
        weights.write(Arena::Moment(average), &start);
    }
    let mut expected: Vec<f64> = start.iter().map(|&p| f64::from(p)).collect();
    let (mut a, mut b, mut average) = (vec![0.0; n], vec![0.0; n], expected.clone());
    for t in 1..=6 {
        let x: Vec<f32> = (0..117).map(|i| ((i * t) as f32 * 0.11).cos()).collect();
        let y: Vec<f32> = (0..5).map(|i| ((i + 3 * t) as f32 * 0.7).cos()).collect();
        program.feed("x", bytemuck::cast_slice(&x)).unwrap();
        program.feed("y", bytemuck::cast_slice(&y)).unwrap();
        program.run(&update.scalars(RATE, t as u64)).unwrap();
        program.take_result().unwrap();
        let norm: f64 = x.iter().chain(&y).map(|&g| f64::from(g) * f64::from(g)).sum::<f64>().sqrt();
        let scale = clip.map_or(1.0, |largest| (largest / norm).min(1.0));
        for (name, gradients) in [("weight", &x), ("bias", &y)] {
            let offset = layout.find(name).unwrap().offset;
            for (i, &g) in gradients.iter().enumerate() {
                let j = offset + i;
                let g = f64::from(g) * scale;
                let before = expected[j];
                formula(&optimizer, t as u64, g, name == "weight", &mut expected[j], &mut a[j], &mut b[j]);
                if let Some(Refinement { factors, ema }) = refinement {
                    expected[j] = before + factors[usize::from(name == "bias")] * (expected[j] - before);
                    let kept = ema.min((1 + t) as f64 / (10 + t) as f64);
                    average[j] = kept * average[j] + (1.0 - kept) * expected[j];
                }
            }
        }
    }
    let results = [(Some(Arena::Parameters), expected), (update.average().map(Arena::Moment), average)];
    for (arena, expected) in results {
        let Some(arena) = arena else { continue };
        let result = weights.read(arena).unwrap();
        for entry in layout.entries() {
            for i in entry.offset..entry.offset + entry.shape.elements() {
                let (got, wanted) = (f64::from(result[i]), expected[i]);
                let what = format!("{update:?} {arena:?} {}[{i}]", entry.name);
                // Six steps of a handful of roundings each; the quotient of Adam magnifies those of its moments.
                assert!((got - wanted).abs() < 2e-6, "{what}: {got} instead of {wanted}");
                let still = refinement.is_some_and(|r| r.factors[usize::from(entry.name == "bias")] == 0.0);
                assert!(!still || result[i].to_bits() == start[i].to_bits(), "{what} was moved");
            }
        }
    }
}

fn all(device: &Device) {
    let momentum = Sgd { momentum: 0.9, ..Sgd::default() };
    let optimizers = [
        Optimizer::Sgd(Sgd::default()),
        Optimizer::Sgd(momentum),
        Optimizer::Sgd(Sgd { nesterov: true, weight_decay: 0.1, ..momentum }),
        Optimizer::Adam(Adam::default()),
        Optimizer::AdamW(Adam { weight_decay: 0.1, ..Adam::default() }),
        Optimizer::RmsProp(RmsProp::default()),
        Optimizer::RmsProp(RmsProp { momentum: 0.8, ..RmsProp::default() }),
    ];
    for optimizer in optimizers {
        follow(device, optimizer, formula, None, None);
        let mut clipped = optimizer;
        clipped.set_clip_norm(Some(1.5));
        follow(device, clipped, formula, Some(1.5), None);
        for factors in [[0.3, 1.0], [1.0, 0.0]] {
            follow(device, clipped, formula, Some(1.5), Some(&Refinement { factors, ema: 0.4 }));
        }
    }
}

#[test]
fn follow_their_formulas_on_the_cpu() {
    all(&Device::Cpu);
}

#[test]
fn follow_their_formulas_on_a_gpu() {
    all(&Device::named("gpu").expect("a GPU adapter, if only a software one"));
}
