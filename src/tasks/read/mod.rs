//! Reading a line of text. Convolutions make a sequence of a picture's columns, recurrent layers read it, and at each step there
//! is a probability for each symbol and for none, the blank; the loss sums over all ways in which these spell the text
//! ([CTC](crate::ops::ctc_loss)).
//!
//! Pictures keep their aspect ratio ([`Fit::Line`]): of a short one, only the steps that look at it count.

mod decode;
mod edits;
mod evaluation;
mod options;
mod report;
mod run_task;
mod texts;

pub use decode::{beam_search, greedy, log_probability};
pub use edits::{Edit, edits};
pub use evaluation::{Confusion, Evaluation, Metrics, Reading, SymbolMetrics};
pub use options::Options;

use super::pictures::pictures;
use crate::data::{Batch, Canvas, Fit, Normalization, Target};
use crate::error::{Error, Result};
use crate::graph::{Graph, Value};
use crate::nn::{Built, Mode, Model};
use crate::ops;
use crate::tensor::{Meta, Tensor};
use crate::train::{Summary, Task};
use evaluation::Tally;
use texts::Texts;

/// A network that reads lines of text, with all it needs to say what stands there.
#[derive(Clone, Debug)]
pub struct Reader {
    /// The network.
    pub model: Model,
    /// The symbols that it knows, in the order of its outputs; the blank comes behind them.
    pub symbols: Vec<String>,
    /// How bytes become numbers.
    pub normalization: Normalization,
    steps: usize,
}

impl Reader {
    /// Checks that network and symbols belong together.
    ///
    /// Errors: if there are no symbols, or the network does not give, at each of some steps, one value for each symbol and one for
    /// the blank.
    pub fn new(model: Model, symbols: Vec<String>, normalization: Normalization) -> Result<Self> {
        if symbols.is_empty() {
            return Err(Error::config("there are no symbols to read"));
        }
        let mut reader = Self { model, symbols, normalization, steps: 1 };
        let mut graph = Graph::new();
        let built = reader.build(&mut graph, 1, Mode::Inference)?;
        let (shape, outputs) = (graph.shape(built.output).clone(), reader.symbols.len() + 1);
        let dims = shape.dims();
        if dims.len() != 3 || dims[2] != outputs {
            let got: Vec<String> = dims[1..].iter().map(usize::to_string).collect();
            let message = format!(
                "gives {} for each picture, but to read {} symbols it must give [steps, {outputs}]: one value for each and one \
                 for none, as crnn does",
                got.join("x"),
                reader.symbols.len()
            );
            return Err(Error::shape("network", message));
        }
        reader.steps = dims[1];
        Ok(reader)
    }

    /// How many steps the network takes over a picture of full width: the most symbols that it can read.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Lines of text, as high as the network takes pictures.
    pub fn canvas(&self) -> Canvas {
        Canvas { shape: self.model.input, fit: Fit::Line }
    }

    /// The output that stands for no symbol.
    pub fn blank(&self) -> usize {
        self.symbols.len()
    }

    fn build(&self, graph: &mut Graph, n: usize, mode: Mode) -> Result<Built> {
        let images = pictures(graph, n, self.canvas(), &self.normalization)?;
        self.model.build(graph, images, mode)
    }

    /// The loss of each picture [n], and the logits [n, steps, symbols + 1].
    fn losses(&self, graph: &mut Graph, built: &Built, n: usize) -> Result<(Value, Value)> {
        graph.scope("loss");
        // Without softmax the outputs are taken for logits.
        let logits = built.logits.unwrap_or(built.output);
        let texts = graph.input(Texts::SYMBOLS, Meta::i32([n, self.steps]));
        let lengths = graph.input(Texts::LENGTHS, Meta::i32([n]));
        Ok((ops::ctc_loss(graph, logits, texts, Some(lengths), self.blank())?, logits))
    }

    /// What logits `[steps, symbols + 1]` spell, the most probable reading first, each with its probability: one by the best
    /// symbol of each step, or as many as a beam of more than one finds.
    pub fn readings(&self, logits: &[f32], beam: usize) -> Vec<(Vec<usize>, f64)> {
        let (outputs, blank) = (self.symbols.len() + 1, self.blank());
        let found: Vec<Vec<usize>> = match beam {
            0 | 1 => vec![greedy(logits, outputs, blank)],
            beam => beam_search(logits, outputs, blank, beam).into_iter().map(|(label, _)| label).collect(),
        };
        let with_probability = |label: Vec<usize>| {
            let probability = log_probability(logits, outputs, blank, &label).exp();
            (label, probability)
        };
        let mut readings: Vec<_> = found.into_iter().map(with_probability).collect();
        readings.sort_by(|a, b| b.1.total_cmp(&a.1));
        readings
    }

