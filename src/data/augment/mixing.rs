use rand::RngExt;
use rand_distr::{Beta, Distribution};
use rand_pcg::Pcg64;

use super::Seed;
use crate::ops::MixRow;

/// How the images of a batch are mixed: each with its neighbour, the first with the second, the third with the fourth and so
/// on; as batches are shuffled, that is anyone. The last of an odd number stays as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixes {
    /// `[n]`.
    pub rows: Vec<MixRow>,
    /// `[n]`, the labels of the partners.
    pub labels: Vec<i32>,
    /// `[n]`, how much of the label is the image's own; the rest is the partner's.
    pub shares: Vec<f32>,
}

impl Mixes {
    /// Images that are mixed with each other, so that a batch is only divided between multiples of it.
    pub const TOGETHER: usize = 2;

    /// `strengths` are those of mixup and CutMix.
    pub(super) fn draw(
        strengths: [f32; 2],
        seed: Seed,
        epoch: u64,
        images: &[usize],
        labels: &[i32],
        size: [usize; 2],
    ) -> Self {
        let mut mixes = Self { rows: Vec::new(), labels: Vec::new(), shares: Vec::new() };
        for (images, labels) in images.chunks(Self::TOGETHER).zip(labels.chunks(Self::TOGETHER)) {
            let mut rng = seed.generator("mix", &[epoch, images[0] as u64]);
            let (row, share) = match images.len() {
                Self::TOGETHER => draw(strengths, size, &mut rng),
                _ => (MixRow::ALONE, 1.0),
            };
            for (at, label) in labels.iter().rev().enumerate() {
                let partner = if labels.len() == 1 { 0.0 } else { 1.0 - 2.0 * at as f32 };
                mixes.rows.push(MixRow { partner, ..row });
                mixes.labels.push(*label);
                mixes.shares.push(share);
            }
        }
        mixes
    }
}

/// For a pair, and the share of its own label that each keeps.
fn draw([mixup, cutmix]: [f32; 2], size: [usize; 2], rng: &mut Pcg64) -> (MixRow, f32) {
    let cuts = match (mixup > 0.0, cutmix > 0.0) {
        (true, true) => rng.random::<bool>(),
        (_, cutmix) => cutmix,
    };
    let strength = f64::from(if cuts { cutmix } else { mixup });
    // Beta is undefined for nothing but strengths that are not positive.
    let share = Beta::new(strength, strength).map_or(1.0, |beta| beta.sample(rng));
    if !cuts {
        return (MixRow { share: share as f32, ..MixRow::ALONE }, share as f32);
    }
    let side = (1.0 - share).sqrt() / 2.0;
    let mut edges = |extent: usize| {
        let extent = extent as f64;
        let centre = extent * rng.random::<f64>();
        [centre - side * extent, centre + side * extent].map(|edge| edge.round().clamp(0.0, extent) as f32)
    };
    let ([top, bottom], [left, right]) = (edges(size[0]), edges(size[1]));
    let cut = (right - left) * (bottom - top) / (size[0] * size[1]) as f32;
    (MixRow { rectangle: [left, top, right, bottom], ..MixRow::ALONE }, 1.0 - cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixes(strengths: [f32; 2], n: usize) -> Mixes {
        let images: Vec<usize> = (0..n).collect();
        let labels: Vec<i32> = (0..n as i32).collect();
        Mixes::draw(strengths, Seed(3), 1, &images, &labels, [8, 10])
    }

    #[test]
    fn neighbours_are_partners_and_share_alike() {
        let mixes = mixes([0.4, 0.0], 5);
        assert_eq!(mixes.labels, [1, 0, 3, 2, 4]);
        assert_eq!(mixes.rows.iter().map(|row| row.partner).collect::<Vec<_>>(), [1.0, -1.0, 1.0, -1.0, 0.0]);
        assert_eq!(mixes.shares[0], mixes.shares[1]);
        assert_ne!(mixes.shares[0], mixes.shares[2]);
        assert_eq!(mixes.shares[4], 1.0);
        assert!(mixes.rows.iter().zip(&mixes.shares).all(|(row, share)| row.share == *share));
    }

    #[test]
    fn shares_are_distributed_as_asked() {
        // Beta(a, a) has mean 1/2 and variance 1 / (4 (2a + 1)).
        for strength in [0.2_f32, 1.0, 5.0] {
            let mixes = mixes([strength, 0.0], 20_000);
            let shares: Vec<f64> = mixes.shares.iter().step_by(2).copied().map(f64::from).collect();
            let mean = shares.iter().sum::<f64>() / shares.len() as f64;
            let variance = shares.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / shares.len() as f64;
            let expected = 1.0 / (4.0 * (2.0 * f64::from(strength) + 1.0));
            assert!((mean - 0.5).abs() < 0.02 && (variance - expected).abs() < 0.01, "{mean} {variance} {expected}");
        }
    }

    #[test]
    fn what_is_cut_counts_by_its_area() {
        for (row, share) in mixes([0.0, 1.0], 400).rows.iter().zip(&mixes([0.0, 1.0], 400).shares) {
            let [left, top, right, bottom] = row.rectangle;
            assert!(left >= 0.0 && top >= 0.0 && right <= 10.0 && bottom <= 8.0);
            assert!((1.0 - (right - left) * (bottom - top) / 80.0 - share).abs() < 1e-6);
            assert_eq!(row.share, 1.0);
        }
    }

    #[test]
    fn with_both_each_pair_is_mixed_one_way() {
        let mixes = mixes([1.0, 1.0], 400);
        let cut = mixes.rows.iter().filter(|row| row.rectangle != [0.0; 4]).count();
        let blended = mixes.rows.iter().filter(|row| row.share < 1.0).count();
        assert!((140..260).contains(&cut), "{cut} of 400");
        assert!(cut + blended <= 400 && blended > 140);
    }
}
