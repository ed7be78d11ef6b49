use std::collections::HashMap;
use std::sync::Arc;

use super::element::Element;
use super::tensor::{self, Content, Origin, Tensor};
use super::{Halt, Outcome};
use crate::error::{Error, Result};
use crate::graph::{Graph, Value};
use crate::ops;
use crate::tensor::{Array, DType, Shape, Tensor as HostTensor};

/// Writes ONNX operators as ops of our graph.
#[derive(Default)]
pub struct Emitter {
    /// What was written so far.
    pub graph: Graph,
    /// What becomes of weights.
    pub weights: Weights,
}

/// What becomes of the tensors in a file that are used as weights.
#[derive(Default)]
pub enum Weights {
    /// They are constants.
    #[default]
    Fixed,
    /// They are constants, and are listed by name in the form in which they are used.
    Listed(Vec<(String, HostTensor)>),
    /// They are these values, which were made for a list.
    Given(HashMap<String, Value>),
}

/// Fewer elements are no weights: shapes, scalars, thresholds.
const FEWEST: usize = 2;

impl Emitter {
    /// The value of a tensor with its axes in ONNX's order.
    pub fn plain(&mut self, tensor: &Tensor) -> Outcome<Value> {
        let order: Vec<usize> = (0..tensor.rank()).collect();
        self.ordered(tensor, &order)
    }

    /// The value of a tensor with its axes in that order.
    pub fn ordered(&mut self, tensor: &Tensor, order: &[usize]) -> Outcome<Value> {
        match &tensor.content {
            Content::Device { value, order: current } => {
                let position = |axis: &usize| current.iter().position(|a| a == axis).expect("orders name every axis");
                let permutation: Vec<usize> = order.iter().map(position).collect();
                Ok(ops::transpose(&mut self.graph, *value, &permutation)?)
            }
            Content::Known { array, origin } => {
                if tensor.elements() == 0 {
                    return Err(Error::shape("onnx", "a tensor without elements cannot be computed with").into());
                }
                if !order.is_sorted()
                    && *origin == Origin::Run
                    && tensor::is_here(&[tensor], array.data.len()).is_ok_and(|here| !here)
                {
                    let value = self.constant(array, &Origin::Run);
                    return Ok(ops::transpose(&mut self.graph, value, order)?);
                }
                Ok(if order.is_sorted() {
                    self.constant(array, origin)
                } else {
                    self.constant(&tensor::permuted(array, order), origin)
                })
            }
        }
    }

    fn constant(&mut self, array: &Array, origin: &Origin) -> Value {
        let tensor = HostTensor::from_array(array, DType::F32);
        let (Origin::File(Some(name)), true) = (origin, array.data.len() >= FEWEST) else {
            return self.graph.constant(tensor);
        };
        match &mut self.weights {
            Weights::Fixed => {}
            Weights::Listed(list) => {
                if !list.iter().any(|(known, other)| **known == **name && *other == tensor) {
                    let name = free_name(name, |name| list.iter().any(|(known, _)| known == name));
                    list.push((name, tensor.clone()));
                }
            }
            Weights::Given(values) => {
                let fits = |v: &&Value| self.graph.shape(**v) == tensor.shape();
                let names = std::iter::once(name.to_string()).chain((1..).map(|i| format!("{name}_{i}")));
                let mut known = names.map_while(|name| values.get(&name));
                if let Some(value) = known.find(fits) {
                    return *value;
                }
            }
        }
        self.graph.constant(tensor)
    }

    /// The value of a tensor, with the channels of pictures last.
    pub fn channels_last(&mut self, tensor: &Tensor) -> Result<Value> {
        let order: Vec<usize> = if tensor.rank() == 4 { vec![0, 2, 3, 1] } else { (0..tensor.rank()).collect() };
        self.ordered(tensor, &order).map_err(|halt| match halt {
            Halt::Failed(error) => error,
            Halt::NeedsValues => Error::shape("onnx", "the result depends on values, not on shapes alone"),
        })
    }

    /// A vector of i32 for gathering rows.
    pub fn rows(&mut self, rows: Vec<i32>) -> Outcome<Value> {
        let tensor = HostTensor::new([rows.len()], rows)?;
        Ok(self.graph.constant(tensor))
    }

    /// The result of an op in ONNX's order of axes.
    pub fn result(&self, element: Element, value: Value) -> Tensor {
        Tensor::plain(element, value, self.graph.shape(value).dims().to_vec())
    }

    /// The result of an op with its axes in that order.
    pub fn result_ordered(&self, element: Element, value: Value, order: Vec<usize>) -> Tensor {
        Tensor::ordered(element, value, self.graph.shape(value).dims(), order)
    }

    /// The same elements under another shape.
    pub fn reshape(&mut self, tensor: &Tensor, dims: Vec<usize>) -> Outcome<Tensor> {
        if tensor.dims == dims {
            return Ok(tensor.clone());
        }
        if let Content::Known { array, origin } = &tensor.content {
            let array = Array { shape: Shape::from(dims.clone()), data: array.data.clone() };
            return Ok(Tensor::known(tensor.element, array, origin.clone()));
        }
        let value = self.plain(tensor)?;
        let value = ops::reshape(&mut self.graph, value, dims)?;
        Ok(self.result(tensor.element, value))
    }

    /// Axis `k` of the result is axis `order[k]` of `tensor`.
    pub fn permute(&mut self, tensor: &Tensor, order: &[usize]) -> Tensor {
        let dims: Vec<usize> = order.iter().map(|&axis| tensor.dims[axis]).collect();
        let content = match &tensor.content {
            Content::Known { array, origin } => {
                Content::Known { array: Arc::new(tensor::permuted(array, order)), origin: origin.clone() }
            }
            Content::Device { value, order: current } => {
                let named = |axis: &usize| order.iter().position(|a| a == axis).expect("orders name every axis");
                Content::Device { value: *value, order: current.iter().map(named).collect() }
            }
        };
        Tensor { element: tensor.element, dims, content }
    }

