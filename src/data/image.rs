use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read};
use std::panic::AssertUnwindSafe;
use std::path::Path;

use image::{ExtendedColorType, ImageFormat};

use super::dataset::Region;
use super::decode::{decode, guarded, header, open_file, read_file};
use super::resize::Resizer;
use super::window::Window;
use super::{Canvas, dicom};
use crate::atomic;
use crate::error::{Error, Result};

/// A picture in memory, 8 bits a channel, grey or RGB.
///
/// However it was stored, it is brought to this form: palettes are looked up, colours of 16 bits rounded to 8, grey values of
/// more than 8 spread by a [`Window`], CMYK converted, alpha laid over white (the page for which cut-outs are drawn), and the
/// turn that a camera noted in EXIF is carried out. Of an animation, or of a DICOM file of several frames, it is the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// `[height, width]` in pixels.
    pub size: [usize; 2],
    /// 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
    /// `[height, width, channels]`, row-major, the top row first.
    pub pixels: Vec<u8>,
}

/// What an image file says of itself before its pixels are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// `[height, width]` in pixels, as after [`Image::open`]: turned as EXIF says.
    pub size: [usize; 2],
    /// 1 if it is stored as grey, else 3.
    pub channels: usize,
}

impl Header {
    /// Reads the header of an image file.
    ///
    /// Errors: as [`Image::open`], for what the header tells.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let read = |file: File| {
            let mut source = BufReader::with_capacity(dicom::START, file);
            if !dicom::is_dicom(source.fill_buf()?) {
                return header(source);
            }
            let mut bytes = Vec::new();
            source.read_to_end(&mut bytes)?;
            dicom::header(&bytes)
        };
        open_file(path).and_then(|(file, _)| guarded(|| read(file))).map_err(|e| e.at(path))
    }
}

