use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Image;
use super::dataset::Region;
use super::decode::MAX_BYTES;
use super::window::Window;
use crate::error::{Error, Result};

/// A picture of classes: what each pixel of another picture is.
#[derive(Clone, Debug, PartialEq)]
pub struct Mask {
    /// An image file of the picture's size.
    pub path: PathBuf,
    /// How its values mean classes.
    pub coding: Arc<Coding>,
    /// The part of it, where only that is looked at.
    pub region: Option<Region>,
}

/// How a mask's values mean classes.
#[derive(Clone, Debug, PartialEq)]
pub enum Coding {
    /// Grey values, or numbers in the palette, are classes; 255 is none.
    Index,
    /// Values of at least 128, or where none is so high all above 0, are the second of two classes.
    Binary,
    /// Each of these grey values is a class.
    Levels(Vec<u8>),
    /// Each of these colours is a class; others are none.
    Colors(Vec<[u8; 3]>),
}

/// Class of a pixel that has none and counts nothing.
pub const UNLABELLED: u8 = u8::MAX;

/// Classes of pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassMap {
    /// `[height, width]`.
    pub size: [usize; 2],
    /// `[height, width]`, row-major; [`UNLABELLED`] where there is none.
    pub classes: Vec<u8>,
}

impl Mask {
    /// The classes of its pixels, of which `ignored` counts as none.
    ///
    /// Errors: if the file cannot be read.
    pub fn read(&self, ignored: Option<u8>) -> Result<ClassMap> {
        let mut map = self.coding.classes(&self.path)?;
        if let Some(ignored) = ignored {
            map.classes.iter_mut().filter(|class| **class == ignored).for_each(|class| *class = UNLABELLED);
        }
        Ok(match &self.region {
            Some(region) => map.cut(region),
            None => map,
        })
    }
}

impl Coding {
    fn classes(&self, path: &Path) -> Result<ClassMap> {
        if let Self::Colors(colors) = self {
            let image = Image::open(path)?.fit_channels(3);
            let class = |pixel: &[u8]| colors.iter().position(|c| c == pixel).map_or(UNLABELLED, |class| class as u8);
            return Ok(ClassMap { size: image.size, classes: image.pixels.chunks_exact(3).map(class).collect() });
        }
        let Image { size, pixels: values, .. } = numbers(path)?;
        let classes = match self {
            Self::Index | Self::Colors(_) => values,
            Self::Binary => {
                let bright = values.iter().any(|&v| v >= 128);
                let border = if bright { 128 } else { 1 };
                values.into_iter().map(|v| u8::from(v >= border)).collect()
            }
            Self::Levels(levels) => {
                let class = |v: &u8| levels.binary_search(v).map_or(UNLABELLED, |class| class as u8);
                values.iter().map(class).collect()
            }
        };
        Ok(ClassMap { size, classes })
    }
}

impl ClassMap {
    /// The nearest pixel's class at each place of another size.
    pub fn resized(&self, size: [usize; 2]) -> Self {
        let source =
            |axis: usize, at: usize| ((2 * at + 1) * self.size[axis] / (2 * size[axis])).min(self.size[axis] - 1);
        let columns: Vec<usize> = (0..size[1]).map(|x| source(1, x)).collect();
        let row = |y: usize| {
            let row = &self.classes[source(0, y) * self.size[1]..][..self.size[1]];
            columns.iter().map(|&x| row[x])
        };
        Self { size, classes: (0..size[0]).flat_map(row).collect() }
    }

    /// A part of it; none where it ends, or where another part answers for the pixel.
    fn cut(&self, region: &Region) -> Self {
        let at = |y: usize, x: usize| {
            let own = region.owned[0].contains(&y) && region.owned[1].contains(&x);
            let inside = y < self.size[0] && x < self.size[1];
            if own && inside { self.classes[y * self.size[1] + x] } else { UNLABELLED }
        };
        let [top, left] = region.at;
        let row = |y: usize| (left..left + region.size[1]).map(move |x| at(y, x));
        Self { size: region.size, classes: (top..top + region.size[0]).flat_map(row).collect() }
    }

    /// How many pixels each of `classes` classes has.
    ///
    /// Errors: the first class that is not among them.
    pub fn counts(&self, classes: usize) -> Result<Vec<u64>, u8> {
        let mut counts = vec![0; classes];
        for &class in self.classes.iter().filter(|&&class| class != UNLABELLED) {
            *counts.get_mut(usize::from(class)).ok_or(class)? += 1;
        }
        Ok(counts)
    }
}

/// Values of a mask: numbers in the palette of a PNG that has one, else grey.
fn numbers(path: &Path) -> Result<Image> {
    let wrong = |e: png::DecodingError| Error::format(path, e.to_string());
    let is_png = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("png"));
    if !is_png {
        return Ok(Image::open_with(path, Window::Full)?.fit_channels(1));
    }
    let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
    let limits = png::Limits { bytes: MAX_BYTES as usize };
    let mut decoder = png::Decoder::new_with_limits(BufReader::new(file), limits);
    decoder.set_transformations(png::Transformations::IDENTITY);
    let mut reader = decoder.read_info().map_err(wrong)?;
    let info = reader.info();
    if info.color_type != png::ColorType::Indexed {
        return Ok(Image::open_with(path, Window::Full)?.fit_channels(1));
    }
    let (size, bits) = ([info.height as usize, info.width as usize], info.bit_depth as usize);
    let bytes = reader.output_buffer_size().filter(|&n| n as u64 <= MAX_BYTES);
    let mut packed = vec![0; bytes.ok_or_else(|| Error::format(path, "is too large"))?];
    let frame = reader.next_frame(&mut packed).map_err(wrong)?;
    let value = |row: &[u8], x: usize| {
        let bit = x * bits;
        (row[bit / 8] >> (8 - bits - bit % 8)) & (u16::MAX >> (16 - bits)) as u8
    };
    let rows = packed.chunks_exact(frame.line_size).take(size[0]);
    let pixels = rows.flat_map(|row| (0..size[1]).map(move |x| value(row, x))).collect();
    Ok(Image { size, channels: 1, pixels })
}

/// How many pixels have which value, over some masks.
///
/// Errors: if one cannot be read.
pub(super) fn histogram(paths: &[PathBuf]) -> Result<BTreeMap<u8, u64>> {
    use rayon::prelude::*;
    let count = |path: &PathBuf| {
        let mut counts = [0_u64; 256];
        numbers(path)?.pixels.iter().for_each(|&v| counts[usize::from(v)] += 1);
        Ok(counts)
    };
    let counts: Vec<[u64; 256]> = paths.par_iter().map(count).collect::<Result<_>>()?;
    let total = |v: u8| counts.iter().map(|c| c[usize::from(v)]).sum::<u64>();
    Ok((0..=255).map(|v| (v, total(v))).filter(|&(_, n)| n > 0).collect())
}
