use std::io::Cursor;

use dicom_encoding::{TransferSyntax, TransferSyntaxIndex};
use dicom_object::{DefaultDicomObject, OpenFileOptions, Tag};
use dicom_parser::dataset::LazyDataToken;
use dicom_parser::dataset::lazy_read::LazyDataSetReader;
use dicom_pixeldata::{
    ConvertOptions, DecodedPixelData, PhotometricInterpretation, PixelDecoder, PixelRepresentation,
    PlanarConfiguration, Rescale, VoiLutFunction, VoiLutOption,
};
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use dicom_transfer_syntax_registry::entries::EXPLICIT_VR_LITTLE_ENDIAN;

use super::decode::{Failure, MAX_BYTES, too_large};
use super::image::{Header, Image};
use super::jpeg;
use super::window::{Levels, Window};

/// How many bytes tell that a file is DICOM: a preamble of any content and a mark.
pub const START: usize = PREAMBLE + MARK.len();

const PREAMBLE: usize = 128;
const MARK: &[u8] = b"DICM";
/// Where the elements behind the mark that describe the file end: their group's length stands first.
const GROUP_LENGTH: usize = START + 8;
/// Sequences within sequences; the reader calls itself for each.
const MOST_NESTED: usize = 32;

const TRANSFER_SYNTAX: Tag = Tag(0x0002, 0x0010);
const SAMPLES: Tag = Tag(0x0028, 0x0002);
const ROWS: Tag = Tag(0x0028, 0x0010);
const COLUMNS: Tag = Tag(0x0028, 0x0011);
const BITS_ALLOCATED: Tag = Tag(0x0028, 0x0100);
const BITS_STORED: Tag = Tag(0x0028, 0x0101);
const PIXELS: Tag = Tag(0x7fe0, 0x0010);

/// Whether a file of this content says that it is DICOM.
pub fn is_dicom(bytes: &[u8]) -> bool {
    bytes.get(PREAMBLE..START) == Some(MARK)
}

/// What a DICOM file says of its picture.
pub fn header(bytes: &[u8]) -> Result<Header, Failure> {
    check_lengths(bytes)?;
    let object = OpenFileOptions::new().read_until(PIXELS).from_reader(bytes).map_err(damaged)?;
    Layout::of(&object).map(|layout| layout.header)
}

/// The first picture of a DICOM file: uncompressed, RLE, or JPEG of 8 bits or without loss. Grey values are rescaled as the
/// file says, then spread by the window; where small values are meant to be bright (MONOCHROME1), they are.
///
/// Source: DICOM PS3.3, C.7.6.3 and C.11.2.1.2.
pub fn decode(bytes: &[u8], window: Window) -> Result<Image, Failure> {
    check_lengths(bytes)?;
    let object = OpenFileOptions::new().from_reader(bytes).map_err(damaged)?;
    let layout = Layout::of(&object)?;
    layout.check_jpegs(&object)?;
    let data = object.decode_pixel_data_frame(0).map_err(damaged)?;
    let Header { size, channels } = layout.header;
    let pixels = match data.photometric_interpretation() {
        PhotometricInterpretation::Monochrome1 => grey(&data, window)?.into_iter().map(|value| 255 - value).collect(),
        PhotometricInterpretation::Monochrome2 => grey(&data, window)?,
        PhotometricInterpretation::Rgb => interleaved(&data)?,
        PhotometricInterpretation::YbrFull => rgb(&interleaved(&data)?),
        other => return Err(unsupported(format!("colours are coded as {other}"))),
    };
    match pixels.len() == layout.bytes() / layout.bytes_per_value() {
        true => Ok(Image { size, channels, pixels }),
        false => Err(Failure::Content(format!("the image is damaged (it holds {} values)", pixels.len()))),
    }
}

/// What pixels take, as the file has it.
struct Layout {
    header: Header,
    bits_allocated: u16,
}

