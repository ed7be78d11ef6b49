use std::fmt::Debug;

use crate::error::Result;
use crate::ops::AugmentRow;

/// What a network is to answer where a class is not all: made together with a batch's pictures, on the loader's threads.
pub trait Targets: Debug + Send + Sync {
    /// The graph's inputs that it fills: name, and numbers of 32 bits for each picture. What the graph has no input for stays in
    /// the batch, for whoever judges the results.
    fn inputs(&self) -> Vec<(&'static str, usize)>;

    /// Writes those of one sample, changed as `row` changes its picture: the bits of f32 or i32, as the graph has them. `into`
    /// has a slice for each of [`Targets::inputs`], all zero.
    ///
    /// Errors: if a file can no longer be read.
    fn fill(&self, index: usize, row: &AugmentRow, into: &mut [&mut [u32]]) -> Result<()>;
}

/// One input of the graph for a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Of the graph's input.
    pub name: &'static str,
    /// `[n, …]`: the bits of f32 or i32.
    pub words: Vec<u32>,
}

/// Those of a batch.
pub(super) fn make(targets: &dyn Targets, indices: &[usize], rows: &[AugmentRow]) -> Result<Vec<Target>> {
    let inputs = targets.inputs();
    let mut made: Vec<Target> =
        inputs.iter().map(|&(name, each)| Target { name, words: vec![0; each * indices.len()] }).collect();
    for (at, (&index, row)) in indices.iter().zip(rows).enumerate() {
        let slice = |(target, &(_, each))| -> &mut [u32] {
            let Target { words, .. }: &mut Target = target;
            &mut words[at * each..][..each]
        };
        let mut into: Vec<&mut [u32]> = made.iter_mut().zip(&inputs).map(slice).collect();
        targets.fill(index, row, &mut into)?;
    }
    Ok(made)
}
