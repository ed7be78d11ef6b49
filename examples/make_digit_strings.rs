//! Writes pictures of digit strings to learn reading from: three to eight of MNIST's digits beside one another, at gaps and
//! heights drawn anew, so that strings of one length differ in width. Training strings are of MNIST's training digits, test
//! strings of its test digits.
//!
//!     cargo run --release --example make_digit_strings -- mnist digits 6000 1000
//!     ocellus train digits --task read
//!
//! `mnist` holds the IDX files, gzipped or not; `digits` gets the pictures and `texts.csv`.

use std::fs;
use std::path::Path;

use ocellus::data::{self, Dataset, Image, Part, Seed};
use ocellus::error::{Error, Result};
use rand::RngExt;

/// Most by which digits are moved up or down; pictures are as much higher than digits.
const SHIFT: i64 = 4;
/// Pixels between two digits; below 0 they overlap.
const GAPS: std::ops::RangeInclusive<i64> = -2..=6;
const MARGINS: std::ops::RangeInclusive<i64> = 0..=6;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let usage = || Error::config("make_digit_strings MNIST OUT TRAIN TEST: two folders and two numbers of strings");
    let [mnist, out, train, test] = arguments.as_slice() else { return Err(usage()) };
    let digits = data::open(mnist)?;
    let out = Path::new(out);
    let mut table = String::from("path,text,split\n");
    for (part, name, count) in [(Part::Train, "train", train), (Part::Test, "test", test)] {
        let count = count.parse().map_err(|_| usage())?;
        write_strings(&digits.clone().into_part(part), out, name, count, &mut table)?;
    }
    let path = out.join("texts.csv");
    fs::write(&path, table).map_err(|e| Error::io("write", path, e))
}

fn write_strings(digits: &Dataset, out: &Path, name: &str, count: u64, table: &mut String) -> Result<()> {
    if digits.is_empty() {
        return Err(Error::format(&digits.root, format!("has no digits to make {name} strings of")));
    }
    let folder = out.join(name);
    fs::create_dir_all(&folder).map_err(|e| Error::io("create", &folder, e))?;
    for number in 0..count {
        let mut rng = Seed(0).generator(name, &[number]);
        let mut strip = Strip::default();
        let mut text = String::new();
        strip.move_on(rng.random_range(MARGINS));
        for _ in 0..rng.random_range(3..=8) {
            let sample = &digits.samples[rng.random_range(0..digits.len())];
            strip.put(&sample.source.image()?, rng.random_range(-SHIFT..=SHIFT));
            strip.move_on(rng.random_range(GAPS));
            text += &digits.classes[sample.label];
        }
        strip.move_on(rng.random_range(MARGINS));
        strip.picture().save_png(&folder.join(format!("{number:05}.png")))?;
        *table += &format!("{name}/{number:05}.png,{text},{name}\n");
    }
    Ok(())
}

/// White on black, column by column.
#[derive(Default)]
struct Strip {
    columns: Vec<Vec<u8>>,
    at: usize,
}

impl Strip {
    /// Goes to the right, or back.
    fn move_on(&mut self, columns: i64) {
        self.at = self.at.saturating_add_signed(columns as isize);
    }

    /// Lays the inked columns of a digit over what is there; ink stays ink.
    fn put(&mut self, digit: &Image, shift: i64) {
        let [height, width] = digit.size;
        let column = |x: usize| (0..height).map(move |y| digit.pixels[y * width + x]);
        let inked: Vec<usize> = (0..width).filter(|&x| column(x).any(|value| value > 0)).collect();
        let (Some(&first), Some(&last)) = (inked.first(), inked.last()) else { return };
        let (above, below) = ((SHIFT + shift) as usize, (SHIFT - shift) as usize);
        for x in first..=last {
            let moved = std::iter::repeat_n(0, above).chain(column(x)).chain(std::iter::repeat_n(0, below));
            let place = self.at + x - first;
            self.columns.resize(self.columns.len().max(place + 1), vec![0; height + 2 * SHIFT as usize]);
            self.columns[place].iter_mut().zip(moved).for_each(|(there, value)| *there = value.max(*there));
        }
        self.at += last - first + 1;
    }

    /// As wide as it goes.
    fn picture(self) -> Image {
        let height = self.columns.first().map_or(1, Vec::len);
        let width = self.columns.len().max(self.at);
        let at = |y: usize, x: usize| self.columns.get(x).map_or(0, |column| column[y]);
        let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (y, x))).map(|(y, x)| at(y, x)).collect();
        Image { size: [height, width], channels: 1, pixels }
    }
}
