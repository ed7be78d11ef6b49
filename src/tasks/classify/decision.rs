use serde::Serialize;

use super::Scores;

/// What it is worth to treat those whose probability of a class is at least a threshold: images of the class that are found, less
/// others that are mistaken for it, weighed by what the threshold says of their price, as a share of all images. Treating
/// nobody is worth 0.
///
/// Source: Vickers & Elkin, Decision curve analysis, Medical Decision Making 26, 2006,
/// <https://doi.org/10.1177/0272989X06295361>.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct NetBenefit {
    /// From which probability on one would treat.
    pub threshold: f64,
    /// Of treating by the network's probabilities.
    pub network: f64,
    /// Of treating all.
    pub all: f64,
}

impl Scores {
    /// The net benefit for a class, against the rest, at thresholds that divide 0 to 1 into so many steps, without the ends.
    pub fn decision_curve(&self, class: usize, steps: usize) -> Vec<NetBenefit> {
        let n = self.truth.len().max(1) as f64;
        let of_class = self.truth.iter().filter(|&&truth| truth == class).count() as f64;
        let mut images: Vec<(f32, bool)> = (self.probabilities.chunks_exact(self.classes).zip(&self.truth))
            .map(|(row, &truth)| (row[class], truth == class))
            .collect();
        images.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (mut treated, mut found) = (0, 0);
        let mut at = |threshold: f64| {
            while let Some(&(_, is_class)) = images.get(treated).filter(|image| image.0 >= threshold as f32) {
                found += usize::from(is_class);
                treated += 1;
            }
            let odds = threshold / (1.0 - threshold);
            let benefit = |found: f64, treated: f64| (found - (treated - found) * odds) / n;
            NetBenefit { threshold, network: benefit(found as f64, treated as f64), all: benefit(of_class, n) }
        };
        let mut curve: Vec<NetBenefit> = (1..steps).rev().map(|i| at(i as f64 / steps as f64)).collect();
        curve.reverse();
        curve
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_images_by_hand() {
        let mut scores = Scores::new(2);
        [(0, 0.1_f32), (0, 0.6), (1, 0.5), (1, 0.9)].into_iter().for_each(|(c, p)| scores.add(c, &[1.0 - p, p]));
        let curve = scores.decision_curve(1, 4);
        assert_eq!(curve.iter().map(|b| b.threshold).collect::<Vec<_>>(), [0.25, 0.5, 0.75]);
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} instead of {b}");
        // Two found, one mistaken, at odds of 1 to 3 and 1 to 1; then one found and none mistaken.
        curve.iter().zip([0.5 - 0.25 / 3.0, 0.25, 0.25]).for_each(|(b, expected)| close(b.network, expected));
        curve.iter().zip([0.5 - 0.5 / 3.0, 0.0, -1.0]).for_each(|(b, expected)| close(b.all, expected));
    }
}
