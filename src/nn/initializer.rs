use std::f64::consts::TAU;

use rand::RngExt;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::seed::Seed;
use crate::tensor::{Shape, Tensor};

/// How a parameter starts, under Keras's names and with its constants.
///
/// `fan_in` and `fan_out` are the terms of a sum and the results to which a value contributes: for a kernel
/// `[h, w, in, out]`, h w in and h w out. Normal values of the scaled kinds are drawn again beyond two standard
/// deviations, and widened so that the variance is as named.
/// Sources: Glorot & Bengio, 2010, <https://proceedings.mlr.press/v9/glorot10a.html>; He et al., 2015,
/// <https://arxiv.org/abs/1502.01852>; LeCun et al., 1998, <https://doi.org/10.1007/3-540-49430-8_2>.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Initializer {
    /// Uniform, variance 2 / (fan_in + fan_out).
    #[default]
    GlorotUniform,
    /// Normal, variance 2 / (fan_in + fan_out).
    GlorotNormal,
    /// Uniform, variance 2 / fan_in.
    HeUniform,
    /// Normal, variance 2 / fan_in.
    HeNormal,
    /// Uniform, variance 1 / fan_in.
    LecunUniform,
    /// Normal, variance 1 / fan_in.
    LecunNormal,
    /// Uniform between -0.05 and 0.05.
    RandomUniform,
    /// Normal, standard deviation 0.05.
    RandomNormal,
    /// Normal, standard deviation 0.05, drawn again beyond two of them.
    TruncatedNormal,
    /// 0.
    Zeros,
    /// 1.
    Ones,
    /// This value.
    Constant(f64),
    /// Rows, or if they are more than columns, columns, of length 1 and at right angles to each other: for weights that are
    /// applied again and again (Saxe, McClelland & Ganguli, 2014, <https://arxiv.org/abs/1312.6120>).
    Orthogonal,
    /// 1 in the second of four parts, else 0: the bias of an LSTM that forgets little at first (Jozefowicz et al., 2015,
    /// <https://proceedings.mlr.press/v37/jozefowicz15.html>).
    UnitForget,
}

/// Standard deviation of the normal distribution cut off at two of its own.
const TRUNCATED_DEVIATION: f64 = 0.879_625_661_034_239_8;

impl Initializer {
    /// [`Initializer::Zeros`], the default of biases.
    pub(super) fn zeros() -> Self {
        Self::Zeros
    }

    /// `fan_in` and `fan_out` of a kernel of that shape.
    pub fn fans(shape: &Shape) -> [usize; 2] {
        match shape.dims() {
            [] => [1, 1],
            [n] => [*n, *n],
            [field @ .., fan_in, fan_out] => {
                let field: usize = field.iter().product();
                [field * fan_in, field * fan_out]
            }
        }
    }

    /// The values for the parameter `name`. They follow from seed and name alone: PCG XSL RR 128/64 seeded by
    /// [`Seed::generator`], of whose numbers the upper 53 bits are taken; normal values by Box and Muller's method.
    pub fn tensor(self, seed: Seed, name: &str, shape: &Shape, [fan_in, fan_out]: [usize; 2]) -> Result<Tensor> {
        let mut random = seed.generator(&format!("initialize {name}"), &[]);
        let both = (fan_in + fan_out) as f64 / 2.0;
        let fan_in = fan_in as f64;
        let mut draw: Box<dyn FnMut() -> f64> = match self {
            Self::GlorotUniform => Box::new(move || uniform(&mut random, (3.0 / both).sqrt())),
            Self::HeUniform => Box::new(move || uniform(&mut random, (6.0 / fan_in).sqrt())),
            Self::LecunUniform => Box::new(move || uniform(&mut random, (3.0 / fan_in).sqrt())),
            Self::RandomUniform => Box::new(move || uniform(&mut random, 0.05)),
            Self::GlorotNormal => Box::new(move || scaled_normal(&mut random, (1.0 / both).sqrt())),
            Self::HeNormal => Box::new(move || scaled_normal(&mut random, (2.0 / fan_in).sqrt())),
            Self::LecunNormal => Box::new(move || scaled_normal(&mut random, (1.0 / fan_in).sqrt())),
            Self::RandomNormal => Box::new(move || 0.05 * normal(&mut random)),
            Self::TruncatedNormal => Box::new(move || 0.05 * truncated_normal(&mut random)),
            Self::Zeros => Box::new(|| 0.0),
            Self::Ones => Box::new(|| 1.0),
            Self::Constant(value) => Box::new(move || value),
            Self::Orthogonal => {
                let mut values = orthogonal(&mut random, shape).into_iter();
                Box::new(move || values.next().unwrap_or_default())
            }
            Self::UnitForget => {
                let (mut i, n) = (0, shape.elements());
                Box::new(move || {
                    i += 1;
                    f64::from(u8::from((n / 4..n / 2).contains(&(i - 1))))
                })
            }
        };
        let values: Vec<f32> = (0..shape.elements()).map(|_| draw() as f32).collect();
        Tensor::new(shape.clone(), values)
    }
}

/// By Gram and Schmidt's process, twice, from normal numbers.
fn orthogonal(random: &mut Pcg64, shape: &Shape) -> Vec<f64> {
    let columns = shape.last();
    let rows = shape.elements() / columns.max(1);
    let (count, length) = (rows.min(columns), rows.max(columns));
    let mut vectors: Vec<Vec<f64>> = Vec::with_capacity(count);
    while vectors.len() < count {
        let mut vector: Vec<f64> = (0..length).map(|_| normal(random)).collect();
        for _ in 0..2 {
            for other in &vectors {
                let shared: f64 = vector.iter().zip(other).map(|(a, b)| a * b).sum();
                vector.iter_mut().zip(other).for_each(|(a, b)| *a -= shared * b);
            }
        }
        let norm = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
        vector.iter_mut().for_each(|x| *x /= norm);
        vectors.push(vector);
    }
    let at = |row: usize, column: usize| if rows <= columns { vectors[row][column] } else { vectors[column][row] };
    (0..rows * columns).map(|i| at(i / columns, i % columns)).collect()
}

/// Evenly in [0, 1).
fn unit(random: &mut Pcg64) -> f64 {
    (random.random::<u64>() >> 11) as f64 / (1_u64 << 53) as f64
}

/// Evenly between -limit and limit.
fn uniform(random: &mut Pcg64, limit: f64) -> f64 {
    (2.0 * unit(random) - 1.0) * limit
}

/// Standard normal. `libm` gives the same bits on all platforms.
fn normal(random: &mut Pcg64) -> f64 {
    let radius = libm::sqrt(-2.0 * libm::log(1.0 - unit(random)));
    radius * libm::cos(TAU * unit(random))
}

fn truncated_normal(random: &mut Pcg64) -> f64 {
    loop {
        let x = normal(random);
        if x.abs() <= 2.0 {
            return x;
        }
    }
}

fn scaled_normal(random: &mut Pcg64, deviation: f64) -> f64 {
    truncated_normal(random) * deviation / TRUNCATED_DEVIATION
}