impl Image {
    /// Decodes an image file: JPEG, PNG, BMP, GIF, TIFF, WebP or DICOM, whatever its name ends with. Grey values of more than 8
    /// bits are spread by [`Window::Auto`].
    ///
    /// Errors: if the file cannot be read, is empty, of another format, damaged, cut short, or larger than 512 MiB (on
    /// disk or decoded).
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, Window::default())
    }

    /// As [`Image::open`], with another window.
    ///
    /// Errors: as there.
    pub fn open_with(path: impl AsRef<Path>, window: Window) -> Result<Self> {
        let mut image = Self::default();
        image.read(path.as_ref(), window, &mut Vec::new())?;
        Ok(image)
    }

    /// Decodes the bytes of an image file.
    ///
    /// Errors: as [`Image::open`].
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut image = Self::default();
        let decode = || decode(bytes, Window::default(), &mut image);
        guarded(AssertUnwindSafe(decode)).map_err(|e| e.at(Path::new("image")))?;
        Ok(image)
    }

    /// As [`Image::open_with`], in the memory of the picture that was there and of the file that was read for it.
    pub(super) fn read(&mut self, path: &Path, window: Window, file: &mut Vec<u8>) -> Result<()> {
        let bytes = read_file(path, file);
        bytes.and_then(|()| guarded(AssertUnwindSafe(|| decode(file, window, self)))).map_err(|e| e.at(path))
    }

    /// Writes it as a PNG, whole or not at all.
    ///
    /// Errors: if it has other than 1, 3 or 4 channels, or the file cannot be written.
    pub fn save_png(&self, path: &Path) -> Result<()> {
        let color = match self.channels {
            1 => ExtendedColorType::L8,
            3 => ExtendedColorType::Rgb8,
            4 => ExtendedColorType::Rgba8,
            n => return Err(Error::format(path, format!("a PNG of {n} channels cannot be written"))),
        };
        let ([height, width], mut png) = (self.size.map(|n| n as u32), Cursor::new(Vec::new()));
        image::write_buffer_with_format(&mut png, &self.pixels, width, height, color, ImageFormat::Png)
            .map_err(|e| Error::format(path, e.to_string()))?;
        atomic::write(path, png.get_ref()).map_err(|e| Error::io("write", path, e))
    }

    /// The same picture brought to a canvas: given as `[height, width, channels]`, stretched to the size (its aspect ratio is
    /// not kept), grey made of colour or colour of grey.
    ///
    /// Pixels are averaged over the area they come from (a bilinear filter, widened when shrinking). Grey is ITU-R 601
    /// luma, as in PIL and TensorFlow.
    ///
    /// Errors: if an extent is 0, there are other than 1 or 3 channels, or the height does not divide into frames.
    pub fn fit(mut self, canvas: impl Into<Canvas>) -> Result<Self> {
        let canvas = canvas.into();
        canvas.check()?;
        let [height, width, channels] = canvas.shape;
        let mut pixels = vec![0; canvas.bytes()];
        canvas.draw(&mut self, &mut Resizer::default(), &mut pixels);
        Ok(Self { size: [height, width], channels, pixels })
    }

    /// The frames that stand below one another, side by side. A height that does not divide into them loses its last rows.
    pub fn side_by_side(&self, frames: usize) -> Self {
        let [height, width] = [self.size[0] / frames.max(1), self.size[1]];
        let row = width * self.channels;
        let place = |y: usize| (0..frames).map(move |frame| (frame * height + y) * row);
        let pixels = (0..height).flat_map(place).flat_map(|at| &self.pixels[at..at + row]).copied().collect();
        Self { size: [height, frames * width], channels: self.channels, pixels }
    }

    /// Stretched to a shape that can be, into `target`. What is left of this picture is of no use.
    pub(super) fn fit_to(&mut self, [height, width, channels]: [usize; 3], resizer: &mut Resizer, target: &mut [u8]) {
        self.convert_to(channels);
        if self.size == [height, width] {
            target.copy_from_slice(&self.pixels);
        } else {
            resizer.resize(&self.pixels, self.size, channels, target, [height, width]);
        }
    }

    /// The same picture in 1 or 3 channels.
    pub(super) fn fit_channels(mut self, channels: usize) -> Self {
        self.convert_to(channels);
        self
    }

    /// A part of it; beyond its edges, the nearest pixels.
    pub fn cut(&self, region: &Region) -> Self {
        let ([height, width], [top, left]) = (self.size, region.at);
        let mut pixels = Vec::with_capacity(region.size[0] * region.size[1] * self.channels);
        for y in top..top + region.size[0] {
            for x in left..left + region.size[1] {
                let at = (y.min(height - 1) * width + x.min(width - 1)) * self.channels;
                pixels.extend_from_slice(&self.pixels[at..][..self.channels]);
            }
        }
        Self { size: region.size, channels: self.channels, pixels }
    }

    /// Makes grey of colour, or colour of grey, if there is need.
    pub(super) fn convert_to(&mut self, channels: usize) {
        if self.channels == channels {
            return;
        }
        self.pixels = match channels {
            1 => self.pixels.chunks_exact(3).map(luma).collect(),
            _ => self.pixels.iter().flat_map(|&grey| [grey; 3]).collect(),
        };
        self.channels = channels;
    }
}

/// Checks that images can be brought to `shape` (`[height, width, channels]`).
///
/// Errors: if an extent is 0 or above 65535, or there are other than 1 or 3 channels.
pub(super) fn check_shape(shape: [usize; 3]) -> Result<()> {
    let [height, width, channels] = shape;
    if !(1..=65535).contains(&height) || !(1..=65535).contains(&width) {
        return Err(Error::config(format!("an image size of {height}x{width} is not possible: sides are 1 to 65535")));
    }
    if channels != 1 && channels != 3 {
        return Err(Error::config(format!(
            "images have 1 channel (grey) or 3 (colour), but {channels} were asked for"
        )));
    }
    Ok(())
}

