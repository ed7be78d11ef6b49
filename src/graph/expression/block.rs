use super::{Expression, Function, Operand};
use crate::simd::vectorized;

/// Elements which are evaluated together: a few such rows stay in the first-level cache.
pub const BLOCK: usize = 512;

/// Where the elements of an expression's input come from, within one block.
#[derive(Clone, Copy)]
pub enum BlockInput<'a> {
    /// One number for all.
    Scalar(f32),
    /// One number each.
    Row(&'a [f32]),
}

impl Expression {
    /// Elements of `registers` that [`Expression::evaluate_block`] needs.
    pub fn registers(&self) -> usize {
        self.steps.len() * BLOCK
    }

    /// Its value in f32 for each element of `output`, at most [`BLOCK`] of them.
    pub fn evaluate_block(&self, inputs: &[BlockInput<'_>], output: &mut [f32], registers: &mut [f32]) {
        let n = output.len();
        let last = self.steps.len() - 1;
        for (i, step) in self.steps.iter().enumerate() {
            let (done, rest) = registers.split_at_mut(i * BLOCK);
            let target = if i == last { &mut output[..] } else { &mut rest[..n] };
            let mut arguments = [BlockInput::Scalar(0.0); 3];
            for (slot, argument) in arguments.iter_mut().zip(&step.arguments) {
                *slot = match *argument {
                    Operand::Input(j) => inputs[j],
                    Operand::Step(j) => BlockInput::Row(&done[j * BLOCK..][..n]),
                    Operand::Constant(c) => BlockInput::Scalar(c),
                };
            }
            vectorized(
                #[inline(always)]
                || step.function.evaluate_row(arguments, target),
            );
        }
    }
}

impl Function {
    /// The function in f32 for each element of `output`.
    #[inline(always)]
    fn evaluate_row(self, [x, y, z]: [BlockInput<'_>; 3], output: &mut [f32]) {
        let truth = |condition: bool| if condition { 1.0 } else { 0.0 };
        match self {
            Self::Identity => unary(x, output, |x| x),
            Self::Neg => unary(x, output, |x| -x),
            Self::Abs => unary(x, output, f32::abs),
            Self::Sign => unary(x, output, |x| truth(x > 0.0) - truth(x < 0.0)),
            Self::Floor => unary(x, output, f32::floor),
            Self::Round => unary(x, output, f32::round_ties_even),
            Self::Exp => unary(x, output, exp),
            Self::Log => unary(x, output, f32::ln),
            Self::Sqrt => unary(x, output, f32::sqrt),
            Self::Rsqrt => unary(x, output, |x| 1.0 / x.sqrt()),
            Self::Erf => unary(x, output, erf),
            Self::Tanh => unary(x, output, tanh),
            Self::Sigmoid => unary(x, output, sigmoid),
            Self::Softplus => unary(x, output, |x| x.max(0.0) + (-x.abs()).exp().ln_1p()),
            Self::Relu => unary(x, output, |x| x.max(0.0)),
            Self::Relu6 => unary(x, output, |x| x.clamp(0.0, 6.0)),
            Self::Silu => unary(x, output, |x| x * sigmoid(x)),
            Self::Gelu => unary(x, output, |x| 0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))),
            Self::HardSwish => unary(x, output, |x| x * (x + 3.0).clamp(0.0, 6.0) * (1.0 / 6.0)),
            Self::Add => binary(x, y, output, |x, y| x + y),
            Self::Sub => binary(x, y, output, |x, y| x - y),
            Self::Mul => binary(x, y, output, |x, y| x * y),
            Self::Div => binary(x, y, output, |x, y| x / y),
            Self::Pow => binary(x, y, output, f32::powf),
            Self::Min => binary(x, y, output, f32::min),
            Self::Max => binary(x, y, output, f32::max),
            Self::Equal => binary(x, y, output, |x, y| truth(x == y)),
            Self::Less => binary(x, y, output, |x, y| truth(x < y)),
            Self::LeakyRelu => binary(x, y, output, |x, slope| x.max(0.0) + slope * x.min(0.0)),
            Self::Elu => binary(x, y, output, |x, alpha| x.max(0.0) + alpha * x.min(0.0).exp_m1()),
            Self::Select => select(x, y, z, output),
        }
    }
}

