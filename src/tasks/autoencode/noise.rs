use rand_distr::{Distribution, StandardNormal};

use crate::data::{Seed, Targets};
use crate::error::Result;
use crate::ops::AugmentRow;

/// Noise for each picture that is judged, the same at each time: f32 `[n, h, w, c]`, of standard deviation 1.
#[derive(Debug)]
pub(super) struct Noise {
    pub values: usize,
}

/// The input of the graph.
pub(super) const NOISE: &str = "noise";

impl Targets for Noise {
    fn inputs(&self) -> Vec<(&'static str, usize)> {
        vec![(NOISE, self.values)]
    }

    fn fill(&self, index: usize, _row: &AugmentRow, into: &mut [&mut [u32]]) -> Result<()> {
        let mut generator = Seed(0).generator(NOISE, &[index as u64]);
        for word in into[0].iter_mut() {
            let value: f32 = StandardNormal.sample(&mut generator);
            *word = value.to_bits();
        }
        Ok(())
    }
}
