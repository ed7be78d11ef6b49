use rayon::prelude::*;

/// What a network makes of pictures: a vector of length 1 for each, and its class.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Embeddings {
    /// `[pictures, dimensions]`.
    pub vectors: Vec<f32>,
    /// Numbers of a vector.
    pub dimensions: usize,
    /// The class of each picture.
    pub labels: Vec<usize>,
}

impl Embeddings {
    /// How many pictures.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// A picture's vector.
    pub fn vector(&self, picture: usize) -> &[f32] {
        &self.vectors[picture * self.dimensions..][..self.dimensions]
    }

    /// The cosines between a picture and all pictures, itself among them.
    pub fn similarities(&self, picture: usize) -> Vec<f32> {
        let own = self.vector(picture);
        self.vectors.chunks_exact(self.dimensions).map(|other| dot(own, other)).collect()
    }

    /// At most so many pictures, evenly spread.
    pub fn spread(&self, most: usize) -> impl IndexedParallelIterator<Item = usize> + use<> {
        let step = self.len().div_ceil(most).max(1);
        (0..self.len()).into_par_iter().step_by(step)
    }
}

/// The sum of products, in lanes that the compiler can put into vector registers.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut lanes = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        lanes.iter_mut().zip(a.iter().zip(b)).for_each(|(lane, (x, y))| *lane += x * y);
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    lanes.iter().sum::<f32>() + rest
}