#[inline(always)]
fn unary(x: BlockInput<'_>, output: &mut [f32], f: impl Fn(f32) -> f32) {
    match x {
        BlockInput::Scalar(x) => output.fill(f(x)),
        BlockInput::Row(x) => output.iter_mut().zip(x).for_each(|(o, &x)| *o = f(x)),
    }
}

#[inline(always)]
fn binary(x: BlockInput<'_>, y: BlockInput<'_>, output: &mut [f32], f: impl Fn(f32, f32) -> f32) {
    match (x, y) {
        (BlockInput::Scalar(x), BlockInput::Scalar(y)) => output.fill(f(x, y)),
        (BlockInput::Row(x), BlockInput::Scalar(y)) => unary(BlockInput::Row(x), output, |x| f(x, y)),
        (BlockInput::Scalar(x), BlockInput::Row(y)) => unary(BlockInput::Row(y), output, |y| f(x, y)),
        (BlockInput::Row(x), BlockInput::Row(y)) => {
            output.iter_mut().zip(x).zip(y).for_each(|((o, &x), &y)| *o = f(x, y));
        }
    }
}

#[inline(always)]
fn select(condition: BlockInput<'_>, x: BlockInput<'_>, y: BlockInput<'_>, output: &mut [f32]) {
    use BlockInput::{Row, Scalar};
    let c = match condition {
        Scalar(c) => return unary(if c != 0.0 { x } else { y }, output, |x| x),
        Row(c) => c,
    };
    let all = output.iter_mut().zip(c);
    match (x, y) {
        (Scalar(x), Scalar(y)) => all.for_each(|(o, &c)| *o = pick(c, x, y)),
        (Scalar(x), Row(y)) => all.zip(y).for_each(|((o, &c), &y)| *o = pick(c, x, y)),
        (Row(x), Scalar(y)) => all.zip(x).for_each(|((o, &c), &x)| *o = pick(c, x, y)),
        (Row(x), Row(y)) => all.zip(x.iter().zip(y)).for_each(|((o, &c), (&x, &y))| *o = pick(c, x, y)),
    }
}

#[inline(always)]
fn pick(condition: f32, x: f32, y: f32) -> f32 {
    if condition != 0.0 { x } else { y }
}

/// Exponential without branches, so that rows of it vectorise. Range reduction to [-ln 2 / 2, ln 2 / 2] and a polynomial
/// of degree 6 (Cephes, `expf`): relative error below 2e-7.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    /// Adding it rounds to a whole number, which then stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.3, 88.3);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * 0.693_359_4 - n * -2.121_944_4e-4;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_2e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 5e-1;
    let scale = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    (p * r * r + r + 1.0) * scale
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Near 0, where the quotient would cancel, the odd Taylor polynomial.
#[inline(always)]
fn tanh(x: f32) -> f32 {
    let e = exp(2.0 * x.clamp(-10.0, 10.0));
    let x2 = x * x;
    let small = x * (1.0 + x2 * (-1.0 / 3.0 + x2 * (2.0 / 15.0 + x2 * (-17.0 / 315.0))));
    if x.abs() < 0.2 { small } else { (e - 1.0) / (e + 1.0) }
}

/// Abramowitz & Stegun 7.1.26: absolute error below 1.5e-7.
#[inline(always)]
fn erf(x: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
    let p = 1.061_405_4 * t - 1.453_152;
    let p = p * t + 1.421_413_8;
    let p = p * t - 0.284_496_74;
    let p = p * t + 0.254_829_6;
    (1.0 - p * t * exp(-x * x)).copysign(x)
}