    /// Symbols as text.
    pub fn spell(&self, symbols: &[usize]) -> String {
        symbols.iter().map(|&at| self.symbols[at].as_str()).collect()
    }

    /// Symbols of each picture's text, and how many steps look at it.
    fn texts_of(&self, batch: &Batch) -> Result<Vec<(Vec<usize>, usize)>> {
        let words = |wanted: &str| {
            let target: Option<&Target> = batch.targets.iter().find(|target| target.name == wanted);
            target.map(|target| target.words.as_slice()).ok_or_else(|| Error::config("the pictures come without texts"))
        };
        let (symbols, lengths) = (words(Texts::SYMBOLS)?, words(Texts::LENGTHS)?);
        let text = |words: &[u32]| -> Vec<usize> {
            let symbols = words.iter().map(|&word| word as i32);
            symbols.take_while(|&symbol| symbol >= 0).map(|symbol| symbol as usize).collect()
        };
        Ok(symbols.chunks(self.steps).zip(lengths).map(|(words, &length)| (text(words), length as usize)).collect())
    }
}

impl Task for Reader {
    type Evaluation = Evaluation;

    const METRIC: &'static str = "character_accuracy";

    fn training_graph(&self, n: usize, seed: u32) -> Result<Graph> {
        let mut graph = Graph::new();
        let step = graph.input("step", Meta::i32([2]));
        let built = self.build(&mut graph, n, Mode::Training { step, seed })?;
        let (mut losses, _) = self.losses(&mut graph, &built, n)?;
        for &added in &built.losses {
            losses = ops::add(&mut graph, losses, added)?;
        }
        let loss = ops::mean(&mut graph, losses, &[0], false)?;
        let unknown = graph.constant(Tensor::scalar(f32::NAN));
        graph.output("loss", loss);
        graph.output("metric", unknown);
        graph.differentiate_parameters(loss)?;
        Ok(graph)
    }

    fn inference_graph(&self, n: usize) -> Result<Graph> {
        let mut graph = Graph::new();
        let built = self.build(&mut graph, n, Mode::Inference)?;
        let (losses, logits) = self.losses(&mut graph, &built, n)?;
        graph.output("losses", losses);
        graph.output("logits", logits);
        Ok(graph)
    }

    fn evaluate(&self, results: &mut dyn Iterator<Item = Result<(Batch, Vec<Tensor>)>>) -> Result<Evaluation> {
        let mut tally = Tally::new(&self.symbols);
        let outputs = self.symbols.len() + 1;
        for result in results {
            let (batch, values) = result?;
            let [losses, logits] = values.as_slice() else {
                return Err(Error::device("the network gave no results"));
            };
            let pictures = logits.f32().chunks(self.steps * outputs).zip(losses.f32());
            for ((text, length), (logits, &loss)) in self.texts_of(&batch)?.into_iter().zip(pictures) {
                let (read, score) = self.readings(&logits[..length * outputs], 1).swap_remove(0);
                tally.add(&text, &read, score, loss);
            }
        }
        Ok(tally.finish())
    }

    fn summary(evaluation: &Evaluation) -> Summary {
        Summary { loss: evaluation.loss, metric: evaluation.metrics.character_accuracy }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::zoo;

    fn reader(outputs: usize) -> Result<Reader> {
        let model = zoo::build("crnn-small", [32, 40, 1], outputs)?;
        let normalization = Normalization { mean: vec![0.0], std: vec![1.0] };
        Reader::new(model, ["a", "b"].map(str::to_owned).to_vec(), normalization)
    }

    #[test]
    fn there_is_an_output_for_each_symbol_and_the_blank() {
        let found = reader(3).unwrap();
        assert_eq!((found.steps(), found.blank(), found.spell(&[1, 0, 1])), (10, 2, "bab".into()));
        let message = reader(2).unwrap_err().to_string();
        assert!(message.contains("gives 10x2 for each picture") && message.contains("[steps, 3]"), "{message}");
    }

    #[test]
    fn readings_come_with_their_probability() {
        let reader = reader(3).unwrap();
        // The blank is the best class at both steps (0.36), but the letter has three alignments (0.64).
        let logits = [0.4, 1e-9, 0.6, 0.4, 1e-9, 0.6].map(f32::ln);
        let (greedy, beam) = (reader.readings(&logits, 1), reader.readings(&logits, 4));
        assert_eq!((greedy.len(), greedy[0].0.len()), (1, 0));
        assert!((greedy[0].1 - 0.36).abs() < 1e-6);
        assert_eq!(beam[0].0, [0]);
        assert!((beam[0].1 - 0.64).abs() < 1e-6);
    }
}
