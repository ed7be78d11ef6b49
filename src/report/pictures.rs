use std::io::Cursor;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::mono_font::MonoTextStyle;
use embedded_graphics::mono_font::iso_8859_1::FONT_6X10;
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::RgbColor;
use embedded_graphics::text::Text;
use embedded_graphics::{Drawable, Pixel};
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage, imageops};

use crate::data::{Batch, Canvas, Image};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::graph::{Ending, Graph, Layout};
use crate::ops::{self, AugmentRow, MixRow};
use crate::tensor::{DType, Meta};

/// Longest side of a picture in a page.
const LONGEST: u32 = 112;
/// Pixels up to which a picture is stored without loss: it is smaller so, and looks better.
const MOST_LOSSLESS: u32 = 40 * 40;

/// A picture in the page itself, as a data URI.
///
/// Errors: if it cannot be encoded.
pub fn thumbnail(image: &Image) -> Result<String> {
    embedded(image, LONGEST)
}

/// As [`thumbnail`], with so many pixels on the longest side at most.
///
/// Errors: as there.
pub fn embedded(image: &Image, longest: u32) -> Result<String> {
    let image = shrink(rgb(image), longest);
    let mut bytes = Vec::new();
    let small = image.width() * image.height() <= MOST_LOSSLESS;
    let (kind, outcome) = if small {
        ("png", image.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png))
    } else {
        ("jpeg", JpegEncoder::new_with_quality(&mut bytes, 80).encode_image(&image))
    };
    outcome.map_err(failed)?;
    Ok(format!("data:image/{kind};base64,{}", STANDARD.encode(bytes)))
}

/// A line of text in the page itself, in its own size, as a data URI.
///
/// Errors: if it cannot be encoded.
pub fn line_picture(image: &Image) -> Result<String> {
    let mut png = Vec::new();
    rgb(image).write_to(&mut Cursor::new(&mut png), ImageFormat::Png).map_err(failed)?;
    Ok(format!("data:image/png;base64,{}", STANDARD.encode(png)))
}

fn failed(e: image::ImageError) -> Error {
    Error::config(format!("a picture could not be encoded: {e}"))
}

pub(super) fn rgb(image: &Image) -> RgbImage {
    let [h, w] = image.size.map(|n| n as u32);
    let at = |x: u32, y: u32| {
        let pixel = &image.pixels[(y * w + x) as usize * image.channels..][..image.channels];
        Rgb([0, 1, 2].map(|c| pixel[c.min(image.channels - 1)]))
    };
    RgbImage::from_fn(w, h, at)
}

/// To the longest side, by area; smaller pictures stay as they are.
pub(super) fn shrink(image: RgbImage, most: u32) -> RgbImage {
    let (w, h) = image.dimensions();
    let longest = w.max(h);
    if longest <= most {
        return image;
    }
    let side = |n: u32| (n * most / longest).max(1);
    imageops::thumbnail(&image, side(w), side(h))
}

/// Pictures that a contact sheet shows.
const MOST_SEEN: usize = 32;

/// The first pictures of a batch as the network sees them: after augmentation, normalised back to what an eye can see. With
/// their captions. Does on the CPU what the first op of a training step does.
///
/// Errors: if `canvas` is not that of the batch's images.
fn seen(batch: &Batch, canvas: Canvas, captions: &[String]) -> Result<Vec<(Image, String)>> {
    let ([h, w, c], n) = (canvas.shape, batch.len().min(MOST_SEEN));
    let mut graph = Graph::new();
    let images = graph.input("images", Meta::new([n, h, w, c], DType::U8));
    let rows = graph.input("rows", Meta::f32([n, AugmentRow::LEN]));
    let seen = ops::augment_frames(&mut graph, images, rows, canvas.frames(), &vec![0.0; c], &vec![1.0; c])?;
    let mixes = batch.mixes.as_ref().map(|mixes| &mixes.rows[..n]);
    let seen = match mixes {
        Some(_) => {
            let mixes = graph.input("mixes", Meta::f32([n, MixRow::LEN]));
            ops::mix(&mut graph, seen, mixes)?
        }
        None => seen,
    };
    graph.output("seen", seen);
    let device = Device::Cpu;
    let weights = device.weights(Layout::parameters(&graph), Layout::states(&graph), 0)?;
    let mut program = device.compile(&graph, &weights, Ending::Nothing)?;
    let mut fed = vec![("images", &batch.images[..n * h * w * c]), ("rows", bytemuck::cast_slice(&batch.rows[..n]))];
    fed.extend(mixes.map(|mixes| ("mixes", bytemuck::cast_slice(mixes))));
    let outputs = program.execute(&fed)?;
    let values = outputs.first().map_or(&[][..], |t| t.f32());
    let picture = |(i, values): (usize, &[f32])| {
        let pixels = values.iter().map(|v| (255.0 * v).round() as u8).collect();
        (Image { size: [h, w], channels: c, pixels }, captions[i].clone())
    };
    Ok(values.chunks_exact(h * w * c).enumerate().map(picture).collect())
}

