//! Event files of TensorBoard: scalars, pictures and histograms by step.
//!
//! A file is a sequence of records: length (u64, little-endian), masked CRC-32C of the length, data, masked CRC-32C of the
//! data. The data is a protocol buffer, `Event` of TensorFlow's `event.proto`; here are the fields that are written.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;

use crate::error::{Error, Result};

/// An event file under way.
pub struct Events {
    path: PathBuf,
    file: BufWriter<File>,
}

/// Of a histogram.
const BUCKETS: usize = 30;

impl Events {
    /// Starts a file in `folder`, beside those that are there. What they hold from `step` on, TensorBoard then forgets.
    ///
    /// Errors: if it cannot be written.
    pub fn create(folder: &Path, step: u64) -> Result<Self> {
        let seconds = now() as u64;
        let name = |i: u32| folder.join(format!("events.out.tfevents.{seconds:010}.{i}"));
        let mut number = 0;
        let (path, file) = loop {
            let path = name(number);
            match File::create_new(&path) {
                Ok(file) => break (path, file),
                Err(e) if e.kind() == ErrorKind::AlreadyExists => number += 1,
                Err(e) => return Err(Error::io("create", path, e)),
            }
        };
        let mut events = Self { path, file: BufWriter::new(file) };
        events.record(&Event { file_version: Some("brain.Event:2".into()), ..Event::at(0) })?;
        events.record(&Event { session_log: Some(SessionLog { status: SessionLog::START }), ..Event::at(step) })?;
        Ok(events)
    }

    /// Writes numbers under their names.
    pub fn scalars(&mut self, step: u64, values: &[(&str, f64)]) -> Result<()> {
        let value = |&(tag, x): &(&str, f64)| Value { simple_value: Some(x as f32), ..Value::named(tag) };
        self.summary(step, values.iter().map(value).collect())
    }

    /// Writes a PNG of `width` times `height` pixels.
    pub fn png(&mut self, step: u64, tag: &str, bytes: &[u8], [width, height]: [u32; 2]) -> Result<()> {
        let image =
            Image { height: height as i32, width: width as i32, colorspace: 3, encoded_image_string: bytes.to_vec() };
        self.summary(step, vec![Value { image: Some(image), ..Value::named(tag) }])
    }

    /// Writes how values are distributed, leaving out what is not finite.
    pub fn histograms<'a>(&mut self, step: u64, of: impl Iterator<Item = (String, &'a [f32])>) -> Result<()> {
        let value =
            |(tag, values): (String, &[f32])| Value { histo: Some(Histogram::of(values)), ..Value::named(&tag) };
        self.summary(step, of.map(value).collect())
    }

    /// Makes all that was written readable.
    pub fn flush(&mut self) -> Result<()> {
        self.file.flush().map_err(|e| Error::io("write", &self.path, e))
    }

    fn summary(&mut self, step: u64, value: Vec<Value>) -> Result<()> {
        self.record(&Event { summary: Some(Summary { value }), ..Event::at(step) })
    }

    fn record(&mut self, event: &Event) -> Result<()> {
        let data = event.encode_to_vec();
        let length = (data.len() as u64).to_le_bytes();
        let parts = [&length[..], &masked_crc(&length), &data, &masked_crc(&data)];
        parts.into_iter().try_for_each(|p| self.file.write_all(p)).map_err(|e| Error::io("write", &self.path, e))
    }
}

fn masked_crc(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    session_log: Option<SessionLog>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    #[prost(int32, tag = "1")]
    status: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
    #[prost(message, optional, tag = "4")]
    image: Option<Image>,
    #[prost(message, optional, tag = "5")]
    histo: Option<Histogram>,
}

