//! Random numbers from the standard normal distribution, as a function of seed, step and position.
//!
//! `output[i] = √2 erf⁻¹(x)`, where x is the middle of one of 2²⁴ equal parts of -1 to 1, chosen by the upper 24 of the
//! element's random bits.

use rayon::prelude::*;

use super::random::{Stream, per_picture};
use super::sample::{Given, Sample};
use crate::error::{Error, Result};
use crate::graph::{Backward, Binding, Capabilities, Graph, Kernel, Launch, Op, Tolerance, Value};
use crate::tensor::{Array, DType, Meta, Shape, View, ViewMut};

/// Elements one task of the CPU makes.
const TASK: usize = 4 << 10;

/// Standard normal numbers of a shape. See [`normal`].
#[derive(Clone, Debug)]
pub struct Normal {
    shape: Shape,
    seed: u32,
}

/// Between -1 and 1, exact in f32.
fn even(bits: u32) -> f32 {
    (2 * (bits >> 8) as i32 + 1 - (1 << 24)) as f32 / (1 << 24) as f32
}

/// `√2 erf⁻¹(x)`: M. Giles, Approximating the erfinv function, GPU Computing Gems 2, 2011, in its form for f32.
fn quantile(x: f32) -> f32 {
    const NEAR: [f32; 9] = [
        2.810_226_4e-8,
        3.432_739_4e-7,
        -3.523_387_7e-6,
        -4.391_506_5e-6,
        0.000_218_580_87,
        -0.001_253_725,
        -0.004_177_681_6,
        0.246_640_73,
        1.501_409_4,
    ];
    const FAR: [f32; 9] = [
        -0.000_200_214_26,
        0.000_100_950_56,
        0.001_349_343_2,
        -0.003_673_428_4,
        0.005_739_507_7,
        -0.007_622_461_3,
        0.009_438_870_5,
        1.001_674,
        2.832_976_8,
    ];
    let w = -((1.0 - x) * (1.0 + x)).ln();
    let (coefficients, at) = if w < 5.0 { (NEAR, w - 2.5) } else { (FAR, w.sqrt() - 3.0) };
    std::f32::consts::SQRT_2 * x * coefficients.iter().fold(0.0, |sum, c| sum * at + c)
}

impl Op for Normal {
    fn name(&self) -> &'static str {
        "normal"
    }

    fn infer(&self, inputs: &[&Meta]) -> Result<Meta> {
        let step = inputs[0];
        if step.dtype != DType::I32 || step.elements() != 2 {
            return Err(Error::shape("normal", format!("the step must be two i32, not {step}")));
        }
        Ok(Meta::f32(self.shape.clone()))
    }

    fn gradient(&self, _graph: &mut Graph, _at: &Backward<'_>, _of: usize) -> Result<Option<Value>> {
        Ok(None)
    }

    fn reference(&self, inputs: &[&Array], output: &Meta) -> Array {
        let stream = Stream::new(self.seed, [0, 1].map(|i| inputs[0].data[i] as i32), per_picture(output.dims()));
        let quantile = |x: f64| {
            let (mut low, mut high) = (-8.0, 8.0);
            for _ in 0..64 {
                let middle = (low + high) / 2.0;
                let below = libm::erf(middle * std::f64::consts::FRAC_1_SQRT_2) < x;
                (low, high) = if below { (middle, high) } else { (low, middle) };
            }
            low
        };
        Array::from_fn(&output.shape, |i| quantile(f64::from(even(stream.bits(i)))))
    }

    fn cpu(&self, inputs: &[View<'_>], mut output: ViewMut<'_>, _scratch: &mut [f32]) {
        let stream = Stream::new(self.seed, [0, 1].map(|i| inputs[0].i32()[i]), per_picture(output.dims()));
        output.f32().par_chunks_mut(TASK).enumerate().for_each(|(task, output)| {
            for (i, y) in output.iter_mut().enumerate() {
                *y = quantile(even(stream.bits(task * TASK + i)));
            }
        });
    }

    fn kernels(&self, _inputs: &[&Meta], output: &Meta, _capabilities: &Capabilities) -> Vec<Kernel> {
        let threads = output.elements().div_ceil(4);
        let launch = Launch::new("normal.wgsl", include_str!("../../shaders/normal.wgsl"))
            .prepend(include_str!("../../shaders/common/random.wgsl"))
            .params([threads, self.seed as usize, per_picture(output.dims())])
            .bindings([Binding::Input(0), Binding::Output])
            .threads(threads, 64);
        vec![Kernel::single("vec4", launch)]
    }

    fn tolerance(&self, _inputs: &[&Meta], _output: &Meta) -> Tolerance {
        Tolerance::Transcendental
    }
}

