use crate::data::Image;

/// How much each pixel of a picture counts for a class; where the method tells so, below 0 against it.
#[derive(Clone, Debug, PartialEq)]
pub struct Heatmap {
    /// Height and width.
    pub size: [usize; 2],
    /// Row by row.
    pub values: Vec<f32>,
}

impl Heatmap {
    /// A map of another size, between whose places is interpolated.
    pub fn stretched(values: &[f32], from: [usize; 2], to: [usize; 2]) -> Self {
        let place = |i: usize, axis: usize| {
            let at = (i as f32 + 0.5) * from[axis] as f32 / to[axis] as f32 - 0.5;
            let at = at.clamp(0.0, (from[axis] - 1) as f32);
            (at as usize, (at as usize + 1).min(from[axis] - 1), at.fract())
        };
        let mut stretched = Vec::with_capacity(to[0] * to[1]);
        for y in 0..to[0] {
            let (top, bottom, down) = place(y, 0);
            for x in 0..to[1] {
                let (left, right, across) = place(x, 1);
                let row = |y: usize| values[y * from[1] + left] * (1.0 - across) + values[y * from[1] + right] * across;
                stretched.push(row(top) * (1.0 - down) + row(bottom) * down);
            }
        }
        Self { size: to, values: stretched }
    }

    /// Places of the pixels, those that count most first; equal ones from left to right.
    pub fn ranking(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.values.len()).collect();
        order.sort_by(|&a, &b| self.values[b].total_cmp(&self.values[a]));
        order
    }

    /// Spearman's correlation of the ranks of two maps of one size: 1 if they agree, about 0 if they have nothing in common. Equal
    /// values share a rank; with an even map it is 0.
    pub fn rank_correlation(&self, other: &Self) -> f64 {
        let (a, b) = (self.centred_ranks(), other.centred_ranks());
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let norm = (dot(&a, &a) * dot(&b, &b)).sqrt();
        if norm == 0.0 { 0.0 } else { dot(&a, &b) / norm }
    }

    /// Ranks of the pixels less their mean.
    fn centred_ranks(&self) -> Vec<f64> {
        let order = self.ranking();
        let mean = (order.len() as f64 - 1.0) / 2.0;
        let mut ranks = vec![0.0; order.len()];
        let mut start = 0;
        while start < order.len() {
            let equal = order[start..].iter().take_while(|&&at| self.values[at] == self.values[order[start]]).count();
            let shared = start as f64 + (equal as f64 - 1.0) / 2.0 - mean;
            order[start..start + equal].iter().for_each(|&at| ranks[at] = shared);
            start += equal;
        }
        ranks
    }

    /// The picture, in grey, under what speaks for the class, from blue over yellow to red.
    pub fn over(&self, picture: &Image) -> Image {
        let [height, width] = picture.size;
        let map = Self::stretched(&self.values, self.size, picture.size);
        let most = map.values.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
        let mut pixels = Vec::with_capacity(height * width * 3);
        for (i, value) in map.values.iter().enumerate() {
            let pixel = &picture.pixels[i * picture.channels..][..picture.channels];
            let grey = pixel.iter().map(|&byte| f32::from(byte)).sum::<f32>() / picture.channels as f32;
            let heat = (value / most).clamp(0.0, 1.0);
            let share = 0.25 + 0.4 * heat;
            pixels.extend(colour(heat).map(|c| (grey * (1.0 - share) + c * share).round() as u8));
        }
        Image { size: picture.size, channels: 3, pixels }
    }
}

/// From dark blue over turquoise and yellow to red.
fn colour(heat: f32) -> [f32; 3] {
    const STOPS: [[f32; 3]; 4] = [[20.0, 20.0, 120.0], [30.0, 170.0, 180.0], [250.0, 230.0, 60.0], [210.0, 20.0, 20.0]];
    let at = heat * (STOPS.len() - 1) as f32;
    let (stop, share) = ((at as usize).min(STOPS.len() - 2), at - (at as usize).min(STOPS.len() - 2) as f32);
    [0, 1, 2].map(|c| STOPS[stop][c] * (1.0 - share) + STOPS[stop + 1][c] * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretching_keeps_what_is_even_and_interpolates() {
        let even = Heatmap::stretched(&[2.0; 4], [2, 2], [5, 3]);
        assert!(even.values.iter().all(|v| (v - 2.0).abs() < 1e-6));
        let ramp = Heatmap::stretched(&[0.0, 1.0], [1, 2], [1, 4]);
        assert_eq!(ramp.values, [0.0, 0.25, 0.75, 1.0]);
    }

    #[test]
    fn ranks_that_agree_correlate() {
        let map = |values: &[f32]| Heatmap { size: [1, values.len()], values: values.to_vec() };
        let up = map(&[1.0, 2.0, 3.0, 4.0]);
        assert_eq!(up.rank_correlation(&map(&[10.0, 20.0, 30.0, 99.0])), 1.0);
        assert_eq!(up.rank_correlation(&map(&[4.0, 3.0, 2.0, 1.0])), -1.0);
        assert_eq!(up.rank_correlation(&map(&[5.0; 4])), 0.0);
        // By hand: ranks 1.5, -0.5, -0.5, -0.5 and 1.5, 0.5, -0.5, -1.5, both descending.
        let tied = map(&[0.0, 0.0, 0.0, 7.0]);
        assert!((up.rank_correlation(&tied) - 3.0 / 15.0_f64.sqrt()).abs() < 1e-12);
    }
}
