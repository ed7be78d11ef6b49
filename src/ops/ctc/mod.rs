//! Connectionist temporal classification (CTC): what a network that reads a sequence lacks to give its label, where nobody
//! says which step belongs to which letter (Graves, Fernández, Gomez & Schmidhuber, Connectionist Temporal Classification,
//! 2006, <https://www.cs.toronto.edu/~graves/icml_2006.pdf>).
//!
//! At each step the network gives probabilities of classes, one of which, the blank, is no letter. An alignment is a class
//! for each step; it reads as the label that is left when repeats are merged and blanks dropped. The probability `p` of a
//! label is the sum over all its alignments, and the loss `-ln p`.
//!
//! The sum goes over states: the label with a blank before, between and after its letters. With `alpha[t][s]`, the
//! probability of all ways to state `s` at step `t`, and `beta[t][s]`, that of all ways on from there, the gradient with
//! respect to the logits is `softmax(logits)[t][k] - sum over states s of class k of alpha[t][s] beta[t][s] / p`. Each is one
//! op which starts from the logits. The probabilities, far below what f32 holds, have an exponent of their own
//! ([`Wide`](wide::Wide)).

mod cpu;
mod kernels;
mod reference;
mod samples;
mod wide;

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::graph::{Backward, Capabilities, Graph, Kernel, Op, Tolerance, Value};
use crate::tensor::{Array, DType, Meta, Tensor, View, ViewMut};
use cpu::Sequence;
pub(super) use samples::samples;

/// Inputs: logits, labels, lengths. See [`ctc_loss`].
#[derive(Clone, Debug)]
pub struct CtcLoss {
    blank: usize,
}

/// Gradient of [`CtcLoss`] with respect to the logits. Inputs: logits, labels, lengths, the gradient with respect to the
/// losses.
#[derive(Clone, Debug)]
pub struct CtcLossGrad {
    blank: usize,
}

/// The losses, one for each sequence.
fn losses_meta(at: &str, blank: usize, inputs: &[&Meta]) -> Result<Meta> {
    let (logits, labels, lengths) = (inputs[0], inputs[1], inputs[2]);
    let [n, _, classes] = logits.shape.expect::<3>(at, "the logits")?;
    if logits.dtype != DType::F32 || logits.elements() == 0 {
        return Err(Error::shape(at, format!("logits must be floats [n, steps, classes], not {logits}")));
    }
    if blank >= classes {
        return Err(Error::shape(
            at,
            format!("the blank, class {blank}, is none of the {classes} classes of {logits}"),
        ));
    }
    let fits = labels.dims().len() == 2 && labels.dims()[0] == n && labels.elements() > 0;
    if labels.dtype != DType::I32 || !fits {
        return Err(Error::shape(at, format!("labels for logits {logits} are i32[{n}, most], not {labels}")));
    }
    if *lengths != Meta::i32([n]) {
        return Err(Error::shape(at, format!("lengths for logits {logits} are i32[{n}], not {lengths}")));
    }
    Ok(Meta::f32([n]))
}

impl Op for CtcLoss {
    fn name(&self) -> &'static str {
        "ctc_loss"
    }

    fn infer(&self, inputs: &[&Meta]) -> Result<Meta> {
        losses_meta(self.name(), self.blank, inputs)
    }

    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>, of: usize) -> Result<Option<Value>> {
        if of > 0 {
            return Ok(None);
        }
        let inputs = [at.inputs[0], at.inputs[1], at.inputs[2], at.grad];
        graph.apply(CtcLossGrad { blank: self.blank }, &inputs).map(Some)
    }

    fn reference(&self, inputs: &[&Array], output: &Meta) -> Array {
        Array { shape: output.shape.clone(), data: reference::losses(inputs, self.blank) }
    }

    fn cpu(&self, inputs: &[View<'_>], mut output: ViewMut<'_>, _scratch: &mut [f32]) {
        output.f32().par_iter_mut().enumerate().for_each(|(i, loss)| {
            *loss = Sequence::new(inputs, self.blank, i).map_or(0.0, |sequence| sequence.loss());
        });
    }

    fn kernels(&self, inputs: &[&Meta], _output: &Meta, capabilities: &Capabilities) -> Vec<Kernel> {
        kernels::loss(self.blank, inputs, capabilities)
    }

    fn tolerance(&self, _inputs: &[&Meta], _output: &Meta) -> Tolerance {
        Tolerance::Transcendental
    }
}

