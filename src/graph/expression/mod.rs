//! Expressions over scalars: the language of pointwise chains and of epilogues.

mod block;
mod function;

use std::ops;

pub use block::{BLOCK, BlockInput, exp};
pub use function::Function;

/// A scalar expression in static single assignment: each step applies a function to inputs, constants or earlier steps.
/// Its value is the last step's.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    inputs: usize,
    steps: Vec<Instruction>,
}

/// One step of an [`Expression`].
#[derive(Clone, Debug, PartialEq)]
pub struct Instruction {
    /// What is computed.
    pub function: Function,
    /// From what; as many as the function takes.
    pub arguments: Vec<Operand>,
}

/// What a step computes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operand {
    /// An input of the expression.
    Input(usize),
    /// The value of an earlier step.
    Step(usize),
    /// A number.
    Constant(f32),
}

impl Expression {
    /// The expression that `f` writes in terms of its `N` inputs.
    ///
    /// ```
    /// use ocellus::graph::Expression;
    /// let scaled = Expression::new(|[x, scale]| x * scale + 1.0);
    /// assert_eq!(scaled.evaluate(&[2.0, 3.0]), 7.0);
    /// ```
    pub fn new<const N: usize>(f: impl FnOnce([Term; N]) -> Term) -> Self {
        let term = f(std::array::from_fn(Term::Input));
        Self::of_term(&term, N)
    }

    fn of_term(term: &Term, inputs: usize) -> Self {
        let mut expression = Self { inputs, steps: Vec::new() };
        let result = expression.flatten(term);
        if !matches!(result, Operand::Step(_)) {
            expression.steps.push(Instruction { function: Function::Identity, arguments: vec![result] });
        }
        expression
    }

    /// One function of its arguments.
    pub fn of(function: Function) -> Self {
        let arguments = (0..function.arity()).map(Operand::Input).collect();
        Self { inputs: function.arity(), steps: vec![Instruction { function, arguments }] }
    }

    /// The expression that `term` describes, over those of its `candidates` inputs which it uses; and which those are.
    pub fn of_used(term: &Term, candidates: usize) -> (Self, Vec<usize>) {
        let used: Vec<usize> = (0..candidates).filter(|&i| term.uses(i)).collect();
        let mut expression = Self::of_term(term, candidates);
        for argument in expression.steps.iter_mut().flat_map(|s| &mut s.arguments) {
            if let Operand::Input(i) = argument {
                *i = used.iter().position(|u| u == i).expect("a used input is listed");
            }
        }
        expression.inputs = used.len();
        (expression, used)
    }

    fn flatten(&mut self, term: &Term) -> Operand {
        match term {
            Term::Input(i) => Operand::Input(*i),
            Term::Constant(c) => Operand::Constant(*c),
            Term::Call(function, arguments) => {
                let arguments = arguments.iter().map(|a| self.flatten(a)).collect();
                self.step(Instruction { function: *function, arguments })
            }
        }
    }

    fn step(&mut self, instruction: Instruction) -> Operand {
        let known = self.steps.iter().position(|s| *s == instruction);
        Operand::Step(known.unwrap_or_else(|| {
            self.steps.push(instruction);
            self.steps.len() - 1
        }))
    }

    /// How many inputs it has.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Its steps, in order.
    pub fn steps(&self) -> &[Instruction] {
        &self.steps
    }

    /// Puts expressions in place of inputs. `parts[i]` says what stands for input `i`: an expression and, for each of its
    /// inputs, the number that input has in the result. The result has `inputs` inputs.
    pub fn compose(&self, parts: &[(Option<&Self>, Vec<usize>)], inputs: usize) -> Self {
        let mut result = Self { inputs, steps: Vec::new() };
        let values: Vec<Operand> = parts
            .iter()
            .map(|(part, numbers)| match part {
                None => Operand::Input(numbers[0]),
                Some(part) => {
                    let operands: Vec<Operand> = numbers.iter().map(|&n| Operand::Input(n)).collect();
                    result.inline(part, &operands)
                }
            })
            .collect();
        let last = result.inline(self, &values);
        // Sharing of equal steps may have left the value elsewhere than at the end.
        if result.steps.len().checked_sub(1).map(Operand::Step) != Some(last) {
            result.steps.push(Instruction { function: Function::Identity, arguments: vec![last] });
        }
        result
    }

    fn inline(&mut self, part: &Self, inputs: &[Operand]) -> Operand {
        let mut values: Vec<Operand> = Vec::with_capacity(part.steps.len());
        for step in &part.steps {
            let translate = |a: &Operand| match *a {
                Operand::Input(i) => inputs[i],
                Operand::Step(s) => values[s],
                constant => constant,
            };
            let arguments: Vec<Operand> = step.arguments.iter().map(translate).collect();
            let value = match step.function {
                Function::Identity => arguments[0],
                function => self.step(Instruction { function, arguments }),
            };
            values.push(value);
        }
        values[values.len() - 1]
    }

