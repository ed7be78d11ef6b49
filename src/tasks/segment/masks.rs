use std::sync::Arc;

use rayon::prelude::*;

use crate::data::{Annotation, ClassMap, Dataset, Images, Targets, UNLABELLED};
use crate::error::{Error, Result};
use crate::ops::AugmentRow;

/// Masks of a data set at the network's size.
#[derive(Debug)]
pub(super) struct Masks {
    size: [usize; 2],
    maps: Vec<Vec<u8>>,
}

/// The input of the graphs: the class of each pixel, i32 `[n, h, w]`; -1 where there is none.
pub(super) const MASK: &str = "mask";

impl Masks {
    /// Reads those of all images.
    ///
    /// Errors: if one cannot be read, or has a class that there is not.
    pub fn load(images: &Images, classes: usize, ignored: Option<u8>) -> Result<Arc<Self>> {
        let [height, width, _] = images.shape();
        let size = [height, width];
        let read = |index: usize| {
            let map = read(images.dataset(), index, ignored)?;
            let unknown = |class| {
                let source = &images.dataset().samples[index].source;
                Error::config(format!("the mask of {source} has class {class}, but there are {classes} classes"))
            };
            map.counts(classes).map_err(unknown)?;
            Ok(map.resized(size).classes)
        };
        let maps = (0..images.len()).into_par_iter().map(read).collect::<Result<_>>()?;
        Ok(Arc::new(Self { size, maps }))
    }
}

/// The mask of a sample in its own size.
///
/// Errors: if it has none, or it cannot be read.
pub(super) fn read(dataset: &Dataset, index: usize, ignored: Option<u8>) -> Result<ClassMap> {
    match &dataset.samples[index].annotation {
        Annotation::Mask(mask) => mask.read(ignored),
        _ => Err(Error::config(format!("{} has no mask", dataset.samples[index].source))),
    }
}

impl Targets for Masks {
    fn inputs(&self) -> Vec<(&'static str, usize)> {
        vec![(MASK, self.size[0] * self.size[1])]
    }

    /// The nearest pixel's class; beyond the picture's edges none, as what is seen there is made up.
    fn fill(&self, index: usize, row: &AugmentRow, into: &mut [&mut [u32]]) -> Result<()> {
        let [height, width] = self.size;
        let map = &self.maps[index];
        let still = row.column == AugmentRow::STILL.column && row.line == AugmentRow::STILL.line;
        for (i, word) in into[0].iter_mut().enumerate() {
            let class = if still { map[i] } else { seen(map, [height, width], row, [i / width, i % width]) };
            *word = if class == UNLABELLED { -1_i32 } else { class.into() } as u32;
        }
        Ok(())
    }
}

/// The class at a place of the view.
fn seen(map: &[u8], [height, width]: [usize; 2], row: &AugmentRow, [y, x]: [usize; 2]) -> u8 {
    let [x, y] = row.source([x as f32, y as f32]).map(f32::round);
    let inside = (0.0..width as f32).contains(&x) && (0.0..height as f32).contains(&y);
    if inside { map[y as usize * width + x as usize] } else { UNLABELLED }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_move_with_their_pictures() {
        let masks = Masks { size: [2, 3], maps: vec![vec![0, 1, 2, 3, 4, UNLABELLED]] };
        let filled = |row: AugmentRow| {
            let mut words = [0; 6];
            masks.fill(0, &row, &mut [&mut words]).unwrap();
            words.map(|w| w as i32)
        };
        assert_eq!(filled(AugmentRow::STILL), [0, 1, 2, 3, 4, -1]);
        let mirrored = AugmentRow { column: [-1.0, 0.0, 2.0, 0.0], ..AugmentRow::STILL };
        assert_eq!(filled(mirrored), [2, 1, 0, -1, 4, 3]);
        let moved = AugmentRow { column: [1.0, 0.0, 1.0, 0.0], ..AugmentRow::STILL };
        assert_eq!(filled(moved), [1, 2, -1, 4, -1, -1]);
    }
}
