use super::super::element::Element;
use super::super::proto;

/// Nodes and constants of an ONNX graph under way.
#[derive(Default)]
pub struct Writer {
    pub nodes: Vec<proto::Node>,
    pub initializers: Vec<proto::Tensor>,
    made: usize,
}

/// An attribute's value.
pub enum Attribute {
    Int(i64),
    Ints(Vec<i64>),
}

impl Writer {
    /// Applies an operator; returns the name of its result.
    pub fn node(&mut self, kind: &str, inputs: &[&str], attributes: &[(&str, Attribute)]) -> String {
        let output = self.fresh(kind);
        self.named(kind, inputs, attributes, &output);
        output
    }

    /// Applies an operator whose result has that name.
    pub fn named(&mut self, kind: &str, inputs: &[&str], attributes: &[(&str, Attribute)], output: &str) {
        self.nodes.push(proto::Node {
            input: inputs.iter().map(|&s| s.to_owned()).collect(),
            output: vec![output.to_owned()],
            name: output.to_owned(),
            op_type: kind.to_owned(),
            attribute: attributes.iter().map(|(name, value)| attribute(name, value)).collect(),
            domain: String::new(),
        });
    }

    fn fresh(&mut self, kind: &str) -> String {
        self.made += 1;
        format!("{}_{}", kind.to_lowercase(), self.made)
    }

    /// A constant of floats.
    pub fn floats(&mut self, name: Option<&str>, dims: &[usize], values: &[f64]) -> String {
        self.constant(name, Element::Float, dims, values)
    }

    /// A constant vector of 64-bit whole numbers.
    pub fn ints(&mut self, values: &[i64]) -> String {
        let numbers: Vec<f64> = values.iter().map(|&v| v as f64).collect();
        self.constant(None, Element::Int64, &[values.len()], &numbers)
    }

    /// A constant. One of that name and content that is there already serves again.
    pub fn constant(&mut self, name: Option<&str>, element: Element, dims: &[usize], values: &[f64]) -> String {
        let raw_data = element.write(values);
        let dims: Vec<i64> = dims.iter().map(|&d| d as i64).collect();
        let same = |t: &&proto::Tensor| t.data_type == element.code() && t.dims == dims && t.raw_data == raw_data;
        if let Some(known) = self.initializers.iter().find(same) {
            return known.name.clone();
        }
        let taken = |name: &str| self.initializers.iter().any(|t| t.name == name);
        let name = match name {
            Some(name) if !taken(name) => name.to_owned(),
            _ => self.fresh("constant"),
        };
        let tensor =
            proto::Tensor { dims, data_type: element.code(), name: name.clone(), raw_data, ..Default::default() };
        self.initializers.push(tensor);
        name
    }
}

fn attribute(name: &str, value: &Attribute) -> proto::Attribute {
    const INT: i32 = 2;
    const INTS: i32 = 7;
    let name = name.to_owned();
    match value {
        Attribute::Int(i) => proto::Attribute { name, i: Some(*i), kind: INT, ..Default::default() },
        Attribute::Ints(ints) => proto::Attribute { name, ints: ints.clone(), kind: INTS, ..Default::default() },
    }
}
