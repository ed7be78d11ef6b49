use embedded_graphics::Drawable;
use embedded_graphics::geometry::{Dimensions, Point, Size};
use embedded_graphics::mono_font::MonoTextStyle;
use embedded_graphics::mono_font::iso_8859_1::FONT_6X10;
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::{Primitive, RgbColor};
use embedded_graphics::primitives::{PrimitiveStyle, PrimitiveStyleBuilder, Rectangle, StrokeAlignment};
use embedded_graphics::text::{Baseline, Text};
use image::imageops;

use super::pictures::{Sheet, rgb, shrink};
use crate::data::Image;

/// Longest side below which a picture is enlarged, so that letters can be read on it.
const LEAST: u32 = 256;

/// A box to be drawn on a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Outline {
    /// `[left, top, right, bottom]` as shares of the picture.
    pub corners: [f32; 4],
    /// Red, green, blue.
    pub color: [u8; 3],
    /// Above it; nothing if it is empty.
    pub text: String,
    /// Pixels of its line.
    pub width: u32,
}

impl Outline {
    /// White and thin, without text: for what is known.
    pub fn thin(corners: [f32; 4]) -> Self {
        Self { corners, color: [255; 3], text: String::new(), width: 1 }
    }
}

/// A colour that tells a class from others: of the palette of Okabe & Ito, which colour-blind readers can tell apart, brightened
/// for photographs.
pub fn color(class: usize) -> [u8; 3] {
    const PALETTE: [[u8; 3]; 6] =
        [[255, 176, 0], [86, 200, 255], [0, 220, 150], [255, 235, 70], [255, 110, 50], [240, 140, 200]];
    PALETTE[class % PALETTE.len()]
}

/// The picture in colour with boxes drawn on it. It is shrunk to the longest side, if one is given, and enlarged by a whole number
/// of times if it is small.
pub fn outlined(image: Image, longest: Option<u32>, outlines: &[Outline]) -> Image {
    let picture = rgb(&image);
    let picture = longest.map_or_else(|| picture.clone(), |longest| shrink(picture.clone(), longest));
    let (width, height) = picture.dimensions();
    let times = LEAST.div_ceil(width.max(height)).max(1);
    let picture = match times {
        1 => picture,
        _ => imageops::resize(&picture, width * times, height * times, imageops::FilterType::Nearest),
    };
    let mut sheet = Sheet(picture);
    outlines.iter().for_each(|outline| outline.draw(&mut sheet));
    let (width, height) = sheet.0.dimensions();
    Image { size: [height as usize, width as usize], channels: 3, pixels: sheet.0.into_raw() }
}

impl Outline {
    fn draw(&self, sheet: &mut Sheet) {
        let (width, height) = sheet.0.dimensions();
        let at = |share: f32, extent: u32| (share * extent as f32).round() as i32;
        let [left, top, right, bottom] = self.corners;
        let corner = Point::new(at(left, width), at(top, height));
        let size = Size::new(at(right - left, width).max(1) as u32, at(bottom - top, height).max(1) as u32);
        let [red, green, blue] = self.color;
        let color = Rgb888::new(red, green, blue);
        let style = PrimitiveStyleBuilder::new()
            .stroke_color(color)
            .stroke_width(self.width)
            .stroke_alignment(StrokeAlignment::Inside)
            .build();
        let Ok(()) = Rectangle::new(corner, size).into_styled(style).draw(sheet);
        if !self.text.is_empty() {
            self.label(corner, color, sheet);
        }
    }

    /// Black on the colour: above the box, or within where there is no room.
    fn label(&self, corner: Point, color: Rgb888, sheet: &mut Sheet) {
        let letters = MonoTextStyle::new(&FONT_6X10, Rgb888::BLACK);
        let text = Text::with_baseline(&self.text, corner, letters, Baseline::Top);
        let size = text.bounding_box().size + Size::new(2, 1);
        let (room, high) = (sheet.0.width() as i32 - size.width as i32, size.height as i32);
        let top = if corner.y >= high { corner.y - high } else { corner.y };
        let place = Point::new(corner.x.min(room).max(0), top);
        let Ok(()) = Rectangle::new(place, size).into_styled(PrimitiveStyle::with_fill(color)).draw(sheet);
        let Ok(_) = Text { position: place + Point::new(1, 1), ..text }.draw(sheet);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_and_letters_are_drawn_where_they_belong() {
        let image = Image { size: [300, 400], channels: 1, pixels: vec![100; 300 * 400] };
        let outline = Outline { corners: [0.25, 0.5, 0.75, 0.9], color: [255, 0, 0], text: "cat".into(), width: 2 };
        let drawn = outlined(image.clone(), None, &[outline]);
        assert_eq!((drawn.size, drawn.channels), ([300, 400], 3));
        let pixel = |x: usize, y: usize| &drawn.pixels[3 * (y * 400 + x)..][..3];
        assert_eq!([pixel(100, 150), pixel(101, 200), pixel(299, 269), pixel(200, 151)], [[255, 0, 0]; 4]);
        assert_eq!([pixel(99, 200), pixel(102, 152), pixel(300, 200), pixel(200, 270)], [[100; 3]; 4]);
        let label: Vec<&[u8]> =
            (140..150).flat_map(|y| (100..118).map(move |x| (x, y))).map(|(x, y)| pixel(x, y)).collect();
        assert!(label.iter().any(|p| **p == [0, 0, 0]) && label.iter().all(|p| **p == [0, 0, 0] || **p == [255, 0, 0]));
        assert_eq!(outlined(image.clone(), Some(100), &[]).size, [225, 300]);
        let small = Image { size: [32, 64], channels: 3, pixels: vec![7; 32 * 64 * 3] };
        let outside = Outline { corners: [0.9, 0.0, 1.0, 1.0], text: "a long name".into(), ..Outline::thin([0.0; 4]) };
        assert_eq!(outlined(small, None, &[outside]).size, [128, 256]);
    }
}
