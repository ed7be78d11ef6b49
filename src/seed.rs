//! Random numbers that follow from one seed, whoever asks first.

use rand::SeedableRng;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

/// The number from which every random choice of a run follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seed(pub u64);

impl Seed {
    /// The random numbers for one place in a run: `purpose` says what for, `position` where (epoch, sample, …).
    ///
    /// The same arguments always give the same numbers, and different ones unrelated numbers; so it does not matter
    /// which thread comes to a place first.
    pub fn generator(self, purpose: &str, position: &[u64]) -> Pcg64 {
        let words = purpose.bytes().map(u64::from).chain(position.iter().copied());
        Pcg64::seed_from_u64(words.fold(scramble(self.0), |state, word| scramble(state ^ scramble(word))))
    }
}

/// SplitMix64's step: neighbouring numbers come out unrelated.
/// Source: Steele, Lea & Flood, 2014, <https://doi.org/10.1145/2714064.2660195>.
fn scramble(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;

    #[test]
    fn a_place_has_its_own_numbers() {
        let first = |seed: u64, purpose, position: &[u64]| -> u64 { Seed(seed).generator(purpose, position).random() };
        assert_eq!(first(7, "shuffle", &[3]), first(7, "shuffle", &[3]));
        let all = [
            first(7, "shuffle", &[3]),
            first(8, "shuffle", &[3]),
            first(7, "augment", &[3]),
            first(7, "shuffle", &[4]),
            first(7, "shuffle", &[3, 0]),
            first(7, "shuffle", &[0, 3]),
        ];
        assert_eq!(all.iter().collect::<std::collections::HashSet<_>>().len(), all.len());
    }
}
