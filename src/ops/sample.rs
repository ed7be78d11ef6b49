use std::sync::Arc;

use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_pcg::Pcg64Mcg;

use crate::graph::Op;
use crate::tensor::{Array, DType, Meta, Shape};

/// One combination of attributes and shapes on which an op is tested: against finite differences, on the CPU, and in
/// each GPU variant.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The op with its attributes.
    pub op: Arc<dyn Op>,
    /// What it is given.
    pub inputs: Vec<Given>,
    /// Whether its gradient is checked.
    pub differentiable: bool,
}

/// An input of a [`Sample`].
#[derive(Clone, Debug)]
pub struct Given {
    /// Shape and element type.
    pub meta: Meta,
    /// What values it takes.
    pub values: Values,
}

/// How the values of an input are drawn.
#[derive(Clone, Debug)]
pub enum Values {
    /// Evenly between two bounds.
    Uniform(f64, f64),
    /// Evenly between two bounds, but at least 0.05 away from each of the listed kinks, where finite differences fail.
    Away(f64, f64, &'static [f64]),
    /// All different, at least 1 / elements apart, in random order between -0.5 and 0.5: for maxima.
    Distinct,
    /// Whole numbers from 0 up to the bound, not included.
    Whole(usize),
    /// Just these.
    Fixed(Vec<f64>),
}

impl Sample {
    /// A differentiable op on f32 inputs of these shapes, values between -1 and 1.
    pub fn new<const N: usize>(op: impl Op, shapes: [&[usize]; N]) -> Self {
        let inputs = shapes.map(|s| Given::uniform(s, -1.0, 1.0)).to_vec();
        Self { op: Arc::new(op), inputs, differentiable: true }
    }

    /// With these inputs instead.
    pub fn of(op: impl Op, inputs: impl IntoIterator<Item = Given>) -> Self {
        Self { op: Arc::new(op), inputs: inputs.into_iter().collect(), differentiable: true }
    }

    /// Without a check of the gradient: for ops that are gradients themselves, or have none.
    pub fn forward_only(mut self) -> Self {
        self.differentiable = false;
        self
    }

    /// The op with its attributes and the shapes of its inputs.
    pub fn describe(&self) -> String {
        let shapes: Vec<String> = self.inputs.iter().map(|g| g.meta.to_string()).collect();
        format!("{:?} of {}", self.op, shapes.join(", "))
    }

    /// Shape and element type of each input.
    pub fn metas(&self) -> Vec<&Meta> {
        self.inputs.iter().map(|g| &g.meta).collect()
    }

    /// Values for the inputs, all exact in f32.
    pub fn draw(&self, seed: u64) -> Vec<Array> {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        self.inputs.iter().map(|given| given.draw(&mut random)).collect()
    }
}

impl Given {
    /// f32 values evenly between two bounds.
    pub fn uniform(shape: &[usize], low: f64, high: f64) -> Self {
        Self { meta: Meta::f32(shape), values: Values::Uniform(low, high) }
    }

    /// f32 values between two bounds, away from kinks.
    pub fn away(shape: &[usize], low: f64, high: f64, kinks: &'static [f64]) -> Self {
        Self { meta: Meta::f32(shape), values: Values::Away(low, high, kinks) }
    }

    /// f32 values which all differ.
    pub fn distinct(shape: &[usize]) -> Self {
        Self { meta: Meta::f32(shape), values: Values::Distinct }
    }

    /// i32 values from 0 up to `bound`, not included.
    pub fn ids(shape: &[usize], bound: usize) -> Self {
        Self { meta: Meta::i32(shape), values: Values::Whole(bound) }
    }

    /// Image bytes.
    pub fn bytes(shape: &[usize]) -> Self {
        Self { meta: Meta::new(shape, DType::U8), values: Values::Whole(256) }
    }

    /// These f32 values.
    pub fn fixed(shape: &[usize], values: impl IntoIterator<Item = f64>) -> Self {
        Self { meta: Meta::f32(shape), values: Values::Fixed(values.into_iter().collect()) }
    }

    fn draw(&self, random: &mut Pcg64Mcg) -> Array {
        let shape: &Shape = &self.meta.shape;
        let n = shape.elements();
        let exact = |x: f64| f64::from(x as f32);
        match &self.values {
            Values::Uniform(low, high) => Array::from_fn(shape, |_| exact(random.random_range(*low..*high))),
            Values::Away(low, high, kinks) => Array::from_fn(shape, |_| {
                loop {
                    let x = exact(random.random_range(*low..*high));
                    if kinks.iter().all(|k| (x - k).abs() > 0.05) {
                        return x;
                    }
                }
            }),
            Values::Distinct => {
                let mut ranks: Vec<usize> = (0..n).collect();
                ranks.shuffle(random);
                Array::from_fn(shape, |i| exact(ranks[i] as f64 / n as f64 - 0.5))
            }
            Values::Whole(bound) => Array::from_fn(shape, |_| random.random_range(0..*bound) as f64),
            Values::Fixed(values) => Array { shape: shape.clone(), data: values.iter().map(|&x| exact(x)).collect() },
        }
    }
}
