use image::metadata::Orientation;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::Image;

/// How every JPEG begins.
pub const START: &[u8] = &[0xff, 0xd8];

/// Decodes a JPEG as most are: grey or colour, whole, not to be turned. It does what the image crate does with the same
/// decoder, but reads the headers once instead of three times and copies nothing, which takes a tenth of the time from
/// small photos. `None` leaves the file to that crate, also to find out what is wrong with it.
pub fn decode(bytes: &[u8], image: &mut Image) -> Option<()> {
    if !bytes.starts_with(START) || !is_complete(bytes) {
        return None;
    }
    let options = DecoderOptions::default().set_strict_mode(false).set_max_width(usize::MAX).set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().ok()?;
    let (color, channels) = match decoder.input_colorspace()? {
        ColorSpace::Luma => (ColorSpace::Luma, 1),
        ColorSpace::YCbCr | ColorSpace::RGB => (ColorSpace::RGB, 3),
        _ => return None,
    };
    let turned = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
    if turned.is_some_and(|orientation| orientation != Orientation::NoTransforms) {
        return None;
    }
    decoder.set_options(options.jpeg_set_out_colorspace(color));
    let (width, height) = decoder.dimensions()?;
    let bytes = decoder.output_buffer_size().filter(|&bytes| bytes as u64 <= super::decode::MAX_BYTES)?;
    (image.size, image.channels) = ([height, width], channels);
    // Zeros, as the decoder may leave out pixels of a damaged file.
    image.pixels.clear();
    image.pixels.resize(bytes, 0);
    decoder.decode_into(&mut image.pixels).ok()
}

/// Whether an end-of-image marker follows the start of the first scan. The decoder paints rows that are missing grey
/// and says nothing, and a thumbnail in the header may hold a marker of its own.
pub fn is_complete(bytes: &[u8]) -> bool {
    const START_OF_SCAN: u8 = 0xda;
    let mut at = START.len();
    while let Some(&[0xff, marker, high, low]) = bytes.get(at..at + 4) {
        match marker {
            START_OF_SCAN => return bytes[at..].windows(2).rev().any(|pair| pair == [0xff, 0xd9]),
            0xff => at += 1,
            _ => at += 2 + usize::from(u16::from_be_bytes([high, low])),
        }
    }
    true // Headers out of order: the decoder judges them.
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, ImageFormat, RgbImage};

    use super::super::fixtures::encode;
    use super::*;

    #[test]
    fn pixels_are_those_of_the_image_crate_whatever_was_decoded_before() {
        let mut image = Image::default();
        for (width, height) in [(48, 32), (5, 7), (64, 80), (1, 1)] {
            let photo = RgbImage::from_fn(width, height, |x, y| image::Rgb([x * 5, y * 3, x * y].map(|v| v as u8)));
            for photo in [
                DynamicImage::ImageRgb8(photo.clone()),
                DynamicImage::ImageLuma8(DynamicImage::from(photo).into_luma8()),
            ] {
                let bytes = encode(photo, ImageFormat::Jpeg);
                decode(&bytes, &mut image).unwrap();
                let expected = image::load_from_memory(&bytes).unwrap();
                let channels = usize::from(expected.color().channel_count());
                let size = [expected.height(), expected.width()].map(|extent| extent as usize);
                assert_eq!(image, Image { size, channels, pixels: expected.into_bytes() });
            }
        }
    }

    #[test]
    fn what_is_unusual_is_left_to_others() {
        let cmyk = include_bytes!("../../tests/fixtures/images/cmyk.jpg");
        assert!(decode(cmyk, &mut Image::default()).is_none());
        assert!(decode(&cmyk[..cmyk.len() / 2], &mut Image::default()).is_none());
        assert!(decode(b"\x89PNG", &mut Image::default()).is_none());
    }
}
