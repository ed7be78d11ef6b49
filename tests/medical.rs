//! Medical pictures: DICOM files read as pydicom reads them, values of more than 8 bits through a window, patients on one side of
//! a split, and runs on all of it from training to the model card.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use image::{ImageBuffer, Luma};
use ocellus::data::{Header, Image, Window};
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/dicom").join(name)
}

/// What pydicom reads; `tests/fixtures/dicom/make.py` makes files and record.
#[derive(Deserialize)]
struct Recorded {
    photometric: String,
    /// Rescaled where grey.
    values: Vec<f64>,
    /// Least and most that could be.
    full: Option<[f64; 2]>,
    /// After the file's window, from 0 to 255.
    windowed: Option<Vec<f64>>,
}

fn recorded() -> BTreeMap<String, Recorded> {
    serde_json::from_slice(&fs::read(fixture("recorded.json")).unwrap()).unwrap()
}

/// Within half a step, and rounding of 32-bit numbers.
fn assert_bytes(name: &str, found: &[u8], expected: impl Iterator<Item = f64>) {
    let expected: Vec<f64> = expected.collect();
    assert_eq!(found.len(), expected.len(), "{name}");
    for (i, (&found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            (f64::from(found) - expected.clamp(0.0, 255.0)).abs() < 0.501,
            "{name} at {i}: {found}, not {expected}"
        );
    }
}

#[test]
fn dicom_files_are_read_as_pydicom_reads_them() {
    for (name, expected) in recorded() {
        let path = fixture(&format!("{name}.dcm"));
        let open = |window: Window| Image::open_with(&path, window).unwrap();
        let image = open(Window::Full);
        let channels = if expected.full.is_some() { 1 } else { 3 };
        assert_eq!((image.size, image.channels), ([12, 16], channels), "{name}");
        assert_eq!(Header::open(&path).unwrap(), Header { size: [12, 16], channels }, "{name}");
        let Some([least, most]) = expected.full else {
            // JPEG at quality 95 differs from what went in by a little.
            let far = image.pixels.iter().zip(&expected.values).filter(|&(&a, &b)| (f64::from(a) - b).abs() > 12.0);
            assert_eq!(far.count(), 0, "{name}");
            continue;
        };
        let inverted = expected.photometric == "MONOCHROME1";
        let turned = |value: f64| if inverted { 255.0 - value.clamp(0.0, 255.0) } else { value };
        let spread = |[low, high]: [f64; 2]| {
            expected.values.iter().map(move |value| turned((value - low) / (high - low) * 255.0))
        };
        assert_bytes(&name, &image.pixels, spread([least, most]));
        let range = [100.5, 900.25];
        let ranged = open(Window::Range(range.map(|value| value as f32)));
        match name.as_str() {
            "bytes" => assert_eq!(ranged, image, "bytes stay as they are"),
            _ => assert_bytes(&name, &ranged.pixels, spread(range)),
        }
        match expected.windowed {
            Some(windowed) => assert_bytes(&name, &open(Window::File).pixels, windowed.into_iter()),
            None => assert_eq!(open(Window::File), open(Window::Auto), "{name}"),
        }
    }
}

/// The file with `value` in front of which `tag` stands, in explicit little endian with a short length.
fn with_value(file: &[u8], tag: [u16; 2], value: u16) -> Vec<u8> {
    let mut bytes = file.to_vec();
    let tag: Vec<u8> = tag.into_iter().flat_map(u16::to_le_bytes).collect();
    let at = bytes.windows(4).position(|window| window == tag).unwrap() + 8;
    bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
    bytes
}

#[test]
fn what_cannot_be_read_is_told() {
    let file = fs::read(fixture("ct.dcm")).unwrap();
    let message = |bytes: &[u8]| Image::decode(bytes).unwrap_err().to_string();
    for length in [132, 150, 400, file.len() - 100] {
        let message = message(&file[..length]);
        assert!(message.contains("cut short"), "{length}: {message}");
    }
    let message_with = |tag, value| message(&with_value(&file, tag, value));
    assert!(message_with([0x28, 0x10], 0).contains("16x0 pixels"));
    assert!(message_with([0x28, 0x100], 32).contains("1 values of 32 bits"));
    assert!(message_with([0x28, 0x101], 40).contains("40 bits are kept in 16"));
    let huge = with_value(&with_value(&file, [0x28, 0x10], 65535), [0x28, 0x11], 65535);
    assert!(message(&huge).contains("more than the 512 allowed"), "{}", message(&huge));
    let at = file.windows(20).position(|w| w == b"1.2.840.10008.1.2.1\0").unwrap();
    let mut other = file.clone();
    other[at..at + 20].copy_from_slice(b"1.2.840.10008.1.2.9\0");
    assert!(message(&other).contains("transfer syntax 1.2.840.10008.1.2.9"), "{}", message(&other));
}

#[test]
fn memory_that_a_file_merely_claims_is_not_taken() {
    let file = fs::read(fixture("ct.dcm")).unwrap();
    // The pixels: OW, two empty bytes, a length of four. An address space of 2 GiB would do, a claim of 4 GiB is refused at once.
    let at = file.windows(6).position(|w| w == [0xe0, 0x7f, 0x10, 0x00, b'O', b'W']).unwrap() + 8;
    let mut claim = file.clone();
    claim[at..at + 4].copy_from_slice(&0xffff_fff0_u32.to_le_bytes());
    let message = Image::decode(&claim).unwrap_err().to_string();
    assert!(message.contains("claims 4294967280 bytes"), "{message}");
    let jpeg = fs::read(fixture("lossless.dcm")).unwrap();
    let at = jpeg.windows(2).rposition(|w| w == [0xff, 0xc3]).unwrap() + 5;
    let mut claim = jpeg.clone();
    claim[at..at + 4].copy_from_slice(&[0xff; 4]);
    let message = Image::decode(&claim).unwrap_err().to_string();
    assert!(message.contains("its JPEG has 8589672450 bytes"), "{message}");
}

#[test]
fn sequences_nested_without_end_are_refused() {
    let file = fs::read(fixture("ct.dcm")).unwrap();
    let at = file.windows(4).position(|w| w == [0x28, 0x00, 0x02, 0x00]).unwrap();
    let sequence =
        [&[0x08, 0x00, 0x40, 0x11][..], b"SQ\0\0", &[0xff; 4], &[0xfe, 0xff, 0x00, 0xe0], &[0xff; 4]].concat();
    let deep = [&file[..at], &sequence.repeat(20_000), &file[at..]].concat();
    let message = Image::decode(&deep).unwrap_err().to_string();
    assert!(message.contains("damaged"), "{message}");
}