/// Numbers of that shape from the standard normal distribution. `step` holds two i32: the number of the step, whose numbers
/// are drawn anew, and which of the step's pictures is the first here. `seed` tells layers apart.
///
/// ```
/// use ocellus::{graph::Graph, ops, tensor::Meta};
/// let mut graph = Graph::new();
/// let step = graph.input("step", Meta::i32([2]));
/// let noise = ops::normal(&mut graph, [8, 16], step, 0)?;
/// assert_eq!(graph.shape(noise).dims(), [8, 16]);
/// # Ok::<(), ocellus::Error>(())
/// ```
///
/// Errors: if `step` is not two i32.
pub fn normal(graph: &mut Graph, shape: impl Into<Shape>, step: Value, seed: u32) -> Result<Value> {
    graph.apply(Normal { shape: shape.into(), seed }, &[step])
}

pub(super) fn samples() -> Vec<Sample> {
    let shapes: [(&[usize], u32); 4] = [(&[7, 33], 0), (&[1], u32::MAX), (&[4, 3, 5, 8], 77), (&[5, 1001], 3)];
    let sample = |(shape, seed): (&[usize], u32)| {
        Sample::of(Normal { shape: shape.into(), seed }, [Given::ids(&[2], 1 << 20)]).forward_only()
    };
    shapes.into_iter().map(sample).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(seed: u32, step: i32, n: usize) -> Vec<f64> {
        let stream = Stream::new(seed, [step, 0], n);
        (0..n).map(|i| f64::from(quantile(even(stream.bits(i))))).collect()
    }

    #[test]
    fn moments_are_those_of_the_normal_distribution() {
        let n = 200_000;
        let numbers = numbers(5, 9, n);
        let moment = |k: i32| numbers.iter().map(|x| x.powi(k)).sum::<f64>() / n as f64;
        // Each within four standard deviations of such a mean, √((2k-1)!! / n) and less.
        for (k, expected, variance) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0_f64)] {
            let found = moment(k);
            assert!((found - expected).abs() < 4.0 * (variance / n as f64).sqrt(), "moment {k}: {found}");
        }
        let largest = numbers.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
        assert!((4.0..6.0).contains(&largest), "{largest}");
    }

    #[test]
    fn steps_seeds_and_neighbours_are_independent() {
        let n = 100_000;
        let first = numbers(9, 4, n + 1);
        let correlation = |other: &[f64]| first.iter().zip(other).map(|(a, b)| a * b).sum::<f64>() / n as f64;
        for other in [numbers(9, 5, n), numbers(8, 4, n), numbers(4, 9, n), first[1..].to_vec()] {
            assert!(correlation(&other).abs() < 4.0 / (n as f64).sqrt(), "{}", correlation(&other));
        }
        assert_eq!(first, numbers(9, 4, n + 1));
    }

    #[test]
    fn the_outermost_numbers_are_finite() {
        assert!(quantile(even(0)) < -5.0 && quantile(even(0)) > -6.0);
        assert_eq!(quantile(even(u32::MAX)), -quantile(even(0)));
    }
}
