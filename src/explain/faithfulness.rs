//! Whether the pixels that a map names are those on which the answer rests.
//!
//! Source: Petsiuk, Das & Saenko, RISE, 2018, <https://arxiv.org/abs/1806.07421>.

use super::{Heatmap, Score, Watched};
use crate::error::Result;

/// The probability of a class as pixels go, or come, those that count most first.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// From no pixel changed to all.
    pub probabilities: Vec<f32>,
}

/// Points of a curve besides its start.
const POINTS: usize = 32;

impl Curve {
    /// The area under it, from 0 to 1, by the trapezoidal rule.
    pub fn area(&self) -> f64 {
        let pairs = self.probabilities.windows(2).map(|pair| f64::from(pair[0] + pair[1]) / 2.0);
        pairs.sum::<f64>() / (self.probabilities.len() - 1) as f64
    }
}

/// Pixels become the mean colour, those that count most first. The faster the probability falls, the better the map.
///
/// Errors: if the device is lost.
pub fn deletion(watched: &mut Watched, map: &Heatmap, picture: &[f32], score: &Score) -> Result<Curve> {
    curve(watched, &map.ranking(), picture.to_vec(), &vec![0.0; picture.len()], score)
}

/// Pixels come into an even picture of the mean colour. The faster the probability rises, the better the map.
///
/// Errors: if the device is lost.
pub fn insertion(watched: &mut Watched, map: &Heatmap, picture: &[f32], score: &Score) -> Result<Curve> {
    curve(watched, &map.ranking(), vec![0.0; picture.len()], picture, score)
}

fn curve(watched: &mut Watched, order: &[usize], start: Vec<f32>, end: &[f32], score: &Score) -> Result<Curve> {
    let [.., channels] = watched.input();
    let mut picture = start;
    let mut pictures = vec![picture.clone()];
    for point in 0..POINTS {
        let part = order.len() * point / POINTS..order.len() * (point + 1) / POINTS;
        for &at in &order[part] {
            picture[at * channels..][..channels].copy_from_slice(&end[at * channels..][..channels]);
        }
        pictures.push(picture.clone());
    }
    Ok(Curve { probabilities: watched.probabilities(&pictures, score)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_are_means() {
        assert_eq!(Curve { probabilities: vec![1.0, 1.0, 1.0] }.area(), 1.0);
        assert_eq!(Curve { probabilities: vec![1.0, 0.0] }.area(), 0.5);
        assert_eq!(Curve { probabilities: vec![1.0, 0.0, 0.0] }.area(), 0.25);
    }
}
