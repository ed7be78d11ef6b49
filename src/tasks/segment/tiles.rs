use super::Segmenter;
use crate::data::{Batch, Image, Region};
use crate::error::Result;
use crate::train::Session;

/// Share of a tile by which neighbours overlap.
const OVERLAP: usize = 4;
/// Tiles that are looked at together.
const TOGETHER: usize = 8;

/// Probabilities of the pixels of a picture, `[height, width, channels]` row by row.
pub(super) struct Map {
    pub size: [usize; 2],
    pub channels: usize,
    pub values: Vec<f32>,
}

impl Map {
    /// Of another size, between whose places is interpolated.
    fn stretched(&self, size: [usize; 2]) -> Self {
        let place = |i: usize, axis: usize| {
            let at = (i as f32 + 0.5) * self.size[axis] as f32 / size[axis] as f32 - 0.5;
            let at = at.clamp(0.0, (self.size[axis] - 1) as f32);
            (at as usize, (at as usize + 1).min(self.size[axis] - 1), at.fract())
        };
        let columns: Vec<_> = (0..size[1]).map(|x| place(x, 1)).collect();
        let mut values = Vec::with_capacity(size[0] * size[1] * self.channels);
        for y in 0..size[0] {
            let (top, bottom, down) = place(y, 0);
            for &(left, right, across) in &columns {
                let at = |y: usize, x: usize, k: usize| self.values[(y * self.size[1] + x) * self.channels + k];
                values.extend((0..self.channels).map(|k| {
                    let row = |y: usize| at(y, left, k) * (1.0 - across) + at(y, right, k) * across;
                    row(top) * (1.0 - down) + row(bottom) * down
                }));
            }
        }
        Self { size, channels: self.channels, values }
    }
}

/// What the network says of each pixel of a picture of any size: resized to its size and back, or in tiles of its size that
/// overlap, where it was trained on tiles.
///
/// Errors: if the device fails.
pub(super) fn probabilities(session: &mut Session<Segmenter>, image: Image) -> Result<Map> {
    let ([h, w, channels], tiles) = (session.task().model.input, session.task().tiles);
    if tiles {
        return by_tiles(session, &image);
    }
    let size = image.size;
    let fitted = image.fit([h, w, channels])?;
    let outputs = session.infer(&Batch::of_images(&[fitted]))?;
    let map = Map { size: [h, w], channels: outputs[1].shape().last(), values: outputs[1].f32().to_vec() };
    Ok(map.stretched(size))
}

/// Each tile counts for a pixel by how far that is from the tile's edge.
fn by_tiles(session: &mut Session<Segmenter>, image: &Image) -> Result<Map> {
    let [h, w, channels] = session.task().model.input;
    let [height, width] = image.size;
    let regions = overlapping(image.size, [h, w]);
    let (mut sums, mut weights, mut outputs) = (Vec::new(), vec![0.0; height * width], 1);
    for regions in regions.chunks(TOGETHER) {
        let tiles: Vec<Image> =
            regions.iter().map(|region| image.cut(region).fit([h, w, channels])).collect::<Result<_>>()?;
        let found = session.infer(&Batch::of_images(&tiles))?.swap_remove(1);
        outputs = found.shape().last();
        sums.resize(height * width * outputs, 0.0);
        for (region, values) in regions.iter().zip(found.f32().chunks_exact(h * w * outputs)) {
            for (i, values) in values.chunks_exact(outputs).enumerate() {
                let (y, x) = (i / w, i % w);
                let [at_y, at_x] = [region.at[0] + y, region.at[1] + x];
                if at_y >= height || at_x >= width {
                    continue;
                }
                let weight = nearness(y, h) * nearness(x, w);
                let place = at_y * width + at_x;
                weights[place] += weight;
                let sums = &mut sums[place * outputs..][..outputs];
                sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * value);
            }
        }
    }
    sums.chunks_exact_mut(outputs).zip(&weights).for_each(|(sums, w)| sums.iter_mut().for_each(|s| *s /= w));
    Ok(Map { size: image.size, channels: outputs, values: sums })
}

/// From near 0 at the edges to 1 in the middle.
fn nearness(at: usize, extent: usize) -> f32 {
    (at.min(extent - 1 - at) + 1) as f32 / extent.div_ceil(2) as f32
}

/// Parts of `tile` pixels that cover a picture and overlap.
fn overlapping(picture: [usize; 2], tile: [usize; 2]) -> Vec<Region> {
    let along = |axis: usize| {
        let (extent, tile) = (picture[axis], tile[axis]);
        let last = extent.saturating_sub(tile);
        let step = (tile - tile / OVERLAP).max(1);
        (0..last).step_by(step).chain([last]).collect::<Vec<_>>()
    };
    let columns = along(1);
    let region = |top: usize, left: usize| Region {
        at: [top, left],
        size: tile,
        owned: [top..top + tile[0], left..left + tile[1]],
    };
    along(0).into_iter().flat_map(|top| columns.iter().map(move |&left| region(top, left))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_overlap_and_reach_every_edge() {
        let regions = overlapping([10, 8], [8, 8]);
        assert_eq!(regions.iter().map(|r| r.at).collect::<Vec<_>>(), [[0, 0], [2, 0]]);
        let regions = overlapping([5, 20], [8, 8]);
        assert_eq!(regions.iter().map(|r| r.at).collect::<Vec<_>>(), [[0, 0], [0, 6], [0, 12]]);
    }

    #[test]
    fn maps_are_interpolated() {
        let map = Map { size: [1, 2], channels: 2, values: vec![0.0, 1.0, 1.0, 0.0] };
        assert_eq!(map.stretched([1, 4]).values, [0.0, 1.0, 0.25, 0.75, 0.75, 0.25, 1.0, 0.0]);
    }
}
