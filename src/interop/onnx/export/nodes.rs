use super::{Attribute, Exporter};
use crate::error::{Error, Result};
use crate::graph::{Expression, Function as F, Op, Operand, Value};
use crate::ops::{
    ArgMax, Concat, Conv2d, Conv2dForward, Conv2dGradInput, Gather, MatMul, Pad, Pointwise, Pool2dForward, Pooling,
    Reduce, Reduction, Reshape, Softmax, Transpose,
};
use crate::tensor::{Array, Shape};

/// Where an axis of `[n, h, w, c]` stands in `[n, c, h, w]`.
const FRONT: [usize; 4] = [0, 2, 3, 1];

impl Exporter<'_> {
    /// Writes an op.
    ///
    /// Errors: if ONNX has nothing for it.
    pub(super) fn write_op(&mut self, value: Value) -> Result<()> {
        let graph = self.graph;
        let node = graph.node(value);
        let inputs = &node.inputs;
        if let Some(op) = node.downcast::<Conv2dForward>() {
            let name = self.convolution("Conv", inputs, op.conv, Vec::new())?;
            self.values[value.index()].channels_first = Some(name);
        } else if let Some(op) = node.downcast::<Conv2dGradInput>() {
            let extra = self.output_padding(op, inputs)?;
            let name = self.convolution("ConvTranspose", inputs, op.conv, extra)?;
            self.values[value.index()].channels_first = Some(name);
        } else if let Some(op) = node.downcast::<Pool2dForward>() {
            let name = self.pool(op, inputs[0])?;
            self.values[value.index()].channels_first = Some(name);
        } else if let Some(op) = node.downcast::<MatMul>() {
            self.matmul(op, value)?;
        } else if let Some(op) = node.downcast::<Pointwise>() {
            self.pointwise(op.expression(), value)?;
        } else if let Some(op) = node.downcast::<Reduce>() {
            self.reduce(op, value)?;
        } else if let Some(op) = node.downcast::<Softmax>() {
            let kind = if op.log { "LogSoftmax" } else { "Softmax" };
            self.along(kind, value, inputs, graph.shape(value).rank() - 1, Vec::new())?;
        } else if let Some(op) = node.downcast::<Concat>() {
            self.along("Concat", value, inputs, op.axis, Vec::new())?;
        } else if let Some(op) = node.downcast::<Pad>() {
            self.pad(op, value)?;
        } else if node.downcast::<Reshape>().is_some() {
            self.reshape(value)?;
        } else if let Some(op) = node.downcast::<Transpose>() {
            let axes: Vec<usize> = (0..graph.shape(value).rank()).collect();
            let perm = op.swap(&axes).into_iter().map(|a| a as i64).collect();
            let x = self.plain(inputs[0])?;
            let name = self.writer.node("Transpose", &[&x], &[("perm", Attribute::Ints(perm))]);
            self.values[value.index()].plain = Some(name);
        } else if node.downcast::<Gather>().is_some() {
            let (table, rows) = (self.plain(inputs[0])?, self.plain(inputs[1])?);
            let name = self.writer.node("Gather", &[&table, &rows], &[("axis", Attribute::Int(0))]);
            self.values[value.index()].plain = Some(name);
        } else {
            let op = node.op().map_or("input", |op| op.name());
            let is_place = node.downcast::<ArgMax>().is_some();
            let hint = if is_place { ": give probabilities, not places" } else { "" };
            return Err(Error::config(format!(
                "layer \"{}\" has an op, {op}, that ONNX has nothing for{hint}",
                node.name
            )));
        }
        Ok(())
    }

    /// A kernel `[kh, kw, in, out]` as `[out, in, kh, kw]`.
    fn kernel(&mut self, value: Value) -> Result<String> {
        if let Some(array) = self.values[value.index()].known.clone() {
            return Ok(self.constant(value, &super::super::tensor::permuted(&array, &[3, 2, 0, 1])));
        }
        let plain = self.plain(value)?;
        Ok(self.writer.node("Transpose", &[&plain], &[("perm", Attribute::Ints(vec![3, 2, 0, 1]))]))
    }

    fn convolution(&mut self, kind: &str, inputs: &[Value], conv: Conv2d, extra: Vec<i64>) -> Result<String> {
        let size = self.graph.shape(inputs[1]).dims()[..2].to_vec();
        let (x, kernel) = (self.channels_first(inputs[0])?, self.kernel(inputs[1])?);
        let mut attributes = vec![
            ("kernel_shape", pair([size[0], size[1]])),
            ("strides", pair(conv.stride)),
            ("dilations", pair(conv.dilation)),
            ("pads", edges(conv.padding)),
            ("group", Attribute::Int(conv.groups as i64)),
        ];
        if !extra.is_empty() {
            attributes.push(("output_padding", Attribute::Ints(extra)));
        }
        Ok(self.writer.node(kind, &[&x, &kernel], &attributes))
    }

    /// Rows and columns of the result that no position of the kernel reaches.
    fn output_padding(&self, op: &Conv2dGradInput, inputs: &[Value]) -> Result<Vec<i64>> {
        let (grad, kernel) = (self.graph.shape(inputs[0]).dims(), self.graph.shape(inputs[1]).dims());
        let Conv2d { stride, padding, dilation, .. } = op.conv;
        let extra = |a: usize| {
            let reached = stride[a] * (grad[a + 1] - 1) + (kernel[a] - 1) * dilation[a] + 1;
            (op.input[a] + padding[2 * a] + padding[2 * a + 1]) as i64 - reached as i64
        };
        Ok(vec![extra(0), extra(1)])
    }

    fn pool(&mut self, op: &Pool2dForward, x: Value) -> Result<String> {
        let x = self.channels_first(x)?;
        let kind = match op.pooling {
            Pooling::Max => "MaxPool",
            Pooling::Average => "AveragePool",
        };
        let pool = op.pool;
        let attributes =
            [("kernel_shape", pair(pool.window)), ("strides", pair(pool.stride)), ("pads", edges(pool.padding))];
        Ok(self.writer.node(kind, &[&x], &attributes))
    }

    fn matmul(&mut self, op: &MatMul, value: Value) -> Result<()> {
        let inputs = self.graph.node(value).inputs.clone();
        let mut names = Vec::new();
        for (&input, turned) in inputs.iter().zip([op.transpose_a, op.transpose_b]) {
            names.push(if turned { self.turned(input)? } else { self.plain(input)? });
        }
        let name = self.writer.node("MatMul", &[&names[0], &names[1]], &[]);
        self.values[value.index()].plain = Some(name);
        Ok(())
    }

    /// A stack of matrices, each transposed.
    fn turned(&mut self, value: Value) -> Result<String> {
        let mut order: Vec<usize> = (0..self.graph.shape(value).rank()).collect();
        let n = order.len();
        order.swap(n - 2, n - 1);
        if let Some(array) = self.values[value.index()].known.clone() {
            return Ok(self.constant(value, &super::super::tensor::permuted(&array, &order)));
        }
        let plain = self.plain(value)?;
        let perm = order.into_iter().map(|a| a as i64).collect();
        Ok(self.writer.node("Transpose", &[&plain], &[("perm", Attribute::Ints(perm))]))
    }

    /// An op along an axis, in whichever order its inputs stand.
    fn along(
        &mut self,
        kind: &str,
        value: Value,
        inputs: &[Value],
        axis: usize,
        mut attributes: Vec<(&str, Attribute)>,
    ) -> Result<()> {
        let front = self.graph.shape(value).rank() == 4 && inputs.iter().any(|&v| self.is_channels_first(v));
        let mut names = Vec::new();
        for &input in inputs {
            names.push(if front { self.channels_first(input)? } else { self.plain(input)? });
        }
        attributes.push(("axis", Attribute::Int(if front { FRONT[axis] } else { axis } as i64)));
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let name = self.writer.node(kind, &names, &attributes);
        self.store(value, name, front);
        Ok(())
    }

    fn store(&mut self, value: Value, name: String, front: bool) {
        let exported = &mut self.values[value.index()];
        *(if front { &mut exported.channels_first } else { &mut exported.plain }) = Some(name);
    }

    fn pad(&mut self, op: &Pad, value: Value) -> Result<()> {
        let x = self.graph.node(value).inputs[0];
        let dims = self.graph.shape(x).dims().to_vec();
        let front = dims.len() == 4 && self.is_channels_first(x);
        let mut name = if front { self.channels_first(x)? } else { self.plain(x)? };
        let place = |axis: usize| if front { FRONT[axis] } else { axis };
        let cut: Vec<usize> = (0..dims.len()).filter(|&a| op.margins[a].iter().any(|&m| m < 0)).collect();
        if !cut.is_empty() {
            let starts: Vec<i64> = cut.iter().map(|&a| (-op.margins[a][0]).max(0) as i64).collect();
            let ends: Vec<i64> = cut.iter().map(|&a| dims[a] as i64 + op.margins[a][1].min(0) as i64).collect();
            let axes: Vec<i64> = cut.iter().map(|&a| place(a) as i64).collect();
            let (starts, ends, axes) = (self.writer.ints(&starts), self.writer.ints(&ends), self.writer.ints(&axes));
            name = self.writer.node("Slice", &[&name, &starts, &ends, &axes], &[]);
        }
        if op.margins.iter().flatten().any(|&m| m > 0) {
            let mut pads = vec![0; 2 * dims.len()];
            for (axis, margins) in op.margins.iter().enumerate() {
                pads[place(axis)] = margins[0].max(0) as i64;
                pads[place(axis) + dims.len()] = margins[1].max(0) as i64;
            }
            let (pads, fill) = (self.writer.ints(&pads), self.writer.floats(None, &[], &[f64::from(op.value)]));
            name = self.writer.node("Pad", &[&name, &pads, &fill], &[]);
        }
        self.store(value, name, front);
        Ok(())
    }

    fn reshape(&mut self, value: Value) -> Result<()> {
        let x = self.graph.node(value).inputs[0];
        // Where there is but one pixel, both orders are the same.
        let one_pixel = matches!(self.graph.shape(x).dims(), [_, 1, 1, _]) && self.is_channels_first(x);
        let name = if one_pixel { self.channels_first(x)? } else { self.plain(x)? };
        let shape = self.extents(value);
        let name = self.writer.node("Reshape", &[&name, &shape], &[]);
        self.values[value.index()].plain = Some(name);
        Ok(())
    }

    fn reduce(&mut self, op: &Reduce, value: Value) -> Result<()> {
        let x = self.graph.node(value).inputs[0];
        let rank = self.graph.shape(x).rank();
        // Without the extents of 1, what is left must stand in the same order.
        let ordered = op.keep_dims || op.axes.contains(&3) || (op.axes.contains(&1) && op.axes.contains(&2));
        let front = rank == 4 && self.is_channels_first(x) && ordered;
        let name = if front { self.channels_first(x)? } else { self.plain(x)? };
        let axes: Vec<i64> = op.axes.clone().map(|a| if front { FRONT[a] } else { a } as i64).collect();
        let keep = ("keepdims", Attribute::Int(op.keep_dims.into()));
        let name = match op.reduction {
            Reduction::Sum => {
                let axes = self.writer.ints(&axes);
                self.writer.node("ReduceSum", &[&name, &axes], &[keep])
            }
            Reduction::Mean => self.writer.node("ReduceMean", &[&name], &[("axes", Attribute::Ints(axes)), keep]),
            Reduction::Max => self.writer.node("ReduceMax", &[&name], &[("axes", Attribute::Ints(axes)), keep]),
        };
        self.store(value, name, front && op.keep_dims);
        Ok(())
    }

    fn pointwise(&mut self, expression: Option<&Expression>, value: Value) -> Result<()> {
        let graph = self.graph;
        let node = graph.node(value);
        let rank = node.meta.shape.rank();
        let front = rank == 4 && node.inputs.iter().any(|&v| self.is_channels_first(v));
        let mut names = Vec::new();
        let mut common = Shape::scalar();
        for &input in &node.inputs {
            names.push(if front { self.operand_in_front(input)? } else { self.plain(input)? });
            let shape = self.values[input.index()].known.as_ref().map_or(graph.shape(input), |array| &array.shape);
            common = common.broadcast(shape).unwrap_or_default();
        }
        let expression = expression.ok_or_else(|| Error::config("a pointwise op computes nothing"))?;
        let mut name = self.expression(expression, &names)?;
        if common != node.meta.shape {
            let shape = self.extents(value);
            name = self.writer.node("Expand", &[&name, &shape], &[]);
        }
        self.store(value, name, front);
        Ok(())
    }

    /// An operand that broadcasts against `[n, c, h, w]`.
    fn operand_in_front(&mut self, value: Value) -> Result<String> {
        let dims = self.graph.shape(value).dims().to_vec();
        let full = [&vec![1; 4 - dims.len()], &dims[..]].concat();
        if let Some(array) = self.values[value.index()].known.clone() {
            let full = [&vec![1; 4 - array.shape.rank()], array.shape.dims()].concat();
            let turned = super::super::tensor::permuted(&Array { shape: full.into(), data: array.data }, &[0, 3, 1, 2]);
            let leading = turned.shape.dims().iter().take_while(|&&d| d == 1).count();
            let dims = turned.shape.dims()[leading..].to_vec();
            return Ok(self.constant(value, &Array { shape: dims.into(), data: turned.data }));
        }
        match dims.len() {
            4 => self.channels_first(value),
            0 => self.plain(value),
            _ => {
                let (x, shape) = (self.plain(value)?, full.iter().map(|&d| d as i64).collect::<Vec<_>>());
                let shape = self.writer.ints(&shape);
                let x = self.writer.node("Reshape", &[&x, &shape], &[]);
                Ok(self.writer.node("Transpose", &[&x], &[("perm", Attribute::Ints(vec![0, 3, 1, 2]))]))
            }
        }
    }

    fn expression(&mut self, expression: &Expression, inputs: &[String]) -> Result<String> {
        let mut steps: Vec<String> = Vec::new();
        for step in expression.steps() {
            let mut arguments = Vec::new();
            for argument in &step.arguments {
                arguments.push(match *argument {
                    Operand::Input(i) => inputs[i].clone(),
                    Operand::Step(i) => steps[i].clone(),
                    Operand::Constant(c) => self.writer.floats(None, &[], &[f64::from(c)]),
                });
            }
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            steps.push(self.function(step.function, &arguments));
        }
        steps.pop().ok_or_else(|| Error::config("an expression has no steps"))
    }

    fn function(&mut self, function: F, a: &[&str]) -> String {
        let w = &mut self.writer;
        let number = |w: &mut super::Writer, x: f64| w.floats(None, &[], &[x]);
        let float = |w: &mut super::Writer, x: &str| w.node("Cast", &[x], &[("to", Attribute::Int(1))]);
        let relu = |w: &mut super::Writer, x: &str| w.node("Relu", &[x], &[]);
        match function {
            F::Identity => a[0].to_owned(),
            F::Neg
            | F::Abs
            | F::Sign
            | F::Floor
            | F::Round
            | F::Exp
            | F::Log
            | F::Sqrt
            | F::Erf
            | F::Tanh
            | F::Sigmoid => w.node(&format!("{function:?}"), a, &[]),
            F::Softplus | F::Relu | F::HardSwish | F::Add | F::Sub | F::Mul | F::Div | F::Pow | F::Min | F::Max => {
                w.node(&format!("{function:?}"), a, &[])
            }
            F::Rsqrt => {
                let root = w.node("Sqrt", a, &[]);
                w.node("Reciprocal", &[&root], &[])
            }
            F::Relu6 => {
                let (least, most) = (number(w, 0.0), number(w, 6.0));
                w.node("Clip", &[a[0], &least, &most], &[])
            }
            F::Silu => {
                let gate = w.node("Sigmoid", a, &[]);
                w.node("Mul", &[a[0], &gate], &[])
            }
            F::Gelu => {
                let (root, one, half) = (number(w, std::f64::consts::FRAC_1_SQRT_2), number(w, 1.0), number(w, 0.5));
                let scaled = w.node("Mul", &[a[0], &root], &[]);
                let erf = w.node("Erf", &[&scaled], &[]);
                let sum = w.node("Add", &[&erf, &one], &[]);
                let product = w.node("Mul", &[a[0], &sum], &[]);
                w.node("Mul", &[&product, &half], &[])
            }
            F::Equal | F::Less => {
                let truth = w.node(&format!("{function:?}"), a, &[]);
                float(w, &truth)
            }
            F::Select => {
                let zero = number(w, 0.0);
                let equal = w.node("Equal", &[a[0], &zero], &[]);
                w.node("Where", &[&equal, a[2], a[1]], &[])
            }
            F::LeakyRelu => {
                let (positive, zero) = (relu(w, a[0]), number(w, 0.0));
                let negative = w.node("Min", &[a[0], &zero], &[]);
                let scaled = w.node("Mul", &[&negative, a[1]], &[]);
                w.node("Add", &[&positive, &scaled], &[])
            }
            F::Elu => {
                let (positive, zero, one) = (relu(w, a[0]), number(w, 0.0), number(w, 1.0));
                let negative = w.node("Min", &[a[0], &zero], &[]);
                let power = w.node("Exp", &[&negative], &[]);
                let below = w.node("Sub", &[&power, &one], &[]);
                let scaled = w.node("Mul", &[&below, a[1]], &[]);
                w.node("Add", &[&positive, &scaled], &[])
            }
        }
    }
}

fn pair(values: [usize; 2]) -> Attribute {
    Attribute::Ints(values.map(|v| v as i64).to_vec())
}

/// ONNX names all beginnings before all ends.
fn edges([top, bottom, left, right]: [usize; 4]) -> Attribute {
    Attribute::Ints([top, left, bottom, right].map(|v| v as i64).to_vec())
}
