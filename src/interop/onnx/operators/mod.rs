//! ONNX's operators, one file a family, and the table of them all
//! (<https://github.com/onnx/onnx/blob/main/docs/Operators.md>).

mod conv;
mod gather;
mod norm;
mod pointwise;
mod pool;
mod product;
mod quantize;
mod recurrent;
mod reduce;
mod resize;
mod select;
mod shape;
mod softmax;
mod window;

use super::Outcome;
use super::call::Call;
use super::element::Element;
use super::emitter::Emitter;
use super::tensor::Tensor;
use crate::graph::Function as F;
use pointwise::{binary, comparison, folded, here, unary};
use pool::Global;
use recurrent::Cell;
use reduce::Reduction;

/// Writes a node as ops of our graph.
pub type Operator = fn(&mut Emitter, &Call<'_>) -> Outcome<Vec<Tensor>>;

/// Every operator that is supported, by name.
pub const OPERATORS: &[(&str, Operator)] = &[
    ("Abs", |e, c| unary(e, c, |_, x| x.call(F::Abs))),
    ("Acos", |_, c| here(c, None, |x, _| x.acos())),
    ("Acosh", |_, c| here(c, None, |x, _| x.acosh())),
    ("Add", |e, c| binary(e, c, |x, y| x + y)),
    ("And", |e, c| comparison(e, c, |x, y| x * y)),
    ("ArgMax", |e, c| reduce::arg(e, c, true)),
    ("ArgMin", |e, c| reduce::arg(e, c, false)),
    ("Asin", |_, c| here(c, None, |x, _| x.asin())),
    ("Asinh", |_, c| here(c, None, |x, _| x.asinh())),
    ("Atan", |_, c| here(c, None, |x, _| x.atan())),
    ("Atanh", |_, c| here(c, None, |x, _| x.atanh())),
    ("AveragePool", pool::average_pool),
    ("BatchNormalization", norm::batch),
    ("BitShift", pointwise::bit_shift),
    ("BitwiseAnd", |_, c| here(c, None, |x, y| (x as i64 & y as i64) as f64)),
    ("BitwiseNot", |_, c| here(c, None, |x, _| !(x as i64) as f64)),
    ("BitwiseOr", |_, c| here(c, None, |x, y| (x as i64 | y as i64) as f64)),
    ("BitwiseXor", |_, c| here(c, None, |x, y| (x as i64 ^ y as i64) as f64)),
    ("Cast", pointwise::cast),
    ("CastLike", pointwise::cast),
    ("Ceil", |e, c| unary(e, c, |_, x| -((-x).call(F::Floor)))),
    ("Celu", pointwise::celu),
    ("Clip", pointwise::clip),
    ("Compress", select::compress),
    ("Concat", shape::concat),
    ("Constant", shape::constant),
    ("ConstantOfShape", shape::constant_of_shape),
    ("Conv", conv::conv),
    ("ConvTranspose", conv::conv_transpose),
    ("Cos", |_, c| here(c, None, |x, _| x.cos())),
    ("Cosh", |_, c| here(c, None, |x, _| x.cosh())),
    ("CumSum", select::cumulative_sum),
    ("DepthToSpace", shape::depth_to_space),
    ("DequantizeLinear", quantize::dequantize),
    ("Div", |e, c| binary(e, c, |x, y| x / y)),
    ("Dropout", shape::dropout),
    ("Einsum", product::einsum),
    ("Elu", pointwise::elu),
    ("Equal", |e, c| comparison(e, c, |x, y| x.with(F::Equal, y))),
    ("Erf", |e, c| unary(e, c, |_, x| x.call(F::Erf))),
    ("Exp", |e, c| unary(e, c, |_, x| x.call(F::Exp))),
    ("Expand", shape::expand),
    ("EyeLike", select::eye_like),
    ("Flatten", shape::flatten),
    ("Floor", |e, c| unary(e, c, |_, x| x.call(F::Floor))),
    ("GRU", |e, c| recurrent::recurrent(e, c, Cell::Gru)),
    ("Gather", gather::gather),
    ("GatherElements", gather::gather_elements),
    ("GatherND", gather::gather_nd),
    ("Gelu", pointwise::gelu),
    ("Gemm", product::gemm),
    ("GlobalAveragePool", |e, c| pool::global(e, c, Global::Average)),
    ("GlobalLpPool", |e, c| pool::global(e, c, Global::Lp)),
    ("GlobalMaxPool", |e, c| pool::global(e, c, Global::Max)),
    ("Greater", |e, c| comparison(e, c, |x, y| y.with(F::Less, x))),
    ("GreaterOrEqual", |e, c| comparison(e, c, |x, y| 1.0 - x.with(F::Less, y))),
    ("GroupNormalization", norm::group),
    ("HardSigmoid", pointwise::hard_sigmoid),
    ("HardSwish", |e, c| unary(e, c, |_, x| x.call(F::HardSwish))),
    ("Hardmax", select::hardmax),
    ("Identity", shape::identity),
    ("InstanceNormalization", norm::instance),
    ("IsInf", pointwise::is_infinite),
    ("IsNaN", |_, c| here(c, Some(Element::Bool), |x, _| f64::from(u8::from(x.is_nan())))),
    ("LRN", norm::local_response),
    ("LSTM", |e, c| recurrent::recurrent(e, c, Cell::Lstm)),
    ("LayerNormalization", norm::layer),
    ("LeakyRelu", |e, c| unary(e, c, |c, x| x.with(F::LeakyRelu, c.float("alpha", 0.01) as f32))),
    ("Less", |e, c| comparison(e, c, |x, y| x.with(F::Less, y))),
    ("LessOrEqual", |e, c| comparison(e, c, |x, y| 1.0 - y.with(F::Less, x))),
    ("Log", |e, c| unary(e, c, |_, x| x.call(F::Log))),
    ("LogSoftmax", |e, c| softmax::softmax(e, c, true)),
    ("LpNormalization", norm::lp),
    ("LpPool", pool::lp_pool),
    ("MatMul", product::matmul),
    ("Max", |e, c| folded(e, c, F::Max, false)),
    ("MaxPool", pool::max_pool),
    ("Mean", |e, c| folded(e, c, F::Add, true)),
    ("MeanVarianceNormalization", norm::mean_variance),
    ("Min", |e, c| folded(e, c, F::Min, false)),
    ("Mish", |e, c| unary(e, c, |_, x| x.clone() * x.call(F::Softplus).call(F::Tanh))),
    ("Mod", pointwise::modulo),
    ("Mul", |e, c| binary(e, c, |x, y| x * y)),
    ("Neg", |e, c| unary(e, c, |_, x| -x)),
    ("NonMaxSuppression", select::non_max_suppression),
    ("NonZero", select::non_zero),
    ("Not", pointwise::not),
    ("OneHot", select::one_hot),
    ("Or", |e, c| comparison(e, c, |x, y| x.with(F::Max, y))),
    ("PRelu", pointwise::prelu),
    ("Pad", shape::pad),
    ("Pow", |e, c| binary(e, c, |x, y| x.with(F::Pow, y))),
    ("QuantizeLinear", quantize::quantize),
    ("RMSNormalization", norm::root_mean_square),
    ("RNN", |e, c| recurrent::recurrent(e, c, Cell::Rnn)),
    ("Range", shape::range),
    ("Reciprocal", |e, c| unary(e, c, |_, x| 1.0 / x)),
    ("ReduceL1", |e, c| reduce::reduce(e, c, Reduction::L1)),
    ("ReduceL2", |e, c| reduce::reduce(e, c, Reduction::L2)),
    ("ReduceLogSum", |e, c| reduce::reduce(e, c, Reduction::LogSum)),
    ("ReduceLogSumExp", |e, c| reduce::reduce(e, c, Reduction::LogSumExp)),
    ("ReduceMax", |e, c| reduce::reduce(e, c, Reduction::Max)),
    ("ReduceMean", |e, c| reduce::reduce(e, c, Reduction::Mean)),
    ("ReduceMin", |e, c| reduce::reduce(e, c, Reduction::Min)),
    ("ReduceProd", |e, c| reduce::reduce(e, c, Reduction::Product)),
    ("ReduceSum", |e, c| reduce::reduce(e, c, Reduction::Sum)),
    ("ReduceSumSquare", |e, c| reduce::reduce(e, c, Reduction::SumOfSquares)),
    ("Relu", |e, c| unary(e, c, |_, x| x.call(F::Relu))),
    ("Reshape", shape::reshape),
    ("Resize", resize::resize),
    ("ReverseSequence", select::reverse_sequence),
    ("Round", |e, c| unary(e, c, |_, x| x.call(F::Round))),
    ("Scatter", gather::scatter_elements),
    ("ScatterElements", gather::scatter_elements),
    ("ScatterND", gather::scatter_nd),
    ("Selu", pointwise::selu),
    ("Shape", shape::shape),
    ("Shrink", pointwise::shrink),
    ("Sigmoid", |e, c| unary(e, c, |_, x| x.call(F::Sigmoid))),
    ("Sign", |e, c| unary(e, c, |_, x| x.call(F::Sign))),
    ("Sin", |_, c| here(c, None, |x, _| x.sin())),
    ("Sinh", |_, c| here(c, None, |x, _| x.sinh())),
    ("Size", shape::size),
    ("Slice", shape::slice),
    ("Softmax", |e, c| softmax::softmax(e, c, false)),
    ("Softplus", |e, c| unary(e, c, |_, x| x.call(F::Softplus))),
    ("Softsign", |e, c| unary(e, c, |_, x| x.clone() / (1.0 + x.call(F::Abs)))),
    ("SpaceToDepth", shape::space_to_depth),
    ("Split", shape::split),
    ("Sqrt", |e, c| unary(e, c, |_, x| x.call(F::Sqrt))),
    ("Squeeze", shape::squeeze),
    ("Sub", |e, c| binary(e, c, |x, y| x - y)),
    ("Sum", |e, c| folded(e, c, F::Add, false)),
    ("Tan", |_, c| here(c, None, |x, _| x.tan())),
    ("Tanh", |e, c| unary(e, c, |_, x| x.call(F::Tanh))),
    ("ThresholdedRelu", pointwise::thresholded_relu),
    ("Tile", shape::tile),
    ("TopK", select::top_k),
    ("Transpose", shape::transpose),
    ("Trilu", shape::triangle),
    ("Unsqueeze", shape::unsqueeze),
    ("Upsample", resize::resize),
    ("Where", pointwise::choose),
    ("Xor", |e, c| comparison(e, c, |x, y| (x - y).call(F::Abs))),
];