/// ITU-R 601, with weights in 1/65536 and rounded as PIL does.
fn luma(rgb: &[u8]) -> u8 {
    let [r, g, b] = [rgb[0], rgb[1], rgb[2]].map(u32::from);
    ((19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16) as u8
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use image::{GrayAlphaImage, GrayImage, ImageBuffer, Luma, Rgb, Rgba, RgbaImage};

    use super::super::decode::FORMATS;
    use super::super::fixtures::{encode, plain, red_and_blue, write};
    use super::*;

    fn decoded(bytes: &[u8]) -> Result<Image, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), "picture.dat", bytes);
        let image = Image::open(&path).map_err(|e| e.to_string());
        if let Ok(image) = &image {
            let expected = Header { size: image.size, channels: image.channels };
            assert_eq!(Header::open(&path).unwrap(), expected, "the header says what decoding finds");
        }
        image
    }

    fn pixel(image: &Image, row: usize, column: usize) -> &[u8] {
        &image.pixels[(row * image.size[1] + column) * image.channels..][..image.channels]
    }

    fn assert_close(found: &[u8], expected: &[u8]) {
        let far = found.iter().zip(expected).any(|(a, b)| a.abs_diff(*b) > 6);
        assert!(found.len() == expected.len() && !far, "{found:?} is not about {expected:?}");
    }

    /// The JPEG with an EXIF segment in front that tells the orientation.
    fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
        let mut exif = b"\xff\xe1\x00\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
        exif.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
        [&jpeg[..2], &exif, &jpeg[2..]].concat()
    }

    #[test]
    fn frames_stand_side_by_side() {
        let image = Image { size: [4, 2], channels: 1, pixels: (0..8).collect() };
        let beside = image.side_by_side(2);
        assert_eq!((beside.size, beside.pixels), ([2, 4], vec![0, 1, 4, 5, 2, 3, 6, 7]));
        assert_eq!(image.side_by_side(1), image);
    }

    #[test]
    fn every_format_is_known_by_its_content() {
        for format in FORMATS {
            let image = decoded(&encode(red_and_blue(48, 32), format)).unwrap();
            assert_eq!((image.size, image.channels), ([32, 48], 3), "{format:?}");
            assert_close(pixel(&image, 31, 0), &[255, 0, 0]);
            assert_close(pixel(&image, 0, 47), &[0, 0, 255]);
        }
    }

    #[test]
    fn grey_stays_grey() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Tiff, ImageFormat::Bmp] {
            let image = decoded(&encode(GrayImage::from_pixel(5, 3, Luma([77])), format)).unwrap();
            assert_eq!(image.channels, if format == ImageFormat::Bmp { 3 } else { 1 }, "{format:?}");
            assert_close(pixel(&image, 2, 4), &vec![77; image.channels]);
        }
    }

    #[test]
    fn colours_of_sixteen_bits_are_rounded_to_eight() {
        let color = ImageBuffer::<Rgb<u16>, _>::from_pixel(1, 1, Rgb([0xffff, 257 * 100, 0]));
        assert_eq!(decoded(&encode(color, ImageFormat::Tiff)).unwrap().pixels, [255, 100, 0]);
    }

    #[test]
    fn grey_values_of_sixteen_bits_are_spread_by_the_window() {
        // 12 bits in 16, as cameras and scanners leave them.
        let grey = ImageBuffer::<Luma<u16>, _>::from_vec(5, 1, vec![0, 1024, 2048, 4000, 4095]).unwrap();
        for format in [ImageFormat::Png, ImageFormat::Tiff] {
            let dir = tempfile::tempdir().unwrap();
            let path = write(dir.path(), "grey.dat", encode(grey.clone(), format));
            let pixels = |window: &str| Image::open_with(&path, window.parse().unwrap()).unwrap().pixels;
            assert_eq!(pixels("auto"), [0, 64, 128, 249, 255], "{format:?}");
            assert_eq!(pixels("full"), [0, 4, 8, 16, 16]);
            assert_eq!(pixels("1024:4000"), [0, 0, 88, 255, 255]);
            assert_eq!(pixels("file"), pixels("auto"));
            assert_eq!(Image::open(&path).unwrap().pixels, pixels("auto"));
        }
    }

    #[test]
    fn alpha_is_laid_over_white() {
        let color = RgbaImage::from_vec(3, 1, vec![10, 20, 30, 255, 10, 20, 30, 0, 0, 0, 255, 128]).unwrap();
        let image = decoded(&encode(color, ImageFormat::Png)).unwrap();
        assert_eq!(image.pixels, [10, 20, 30, 255, 255, 255, 127, 127, 255]);
        let grey = GrayAlphaImage::from_vec(2, 1, vec![40, 255, 40, 0]).unwrap();
        let image = decoded(&encode(grey, ImageFormat::Png)).unwrap();
        assert_eq!((image.channels, image.pixels), (1, vec![40, 255]));
    }

    #[test]
    fn palettes_and_cmyk_become_rgb() {
        let image = decoded(include_bytes!("../../tests/fixtures/images/palette.png")).unwrap();
        assert_eq!(image.size, [2, 4]);
        assert_eq!((pixel(&image, 0, 0), pixel(&image, 0, 3)), (&[255, 0, 0][..], &[0, 0, 255][..]));
        assert_eq!(pixel(&image, 1, 0), [255; 3], "transparent is white");

        let image = decoded(include_bytes!("../../tests/fixtures/images/cmyk.jpg")).unwrap();
        assert_close(pixel(&image, 3, 1), &[0, 255, 255]);
        assert_close(pixel(&image, 3, 14), &[127, 127, 127]);
    }

    #[test]
    fn a_camera_is_turned_back() {
        let jpeg = encode(red_and_blue(48, 16), ImageFormat::Jpeg);
        // 6: to be turned clockwise by 90 degrees, so that what was left is on top.
        let image = decoded(&with_orientation(&jpeg, 6)).unwrap();
        assert_eq!(image.size, [48, 16]);
        assert_close(pixel(&image, 0, 8), &[255, 0, 0]);
        assert_close(pixel(&image, 47, 8), &[0, 0, 255]);
        // 3: upside down.
        let image = decoded(&with_orientation(&jpeg, 3)).unwrap();
        assert_eq!(image.size, [16, 48]);
        assert_close(pixel(&image, 0, 0), &[0, 0, 255]);
        // 9 does not exist.
        assert_eq!(decoded(&with_orientation(&jpeg, 9)).unwrap(), decoded(&jpeg).unwrap());
    }

    #[test]
    fn what_is_cut_short_is_an_error_in_every_format() {
        for format in FORMATS {
            let whole = encode(red_and_blue(48, 32), format);
            for length in [whole.len() / 2, whole.len() * 9 / 10] {
                let error = decoded(&whole[..length]).expect_err(&format!("{length} bytes of {format:?}"));
                assert!(error.contains("cut short"), "{error}");
            }
        }
    }

    #[test]
    fn a_thumbnail_does_not_hide_that_a_jpeg_is_cut_short() {
        let jpeg = encode(red_and_blue(48, 32), ImageFormat::Jpeg);
        let length = (jpeg.len() + 2) as u16;
        let comment = [&[0xff, 0xfe], &length.to_be_bytes()[..], &jpeg].concat();
        let with_thumbnail = [&jpeg[..2], &comment, &jpeg[2..]].concat();
        assert!(decoded(&with_thumbnail).is_ok());
        assert!(decoded(&with_thumbnail[..with_thumbnail.len() - 40]).unwrap_err().contains("end-of-image marker"));
    }

    #[test]
    fn what_is_no_image_is_an_error_that_says_so() {
        assert!(decoded(b"").unwrap_err().contains("the file is empty"));
        let page = decoded(b"<!DOCTYPE html>").unwrap_err();
        assert!(page.contains("first bytes 3c 21 44 4f") && page.contains("web page"), "{page}");
        assert!(decoded(&[0xff]).unwrap_err().contains("not a JPEG, PNG"));
        let dir = tempfile::tempdir().unwrap();
        assert!(Image::open(dir.path()).unwrap_err().to_string().contains("not a file"));
        let missing = Image::open(dir.path().join("missing.png")).unwrap_err().to_string();
        assert!(missing.contains("could not read") && missing.contains("missing.png"), "{missing}");
    }

    #[test]
    fn a_decompression_bomb_is_refused_before_it_is_unpacked() {
        // A PNG's header alone, for 60000x60000 pixels.
        let small = encode(plain(1, 1, [0; 3]), ImageFormat::Png);
        let mut bomb = small.clone();
        bomb[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
        let crc = crc32(&bomb[12..29]);
        bomb[29..33].copy_from_slice(&crc.to_be_bytes());
        let error = decoded(&bomb).unwrap_err();
        assert!(error.contains("more than the 512 allowed"), "{error}");
    }

    fn crc32(bytes: &[u8]) -> u32 {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum()
    }

    #[test]
    fn damaged_bytes_never_panic() {
        for format in FORMATS {
            let whole = encode(red_and_blue(16, 16), format);
            for at in 0..whole.len() {
                let mut bytes = whole.clone();
                bytes[at] ^= 0x55;
                let _ = decode(&bytes, Window::default(), &mut Image::default());
            }
        }
    }

    #[test]
    fn fitting_resizes_and_converts() {
        let image = decoded(&encode(red_and_blue(48, 32), ImageFormat::Png)).unwrap();
        let grey = image.clone().fit([4, 4, 1]).unwrap();
        assert_eq!((grey.size, grey.channels, grey.pixels.len()), ([4, 4], 1, 16));
        assert_eq!((grey.pixels[0], grey.pixels[3]), (76, 29), "luma of red and of blue");
        let back = grey.fit([4, 4, 3]).unwrap();
        assert_eq!(pixel(&back, 0, 3), [29; 3]);
        assert_eq!(image.clone().fit([32, 48, 3]).unwrap(), image);
    }

    #[test]
    fn shrinking_averages_all_pixels() {
        // Alternating columns: sampling single pixels would give black or white.
        let stripes = GrayImage::from_fn(64, 64, |x, _| Luma([if x % 2 == 0 { 0 } else { 255 }]));
        let image = decoded(&encode(stripes, ImageFormat::Png)).unwrap().fit([8, 8, 1]).unwrap();
        assert!(image.pixels[9..15].iter().all(|value| value.abs_diff(128) < 6), "{:?}", image.pixels);
    }

    #[test]
    fn impossible_shapes_are_errors() {
        let image = Image { size: [1, 1], channels: 1, pixels: vec![0] };
        assert!(image.clone().fit([0, 4, 3]).unwrap_err().to_string().contains("0x4"));
        assert!(image.fit([4, 4, 4]).unwrap_err().to_string().contains("4 were asked for"));
    }

    #[cfg(unix)]
    #[test]
    fn a_path_need_not_be_utf8() {
        use std::os::unix::ffi::OsStringExt;
        let dir = tempfile::tempdir().unwrap();
        let name = PathBuf::from(std::ffi::OsString::from_vec(b"caf\xe9.png".to_vec()));
        let path = write(dir.path(), &name, encode(plain(2, 2, [1, 2, 3]), ImageFormat::Png));
        assert_eq!(Image::open(&path).unwrap().size, [2, 2]);
        let broken = write(dir.path(), &name, "");
        assert!(Image::open(&broken).unwrap_err().to_string().contains("caf\u{fffd}.png"));
    }

    #[test]
    fn transparent_gif_and_webp_are_laid_over_white() {
        for format in [ImageFormat::Gif, ImageFormat::WebP] {
            let clear = RgbaImage::from_pixel(4, 4, Rgba([0, 0, 0, 0]));
            assert_eq!(decoded(&encode(clear, format)).unwrap().pixels, [255; 48], "{format:?}");
        }
    }
}
