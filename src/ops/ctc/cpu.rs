use super::super::reduce::fold_row;
use super::super::rows;
use super::wide::Wide;
use crate::graph::exp;
use crate::tensor::View;

/// A sequence with its label: states are a blank, the first letter, a blank, the second letter, …, a blank.
pub(super) struct Sequence<'a> {
    /// `[steps, classes]`, of the steps that count.
    logits: &'a [f32],
    classes: usize,
    /// The class of each state.
    states: Vec<usize>,
}

impl<'a> Sequence<'a> {
    /// Sequence `i` of the op's inputs, unless its label holds what is no letter.
    pub fn new(inputs: &[View<'a>], blank: usize, i: usize) -> Option<Self> {
        let &[_, steps, classes] = inputs[0].dims() else { unreachable!("the shape rule demands three axes") };
        let most = inputs[1].meta.shape.last();
        let label = &inputs[1].i32()[i * most..][..most];
        let length = label.iter().filter(|&&letter| letter >= 0).count();
        let mut states = vec![blank];
        for &letter in &label[..length] {
            let letter = usize::try_from(letter).ok().filter(|&letter| letter < classes && letter != blank)?;
            states.extend([letter, blank]);
        }
        let counted = inputs[2].i32()[i].clamp(0, steps as i32) as usize;
        Some(Self { logits: &inputs[0].f32()[i * steps * classes..][..counted * classes], classes, states })
    }

    /// The negative logarithm of the label's probability; 0 where no alignment exists.
    pub fn loss(&self) -> f32 {
        let mut alpha = self.before_the_first();
        let (mut next, mut emissions) = (alpha.clone(), alpha.clone());
        for row in self.logits.chunks(self.classes) {
            self.emit(row, &mut emissions);
            self.advance(&alpha, &emissions, &mut next);
            std::mem::swap(&mut alpha, &mut next);
        }
        let probability = self.probability(&alpha);
        if probability.is_zero() { 0.0 } else { -probability.ln() }
    }

    /// `grad` times the gradient of the loss with respect to the logits, `[steps, classes]`.
    pub fn gradient(&self, grad: f32, result: &mut [f32]) {
        let states = self.states.len();
        let steps = self.logits.len() / self.classes;
        let mut alphas = self.before_the_first();
        alphas.resize((steps + 1) * states, Wide::ZERO);
        let mut emissions = vec![Wide::ZERO; steps * states];
        for (step, row) in self.logits.chunks(self.classes).enumerate() {
            let emissions = &mut emissions[step * states..][..states];
            self.emit(row, emissions);
            let (before, after) = alphas.split_at_mut((step + 1) * states);
            self.advance(&before[step * states..], emissions, &mut after[..states]);
        }
        let probability = self.probability(&alphas[steps * states..]);
        if probability.is_zero() {
            return result.fill(0.0);
        }
        result[steps * self.classes..].fill(0.0);
        let mut beta = vec![Wide::ZERO; states];
        beta[states - 1] = Wide::ONE;
        let mut earlier = beta.clone();
        for step in (0..steps).rev() {
            let row = &mut result[step * self.classes..][..self.classes];
            self.softmax(step, row);
            for state in 0..states {
                let next = |by: usize| beta.get(state + by).copied().unwrap_or(Wide::ZERO);
                let skipped = if self.skips_to(state + 2) { next(2) } else { Wide::ZERO };
                let onward = Wide::sum([next(0), next(1), skipped]);
                earlier[state] = onward.times(emissions[step * states + state]);
                let through = alphas[(step + 1) * states + state].times(onward);
                row[self.states[state]] -= through.over(probability);
            }
            row.iter_mut().for_each(|x| *x *= grad);
            std::mem::swap(&mut beta, &mut earlier);
        }
    }

    /// Whether an alignment may come to a state from two before it, past a blank: not if the letters are equal, which would
    /// then be one.
    fn skips_to(&self, state: usize) -> bool {
        (2..self.states.len()).contains(&state) && self.states[state] != self.states[state - 2]
    }

    /// Probabilities from which the first step comes to the first blank and the first letter.
    fn before_the_first(&self) -> Vec<Wide> {
        let mut alpha = vec![Wide::ZERO; self.states.len()];
        alpha[0] = Wide::ONE;
        alpha
    }

    /// The probability of each state's class in a step with these logits.
    fn emit(&self, row: &[f32], emissions: &mut [Wide]) {
        let largest = fold_row(row, f32::max);
        let total = rows::sum_exp(row, largest);
        let blank = Wide::share(row[self.states[0]] - largest, total);
        for (state, (emission, &class)) in emissions.iter_mut().zip(&self.states).enumerate() {
            *emission = if state % 2 == 0 { blank } else { Wide::share(row[class] - largest, total) };
        }
    }

    /// Probabilities of all that leads to each state, one step on.
    fn advance(&self, alpha: &[Wide], emissions: &[Wide], next: &mut [Wide]) {
        for (state, (next, &emission)) in next.iter_mut().zip(emissions).enumerate() {
            let before = if state >= 1 { alpha[state - 1] } else { Wide::ZERO };
            let skipped = if self.skips_to(state) { alpha[state - 2] } else { Wide::ZERO };
            *next = Wide::sum([alpha[state], before, skipped]).times(emission);
        }
    }

    /// An alignment ends in the last letter or the blank after it.
    fn probability(&self, alpha: &[Wide]) -> Wide {
        let last = alpha.len() - 1;
        let letter = if last >= 1 { alpha[last - 1] } else { Wide::ZERO };
        Wide::sum([alpha[last], letter, Wide::ZERO])
    }

    fn softmax(&self, step: usize, result: &mut [f32]) {
        let row = &self.logits[step * self.classes..][..self.classes];
        let largest = fold_row(row, f32::max);
        let total = rows::sum_exp(row, largest);
        result.iter_mut().zip(row).for_each(|(y, &x)| *y = exp(x - largest) / total);
    }
}
