use super::Term;
use Function as F;

/// The scalar functions of which pointwise ops consist.
///
/// Conventions: comparisons yield 1 or 0; the derivative of relu, relu6 and |x| at their kinks is 0, as in TensorFlow and
/// PyTorch; gelu is the exact form with erf, Keras's default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the documentation; `evaluate` is the definition")]
pub enum Function {
    Identity,
    Neg,
    Abs,
    Sign,
    /// The largest whole number which is not larger.
    Floor,
    /// The nearest whole number; of two equally near ones the even.
    Round,
    Exp,
    Log,
    Sqrt,
    Rsqrt,
    Erf,
    Tanh,
    Sigmoid,
    Softplus,
    Relu,
    Relu6,
    Silu,
    Gelu,
    HardSwish,
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    Min,
    Max,
    Equal,
    Less,
    /// `leaky_relu(x, slope)`.
    LeakyRelu,
    /// `elu(x, alpha)`.
    Elu,
    /// `select(condition, if_true, if_false)`; the condition holds unless it is 0.
    Select,
}

/// 1 / sqrt(2).
const SQRT_HALF: f32 = std::f32::consts::FRAC_1_SQRT_2;
/// 1 / sqrt(2 pi), the normal density at 0.
const NORMAL_PEAK: f32 = 0.398_942_3;

impl Function {
    /// Every function, for tests.
    pub const ALL: [Self; 31] = [
        F::Identity,
        F::Neg,
        F::Abs,
        F::Sign,
        F::Floor,
        F::Round,
        F::Exp,
        F::Log,
        F::Sqrt,
        F::Rsqrt,
        F::Erf,
        F::Tanh,
        F::Sigmoid,
        F::Softplus,
        F::Relu,
        F::Relu6,
        F::Silu,
        F::Gelu,
        F::HardSwish,
        F::Add,
        F::Sub,
        F::Mul,
        F::Div,
        F::Pow,
        F::Min,
        F::Max,
        F::Equal,
        F::Less,
        F::LeakyRelu,
        F::Elu,
        F::Select,
    ];

    /// How many arguments it takes.
    pub fn arity(self) -> usize {
        match self {
            F::Select => 3,
            F::Add | F::Sub | F::Mul | F::Div | F::Pow | F::Min | F::Max | F::Equal | F::Less => 2,
            F::LeakyRelu | F::Elu => 2,
            _ => 1,
        }
    }