impl Op for CtcLossGrad {
    fn name(&self) -> &'static str {
        "ctc_loss_grad"
    }

    fn infer(&self, inputs: &[&Meta]) -> Result<Meta> {
        let losses = losses_meta(self.name(), self.blank, inputs)?;
        if *inputs[3] != losses {
            return Err(Error::shape(self.name(), format!("the gradient is {}, the losses are {losses}", inputs[3])));
        }
        Ok(inputs[0].clone())
    }

    fn reference(&self, inputs: &[&Array], _output: &Meta) -> Array {
        reference::gradients(inputs, self.blank, &inputs[3].data)
    }

    fn cpu(&self, inputs: &[View<'_>], mut output: ViewMut<'_>, _scratch: &mut [f32]) {
        let length: usize = inputs[0].dims()[1..].iter().product();
        let results = output.f32().par_chunks_mut(length).zip(inputs[3].f32()).enumerate();
        results.for_each(|(i, (result, &grad))| match Sequence::new(inputs, self.blank, i) {
            Some(sequence) => sequence.gradient(grad, result),
            None => result.fill(0.0),
        });
    }

    fn kernels(&self, inputs: &[&Meta], _output: &Meta, capabilities: &Capabilities) -> Vec<Kernel> {
        kernels::gradient(self.blank, inputs, capabilities)
    }

    fn tolerance(&self, _inputs: &[&Meta], _output: &Meta) -> Tolerance {
        Tolerance::Transcendental
    }
}

