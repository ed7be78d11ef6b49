//! Dropout: zeroes a random share of the elements during training (Srivastava et al. 2014,
//! <https://jmlr.org/papers/v15/srivastava14a.html>).
//!
//! `output[i] = x[i] / (1 - rate)` if `bits(seed, step, i) >= rate · 2³²`, else 0. The random bits are a function of seed,
//! step and position, so that all devices drop the same elements and the gradient draws the same ones again.

use rayon::prelude::*;

use super::random::{Stream, per_picture};
use super::sample::{Given, Sample};
use crate::error::{Error, Result};
use crate::graph::{Backward, Binding, Capabilities, Graph, Kernel, Launch, Op, Tolerance, Value};
use crate::tensor::{Array, DType, Meta, View, ViewMut};

/// Elements one task of the CPU makes.
const TASK: usize = 16 << 10;

/// Zeroes a share `rate` of the elements of its f32 input. See [`dropout`].
#[derive(Clone, Debug)]
pub struct Dropout {
    rate: f32,
    seed: u32,
}

/// Which elements are kept in one step.
#[derive(Clone, Copy)]
struct Mask {
    stream: Stream,
    threshold: u32,
}

impl Mask {
    fn keeps(self, position: usize) -> bool {
        self.stream.bits(position) >= self.threshold
    }
}

impl Dropout {
    /// Of a step, given by its number and that of its first picture here.
    fn mask(&self, step: [i32; 2], per_picture: usize) -> Mask {
        Mask { stream: Stream::new(self.seed, step, per_picture), threshold: self.threshold() }
    }

    fn threshold(&self) -> u32 {
        (f64::from(self.rate) * 2.0_f64.powi(32)) as u32
    }

    fn scale(&self) -> f32 {
        1.0 / (1.0 - self.rate)
    }
}

impl Op for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn infer(&self, inputs: &[&Meta]) -> Result<Meta> {
        let (x, step) = (inputs[0], inputs[1]);
        if !(0.0..1.0).contains(&self.rate) {
            let message = format!("the rate must be at least 0 and below 1, but it is {}", self.rate);
            return Err(Error::shape("dropout", message));
        }
        if x.dtype != DType::F32 {
            return Err(Error::shape("dropout", format!("takes floats, not {x}")));
        }
        if step.dtype != DType::I32 || step.elements() != 2 {
            return Err(Error::shape("dropout", format!("the step must be two i32, not {step}")));
        }
        Ok(x.clone())
    }

    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>, of: usize) -> Result<Option<Value>> {
        match of {
            0 => graph.apply(self.clone(), &[at.grad, at.inputs[1]]).map(Some),
            _ => Ok(None),
        }
    }

    fn reference(&self, inputs: &[&Array], output: &Meta) -> Array {
        let step = [0, 1].map(|i| inputs[1].data[i] as i32);
        let mask = self.mask(step, per_picture(output.dims()));
        let kept = |i: usize| inputs[0].data[i] / (1.0 - f64::from(self.rate));
        Array::from_fn(&output.shape, |i| if mask.keeps(i) { kept(i) } else { 0.0 })
    }

    fn cpu(&self, inputs: &[View<'_>], mut output: ViewMut<'_>, _scratch: &mut [f32]) {
        let step = [0, 1].map(|i| inputs[1].i32()[i]);
        let (mask, scale) = (self.mask(step, per_picture(output.dims())), self.scale());
        let chunks = output.f32().par_chunks_mut(TASK).zip(inputs[0].f32().par_chunks(TASK));
        chunks.enumerate().for_each(|(task, (output, input))| {
            for (i, (y, &x)) in output.iter_mut().zip(input).enumerate() {
                *y = if mask.keeps(task * TASK + i) { x * scale } else { 0.0 };
            }
        });
    }

    fn kernels(&self, _inputs: &[&Meta], output: &Meta, _capabilities: &Capabilities) -> Vec<Kernel> {
        let threads = output.elements().div_ceil(4);
        let scale = self.scale().to_bits() as usize;
        let launch = Launch::new("dropout.wgsl", include_str!("../../shaders/dropout.wgsl"))
            .prepend(include_str!("../../shaders/common/random.wgsl"))
            .params([threads, self.seed as usize, self.threshold() as usize, scale, per_picture(output.dims())])
            .bindings([Binding::Input(0), Binding::Input(1), Binding::Output])
            .threads(threads, 64);
        vec![Kernel::single("vec4", launch)]
    }

    fn tolerance(&self, _inputs: &[&Meta], _output: &Meta) -> Tolerance {
        Tolerance::Arithmetic
    }
}

