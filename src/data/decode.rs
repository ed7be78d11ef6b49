use std::fs::File;
use std::io::{BufRead, Cursor, Read, Seek};
use std::panic::catch_unwind;
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::image::{Header, Image};
use super::window::{Levels, Window};
use super::{dicom, jpeg};
use crate::error::Error;

/// No file is read beyond this, nor a picture decoded into more: what is larger is a mistake or a decompression bomb.
pub(super) const MAX_BYTES: u64 = 512 << 20;

/// Why an image could not be had, before it is known for which path that is told.
pub(super) enum Failure {
    Io(std::io::Error),
    Content(String),
}

impl Failure {
    pub(super) fn at(self, path: &Path) -> Error {
        match self {
            Self::Io(source) => Error::io("read", path, source),
            Self::Content(message) => Error::format(path, message),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(source: std::io::Error) -> Self {
        Self::Io(source)
    }
}

impl From<image::ImageError> for Failure {
    fn from(error: image::ImageError) -> Self {
        let what = match error {
            image::ImageError::Unsupported(_) => "is of a kind that is not supported",
            image::ImageError::Limits(_) => "is larger than the 512 MiB allowed",
            _ => "is damaged or cut short",
        };
        Self::Content(format!("the image {what} ({error})"))
    }
}

/// Runs a decoder on bytes that could be anything. Should it panic, that costs this image and not the run.
pub(super) fn guarded<T>(decode: impl FnOnce() -> Result<T, Failure> + std::panic::UnwindSafe) -> Result<T, Failure> {
    catch_unwind(decode).unwrap_or_else(|_| Err(Failure::Content("the image is damaged (its decoder gave up)".into())))
}

/// Opens a file that may hold an image; also its length.
pub(super) fn open_file(path: &Path) -> Result<(File, u64), Failure> {
    // Asked before opening: opening a named pipe would wait for its writer.
    let metadata = path.metadata()?;
    match metadata.len() {
        _ if !metadata.is_file() => Err(Failure::Content("not a file".into())),
        0 => Err(Failure::Content("the file is empty".into())),
        size if size > MAX_BYTES => Err(too_large(size)),
        size => Ok((File::open(path)?, size)),
    }
}

pub(super) fn read_file(path: &Path, bytes: &mut Vec<u8>) -> Result<(), Failure> {
    let (mut file, size) = open_file(path)?;
    bytes.resize(size as usize, 0);
    Ok(file.read_exact(bytes)?)
}

pub(super) fn too_large(bytes: u64) -> Failure {
    Failure::Content(format!("the image takes {} MiB, more than the {} allowed", bytes >> 20, MAX_BYTES >> 20))
}

pub(super) fn header(source: impl BufRead + Seek) -> Result<Header, Failure> {
    let mut decoder = decoder(source)?;
    let (width, height) = decoder.dimensions();
    let size = [height as usize, width as usize];
    let turned = swaps_sides(orientation(&mut decoder));
    let channels = if decoder.color_type().has_color() { 3 } else { 1 };
    Ok(Header { size: if turned { [size[1], size[0]] } else { size }, channels })
}

/// Decodes to `image`, in the memory of the picture that was there where possible.
pub(super) fn decode(bytes: &[u8], window: Window, image: &mut Image) -> Result<(), Failure> {
    if jpeg::decode(bytes, image).is_some() {
        return Ok(());
    }
    if dicom::is_dicom(bytes) {
        *image = dicom::decode(bytes, window)?;
        return Ok(());
    }
    let mut decoder = decoder(Cursor::new(bytes))?;
    if bytes.starts_with(jpeg::START) && !jpeg::is_complete(bytes) {
        return Err(Failure::Content("the image is cut short: its end-of-image marker is missing".into()));
    }
    let orientation = orientation(&mut decoder);
    let mut picture = DynamicImage::from_decoder(decoder)?;
    picture.apply_orientation(orientation);
    *image = flatten(picture, window);
    Ok(())
}

fn decoder<'a>(mut source: impl BufRead + Seek + 'a) -> Result<impl ImageDecoder + 'a, Failure> {
    let start = source.fill_buf()?.iter().take(8).copied().collect::<Vec<_>>();
    let mut reader = ImageReader::new(source).with_guessed_format()?;
    if !reader.format().is_some_and(|format| FORMATS.contains(&format)) {
        return Err(Failure::Content(unknown_format(&start)));
    }
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);
    let decoder = reader.into_decoder()?;
    if decoder.total_bytes() > MAX_BYTES {
        return Err(too_large(decoder.total_bytes()));
    }
    Ok(decoder)
}

pub(super) const FORMATS: [ImageFormat; 6] =
    [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Gif, ImageFormat::Tiff, ImageFormat::WebP];

fn unknown_format(start: &[u8]) -> String {
    let hex = start.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    let hint = if start.starts_with(b"<") { "; was a web page saved instead?" } else { "" };
    format!("not a JPEG, PNG, BMP, GIF, TIFF, WebP or DICOM image (first bytes {hex}){hint}")
}

/// How a camera noted that it was held; nothing is done if the note cannot be read.
fn orientation(decoder: &mut impl ImageDecoder) -> Orientation {
    decoder.orientation().unwrap_or(Orientation::NoTransforms)
}

fn swaps_sides(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}

fn flatten(picture: DynamicImage, window: Window) -> Image {
    let size = [picture.height(), picture.width()].map(|extent| extent as usize);
    let color = picture.color();
    let channels = if color.has_color() { 3 } else { 1 };
    let pixels = match (picture, channels, color.has_alpha()) {
        (DynamicImage::ImageLuma16(grey), ..) => {
            let values: Vec<f32> = grey.as_raw().iter().map(|&value| value.into()).collect();
            window.apply(&values, Levels { full: [0.0, u16::MAX.into()], suggested: None })
        }
        (picture, 1, false) => picture.into_luma8().into_raw(),
        (picture, 1, true) => over_white(picture.into_luma_alpha8().as_raw(), channels),
        (picture, _, false) => picture.into_rgb8().into_raw(),
        (picture, _, true) => over_white(picture.into_rgba8().as_raw(), channels),
    };
    Image { size, channels, pixels }
}

/// Lays pixels of `channels` values and an alpha over white.
fn over_white(pixels: &[u8], channels: usize) -> Vec<u8> {
    let blend = |value: u8, alpha: u8| {
        let [value, alpha] = [value, alpha].map(u32::from);
        ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8
    };
    let colours = pixels.chunks_exact(channels + 1);
    colours.flat_map(|pixel| pixel[..channels].iter().map(|&value| blend(value, pixel[channels]))).collect()
}
