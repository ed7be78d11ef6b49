use std::collections::HashMap;

use super::Embeddings;
use crate::device::{Device, Program, Weights};
use crate::error::{Error, Result};
use crate::graph::{Ending, Graph, Layout};
use crate::ops;
use crate::tensor::Meta;

/// Looks for the nearest of many vectors, exactly: a product on the device with one piece of them after the other.
pub struct Search {
    device: Device,
    weights: Weights,
    /// For so many vectors that are looked for, and so many that are looked among.
    programs: HashMap<[usize; 2], Program>,
    /// Numbers of the vectors in a piece.
    piece: usize,
}

/// A picture that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Its number in the index.
    pub picture: usize,
    /// Cosine with what was looked for.
    pub similarity: f32,
}

/// 64 MiB.
const PIECE: usize = 1 << 24;

impl Search {
    /// On a device.
    ///
    /// Errors: if the device is lost.
    pub fn new(device: &Device) -> Result<Self> {
        let nothing = Graph::new();
        let weights = device.weights(Layout::parameters(&nothing), Layout::states(&nothing), 0)?;
        Ok(Self { device: device.clone(), weights, programs: HashMap::new(), piece: PIECE })
    }

    /// The `top` vectors of `among` nearest to each of `queries` `[n, dimensions]`, the nearest first; of equally near ones, the
    /// first.
    ///
    /// Errors: if the vectors that are looked for have another length, or the device is lost.
    pub fn nearest(&mut self, among: &Embeddings, queries: &[f32], top: usize) -> Result<Vec<Vec<Hit>>> {
        let dimensions = among.dimensions;
        if dimensions == 0 || !queries.len().is_multiple_of(dimensions) {
            let message =
                format!("vectors of {dimensions} numbers are looked among, which does not divide {}", queries.len());
            return Err(Error::shape("search", message));
        }
        let count = queries.len() / dimensions;
        let mut found = vec![Vec::new(); count];
        let piece = (self.piece / dimensions).max(1);
        for (number, vectors) in among.vectors.chunks(piece * dimensions).enumerate() {
            let pictures = vectors.len() / dimensions;
            let similarities = self.product(queries, vectors, [count, pictures, dimensions])?;
            for (hits, row) in found.iter_mut().zip(similarities.chunks_exact(pictures)) {
                let hit = |(at, &similarity): (usize, &f32)| Hit { picture: number * piece + at, similarity };
                hits.extend(row.iter().enumerate().map(hit));
                keep_nearest(hits, top);
            }
        }
        Ok(found)
    }

    fn product(
        &mut self,
        queries: &[f32],
        vectors: &[f32],
        [count, pictures, dimensions]: [usize; 3],
    ) -> Result<Vec<f32>> {
        let program = match self.programs.entry([count, pictures]) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(new) => {
                let mut graph = Graph::new();
                let wanted = graph.input("queries", Meta::f32([count, dimensions]));
                let among = graph.input("vectors", Meta::f32([pictures, dimensions]));
                let similarities = ops::matmul(&mut graph, wanted, among, false, true)?;
                graph.output("similarities", similarities);
                new.insert(self.device.compile(&graph, &self.weights, Ending::Nothing)?)
            }
        };
        let inputs = [("queries", bytemuck::cast_slice(queries)), ("vectors", bytemuck::cast_slice(vectors))];
        let results = program.execute(&inputs)?;
        results.first().map(|t| t.f32().to_vec()).ok_or_else(|| Error::device("a product gave no result"))
    }
}

/// Keeps the `top` nearest, in order.
pub(super) fn keep_nearest(hits: &mut Vec<Hit>, top: usize) {
    let nearer = |a: &Hit, b: &Hit| b.similarity.total_cmp(&a.similarity).then(a.picture.cmp(&b.picture));
    if hits.len() > top {
        hits.select_nth_unstable_by(top, nearer);
        hits.truncate(top);
    }
    hits.sort_unstable_by(nearer);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_come_first() {
        let angles = [0.0_f32, 2.0, 0.5, -0.25, 3.0];
        let vectors = angles.iter().flat_map(|a| [a.cos(), a.sin()]).collect();
        let among = Embeddings { vectors, dimensions: 2, labels: vec![0; 5] };
        let mut search = Search::new(&Device::Cpu).unwrap();
        let found = search.nearest(&among, &[1.0, 0.0, 0.0, 1.0], 3).unwrap();
        let pictures = |hits: &[Hit]| hits.iter().map(|h| h.picture).collect::<Vec<_>>();
        assert_eq!((pictures(&found[0]), pictures(&found[1])), (vec![0, 3, 2], vec![1, 2, 4]));
        assert!((found[0][2].similarity - 0.5_f32.cos()).abs() < 1e-6);
        assert_eq!(search.nearest(&among, &[1.0, 0.0], 9).unwrap()[0].len(), 5);
        assert!(search.nearest(&among, &[1.0; 3], 1).is_err());
    }

    /// More vectors than a piece holds, of which the nearest are in different pieces.
    #[test]
    fn pieces_make_no_difference() {
        let vectors = (0..100)
            .flat_map(|i| {
                let a = (i * 37 % 100) as f32 / 50.0;
                [a.cos(), a.sin()]
            })
            .collect();
        let among = Embeddings { vectors, dimensions: 2, labels: vec![0; 100] };
        let pictures = |search: &mut Search| -> Vec<usize> {
            search.nearest(&among, &[0.6, 0.8], 7).unwrap()[0].iter().map(|hit| hit.picture).collect()
        };
        let whole = pictures(&mut Search::new(&Device::Cpu).unwrap());
        let mut search = Search { piece: 2 * 9, ..Search::new(&Device::Cpu).unwrap() };
        assert_eq!(pictures(&mut search), whole);
        assert_eq!(search.programs.len(), 2, "eleven pieces of nine, one of one");
    }
}
