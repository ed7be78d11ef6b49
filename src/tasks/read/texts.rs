use rayon::prelude::*;

use super::Reader;
use crate::data::{Annotation, Canvas, Header, Images, Sample, Targets};
use crate::error::{Error, Result};
use crate::ops::AugmentRow;

/// The texts of pictures as the loss takes them, and how many steps of the network look at each picture.
#[derive(Debug)]
pub(super) struct Texts {
    lines: Vec<Line>,
    canvas: Canvas,
    steps: usize,
}

#[derive(Debug)]
struct Line {
    symbols: Vec<i32>,
    /// Columns of the canvas that the picture takes.
    covered: usize,
}

impl Texts {
    /// Name of the graph's input of symbols, i32 `[n, steps]`, padded with [`PADDING`].
    pub const SYMBOLS: &str = "texts";
    /// Name of the graph's input of the number of steps that count, i32 `[n]`.
    pub const LENGTHS: &str = "lengths";

    /// Errors: if a picture has no text or one of unknown symbols, is no longer readable, or has more symbols than the network
    /// has steps.
    pub fn new(reader: &Reader, images: &Images) -> Result<Self> {
        let (dataset, canvas, steps) = (images.dataset(), images.canvas(), reader.steps());
        let known = dataset.symbols();
        let line = |sample: &Sample| {
            let Annotation::Text(text) = &sample.annotation else {
                return Err(Error::config(format!("{} has no text", sample.source)));
            };
            let number = |symbol| known.get(&symbol).map(|&at| at as i32);
            let unknown = || Error::config(format!("{}: {text:?} has unknown symbols", sample.source));
            let symbols: Vec<i32> = text.chars().map(number).collect::<Option<_>>().ok_or_else(unknown)?;
            if symbols.len() > steps {
                let (count, source) = (symbols.len(), &sample.source);
                let message = format!("{source}: a text of {count} symbols, but the network reads {steps} at most");
                return Err(Error::config(message + ": give it a wider --image-size"));
            }
            let Header { size, .. } = sample.source.header()?;
            Ok(Line { symbols, covered: canvas.covered(size) })
        };
        let lines = dataset.samples.par_iter().map(line).collect::<Result<Vec<Line>>>()?;
        let texts = Self { lines, canvas, steps };
        texts.warn_of_narrow_ones();
        Ok(texts)
    }

    /// Nothing can be learned where symbols are more than steps.
    fn warn_of_narrow_ones(&self) {
        let steps = |line: &Line| steps_of(line.covered, self.canvas, self.steps);
        let narrow = self.lines.iter().filter(|line| line.needed_steps() > steps(line)).count();
        if narrow > 0 {
            log::warn!(
                "{narrow} of {} texts have more symbols than the network has steps on their picture, and teach it nothing: \
                 a larger --image-size gives more",
                self.lines.len()
            );
        }
    }
}

impl Line {
    /// One for each symbol, and one between equal neighbours.
    fn needed_steps(&self) -> usize {
        self.symbols.len() + self.symbols.windows(2).filter(|pair| pair[0] == pair[1]).count()
    }
}

/// What stands behind a text's symbols.
const PADDING: i32 = -1;

impl Targets for Texts {
    fn inputs(&self) -> Vec<(&'static str, usize)> {
        vec![(Self::SYMBOLS, self.steps), (Self::LENGTHS, 1)]
    }

    fn fill(&self, index: usize, row: &AugmentRow, into: &mut [&mut [u32]]) -> Result<()> {
        let Line { symbols, covered } = &self.lines[index];
        let padded = symbols.iter().copied().chain(std::iter::repeat(PADDING));
        into[0].iter_mut().zip(padded).for_each(|(word, symbol)| *word = symbol as u32);
        into[1][0] = steps_of(seen(row, *covered, self.canvas), self.canvas, self.steps) as u32;
        Ok(())
    }
}

/// How many of the network's steps look at the first `columns` of the canvas; one at least.
pub(super) fn steps_of(columns: usize, canvas: Canvas, steps: usize) -> usize {
    (columns * steps).div_ceil(canvas.shape[1]).clamp(1, steps)
}

/// Columns of the view, up to the last in which something is seen of the first `covered` columns of the image.
fn seen(row: &AugmentRow, covered: usize, canvas: Canvas) -> usize {
    let [height, width, _] = canvas.shape;
    let [across, down, start, _] = row.column;
    let last = |y: usize| (covered as f32 - 1.0 - start - down * y as f32) / across;
    let last = last(0).max(last(height - 1)).round();
    if covered == width { width } else { (last as usize + 1).min(width) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Fit;

    const CANVAS: Canvas = Canvas { shape: [32, 100, 1], fit: Fit::Line };

    #[test]
    fn steps_follow_from_the_width() {
        let steps = [1, 4, 5, 50, 99, 100].map(|columns| steps_of(columns, CANVAS, 25));
        assert_eq!(steps, [1, 1, 2, 13, 25, 25]);
    }

    #[test]
    fn what_is_seen_moves_with_the_picture() {
        let row = |column| AugmentRow { column, ..AugmentRow::STILL };
        assert_eq!(seen(&AugmentRow::STILL, 40, CANVAS), 40);
        assert_eq!(seen(&row([1.0, 0.0, -8.0, 0.0]), 40, CANVAS), 48, "moved to the right");
        assert_eq!(seen(&row([0.5, 0.0, 0.0, 0.0]), 40, CANVAS), 79, "enlarged");
        assert_eq!(seen(&row([1.0, 0.1, -2.0, 0.0]), 40, CANVAS), 42, "slanted");
        assert_eq!(seen(&row([0.5, 0.0, 0.0, 0.0]), 90, CANVAS), 100);
    }

    #[test]
    fn equal_neighbours_need_a_step_between_them() {
        let line = |symbols: &[i32]| Line { symbols: symbols.to_vec(), covered: 1 };
        assert_eq!([line(&[]), line(&[1, 2, 1]), line(&[3, 3, 3])].map(|line| line.needed_steps()), [0, 3, 5]);
    }
}
