use super::{CtcLoss, CtcLossGrad};
use crate::ops::{Given, Sample, Values};
use crate::tensor::Meta;

/// All steps, however many.
const ALL: i32 = 1 << 20;

/// The loss and its gradient: of labels, padded to the length of the longest, and of sequences of which so many steps count
/// (again from the first where they are fewer), with logits between `-spread` and `spread`.
fn pair(extents: [usize; 3], spread: f64, labels: &[&[i32]], lengths: &[i32]) -> [Sample; 2] {
    let [steps, classes, blank] = extents;
    let n = labels.len();
    let whole = |shape: &[usize], values: Vec<i32>| Given {
        meta: Meta::i32(shape),
        values: Values::Fixed(values.into_iter().map(f64::from).collect()),
    };
    let most = labels.iter().map(|label| label.len()).max().unwrap_or(0).max(1);
    let mut padded = vec![-1; n * most];
    padded.chunks_mut(most).zip(labels).for_each(|(row, label)| row[..label.len()].copy_from_slice(label));
    let logits = Given::uniform(&[n, steps, classes], -spread, spread);
    let lengths = whole(&[n], lengths.iter().copied().cycle().take(n).collect());
    let given = [logits, whole(&[n, most], padded), lengths];
    let grad = Given::uniform(&[n], -1.0, 1.0);
    [
        Sample::of(CtcLoss { blank }, given.clone()),
        Sample::of(CtcLossGrad { blank }, given.into_iter().chain([grad])).forward_only(),
    ]
}

pub(in crate::ops) fn samples() -> Vec<Sample> {
    let mixed: &[&[i32]] = &[
        &[2, 2, 2],          // the same letter again
        &[],                 // nothing to read
        &[1, 2, 3, 4, 1],    // as long as the steps
        &[1, 1, 2, 2],       // too long with its blanks
        &[1, 2, 3, 4, 1, 2], // too long
        &[3],                // a letter
        &[1, 0, 2],          // a blank
        &[9, 1],             // no class
        &[-1, 2],            // padding before a letter
    ];
    let many: Vec<&[i32]> = [&[0, 1][..], &[2, 2], &[], &[1]].into_iter().cycle().take(67).collect();
    let longest: Vec<i32> = (0..60).map(|i| i / 2 % 4).collect();
    let beyond: Vec<i32> = (0..600).map(|i| i % 3).collect();
    let checked = [
        // Kernels are certified with integers like those of the first sample: they suit most shapes.
        pair([12, 5, 0], 2.0, &[&[1, 2, 1, 2]], &[ALL]),
        pair([5, 5, 0], 2.0, mixed, &[ALL]),
        pair([9, 5, 0], 2.0, mixed, &[9, 5, 7, 0, -3, 1]),
        pair([1, 2, 1], 2.0, &[&[0], &[], &[0, 0]], &[ALL]),
        pair([2, 1, 0], 2.0, &[&[]], &[ALL]),
        pair([3, 3, 2], 2.0, &[&[0, 1]], &[ALL]),
        pair([6, 3, 1], 2.0, &[&[0, 0, 2], &[0, 0, 2]], &[ALL, 5]),
        pair([7, 70, 69], 2.0, &many, &[ALL, 4]),
        pair([130, 5, 4], 2.0, &[&longest], &[ALL]),
    ];
    let forward_only = [
        // Probabilities which f32 does not hold.
        pair([70, 4, 0], 300.0, &[&[1, 2, 3, 3, 1], &[]], &[ALL]),
        // More states than fit workgroup memory.
        pair([640, 4, 3], 2.0, &[&beyond], &[ALL]),
    ];
    checked.into_iter().flatten().chain(forward_only.into_iter().flatten().map(Sample::forward_only)).collect()
}
