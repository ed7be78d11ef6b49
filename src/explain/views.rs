use crate::data::Image;
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// Pixels to which a small tile is enlarged.
const SIDE: usize = 48;
const GAP: usize = 2;

/// The kernels `[height, width, channels, filters]` of a convolution on pictures, each as a picture: zero is grey, and the
/// largest weight of all black or white.
///
/// Errors: if they are not for pictures of 1 or 3 channels.
pub fn filters(weight: &Tensor) -> Result<Image> {
    let &[height, width, channels, count] = weight.shape().dims() else {
        return Err(Error::config("only kernels of convolutions can be drawn"));
    };
    if channels != 1 && channels != 3 {
        return Err(Error::config(format!(
            "kernels on {channels} channels are no pictures: draw those of the first layer"
        )));
    }
    let values = weight.f32();
    let most = values.iter().fold(f32::MIN_POSITIVE, |most, v| most.max(v.abs()));
    let tile = |filter: usize| {
        let byte = |i: usize| (127.5 + 127.5 * values[i * count + filter] / most).round() as u8;
        Image { size: [height, width], channels, pixels: (0..height * width * channels).map(byte).collect() }
    };
    Ok(sheet(&(0..count).map(tile).collect::<Vec<_>>()))
}

/// The channels of a map `[height, width, channels]`, each as a picture from its least to its largest value.
pub fn channels(map: &[f32], [height, width, channels]: [usize; 3]) -> Image {
    let tile = |channel: usize| {
        let own = || map.iter().skip(channel).step_by(channels);
        let (least, most) = own().fold((f32::MAX, f32::MIN), |(a, b), &v| (a.min(v), b.max(v)));
        let byte = |v: &f32| (255.0 * (v - least) / (most - least).max(f32::MIN_POSITIVE)).round() as u8;
        Image { size: [height, width], channels: 1, pixels: own().map(byte).collect() }
    };
    sheet(&(0..channels).map(tile).collect::<Vec<_>>())
}

/// Tiles of one size in rows, as a square about.
fn sheet(tiles: &[Image]) -> Image {
    let [height, width] = tiles[0].size;
    let times = (SIDE / height.max(width)).max(1);
    let [cell_height, cell_width] = [height * times + GAP, width * times + GAP];
    let columns = (tiles.len() as f64).sqrt().ceil() as usize;
    let size = [tiles.len().div_ceil(columns) * cell_height + GAP, columns * cell_width + GAP];
    let mut pixels = vec![0; size[0] * size[1] * 3];
    for (number, tile) in tiles.iter().enumerate() {
        let [top, left] = [GAP + number / columns * cell_height, GAP + number % columns * cell_width];
        for (y, x) in (0..height * times).flat_map(|y| (0..width * times).map(move |x| (y, x))) {
            let from = &tile.pixels[(y / times * width + x / times) * tile.channels..][..tile.channels];
            let to = ((top + y) * size[1] + left + x) * 3;
            (0..3).for_each(|c| pixels[to + c] = from[c.min(from.len() - 1)]);
        }
    }
    Image { size, channels: 3, pixels }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_stand_beside_each_other() {
        // Two 1x1 kernels on grey pictures: the largest weight and half of it, against.
        let image = filters(&Tensor::new([1, 1, 1, 2], vec![0.5, -0.25]).unwrap()).unwrap();
        assert_eq!(image.size, [SIDE + 2 * GAP, 2 * (SIDE + GAP) + GAP]);
        let at = |x: usize| image.pixels[(GAP * image.size[1] + x) * 3];
        assert_eq!([at(0), at(GAP), at(2 * GAP + SIDE)], [0, 255, 64]);
        let wrong = filters(&Tensor::new([1, 1, 2, 1], vec![0.0; 2]).unwrap()).unwrap_err();
        assert!(wrong.to_string().contains("first layer"));
    }

    #[test]
    fn channels_reach_from_black_to_white() {
        let image = channels(&[1.0, 5.0, 3.0, 5.0], [1, 2, 2]);
        let at = |x: usize| image.pixels[(GAP * image.size[1] + x) * 3];
        assert_eq!([at(GAP), at(GAP + SIDE - 1)], [0, 255]);
        assert_eq!(at(2 * GAP + SIDE), 0, "an even channel");
    }
}
