/// What two neighbouring source positions, or one, add to an output position: each its value times so many 256ths.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    pub at: [usize; 2],
    pub weights: [u8; 2],
}

/// From which source positions the output positions of one axis come.
#[derive(Debug)]
pub struct Axis {
    /// Those of all output positions, whose weights add up to 256 each.
    pairs: Vec<Pair>,
    /// Where the pairs of each output position begin, and where the last one's end.
    bounds: Vec<usize>,
}

impl Axis {
    /// Stretches `from` positions over `to`.
    pub fn new(from: usize, to: usize) -> Self {
        let ratio = from as f64 / to as f64;
        let mut axis = Self { pairs: Vec::new(), bounds: vec![0] };
        for position in 0..to {
            axis.add_triangle((position as f64 + 0.5) * ratio, ratio.max(1.0), from);
            axis.bounds.push(axis.pairs.len());
        }
        axis
    }

    /// How many output positions.
    pub fn len(&self) -> usize {
        self.bounds.len() - 1
    }

    /// Those of an output position, in the order of the source.
    pub fn pairs(&self, position: usize) -> &[Pair] {
        &self.pairs[self.bounds[position]..self.bounds[position + 1]]
    }

    /// An output position about `centre`, where 0.5 is the middle of the first of `from` source positions.
    fn add_triangle(&mut self, centre: f64, radius: f64, from: usize) {
        let first = (centre - radius - 0.5).ceil().max(0.0) as usize;
        let last = ((centre + radius - 0.5).floor() as usize).min(from - 1);
        let height = |at: usize| (1.0 - (at as f64 + 0.5 - centre).abs() / radius).max(0.0);
        let total: f64 = (first..=last).map(height).sum();
        // Sums are rounded, not weights: then these add up to a whole.
        let (mut sum, mut rounded, mut single) = (0.0, 0, None);
        for at in first..=last {
            sum += height(at);
            let weight = (256.0 * sum / total).round() as u32 - rounded;
            rounded += weight;
            match (weight, single) {
                (0, _) => self.add_single(&mut single),
                // More than a byte holds.
                (256, _) => self.pairs.push(Pair { at: [at; 2], weights: [255, 1] }),
                (_, None) => single = Some((at, weight as u8)),
                (_, Some((before, other))) => {
                    self.pairs.push(Pair { at: [before, at], weights: [other, weight as u8] });
                    single = None;
                }
            }
        }
        self.add_single(&mut single);
    }

    fn add_single(&mut self, single: &mut Option<(usize, u8)>) {
        self.pairs.extend(single.take().map(|(at, weight)| Pair { at: [at; 2], weights: [weight, 0] }));
    }
}
