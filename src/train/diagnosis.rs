use std::fmt;

use super::session::feed_step;
use super::{Session, Task};
use crate::data::Batch;
use crate::device::{Arena, Device};
use crate::error::Result;
use crate::graph::{Ending, Graph, Layout, Passes, Value};
use crate::tensor::{DType, Tensor};

/// What made a loss infinite, no number, or huge.
#[derive(Clone, Debug, PartialEq)]
pub enum Culprit {
    /// A parameter or a kept statistic is not finite, or larger than all others.
    Weight {
        /// Its name.
        name: String,
        /// The element that is not finite, or the largest absolute value.
        value: f32,
    },
    /// An op makes infinity, or what is no number, of finite numbers.
    Op {
        /// The op's name.
        op: &'static str,
        /// The layer, or part of the network, that it stands in.
        layer: String,
        /// Whether it belongs to the gradient.
        backward: bool,
        /// What it makes: infinite, or NaN.
        value: f32,
        /// The largest absolute value of what it makes it from.
        largest: f32,
    },
}

impl fmt::Display for Culprit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Weight { name, value } if value.is_finite() => {
                write!(f, "the weights have become too large, up to {value:.3e} in \"{name}\"")
            }
            Self::Weight { name, value } => write!(f, "the weights \"{name}\" hold {value}"),
            Self::Op { op, layer, backward, value, largest } => {
                let of = if *backward { "the gradient of " } else { "" };
                write!(f, "in {of}\"{layer}\", the op {op} makes {value} from numbers of up to {largest:.3e}")
            }
        }
    }
}

impl<T: Task> Session<T> {
    /// Looks in a training step, with the weights as they stand, for where what is not finite comes from: on the way to the
    /// loss, or else to a gradient. If all is finite, names the largest weight. Computes op by op on the CPU, in 32 bits;
    /// nothing is changed.
    ///
    /// Errors: if the weights cannot be had from the device, or the step does not fit the memory.
    pub fn diagnose(&self, batch: &Batch, step: u64) -> Result<Culprit> {
        let largest = self.largest_weight()?;
        if matches!(largest, Culprit::Weight { value, .. } if !value.is_finite()) {
            return Ok(largest);
        }
        let mut graph = self.task().training_graph(batch.len(), self.seed())?;
        let loss = graph.outputs()[0].1;
        let roots: Vec<Value> = [loss].into_iter().chain(graph.gradients().iter().map(|&(_, g)| g)).collect();
        let values = Values::compute(&mut graph, self, batch, step)?;
        let root = roots.into_iter().find(|&root| !values.is_finite(root));
        Ok(root.map_or(largest, |root| values.source(&graph, root, loss)))
    }

    /// The parameter or state with the largest absolute value, or one that is not finite.
    fn largest_weight(&self) -> Result<Culprit> {
        let tensors = self.weights().tensors()?;
        let all = tensors.iter().flat_map(|(name, tensor)| tensor.f32().iter().map(move |x| (name, x.abs())));
        // What is not finite is larger than anything, NaN too.
        let larger = |a: &(&String, f32), b: &(&String, f32)| a.1.total_cmp(&b.1);
        let (name, value) = all.max_by(larger).map_or((String::new(), 0.0), |(name, value)| (name.clone(), value));
        Ok(Culprit::Weight { name, value })
    }
}

/// What each value of a graph came out as; `None` where it is not computed.
struct Values(Vec<Option<Tensor>>);

impl Values {
    fn compute<T: Task>(graph: &mut Graph, session: &Session<T>, batch: &Batch, step: u64) -> Result<Self> {
        let (all, earlier) = (graph.nodes().len(), graph.outputs().len());
        let computed: Vec<Value> =
            graph.iter().filter(|(_, node)| node.op().is_some()).map(|(value, _)| value).collect();
        computed.iter().for_each(|&value| graph.output(&value.index().to_string(), value));
        let (parameters, states) = (Layout::parameters(graph), Layout::states(graph));
        let weights = Device::Cpu.weights(parameters, states, 0)?;
        for arena in [Arena::Parameters, Arena::States] {
            weights.write(arena, &session.weights().read(arena)?);
        }
        let mut program = Device::Cpu.compile_with(graph, &weights, Ending::Nothing, Passes::NONE)?;
        feed_step(&mut program, batch, 0..batch.len(), step)?;
        program.run(&[])?;
        let mut values = vec![None; all];
        let results = program.take_result()?.unwrap_or_default().into_iter().skip(earlier);
        computed.iter().zip(results).for_each(|(value, tensor)| values[value.index()] = Some(tensor));
        Ok(Self(values))
    }

    fn is_finite(&self, value: Value) -> bool {
        self.0[value.index()].as_ref().is_none_or(is_finite)
    }

