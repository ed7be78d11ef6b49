use std::collections::HashMap;

use rayon::prelude::*;

use super::fingerprint::Fingerprint;

/// Pictures that are the same, or nearly: two or more, in order.
pub(super) struct Group {
    /// Whether all are the same pixel for pixel.
    pub exact: bool,
    /// Positions.
    pub members: Vec<usize>,
}

/// Bits of a band: pictures are compared if the gradients of one of four bands agree.
const BAND: u32 = 16;
/// Most pictures of a band's value with which each is compared: photographs spread over far more values, but of digits on
/// black half begin alike.
const MOST_COMPARED: usize = 3_000;

/// All groups, in the order of their first members.
pub(super) fn groups(prints: &[&Fingerprint]) -> Vec<Group> {
    let mut firsts: HashMap<u64, usize> = HashMap::new();
    let mut parents: Vec<usize> = (0..prints.len()).collect();
    for (i, print) in prints.iter().enumerate() {
        parents[i] = *firsts.entry(print.exact).or_insert(i);
    }
    let mut distinct: Vec<usize> = firsts.into_values().collect();
    distinct.sort_unstable();
    for [a, b] in near(prints, &distinct) {
        let (a, b) = (root(&mut parents, a), root(&mut parents, b));
        parents[a.max(b)] = a.min(b);
    }
    let mut members: HashMap<usize, Vec<usize>> = HashMap::new();
    for i in 0..prints.len() {
        members.entry(root(&mut parents, i)).or_default().push(i);
    }
    let exact = |members: &[usize]| members.iter().all(|&i| prints[i].exact == prints[members[0]].exact);
    let groups = members.into_values().filter(|members| members.len() > 1);
    let mut groups: Vec<Group> = groups.map(|members| Group { exact: exact(&members), members }).collect();
    groups.sort_by_key(|group| group.members[0]);
    groups
}

/// Pairs that resemble each other.
fn near(prints: &[&Fingerprint], distinct: &[usize]) -> Vec<[usize; 2]> {
    let mut bands: HashMap<(u32, u64), Vec<usize>> = HashMap::new();
    for &i in distinct {
        for band in 0..u64::BITS / BAND {
            let value = prints[i].gradients >> (band * BAND) & ((1 << BAND) - 1);
            bands.entry((band, value)).or_default().push(i);
        }
    }
    let bands: Vec<Vec<usize>> = bands.into_values().filter(|band| band.len() > 1).collect();
    let compare = |band: &Vec<usize>| {
        let pairs = |(at, &a): (usize, &usize)| {
            let others = band[at + 1..].iter().take(MOST_COMPARED);
            let alike: Vec<[usize; 2]> = others.filter(|&&b| prints[a].resembles(prints[b])).map(|&b| [a, b]).collect();
            alike
        };
        band.par_iter().enumerate().flat_map_iter(pairs).collect::<Vec<_>>()
    };
    bands.par_iter().flat_map_iter(compare).collect()
}

fn root(parents: &mut [usize], mut i: usize) -> usize {
    while parents[i] != i {
        parents[i] = parents[parents[i]];
        i = parents[i];
    }
    i
}