impl Layout {
    /// Errors: if it cannot be, or is not known here.
    fn of(object: &DefaultDicomObject) -> Result<Self, Failure> {
        let number = |tag: Tag| object.element(tag).map_err(damaged)?.to_int::<u16>().map_err(damaged);
        let [rows, columns, samples, bits_allocated, bits_stored] =
            [number(ROWS)?, number(COLUMNS)?, number(SAMPLES)?, number(BITS_ALLOCATED)?, number(BITS_STORED)?];
        if rows == 0 || columns == 0 {
            return Err(Failure::Content(format!("the image is damaged (it has {columns}x{rows} pixels)")));
        }
        if !matches!((samples, bits_allocated), (1, 8 | 16) | (3, 8)) {
            return Err(unsupported(format!("{samples} values of {bits_allocated} bits make a pixel")));
        }
        if !(1..=bits_allocated).contains(&bits_stored) {
            let message = format!("the image is damaged ({bits_stored} bits are kept in {bits_allocated})");
            return Err(Failure::Content(message));
        }
        let header = Header { size: [rows.into(), columns.into()], channels: samples.into() };
        let layout = Self { header, bits_allocated };
        if layout.bytes() as u64 > MAX_BYTES { Err(too_large(layout.bytes() as u64)) } else { Ok(layout) }
    }

    fn bytes_per_value(&self) -> usize {
        usize::from(self.bits_allocated / 8)
    }

    /// Of the first picture.
    fn bytes(&self) -> usize {
        let Header { size: [rows, columns], channels } = self.header;
        rows * columns * channels * self.bytes_per_value()
    }

    /// A JPEG decoder takes the memory that the JPEG's own header claims.
    fn check_jpegs(&self, object: &DefaultDicomObject) -> Result<(), Failure> {
        let pixels = object.element(PIXELS).map_err(damaged)?;
        for fragment in pixels.fragments().into_iter().flatten().filter(|f| f.starts_with(jpeg::START)) {
            let mut decoder = jpeg_decoder::Decoder::new(fragment.as_slice());
            decoder.read_info().map_err(damaged)?;
            let found = decoder
                .info()
                .map_or(0, |info| usize::from(info.width) * usize::from(info.height) * info.pixel_format.pixel_bytes());
            if found != self.bytes() {
                let message = format!("the image is damaged (its JPEG has {found} bytes, not {})", self.bytes());
                return Err(Failure::Content(message));
            }
        }
        Ok(())
    }
}

/// Looks at the lengths of all elements before a reader takes as much memory as they claim.
fn check_lengths(bytes: &[u8]) -> Result<(), Failure> {
    let group = bytes.get(GROUP_LENGTH..GROUP_LENGTH + 4).and_then(|length| length.try_into().ok());
    let group_end = group.map(|length| GROUP_LENGTH + 4 + u32::from_le_bytes(length) as usize);
    let Some((meta, elements)) = group_end.and_then(|end| Some((bytes.get(START..end)?, bytes.get(end..)?))) else {
        return Err(Failure::Content("the image is cut short".into()));
    };
    let mut syntax = String::new();
    walk(meta, &EXPLICIT_VR_LITTLE_ENDIAN.erased(), |token| {
        if let LazyDataToken::LazyValue { header, .. } = &token
            && header.tag == TRANSFER_SYNTAX
        {
            let value = token.into_value().map_err(damaged)?;
            syntax = value.to_str().trim_end_matches(['\0', ' ']).to_owned();
            return Ok(());
        }
        token.skip().map_err(damaged)
    })?;
    let known = TransferSyntaxRegistry.get(&syntax).filter(|syntax| syntax.can_decode_all());
    let Some(syntax) = known else {
        return Err(unsupported(format!("its pixels are coded by transfer syntax {syntax}")));
    };
    walk(elements, syntax, |token| token.skip().map_err(damaged))
}

type Token<'a, 'b> = LazyDataToken<&'a mut dicom_parser::DynStatefulDecoder<Cursor<&'b [u8]>>>;

/// Hands on all values, each no longer than the whole.
fn walk<'b>(
    bytes: &'b [u8],
    syntax: &TransferSyntax,
    mut see: impl FnMut(Token<'_, 'b>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut reader = LazyDataSetReader::new_with_ts(Cursor::new(bytes), syntax).map_err(damaged)?;
    let mut nested = 0_usize;
    while let Some(token) = reader.advance() {
        let token = token.map_err(damaged)?;
        let length = match &token {
            LazyDataToken::LazyValue { header, .. } => header.len.0,
            LazyDataToken::LazyItemValue { len, .. } => *len,
            LazyDataToken::SequenceStart { .. } => {
                nested += 1;
                0
            }
            LazyDataToken::SequenceEnd => {
                nested = nested.saturating_sub(1);
                0
            }
            _ => 0,
        };
        if length as usize > bytes.len() || nested > MOST_NESTED {
            return Err(Failure::Content(format!(
                "the image is damaged or cut short (a part of it claims {length} bytes)"
            )));
        }
        see(token)?;
    }
    Ok(())
}

