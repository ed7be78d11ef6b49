use super::element::Element;
use super::tensor::Tensor;
use super::{Outcome, proto, read_tensor};
use crate::error::Error;

/// A node with its inputs.
pub struct Call<'a> {
    /// The node.
    pub node: &'a proto::Node,
    /// Its inputs; `None` for those left out.
    pub inputs: Vec<Option<Tensor>>,
    /// The version of the operators.
    pub opset: i64,
}

impl Call<'_> {
    /// An error of this node.
    pub fn error(&self, message: impl Into<String>) -> Error {
        Error::shape(format!("{} \"{}\"", self.node.op_type, self.node.label()), message)
    }

    /// The input of that index.
    ///
    /// Errors: if it was left out.
    pub fn input(&self, index: usize) -> Outcome<&Tensor> {
        self.optional(index).ok_or_else(|| self.error(format!("lacks input {index}")).into())
    }

    /// The input of that index, unless it was left out.
    pub fn optional(&self, index: usize) -> Option<&Tensor> {
        self.inputs.get(index)?.as_ref()
    }

    /// All inputs.
    ///
    /// Errors: if one was left out, or there are none.
    pub fn all(&self) -> Outcome<Vec<&Tensor>> {
        (0..self.inputs.len().max(1)).map(|i| self.input(i)).collect()
    }

    /// The attribute of that name.
    pub fn attribute(&self, name: &str) -> Option<&proto::Attribute> {
        self.node.attribute.iter().find(|a| a.name == name)
    }

    /// A whole number.
    pub fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |a| a.i.unwrap_or(0))
    }

    /// Whether an attribute is not 0.
    pub fn flag(&self, name: &str, default: bool) -> bool {
        self.int(name, default.into()) != 0
    }

    /// A number.
    pub fn float(&self, name: &str, default: f32) -> f64 {
        f64::from(self.attribute(name).map_or(default, |a| a.f.unwrap_or(0.0)))
    }

    /// A text.
    pub fn text(&self, name: &str, default: &str) -> String {
        let text = |a: &proto::Attribute| String::from_utf8_lossy(a.s.as_deref().unwrap_or_default()).into_owned();
        self.attribute(name).map_or_else(|| default.to_owned(), text)
    }

    /// Whole numbers.
    pub fn ints(&self, name: &str) -> Option<Vec<i64>> {
        self.attribute(name).map(|a| a.ints.clone())
    }

    /// Numbers.
    pub fn floats(&self, name: &str) -> Option<Vec<f64>> {
        self.attribute(name).map(|a| a.floats.iter().map(|&x| f64::from(x)).collect())
    }

    /// A tensor.
    pub fn tensor(&self, name: &str) -> Outcome<Option<Tensor>> {
        let tensor = self.attribute(name).and_then(|a| a.t.as_ref());
        tensor.map(read_tensor).transpose().map_err(|message| self.error(format!("{name}: {message}")).into())
    }

    /// The element type that an attribute tells.
    pub fn element(&self, name: &str, default: Element) -> Outcome<Element> {
        let Some(a) = self.attribute(name) else { return Ok(default) };
        let code = a.i.unwrap_or(0);
        Element::from_code(code).ok_or_else(|| self.error(format!("element type {code} is not supported")).into())
    }

    /// Whole numbers that are an attribute in older versions and input `index` in newer ones.
    pub fn ints_or_input(&self, name: &str, index: usize) -> Outcome<Option<Vec<i64>>> {
        match self.optional(index) {
            Some(tensor) => tensor.ints().map(Some),
            None => Ok(self.ints(name)),
        }
    }

    /// An axis counted from the front; negative numbers count from the end.
    ///
    /// Errors: if there is no such axis.
    pub fn axis(&self, axis: i64, rank: usize) -> Outcome<usize> {
        let from_front = if axis < 0 { axis + rank as i64 } else { axis };
        let found = usize::try_from(from_front).ok().filter(|&a| a < rank);
        found.ok_or_else(|| self.error(format!("a tensor of {rank} axes has no axis {axis}")).into())
    }

    /// Numbers that count something.
    ///
    /// Errors: if one is negative or huge.
    pub fn sizes(&self, name: &str, values: &[i64]) -> Outcome<Vec<usize>> {
        let size = |&v: &i64| usize::try_from(v).ok().filter(|&v| v < 1 << 31);
        let sizes: Option<Vec<usize>> = values.iter().map(size).collect();
        sizes.ok_or_else(|| self.error(format!("{name} {values:?} are no sizes")).into())
    }
}
