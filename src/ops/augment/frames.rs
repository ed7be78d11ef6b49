use super::augment;
use crate::error::{Error, Result};
use crate::graph::{Graph, Value};
use crate::ops::{gather, reshape};
use crate::tensor::Tensor;

/// As [`augment`], for sequences: each of the `frames` that stand below one another in an image is changed as its row says, all
/// of them alike.
///
/// `images` is u8 `[n, frames · h, w, c]`, `rows` f32 `[n, 32]` of images of `h` by `w`, the result f32 `[n, frames · h, w, c]`.
///
/// Errors: as [`augment`]; if the height does not divide into the frames.
pub fn augment_frames(
    graph: &mut Graph,
    images: Value,
    rows: Value,
    frames: usize,
    mean: &[f32],
    std: &[f32],
) -> Result<Value> {
    let [n, height, w, c] = graph.shape(images).expect("augment", "the batch of images")?;
    if frames == 1 {
        return augment(graph, images, rows, [height, w], mean, std);
    }
    if frames == 0 || !height.is_multiple_of(frames) {
        return Err(Error::shape("augment", format!("a height of {height} does not divide into {frames} frames")));
    }
    let h = height / frames;
    let single = reshape(graph, images, [n * frames, h, w, c])?;
    let owner: Vec<i32> = (0..n * frames).map(|frame| (frame / frames) as i32).collect();
    let owner = graph.constant(Tensor::new([n * frames], owner)?);
    let rows = gather(graph, rows, owner)?;
    let changed = augment(graph, single, rows, [h, w], mean, std)?;
    reshape(graph, changed, [n, height, w, c])
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::graph::evaluate;
    use crate::ops::AugmentRow;
    use crate::tensor::{Array, DType, Meta};

    #[test]
    fn every_frame_is_changed_alike() {
        let mut graph = Graph::new();
        let images = graph.input("images", Meta::new([2, 6, 2, 1], DType::U8));
        let rows = graph.input("rows", Meta::f32([2, AugmentRow::LEN]));
        let result = augment_frames(&mut graph, images, rows, 3, &[0.0], &[1.0]).unwrap();
        let pixels: Vec<f64> = (0..24).map(f64::from).collect();
        // The second sequence is turned upside down, frame by frame.
        let flipped = AugmentRow { line: [0.0, -1.0, 1.0, 0.0], ..AugmentRow::STILL };
        let both = [AugmentRow::STILL, flipped];
        let numbers: &[f32] = bytemuck::cast_slice(&both);
        let array = |shape: &[usize], data: Vec<f64>| Array { shape: shape.into(), data };
        let given = HashMap::from([
            (images, array(&[2, 6, 2, 1], pixels.clone())),
            (rows, array(&[2, AugmentRow::LEN], numbers.iter().copied().map(f64::from).collect())),
        ]);
        let values = evaluate(&graph, &given).swap_remove(result.index());
        let expected: Vec<f64> =
            [14, 15, 12, 13, 18, 19, 16, 17, 22, 23, 20, 21].iter().map(|&v| f64::from(v) / 255.0).collect();
        let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9);
        let plain: Vec<f64> = pixels[..12].iter().map(|v| v / 255.0).collect();
        assert!(close(&values.data[..12], &plain) && close(&values.data[12..], &expected), "{:?}", values.data);
        assert!(augment_frames(&mut graph, images, rows, 4, &[0.0], &[1.0]).is_err());
    }
}
