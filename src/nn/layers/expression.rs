use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Result;
use crate::graph::{Function, Term, Value};
use crate::nn::{Builder, Layer};
use crate::ops;

/// A formula of each value by itself, of one input `x`, or of up to three inputs `x`, `y` and `z`, which are of one shape or 1 along axes
/// where they repeat: `"x * sigmoid(1.702 * x)"`. It has numbers, `+ - * / ^`, brackets and functions, and nothing that could do
/// anything else.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expression {
    /// The formula.
    pub formula: Formula,
}

/// A formula as text and as terms.
#[derive(Clone, Debug)]
pub struct Formula {
    text: String,
    term: Term,
    inputs: usize,
}

impl Serialize for Formula {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Formula {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(|message| D::Error::custom(format!("formula \"{text}\": {message}")))
    }
}

/// Names of the inputs.
const INPUTS: [&str; 3] = ["x", "y", "z"];
/// Deeper brackets are refused.
const DEEPEST: usize = 100;

/// Functions by name.
const FUNCTIONS: [(&str, Function); 20] = [
    ("abs", Function::Abs),
    ("sign", Function::Sign),
    ("floor", Function::Floor),
    ("round", Function::Round),
    ("exp", Function::Exp),
    ("log", Function::Log),
    ("sqrt", Function::Sqrt),
    ("erf", Function::Erf),
    ("tanh", Function::Tanh),
    ("sigmoid", Function::Sigmoid),
    ("softplus", Function::Softplus),
    ("relu", Function::Relu),
    ("relu6", Function::Relu6),
    ("silu", Function::Silu),
    ("gelu", Function::Gelu),
    ("hard_swish", Function::HardSwish),
    ("min", Function::Min),
    ("max", Function::Max),
    ("leaky_relu", Function::LeakyRelu),
    ("elu", Function::Elu),
];

impl Formula {
    /// Reads a formula.
    ///
    /// Errors: what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { rest: text.trim_start(), depth: 0, inputs: 0 };
        let term = parser.sum()?;
        match parser.rest {
            "" => Ok(Self { text: text.to_owned(), term, inputs: parser.inputs.max(1) }),
            rest => Err(format!("\"{rest}\" was not expected")),
        }
    }
}

/// By recursive descent: sums of products of powers of what is in brackets.
struct Parser<'a> {
    rest: &'a str,
    depth: usize,
    inputs: usize,
}

impl Parser<'_> {
    fn eat(&mut self, sign: char) -> bool {
        match self.rest.strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    fn sum(&mut self) -> Result<Term, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err("its brackets are too deep".into());
        }
        let mut term = self.product()?;
        loop {
            if self.eat('+') {
                term = term + self.product()?;
            } else if self.eat('-') {
                term = term - self.product()?;
            } else {
                self.depth -= 1;
                return Ok(term);
            }
        }
    }

    fn product(&mut self) -> Result<Term, String> {
        let mut term = self.signed()?;
        loop {
            if self.eat('*') {
                term = term * self.signed()?;
            } else if self.eat('/') {
                term = term / self.signed()?;
            } else {
                return Ok(term);
            }
        }
    }

    fn signed(&mut self) -> Result<Term, String> {
        let mut negative = false;
        while self.eat('-') {
            negative = !negative;
        }
        let mut term = self.atom()?;
        if self.eat('^') {
            let minus = self.eat('-');
            let power = self.atom()?;
            term = term.with(Function::Pow, if minus { -power } else { power });
        }
        Ok(if negative { -term } else { term })
    }

    fn atom(&mut self) -> Result<Term, String> {
        if self.eat('(') {
            let term = self.sum()?;
            return if self.eat(')') { Ok(term) } else { Err("a bracket is not closed".into()) };
        }
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        let exponent =
            |at: usize| self.rest[..at].ends_with(['e', 'E']) && self.rest.starts_with(|c: char| c.is_ascii_digit());
        let end = self.rest.char_indices().find(|&(at, c)| !(is_word(c) || c == '-' && exponent(at)));
        let (word, rest) = self.rest.split_at(end.map_or(self.rest.len(), |(at, _)| at));
        if word.is_empty() {
            return Err(if rest.is_empty() {
                "it ends too early".into()
            } else {
                format!("\"{rest}\" was not expected")
            });
        }
        self.rest = rest.trim_start();
        if let Some(input) = INPUTS.iter().position(|name| *name == word) {
            self.inputs = self.inputs.max(input + 1);
            return Ok(Term::Input(input));
        }
        if word.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            let number = word.parse::<f32>().ok().filter(|n| n.is_finite());
            return number.map(Term::Constant).ok_or_else(|| format!("\"{word}\" is no number"));
        }
        self.call(word.to_owned())
    }

    fn call(&mut self, name: String) -> Result<Term, String> {
        let function = FUNCTIONS.iter().find(|(known, _)| *known == name).map(|(_, function)| *function);
        let function = function.ok_or_else(|| {
            let known: Vec<&str> = FUNCTIONS.iter().map(|(name, _)| *name).collect();
            format!("there is no \"{name}\"; there are x, y, z and {}", known.join(", "))
        })?;
        if !self.eat('(') {
            return Err(format!("{name} needs its arguments in brackets"));
        }
        let mut arguments = vec![self.sum()?];
        while self.eat(',') {
            arguments.push(self.sum()?);
        }
        if !self.eat(')') || arguments.len() != function.arity() {
            return Err(format!("{name} takes {} arguments, in brackets", function.arity()));
        }
        Ok(Term::Call(function, arguments))
    }
}

impl Layer for Expression {
    fn type_name(&self) -> &'static str {
        "expression"
    }

    fn merges(&self) -> bool {
        self.formula.inputs > 1
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        let Formula { term, inputs: needed, text } = &self.formula;
        if inputs.len() != *needed {
            return Err(builder.error(format!("\"{text}\" has {needed} inputs, but gets {}", inputs.len())));
        }
        ops::formula(builder.graph(), term, inputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph;

    fn value(text: &str, inputs: &[f64]) -> f64 {
        let term = Formula::parse(text).unwrap().term;
        let (expression, used) = graph::Expression::of_used(&term, inputs.len());
        expression.evaluate(&used.into_iter().map(|i| inputs[i]).collect::<Vec<_>>())
    }

    #[test]
    fn formulas_mean_what_they_mean_on_paper() {
        assert_eq!(value("1 + 2 * x", &[3.0]), 7.0);
        assert_eq!(value("-x^2 - -1", &[3.0]), -8.0);
        assert_eq!(value("8 / x / 2 - 1", &[2.0]), 1.0);
        assert_eq!(value("(x - y) * max(z, 2.5e-1)", &[3.0, 1.0, 0.0]), 0.5);
        assert_eq!(value("x ^ -1", &[4.0]), 0.25);
        assert_eq!(value(" relu( x )+relu(-x)", &[-4.0]), 4.0);
    }

    #[test]
    fn what_is_no_formula_is_told() {
        let error = |text: &str| Formula::parse(text).unwrap_err();
        assert_eq!(error("x +"), "it ends too early");
        assert_eq!(error("x y"), "\"y\" was not expected");
        assert_eq!(error("(x"), "a bracket is not closed");
        assert_eq!(error("min(x)"), "min takes 2 arguments, in brackets");
        assert_eq!(error("1.2.3"), "\"1.2.3\" is no number");
        assert!(error("system(x)").starts_with("there is no \"system\""));
        assert_eq!(error(&"(".repeat(5000)), "its brackets are too deep");
    }
}