/// Bytes of the grey values.
fn grey(data: &DecodedPixelData<'_>, window: Window) -> Result<Vec<u8>, Failure> {
    let options = ConvertOptions::new().with_voi_lut(VoiLutOption::Identity);
    let values: Vec<f32> = data.to_vec_frame_with_options(0, &options).map_err(damaged)?;
    let suggested = if window == Window::File { suggested(data)? } else { None };
    // Bytes are left as they are, unless the file says how to look at them.
    let window = if data.bits_stored() <= 8 && suggested.is_none() { Window::Full } else { window };
    Ok(window.apply(&values, Levels { full: range(data)?, suggested }))
}

/// Least and most value that could be stored, rescaled.
fn range(data: &DecodedPixelData<'_>) -> Result<[f32; 2], Failure> {
    let count = f64::from(data.bits_stored()).exp2();
    let least = match data.pixel_representation() {
        PixelRepresentation::Signed => -count / 2.0,
        PixelRepresentation::Unsigned => 0.0,
    };
    let rescale = data.rescale().map_err(damaged)?.first().copied().unwrap_or(Rescale { slope: 1.0, intercept: 0.0 });
    let [a, b] = [least, least + count - 1.0].map(|value| rescale.apply(value) as f32);
    Ok([a.min(b), a.max(b)])
}

/// The file's window centre and width as least and most.
fn suggested(data: &DecodedPixelData<'_>) -> Result<Option<[f32; 2]>, Failure> {
    let remedy = "give a window as LOW:HIGH, or auto";
    let Some(window) = data.window().map_err(damaged)?.and_then(<[_]>::first) else {
        return match data.voi_lut_sequence().map_err(damaged)? {
            Some(_) => Err(unsupported(format!("it suggests a table instead of a window: {remedy}"))),
            None => Ok(None),
        };
    };
    let (center, width) = (window.center, window.width);
    let [low, high] = match data.voi_lut_function().map_err(damaged)?.and_then(<[_]>::first) {
        Some(VoiLutFunction::Sigmoid) => {
            return Err(unsupported(format!("it suggests a curve (SIGMOID) instead of a window: {remedy}")));
        }
        Some(VoiLutFunction::LinearExact) => [center - width / 2.0, center + width / 2.0],
        Some(VoiLutFunction::Linear) | None => [center - 0.5 - (width - 1.0) / 2.0, center - 0.5 + (width - 1.0) / 2.0],
    };
    Ok(Some([low as f32, high as f32]))
}

/// Values of a pixel side by side.
fn interleaved(data: &DecodedPixelData<'_>) -> Result<Vec<u8>, Failure> {
    let bytes = data.data();
    if data.planar_configuration() == PlanarConfiguration::Standard {
        return Ok(bytes.to_vec());
    }
    let plane = bytes.len() / 3;
    Ok((0..plane).flat_map(|pixel| [0, 1, 2].map(|channel| bytes[channel * plane + pixel])).collect())
}

/// Red, green and blue of luminance and two colour differences of full range, as in JPEG files.
fn rgb(ybr: &[u8]) -> Vec<u8> {
    let pixel = |ybr: &[u8]| {
        let [y, b, r] = [ybr[0], ybr[1], ybr[2]].map(f32::from);
        let (b, r) = (b - 128.0, r - 128.0);
        [y + 1.402 * r, y - 0.344_136 * b - 0.714_136 * r, y + 1.772 * b].map(|value| value.round() as u8)
    };
    ybr.chunks_exact(3).flat_map(pixel).collect()
}

fn damaged(error: impl std::fmt::Display) -> Failure {
    Failure::Content(format!("the DICOM image is damaged or cut short ({error})"))
}

fn unsupported(what: String) -> Failure {
    Failure::Content(format!("the DICOM image is of a kind that is not supported: {what}"))
}