    /// Element `i` along `axis` of the result is element `indices[i]` of `tensor`, or `fill` where there is none.
    pub fn take(&mut self, tensor: &Tensor, axis: usize, indices: &[Option<usize>], fill: f64) -> Outcome<Tensor> {
        let extent = tensor.dims[axis];
        if indices.len() == extent && indices.iter().enumerate().all(|(i, &index)| index == Some(i)) {
            return Ok(tensor.clone());
        }
        let mut dims = tensor.dims.clone();
        dims[axis] = indices.len();
        if matches!(&tensor.content, Content::Known { .. })
            && (tensor::is_here(&[tensor], dims.iter().product())? || !tensor.element.fits_device())
        {
            let array = tensor.array()?;
            let inner: usize = dims[axis + 1..].iter().product();
            let mut data = Vec::with_capacity(tensor::count(&dims)?);
            for block in 0..dims[..axis].iter().product() {
                for index in indices {
                    match index {
                        Some(i) => data.extend_from_slice(&array.data[(block * extent + i) * inner..][..inner]),
                        None => data.resize(data.len() + inner, fill),
                    }
                }
            }
            let array = Array { shape: dims.into(), data };
            return Ok(Tensor::known(tensor.element, array, tensor::origin(&[tensor])));
        }
        if indices.is_empty() {
            return Err(Halt::NeedsValues);
        }
        let order = tensor.order();
        let value = self.ordered(tensor, &order)?;
        let at = order.iter().position(|&a| a == axis).expect("orders name every axis");
        let value = self.take_value(value, at, indices, fill)?;
        Ok(self.result_ordered(tensor.element, value, order))
    }

    /// As [`Emitter::take`], of a value.
    pub fn take_value(&mut self, value: Value, axis: usize, indices: &[Option<usize>], fill: f64) -> Outcome<Value> {
        let shape = self.graph.shape(value).clone();
        let extent = shape.dims()[axis];
        let mut dims = shape.dims().to_vec();
        dims[axis] = indices.len();
        let g = &mut self.graph;
        if extent == 1 && indices.iter().all(Option::is_some) {
            return Ok(g.apply(ops::Pointwise::identity(dims.into()), &[value])?);
        }
        if let Some([before, first, count, after]) = run(indices) {
            let mut ranges: Vec<_> = shape.dims().iter().map(|&d| 0..d).collect();
            ranges[axis] = first..first + count;
            let cut = ops::slice(g, value, &ranges)?;
            let mut margins = vec![(0, 0); dims.len()];
            margins[axis] = (before, after);
            return Ok(ops::pad(g, cut, &margins, fill as f32)?);
        }
        if fill != 0.0 && indices.contains(&None) {
            return Err(Error::shape("onnx", "padding with this value between elements is not supported").into());
        }
        let outer: usize = dims[..axis].iter().product();
        let inner: Vec<usize> = dims[axis + 1..].to_vec();
        let row = |block: usize, index: &Option<usize>| index.map_or(-1, |i| (block * extent + i) as i32);
        let rows = (0..outer).flat_map(|block| indices.iter().map(move |i| row(block, i))).collect();
        let table = ops::reshape(g, value, [&[outer * extent], &inner[..]].concat())?;
        let rows = self.rows(rows)?;
        let taken = ops::gather(&mut self.graph, table, rows)?;
        Ok(ops::reshape(&mut self.graph, taken, dims)?)
    }

    /// Elements `indices` of `tensor`, counted row-major, under shape `dims`.
    pub fn pick(&mut self, tensor: &Tensor, indices: &[usize], dims: Vec<usize>) -> Outcome<Tensor> {
        let flat = self.reshape(tensor, vec![tensor.elements()])?;
        let indices: Vec<Option<usize>> = indices.iter().map(|&i| Some(i)).collect();
        let taken = self.take(&flat, 0, &indices, 0.0)?;
        self.reshape(&taken, dims)
    }

    /// `tensor` stretched to `dims` by numpy's rule.
    pub fn expand(&mut self, tensor: &Tensor, dims: &[usize]) -> Outcome<Tensor> {
        let missing = dims.len() - tensor.rank();
        let full = [&vec![1; missing], &tensor.dims[..]].concat();
        let mut result = self.reshape(tensor, full.clone())?;
        for axis in 0..dims.len() {
            if full[axis] == 1 && dims[axis] != 1 {
                result = self.take(&result, axis, &vec![Some(0); dims[axis]], 0.0)?;
            }
        }
        Ok(result)
    }
}

/// The first of `name`, `name_1`, `name_2`, … that is free.
fn free_name(name: &str, taken: impl Fn(&str) -> bool) -> String {
    let names = std::iter::once(name.to_owned()).chain((1..).map(|i| format!("{name}_{i}")));
    names.into_iter().find(|name| !taken(name)).expect("numbers do not end")
}

/// If indices are a run of neighbours between places without any: how many before, the first, their number, how many after.
fn run(indices: &[Option<usize>]) -> Option<[usize; 4]> {
    let before = indices.iter().take_while(|i| i.is_none()).count();
    let after = indices.iter().rev().take_while(|i| i.is_none()).count();
    let middle = indices.get(before..indices.len().checked_sub(after)?)?;
    let first = (*middle.first()?)?;
    middle.iter().enumerate().all(|(k, &i)| i == Some(first + k)).then_some([before, first, middle.len(), after])
}