    /// The definition, in f64. Functions of fewer arguments ignore the rest.
    pub fn evaluate(self, [x, y, z]: [f64; 3]) -> f64 {
        let truth = |condition: bool| f64::from(u8::from(condition));
        match self {
            F::Identity => x,
            F::Neg => -x,
            F::Abs => x.abs(),
            F::Sign => truth(x > 0.0) - truth(x < 0.0),
            F::Floor => x.floor(),
            F::Round => x.round_ties_even(),
            F::Exp => x.exp(),
            F::Log => x.ln(),
            F::Sqrt => x.sqrt(),
            F::Rsqrt => 1.0 / x.sqrt(),
            F::Erf => libm::erf(x),
            F::Tanh => x.tanh(),
            F::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            F::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
            F::Relu => x.max(0.0),
            F::Relu6 => x.clamp(0.0, 6.0),
            F::Silu => x / (1.0 + (-x).exp()),
            F::Gelu => 0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2)),
            F::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
            F::Add => x + y,
            F::Sub => x - y,
            F::Mul => x * y,
            F::Div => x / y,
            F::Pow => x.powf(y),
            F::Min => x.min(y),
            F::Max => x.max(y),
            F::Equal => truth(x == y),
            F::Less => truth(x < y),
            F::LeakyRelu => x.max(0.0) + y * x.min(0.0),
            F::Elu => x.max(0.0) + y * x.min(0.0).exp_m1(),
            F::Select => {
                if x != 0.0 {
                    y
                } else {
                    z
                }
            }
        }
    }

    /// Whether its accuracy on a device is that of an approximation rather than of a few roundings.
    pub fn is_transcendental(self) -> bool {
        matches!(
            self,
            F::Exp | F::Log | F::Sqrt | F::Rsqrt | F::Erf | F::Tanh | F::Sigmoid | F::Softplus | F::Silu | F::Gelu
        ) || matches!(self, F::Pow | F::Elu | F::Div)
    }

    /// The WGSL expression of the function. Those which are not built in stand in `shaders/common/functions.wgsl`.
    pub fn wgsl(self, a: &[String]) -> String {
        match self {
            F::Identity => a[0].clone(),
            F::Neg => format!("-{}", a[0]),
            F::Add => format!("{} + {}", a[0], a[1]),
            F::Sub => format!("{} - {}", a[0], a[1]),
            F::Mul => format!("{} * {}", a[0], a[1]),
            F::Div => format!("{} / {}", a[0], a[1]),
            F::Equal => format!("select(V(0.0), V(1.0), {} == {})", a[0], a[1]),
            F::Less => format!("select(V(0.0), V(1.0), {} < {})", a[0], a[1]),
            F::Select => format!("select({}, {}, {} != V(0.0))", a[2], a[1], a[0]),
            F::Rsqrt => format!("inverseSqrt({})", a[0]),
            F::Abs | F::Sign | F::Floor | F::Round | F::Exp | F::Log | F::Sqrt | F::Min | F::Max => {
                format!("{}({})", format!("{self:?}").to_lowercase(), a.join(", "))
            }
            _ => format!("{}_({})", snake_case(&format!("{self:?}")), a.join(", ")),
        }
    }

    /// Its derivative with respect to argument `of`, times `grad`, in terms of its arguments and its value `out`; `None`
    /// where it is 0 everywhere.
    pub fn derivative(self, of: usize, a: &[Term], out: Term, grad: Term) -> Option<Term> {
        let x = || a[0].clone();
        let y = || a[1].clone();
        let (o, g) = (|| out.clone(), grad);
        let positive = |t: Term| Term::Constant(0.0).with(F::Less, t);
        Some(match (self, of) {
            (F::Identity | F::Add | F::Sub, 0) | (F::Add, 1) => g,
            (F::Neg, _) | (F::Sub, 1) => -g,
            (F::Abs, _) => g * x().call(F::Sign),
            (F::Exp, _) => g * o(),
            (F::Log, _) => g / x(),
            (F::Sqrt, _) => g * 0.5 / o(),
            (F::Rsqrt, _) => g * -0.5 * o() * o() * o(),
            (F::Erf, _) => g * (2.0 * std::f32::consts::FRAC_2_SQRT_PI * 0.5) * (-(x() * x())).call(F::Exp),
            (F::Tanh, _) => g * (1.0 - o() * o()),
            (F::Sigmoid, _) => g * o() * (1.0 - o()),
            (F::Softplus, _) => g * x().call(F::Sigmoid),
            (F::Relu, _) => positive(o()).select(g, 0.0),
            (F::Relu6, _) => (positive(o()) * o().with(F::Less, 6.0)).select(g, 0.0),
            (F::Silu, _) => {
                let s = x().call(F::Sigmoid);
                g * s.clone() * (1.0 + x() * (1.0 - s))
            }
            (F::Gelu, _) => {
                let cumulative = 0.5 * (1.0 + (x() * SQRT_HALF).call(F::Erf));
                g * (cumulative + x() * NORMAL_PEAK * (x() * x() * -0.5).call(F::Exp))
            }
            (F::HardSwish, _) => {
                let slope = (2.0 * x() + 3.0) * (1.0 / 6.0);
                let above = Term::Constant(3.0).with(F::Less, x()).select(1.0, slope);
                g * Term::Constant(-3.0).with(F::Less, x()).select(above, 0.0)
            }
            (F::Mul, 0) => g * y(),
            (F::Mul, _) => g * x(),
            (F::Div, 0) => g / y(),
            (F::Div, _) => -(g * o() / y()),
            (F::Pow, 0) => g * y() * x().with(F::Pow, y() - 1.0),
            (F::Pow, _) => g * o() * x().call(F::Log),
            // Ties go to the first argument.
            (F::Min, 0) => y().with(F::Less, x()).select(0.0, g),
            (F::Min, _) => y().with(F::Less, x()).select(g, 0.0),
            (F::Max, 0) => x().with(F::Less, y()).select(0.0, g),
            (F::Max, _) => x().with(F::Less, y()).select(g, 0.0),
            (F::LeakyRelu, 0) => positive(x()).select(g.clone(), g * y()),
            (F::LeakyRelu, _) => g * x().with(F::Min, 0.0),
            (F::Elu, 0) => positive(x()).select(g.clone(), g * (o() + y())),
            (F::Elu, _) => g * (x().with(F::Min, 0.0).call(F::Exp) - 1.0),
            (F::Select, 1) => x().select(g, 0.0),
            (F::Select, 2) => x().select(0.0, g),
            (F::Sign | F::Floor | F::Round | F::Equal | F::Less | F::Select, _) => return None,
            _ => unreachable!("{self:?} has no argument {of}"),
        })
    }
}

fn snake_case(name: &str) -> String {
    let mut text = String::new();
    for (i, c) in name.chars().enumerate() {
        if c.is_uppercase() && i > 0 {
            text.push('_');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}