    /// Follows what is not finite back to an op that has made it of finite numbers.
    fn source(&self, graph: &Graph, mut value: Value, loss: Value) -> Culprit {
        while let Some(&input) = graph.node(value).inputs.iter().find(|&&input| !self.is_finite(input)) {
            value = input;
        }
        let node = graph.node(value);
        let numbers = |value: &Value| self.0[value.index()].as_ref().filter(|t| t.dtype() == DType::F32).cloned();
        let largest = node.inputs.iter().filter_map(numbers).flat_map(|t| t.f32().to_vec());
        let wrong = numbers(&value).and_then(|t| t.f32().iter().copied().find(|x| !x.is_finite()));
        Culprit::Op {
            op: node.op().map_or("input", |op| op.name()),
            layer: node.name.clone(),
            backward: value.index() > loss.index(),
            value: wrong.unwrap_or(f32::NAN),
            largest: largest.fold(0.0, |most, x| most.max(x.abs())),
        }
    }
}

fn is_finite(tensor: &Tensor) -> bool {
    tensor.dtype() != DType::F32 || tensor.f32().iter().all(|x| x.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Normalization, Seed};
    use crate::nn::Model;
    use crate::ops::{self, AugmentRow};
    use crate::tasks::Classifier;
    use crate::tensor::Meta;
    use crate::train::{Adam, Optimizer};

    /// What a network of two layers comes to whose weights `set` has changed.
    fn diagnosis(set: impl Fn(&str, &mut Vec<f32>)) -> Culprit {
        let model = Model::parse(
            "input = [4, 4, 1]\n\
             [[layer]]\ntype = \"conv2d\"\nfilters = 2\nkernel = 3\nname = \"first\"\n\
             [[layer]]\ntype = \"flatten\"\n\
             [[layer]]\ntype = \"dense\"\nunits = 3\nactivation = \"softmax\"\nname = \"second\"\n",
        )
        .unwrap();
        let weights = model.initialize(Seed(1)).unwrap();
        let classes = ["a", "b", "c"].map(str::to_owned).to_vec();
        let classifier = Classifier::new(model, classes, Normalization { mean: vec![0.5], std: vec![0.25] }).unwrap();
        let update = Optimizer::Adam(Adam::default()).update();
        let session = Session::new(classifier, &Device::Cpu, Some(update), 0).unwrap();
        let changed = |(name, tensor): (&String, &Tensor)| {
            let mut values = tensor.f32().to_vec();
            set(name, &mut values);
            (name.clone(), Tensor::new(tensor.shape().clone(), values).unwrap())
        };
        let weights: std::collections::HashMap<String, Tensor> = weights.iter().map(changed).collect();
        session.weights().set(|name| weights.get(name)).unwrap();
        let pixels: Vec<u8> = (0..2 * 16).map(|i| (i * 37 % 256) as u8).collect();
        let batch = Batch {
            images: pixels.into(),
            labels: vec![0, 2],
            rows: vec![AugmentRow::STILL; 2],
            mixes: None,
            targets: Vec::new(),
            indices: vec![0, 1],
        };
        session.diagnose(&batch, 1).unwrap()
    }

    #[test]
    fn weights_that_are_no_numbers_are_named() {
        let culprit = diagnosis(|name, values| {
            if name == "second.bias" {
                values[1] = f32::NAN
            }
        });
        assert_eq!(culprit.to_string(), "the weights \"second.bias\" hold NaN");
        let culprit = diagnosis(|name, values| {
            if name == "first.weight" {
                values[3] = 40.0
            }
        });
        assert_eq!(culprit, Culprit::Weight { name: "first.weight".into(), value: 40.0 });
    }

    #[test]
    fn the_op_that_overflows_is_named() {
        let culprit = diagnosis(|name, values| {
            if name == "first.weight" {
                values.fill(1e38)
            }
        });
        let Culprit::Op { op, layer, backward, value, largest } = culprit else { panic!("{culprit}") };
        assert_eq!((op, layer.as_str(), backward, value.is_finite()), ("conv2d", "first", false, false));
        assert!((1.9..2.1).contains(&largest), "{largest}");
    }

    #[test]
    fn a_gradient_is_told_from_what_it_is_the_gradient_of() {
        let mut graph = Graph::new();
        graph.scope("layer");
        let x = graph.input("x", Meta::f32([2]));
        let loss = ops::sum(&mut graph, x, &[0], false).unwrap();
        let gradient = ops::mul(&mut graph, x, loss).unwrap();
        let tensor = |values: &[f32]| Some(Tensor::new([values.len()], values.to_vec()).unwrap());
        let mut values = Values(vec![None; graph.nodes().len()]);
        values.0[loss.index()] = tensor(&[3e38]);
        values.0[gradient.index()] = tensor(&[f32::INFINITY, 0.0]);
        let culprit = values.source(&graph, gradient, loss).to_string();
        assert_eq!(culprit, "in the gradient of \"layer\", the op pointwise makes inf from numbers of up to 3.000e38");
    }
}