/// `x` with a random share `rate` of its elements set to 0 and the others divided by `1 - rate`, so that sums keep their
/// expectation. `step` holds two i32: the number of the step, whose elements are drawn anew, and which of the step's pictures
/// is the first of `x`. `seed` tells layers apart. With rate 0: `x`.
///
/// Errors: if `rate` is not at least 0 and below 1, if `x` is not f32, or `step` not two i32.
pub fn dropout(graph: &mut Graph, x: Value, step: Value, rate: f32, seed: u32) -> Result<Value> {
    if rate == 0.0 {
        return Ok(x);
    }
    graph.apply(Dropout { rate, seed }, &[x, step])
}

pub(super) fn samples() -> Vec<Sample> {
    let sample = |rate: f32, seed: u32, shape: &[usize]| {
        let step = Given::ids(&[2], 1 << 20);
        Sample::of(Dropout { rate, seed }, [Given::away(shape, -1.0, 1.0, &[0.0]), step])
    };
    let mut samples = vec![
        sample(0.5, 0, &[7, 33]),
        sample(0.2, u32::MAX, &[4, 3, 5, 8]),
        sample(0.9, 77, &[1, 1]),
        sample(0.0, 3, &[3, 3]),
    ];
    // More than 65 535 workgroups.
    samples.push(sample(0.3, 5, &[70, 65_537 * 4]).forward_only());
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(rate: f32, seed: u32, step: i32, n: usize) -> Vec<bool> {
        let mask = Dropout { rate, seed }.mask([step, 0], n);
        (0..n).map(|i| mask.keeps(i)).collect()
    }

    /// Share of places at which two masks agree.
    fn agreement(a: &[bool], b: &[bool]) -> f64 {
        a.iter().zip(b).filter(|(a, b)| a == b).count() as f64 / a.len() as f64
    }

    #[test]
    fn the_share_dropped_is_the_rate() {
        for rate in [0.1, 0.5, 0.75] {
            let n = 100_000;
            let dropped = kept(rate, 1, 2, n).iter().filter(|k| !**k).count() as f64 / n as f64;
            // Four standard deviations of a binomial share are at most 0.0064.
            assert!((dropped - f64::from(rate)).abs() < 0.0064, "{dropped} instead of {rate}");
        }
    }

    #[test]
    fn steps_seeds_and_neighbours_are_independent() {
        let n = 100_000;
        let mask = kept(0.5, 9, 4, n + 1);
        let others = [kept(0.5, 9, 5, n), kept(0.5, 8, 4, n), kept(0.5, 4, 9, n), mask[1..].to_vec()];
        for other in others {
            let share = agreement(&mask[..n], &other);
            assert!((share - 0.5).abs() < 0.0064, "{share}");
        }
        assert_eq!(mask, kept(0.5, 9, 4, n + 1));
    }

    #[test]
    fn a_step_in_parts_drops_the_same_elements() {
        let (dropout, n) = (Dropout { rate: 0.3, seed: 5 }, 21);
        let whole = dropout.mask([7, 0], n);
        let second = dropout.mask([7, 4], n);
        assert!((0..3 * n).all(|i| second.keeps(i) == whole.keeps(4 * n + i)));
        assert!((0..3 * n).any(|i| second.keeps(i) != whole.keeps(i)));
    }

    #[test]
    fn rate_0_is_no_op_and_other_rates_are_checked() {
        let mut graph = Graph::new();
        let x = graph.input("x", Meta::f32([2, 3]));
        let step = graph.input("step", Meta::i32([2]));
        assert_eq!(dropout(&mut graph, x, step, 0.0, 1).unwrap(), x);
        for rate in [-0.1, 1.0, f32::NAN] {
            let error = dropout(&mut graph, x, step, rate, 1).unwrap_err();
            assert!(error.to_string().contains("below 1"), "{error}");
        }
        assert!(dropout(&mut graph, step, step, 0.5, 1).is_err());
        assert!(dropout(&mut graph, x, x, 0.5, 1).is_err());
    }
}