    /// Its value in f64.
    pub fn evaluate(&self, inputs: &[f64]) -> f64 {
        let mut values: Vec<f64> = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            let mut arguments = [0.0; 3];
            for (slot, argument) in arguments.iter_mut().zip(&step.arguments) {
                *slot = match *argument {
                    Operand::Input(i) => inputs[i],
                    Operand::Step(s) => values[s],
                    Operand::Constant(c) => f64::from(c),
                };
            }
            values.push(step.function.evaluate(arguments));
        }
        values[values.len() - 1]
    }

    /// The WGSL statements which compute it from the variables `x0`, `x1`, …, ending in `let result = …;`. They work on
    /// the type `V`, which the shader defines as `f32` or as a vector of it, and need the snippet of functions.
    pub fn wgsl(&self) -> String {
        let operand = |a: &Operand| match *a {
            Operand::Input(i) => format!("x{i}"),
            Operand::Step(s) => format!("t{s}"),
            Operand::Constant(c) => format!("V({})", super::wgsl_f32(c)),
        };
        let mut text = String::new();
        for (i, step) in self.steps.iter().enumerate() {
            let arguments: Vec<String> = step.arguments.iter().map(operand).collect();
            text += &format!("    let t{i} = {};\n", step.function.wgsl(&arguments));
        }
        text + &format!("    let result = t{};\n", self.steps.len() - 1)
    }

    /// The expression whose value on absolute values of the inputs bounds what rounding in this one is relative to: sums
    /// where this one subtracts, the larger where it chooses.
    pub fn magnitude(&self) -> Self {
        let absolute = |operand: &Operand| match *operand {
            Operand::Constant(c) => Operand::Constant(c.abs()),
            other => other,
        };
        let step = |step: &Instruction| {
            let arguments: Vec<Operand> = step.arguments.iter().map(absolute).collect();
            match step.function {
                Function::Sub => Instruction { function: Function::Add, arguments },
                Function::Min => Instruction { function: Function::Max, arguments },
                Function::Select => Instruction { function: Function::Max, arguments: arguments[1..].to_vec() },
                Function::Neg | Function::Relu | Function::Relu6 => {
                    Instruction { function: Function::Identity, arguments }
                }
                function => Instruction { function, arguments },
            }
        };
        Self { inputs: self.inputs, steps: self.steps.iter().map(step).collect() }
    }

    /// Whether every step is exact or a few roundings, so that results can be held to a rounding bound.
    pub fn is_arithmetic(&self) -> bool {
        self.steps.iter().all(|s| !s.function.is_transcendental())
    }
}

/// A scalar formula, written with Rust's operators: `x * scale + 1.0`.
#[derive(Clone, Debug)]
pub enum Term {
    /// An input.
    Input(usize),
    /// A number.
    Constant(f32),
    /// A function of other terms.
    Call(Function, Vec<Term>),
}

impl Term {
    fn uses(&self, input: usize) -> bool {
        match self {
            Self::Input(i) => *i == input,
            Self::Constant(_) => false,
            Self::Call(_, arguments) => arguments.iter().any(|a| a.uses(input)),
        }
    }

    /// `function` of this term.
    pub fn call(self, function: Function) -> Self {
        Self::Call(function, vec![self])
    }

    /// `function` of this term and another.
    pub fn with(self, function: Function, other: impl Into<Term>) -> Self {
        Self::Call(function, vec![self, other.into()])
    }

    /// `if_true` where this term is not 0, else `if_false`.
    pub fn select(self, if_true: impl Into<Term>, if_false: impl Into<Term>) -> Self {
        Self::Call(Function::Select, vec![self, if_true.into(), if_false.into()])
    }
}

/// An operand of a single step. Steps have no term of their own.
impl From<Operand> for Term {
    fn from(operand: Operand) -> Self {
        match operand {
            Operand::Input(i) | Operand::Step(i) => Self::Input(i),
            Operand::Constant(c) => Self::Constant(c),
        }
    }
}

impl From<f32> for Term {
    fn from(value: f32) -> Self {
        Self::Constant(value)
    }
}

macro_rules! operator {
    ($trait:ident, $method:ident, $function:ident) => {
        impl<T: Into<Term>> ops::$trait<T> for Term {
            type Output = Term;
            fn $method(self, other: T) -> Term {
                self.with(Function::$function, other)
            }
        }
        impl ops::$trait<Term> for f32 {
            type Output = Term;
            fn $method(self, other: Term) -> Term {
                Term::Constant(self).with(Function::$function, other)
            }
        }
    };
}

operator!(Add, add, Add);
operator!(Sub, sub, Sub);
operator!(Mul, mul, Mul);
operator!(Div, div, Div);

impl ops::Neg for Term {
    type Output = Term;
    fn neg(self) -> Term {
        self.call(Function::Neg)
    }
}