#[derive(Clone, PartialEq, Message)]
struct Image {
    #[prost(int32, tag = "1")]
    height: i32,
    #[prost(int32, tag = "2")]
    width: i32,
    #[prost(int32, tag = "3")]
    colorspace: i32,
    #[prost(bytes = "vec", tag = "4")]
    encoded_image_string: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Histogram {
    #[prost(double, tag = "1")]
    min: f64,
    #[prost(double, tag = "2")]
    max: f64,
    #[prost(double, tag = "3")]
    num: f64,
    #[prost(double, tag = "4")]
    sum: f64,
    #[prost(double, tag = "5")]
    sum_squares: f64,
    /// Upper ends.
    #[prost(double, repeated, tag = "6")]
    bucket_limit: Vec<f64>,
    #[prost(double, repeated, tag = "7")]
    bucket: Vec<f64>,
}

impl Event {
    fn at(step: u64) -> Self {
        Self { wall_time: now(), step: step as i64, ..Self::default() }
    }
}

impl SessionLog {
    const START: i32 = 1;
}

impl Value {
    fn named(tag: &str) -> Self {
        Self { tag: tag.to_owned(), ..Self::default() }
    }
}

impl Histogram {
    /// In buckets of equal width.
    fn of(values: &[f32]) -> Self {
        let values: Vec<f64> = values.iter().filter(|v| v.is_finite()).map(|&v| f64::from(v)).collect();
        let (min, max) = values.iter().fold((f64::MAX, f64::MIN), |(a, b), &v| (a.min(v), b.max(v)));
        let (min, max) = if values.is_empty() { (0.0, 0.0) } else { (min, max) };
        let width = (max - min) / BUCKETS as f64;
        let buckets = if width > 0.0 { BUCKETS } else { 1 };
        let mut bucket = vec![0.0; buckets];
        for v in &values {
            let at = if width > 0.0 { ((v - min) / width) as usize } else { 0 };
            bucket[at.min(buckets - 1)] += 1.0;
        }
        Self {
            min,
            max,
            num: values.len() as f64,
            sum: values.iter().sum(),
            sum_squares: values.iter().map(|v| v * v).sum(),
            bucket_limit: (1..=buckets).map(|i| if i == buckets { max } else { min + width * i as f64 }).collect(),
            bucket,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CRC-32C bit by bit (Castagnoli's polynomial, reflected), and TensorFlow's mask.
    fn independent_crc(bytes: &[u8]) -> u32 {
        let mut crc = u32::MAX;
        for &byte in bytes {
            crc ^= u32::from(byte);
            (0..8).for_each(|_| crc = (crc >> 1) ^ (0x82f6_3b78 & 0_u32.wrapping_sub(crc & 1)));
        }
        let crc = !crc;
        crc.rotate_left(17).wrapping_add(0xa282_ead8)
    }

    fn read(path: &Path) -> Vec<Event> {
        let bytes = std::fs::read(path).unwrap();
        let mut rest = bytes.as_slice();
        let mut events = Vec::new();
        while !rest.is_empty() {
            let word = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            assert_eq!(word(8), independent_crc(&rest[..8]));
            let data = &rest[12..12 + length];
            assert_eq!(word(12 + length), independent_crc(data));
            events.push(Event::decode(data).unwrap());
            rest = &rest[16 + length..];
        }
        events
    }

    #[test]
    fn the_check_value_of_the_crc() {
        // RFC 3720, B.4: 32 bytes of zeros give 8a9136aa.
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(masked_crc(b"ocellus"), independent_crc(b"ocellus").to_le_bytes());
    }

    #[test]
    fn what_is_written_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let mut events = Events::create(folder.path(), 1).unwrap();
        events.scalars(7, &[("loss/train", 0.5), ("lr", 0.125)]).unwrap();
        events.png(7, "batch", b"png", [3, 2]).unwrap();
        events.histograms(8, [("dense/weight".to_owned(), &[0.0, 1.0, 3.0, f32::NAN][..])].into_iter()).unwrap();
        events.flush().unwrap();
        let read = read(&events.path);
        assert_eq!(read[0].file_version.as_deref(), Some("brain.Event:2"));
        assert_eq!((read[1].step, read[1].session_log.as_ref().unwrap().status), (1, 1));
        let values = |i: usize| read[i].summary.clone().unwrap().value;
        assert_eq!((read[2].step, values(2)[1].tag.as_str(), values(2)[1].simple_value), (7, "lr", Some(0.125)));
        assert_eq!(values(3)[0].image.as_ref().unwrap().width, 3);
        let h = values(4)[0].histo.clone().unwrap();
        assert_eq!((h.min, h.max, h.num, h.sum, h.sum_squares), (0.0, 3.0, 3.0, 4.0, 10.0));
        assert_eq!((h.bucket[0], h.bucket[10], h.bucket[29], h.bucket_limit[29]), (1.0, 1.0, 1.0, 3.0));
    }

    #[test]
    fn each_start_has_a_file_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = [1, 5].map(|step| Events::create(folder.path(), step).unwrap().path);
        assert!(first < second);
    }

    #[test]
    fn equal_values_and_none_have_a_histogram_too() {
        assert_eq!(Histogram::of(&[2.0, 2.0]).bucket, [2.0]);
        assert_eq!(Histogram::of(&[]).num, 0.0);
    }
}
