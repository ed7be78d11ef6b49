//! Small pictures and data sets for the tests of this room.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};

/// The file that a picture in some format is.
pub fn encode(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// One colour all over.
pub fn plain(width: u32, height: u32, color: [u8; 3]) -> RgbImage {
    RgbImage::from_pixel(width, height, Rgb(color))
}

/// Red on the left, blue on the right.
pub fn red_and_blue(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, _| Rgb(if x < width / 2 { [255, 0, 0] } else { [0, 0, 255] }))
}

/// Writes a file, and the folders that it is in; returns its path.
pub fn write(root: &Path, name: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

/// Writes `count` PNGs of 4x4 pixels into a folder for each class. The pixels of image `i` of class `c` are
/// `[10·c, i, 0]`.
pub fn class_folders(root: &Path, classes: &[(&str, u8)]) {
    for (class, &(name, count)) in (0..).zip(classes) {
        for i in 0..count {
            let picture = plain(4, 4, [10 * class, i, 0]);
            write(root, format!("{name}/{i:03}.png"), encode(picture, ImageFormat::Png));
        }
    }
}
