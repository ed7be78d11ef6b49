use crate::tensor::Array;

/// A sequence with its label, in logarithms, as in section 4.1 of the paper.
struct Sequence {
    /// Logarithms of the softmax, a row for each step that counts.
    log_softmax: Vec<Vec<f64>>,
    /// The class of each state.
    states: Vec<usize>,
}

/// The losses.
pub(super) fn losses(inputs: &[&Array], blank: usize) -> Vec<f64> {
    let count = inputs[2].data.len();
    let loss = |i| sequence(inputs, blank, i).map_or(0.0, |s| -s.log_probability());
    (0..count).map(loss).collect()
}

/// `grad[i]` times the gradient of the loss of sequence `i` with respect to the logits.
pub(super) fn gradients(inputs: &[&Array], blank: usize, grad: &[f64]) -> Array {
    let mut result = Array::zeros(&inputs[0].shape);
    for (i, grad) in grad.iter().enumerate() {
        let Some(sequence) = sequence(inputs, blank, i) else { continue };
        let (alpha, beta, log_p) = (sequence.alpha(), sequence.beta(), sequence.log_probability());
        for (t, row) in sequence.log_softmax.iter().enumerate() {
            for (class, y) in row.iter().enumerate() {
                let at = sequence.states.iter().enumerate().filter(|&(_, &c)| c == class);
                let through: f64 = at.map(|(s, _)| (alpha[t][s] + beta[t][s] - y - log_p).exp()).sum();
                *result.at_mut(&[i, t, class]) = grad * (y.exp() - through);
            }
        }
    }
    result
}

/// Sequence `i`, if its label has letters only and an alignment exists.
fn sequence(inputs: &[&Array], blank: usize, i: usize) -> Option<Sequence> {
    let &[_, steps, classes] = inputs[0].shape.dims() else { unreachable!("the shape rule demands three axes") };
    let most = inputs[1].shape.last();
    let label = &inputs[1].data[i * most..][..most];
    let length = label.iter().filter(|&&letter| letter >= 0.0).count();
    let letters = &label[..length];
    if letters.iter().any(|&letter| letter < 0.0 || letter >= classes as f64 || letter == blank as f64) {
        return None;
    }
    let mut states = vec![blank];
    letters.iter().for_each(|&letter| states.extend([letter as usize, blank]));
    let repeats = letters.windows(2).filter(|pair| pair[0] == pair[1]).count();
    let counted = inputs[2].data[i].clamp(0.0, steps as f64) as usize;
    let log_softmax = (0..counted).map(|t| log_softmax(&inputs[0].data[(i * steps + t) * classes..][..classes]));
    (counted > 0 && counted >= length + repeats).then(|| Sequence { log_softmax: log_softmax.collect(), states })
}

fn log_softmax(row: &[f64]) -> Vec<f64> {
    let total = log_sum(row.iter().copied());
    row.iter().map(|x| x - total).collect()
}

/// `log(sum(exp(x)))`.
fn log_sum(terms: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = terms.clone().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY {
        return largest;
    }
    largest + terms.map(|x| (x - largest).exp()).sum::<f64>().ln()
}

impl Sequence {
    fn log_probability(&self) -> f64 {
        let last = &self.alpha()[self.log_softmax.len() - 1];
        log_sum(last.iter().rev().take(2).copied())
    }

    /// Whether the blank before a state may be left out.
    fn skips_to(&self, s: usize) -> bool {
        s >= 2 && self.states[s] != self.states[s - 2]
    }

    /// Equations 5 to 7: all ways to a state at a step, that step included.
    fn alpha(&self) -> Vec<Vec<f64>> {
        let mut rows: Vec<Vec<f64>> = Vec::new();
        for y in &self.log_softmax {
            let arrive = |s: usize| match rows.last() {
                None if s < 2 => 0.0,
                None => f64::NEG_INFINITY,
                Some(before) => {
                    log_sum(before[s.saturating_sub(if self.skips_to(s) { 2 } else { 1 })..=s].iter().copied())
                }
            };
            let row = (0..self.states.len()).map(|s| arrive(s) + y[self.states[s]]).collect();
            rows.push(row);
        }
        rows
    }

    /// Equations 9 to 11: all ways from a state at a step to the end, that step included.
    fn beta(&self) -> Vec<Vec<f64>> {
        let states = self.states.len();
        let mut rows: Vec<Vec<f64>> = Vec::new();
        for y in self.log_softmax.iter().rev() {
            let leave = |s: usize| match rows.last() {
                None if s + 2 >= states => 0.0,
                None => f64::NEG_INFINITY,
                Some(after) => {
                    let furthest = if s + 2 < states && self.skips_to(s + 2) { s + 2 } else { s + 1 };
                    log_sum(after[s..=furthest.min(states - 1)].iter().copied())
                }
            };
            let row = (0..states).map(|s| leave(s) + y[self.states[s]]).collect();
            rows.push(row);
        }
        rows.reverse();
        rows
    }
}