/// The CTC loss of `softmax(logits)`, one for each sequence: `-ln` of the probability of its label.
///
/// `logits` is f32 `[n, steps, classes]`; class `blank` is no letter (0 by default in PyTorch and Keras 3, the last in Keras's
/// older `ctc_batch_cost`). `labels` is i32 `[n, most]`: classes other than the blank, then padding below 0. `lengths`, i32
/// `[n]`, says how many steps of each sequence count, if not all.
///
/// A label for which the steps are too few (each letter takes one, and a blank must stand between equal neighbours) has loss
/// and gradient 0, as with PyTorch's `zero_infinity=True`. So has one that holds the blank, what is no class, or padding
/// before a letter.
///
/// ```
/// use ocellus::{graph::Graph, ops, tensor::Meta};
/// let mut graph = Graph::new();
/// let logits = graph.input("logits", Meta::f32([8, 31, 37]));
/// let labels = graph.input("labels", Meta::i32([8, 12]));
/// let losses = ops::ctc_loss(&mut graph, logits, labels, None, 0)?;
/// assert_eq!(graph.shape(losses).dims(), [8]);
/// # Ok::<(), ocellus::Error>(())
/// ```
///
/// Errors: if the shapes do not fit, or if `blank` is no class.
/// Source: Graves et al., 2006, <https://www.cs.toronto.edu/~graves/icml_2006.pdf>.
pub fn ctc_loss(
    graph: &mut Graph,
    logits: Value,
    labels: Value,
    lengths: Option<Value>,
    blank: usize,
) -> Result<Value> {
    let lengths = match lengths {
        Some(lengths) => lengths,
        None => {
            let [n, steps, _] = graph.shape(logits).expect::<3>("ctc_loss", "the logits")?;
            graph.constant(Tensor::new([n], vec![steps as i32; n])?)
        }
    };
    graph.apply(CtcLoss { blank }, &[logits, labels, lengths])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_close, evaluate};

    fn integers(graph: &mut Graph, shape: [usize; 2], values: &[i32]) -> Value {
        graph.constant(Tensor::new(shape, values.to_vec()).unwrap())
    }

    /// What an alignment reads as.
    fn reading(alignment: &[usize], blank: usize) -> Vec<usize> {
        let mut merged = alignment.to_vec();
        merged.dedup();
        merged.retain(|&class| class != blank);
        merged
    }

    /// The loss by its definition: every alignment there is.
    fn by_enumeration(probabilities: &[f64], classes: usize, label: &[usize], blank: usize) -> f64 {
        let rows: Vec<&[f64]> = probabilities.chunks(classes).collect();
        let alignment = |number: usize| -> Vec<usize> {
            (0..rows.len()).map(|t| number / classes.pow(t as u32) % classes).collect()
        };
        let all = (0..classes.pow(rows.len() as u32)).map(alignment);
        let matching = all.filter(|alignment| reading(alignment, blank) == label);
        let total: f64 = matching.map(|a| a.iter().zip(&rows).map(|(&class, row)| row[class]).product::<f64>()).sum();
        -total.ln()
    }

    #[test]
    fn the_sum_over_all_alignments() {
        let raw: Vec<f64> = (0..15).map(|i| f64::from(i * 7 % 11 + 1)).collect();
        let probabilities: Vec<f64> =
            raw.chunks(3).flat_map(|row| row.iter().map(|x| x / row.iter().sum::<f64>())).collect();
        let logits: Vec<f64> = probabilities.iter().map(|p| p.ln()).collect();
        for (label, blank) in
            [(&[1, 1][..], 0), (&[2, 1, 2], 0), (&[], 1), (&[0], 2), (&[1, 0, 1, 0, 1], 2), (&[2, 2, 2], 0)]
        {
            let entries: Vec<i32> = label.iter().map(|&letter| letter as i32).chain([-1; 6]).take(6).collect();
            let losses = evaluate(&[(&[1, 5, 3], &logits)], |g, v| {
                let labels = integers(g, [1, 6], &entries);
                ctc_loss(g, v[0], labels, None, blank)
            });
            assert_close(&losses.data, &[by_enumeration(&probabilities, 3, label, blank)]);
        }
    }

    #[test]
    fn what_has_no_alignment_counts_nothing() {
        let logits: (&[usize], &[f64]) = (&[3, 2, 3], &[0.5; 18]);
        let losses = evaluate(&[logits], |g, v| {
            let labels = integers(g, [3, 3], &[1, 1, -1, 1, 2, 1, 0, -1, -1]);
            ctc_loss(g, v[0], labels, None, 0)
        });
        assert_eq!(losses.data, [0.0; 3]);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let mut graph = Graph::new();
        let logits = graph.input("logits", Meta::f32([4, 9, 5]));
        let labels = graph.input("labels", Meta::i32([4, 3]));
        let fewer = graph.input("fewer", Meta::i32([3, 3]));
        let flat = graph.input("flat", Meta::i32([4]));
        let floats = graph.input("floats", Meta::f32([4, 3]));
        let mut loss =
            |logits, labels, lengths, blank| ctc_loss(&mut graph, logits, labels, lengths, blank).map(|_| ());
        assert!(loss(logits, labels, None, 4).is_ok());
        assert!(loss(logits, labels, Some(flat), 0).is_ok());
        assert!(loss(logits, labels, None, 5).is_err());
        assert!(loss(logits, labels, Some(labels), 0).is_err());
        assert!(loss(logits, fewer, None, 0).is_err());
        assert!(loss(logits, flat, None, 0).is_err());
        assert!(loss(logits, floats, None, 0).is_err());
        assert!(loss(floats, labels, None, 0).is_err());
    }
}