/// A training batch as the network sees it, as a PNG: rows of eight pictures, each with its caption below. With its width and height.
///
/// Errors: if `canvas` is not that of the batch's images.
pub fn contact_sheet(batch: &Batch, canvas: impl Into<Canvas>, captions: &[String]) -> Result<(Vec<u8>, [u32; 2])> {
    const COLUMNS: u32 = 8;
    const GAP: u32 = 6;
    const TEXT: u32 = 14;
    const LEAST: u32 = 72;
    let canvas = canvas.into();
    let pictures = seen(batch, canvas, captions)?;
    let [height, width, _] = canvas.shape;
    let small = shrink(RgbImage::new(width as u32, height as u32), LONGEST).dimensions();
    // Whole multiples, so that small pixels stay squares.
    let times = LEAST.div_ceil(small.0.max(small.1)).max(1);
    let [width, height] = [small.0 * times, small.1 * times];
    let columns = COLUMNS.min(pictures.len() as u32).max(1);
    let rows = (pictures.len() as u32).div_ceil(columns).max(1);
    let [cell_width, cell_height] = [width + GAP, height + TEXT + GAP];
    let mut sheet = Sheet(RgbImage::from_pixel(columns * cell_width + GAP, rows * cell_height + GAP, Rgb([24; 3])));
    for (i, (picture, name)) in pictures.iter().enumerate() {
        let (column, row) = (i as u32 % columns, i as u32 / columns);
        let (x, y) = (GAP + column * cell_width, GAP + row * cell_height);
        let picture = imageops::resize(&shrink(rgb(picture), LONGEST), width, height, imageops::FilterType::Nearest);
        imageops::replace(&mut sheet.0, &picture, x.into(), y.into());
        let name: String = name.chars().take(width as usize / 6).collect();
        let at = Point::new(x as i32, (y + height + 10) as i32);
        let Ok(_) = Text::new(&name, at, MonoTextStyle::new(&FONT_6X10, Rgb888::WHITE)).draw(&mut sheet);
    }
    let (mut bytes, (width, height)) = (Vec::new(), sheet.0.dimensions());
    DynamicImage::from(sheet.0).write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png).map_err(failed)?;
    Ok((bytes, [width, height]))
}

/// A contact sheet in the page itself, with its width: as JPEG where that is much smaller.
///
/// Errors: if it is no PNG.
pub fn embedded_sheet(png: &[u8]) -> Result<(String, u32)> {
    let image = image::load_from_memory_with_format(png, ImageFormat::Png).map_err(failed)?.into_rgb8();
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, 82).encode_image(&image).map_err(failed)?;
    let uri = match 2 * jpeg.len() < png.len() {
        true => format!("data:image/jpeg;base64,{}", STANDARD.encode(jpeg)),
        false => format!("data:image/png;base64,{}", STANDARD.encode(png)),
    };
    Ok((uri, image.width()))
}

/// What text is drawn on.
pub(super) struct Sheet(pub RgbImage);

impl OriginDimensions for Sheet {
    fn size(&self) -> Size {
        Size::new(self.0.width(), self.0.height())
    }
}

impl DrawTarget for Sheet {
    type Color = Rgb888;
    type Error = std::convert::Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(&mut self, pixels: I) -> Result<(), Self::Error> {
        for Pixel(at, color) in pixels {
            let inside = |v: i32, extent: u32| u32::try_from(v).ok().filter(|&v| v < extent);
            if let (Some(x), Some(y)) = (inside(at.x, self.0.width()), inside(at.y, self.0.height())) {
                self.0.put_pixel(x, y, Rgb([color.r(), color.g(), color.b()]));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(size: [usize; 2], channels: usize) -> Image {
        let pixels = (0..size[0] * size[1] * channels).map(|i| (i % 251) as u8).collect();
        Image { size, channels, pixels }
    }

    fn decode(uri: &str) -> DynamicImage {
        let base64 = uri.split_once("base64,").unwrap().1;
        image::load_from_memory(&STANDARD.decode(base64).unwrap()).unwrap()
    }

    #[test]
    fn small_pictures_stay_as_they_are_and_large_ones_shrink() {
        let small = image([5, 7], 3);
        assert_eq!(decode(&thumbnail(&small).unwrap()).into_rgb8().into_raw(), small.pixels);
        let large = decode(&thumbnail(&image([300, 600], 1)).unwrap());
        assert_eq!((large.width(), large.height()), (112, 56));
    }

    #[test]
    fn a_contact_sheet_shows_the_pictures_as_changed() {
        let mirrored = AugmentRow { column: [-1.0, 0.0, 3.0, 0.0], ..AugmentRow::STILL };
        let pixels: Vec<u8> = [[0, 80, 160, 240]; 12].concat();
        let (labels, rows, indices) = (vec![0, 1, 0], vec![mirrored; 3], vec![0, 1, 2]);
        let batch = Batch { images: pixels.into(), labels, rows, mixes: None, targets: Vec::new(), indices };
        let names = ["cat", "dog", "cat"].map(str::to_owned);
        let sheet = image::load_from_memory(&contact_sheet(&batch, [4, 4, 1], &names).unwrap().0).unwrap().into_rgb8();
        assert_eq!(sheet.dimensions(), (3 * 78 + 6, 72 + 14 + 6 + 6));
        assert_eq!([6, 30, 48, 77].map(|x| sheet.get_pixel(x, 40)[0]), [240, 160, 80, 0]);
        let white_below = |x: u32| (78..92).any(|y| (x..x + 72).any(|x| sheet.get_pixel(x, y).0 == [255; 3]));
        assert!([6, 84, 162].into_iter().all(white_below), "each picture is named");
    }
}
