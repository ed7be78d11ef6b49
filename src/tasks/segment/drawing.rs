use crate::data::{Image, UNLABELLED};

/// Colours of classes, told apart by most people; the first, as a rule what is behind everything, is dark.
/// Source: Okabe & Ito, Color universal design, 2008, <https://jfly.uni-koeln.de/color/>, then darker and lighter ones.
const COLORS: [[u8; 3]; 16] = [
    [30, 30, 30],
    [230, 159, 0],
    [86, 180, 233],
    [0, 158, 115],
    [240, 228, 66],
    [0, 114, 178],
    [213, 94, 0],
    [204, 121, 167],
    [148, 103, 189],
    [255, 187, 120],
    [140, 86, 75],
    [152, 223, 138],
    [197, 176, 213],
    [31, 220, 220],
    [255, 152, 150],
    [127, 127, 127],
];

/// The colour of a class.
pub(super) fn color(class: u8) -> [u8; 3] {
    COLORS[usize::from(class) % COLORS.len()]
}

/// A picture under the colours of its classes; what has none stays as it is. Of two classes only the second is coloured.
pub(super) fn overlay(picture: &Image, classes: &[u8], of_two: bool) -> Image {
    const SHARE: u16 = 55;
    let pixel = |(i, &class): (usize, &u8)| {
        let values = &picture.pixels[i * picture.channels..][..picture.channels];
        let own = [0, 1, 2].map(|c| values[c.min(values.len() - 1)]);
        if class == UNLABELLED || (of_two && class == 0) {
            return own;
        }
        let color = color(class);
        [0, 1, 2].map(|c| ((u16::from(own[c]) * (100 - SHARE) + u16::from(color[c]) * SHARE) / 100) as u8)
    };
    Image { size: picture.size, channels: 3, pixels: classes.iter().enumerate().flat_map(pixel).collect() }
}

/// A mask as a grey picture: classes whose names are grey values by them, of two classes black and white, else by number.
pub(super) fn mask(size: [usize; 2], classes: &[u8], names: &[String]) -> Image {
    let numbers: Option<Vec<u8>> = names.iter().map(|name| name.parse().ok()).collect();
    let value = |&class: &u8| match (&numbers, names.len()) {
        (Some(numbers), _) => numbers[usize::from(class)],
        (None, 2) => 255 * class,
        (None, _) => class,
    };
    Image { size, channels: 1, pixels: classes.iter().map(value).collect() }
}
