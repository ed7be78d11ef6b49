//! Images mixed with others of the batch: mixup and CutMix.
//!
//! A [`MixRow`] says what happens to an image. Within a rectangle it shows its partner, elsewhere `share` of itself and the
//! rest of its partner: `output = share · x[n] + (1 - share) · x[n + partner]`.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use super::sample::{Given, Sample};
use crate::error::{Error, Result};
use crate::graph::{Backward, Binding, Capabilities, Graph, Kernel, Launch, Op, Tolerance, Value};
use crate::tensor::{Array, DType, Meta, View, ViewMut};

/// With what an image is mixed, as the kernel reads it: 8 numbers.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct MixRow {
    /// `[left, top, right, bottom]` of what shows the partner alone, in whole pixels; right and bottom are outside it.
    pub rectangle: [f32; 4],
    /// Where the partner stands in the batch, counted from the image: -1, 0 or 1, for instance.
    pub partner: f32,
    /// Share of the image itself outside the rectangle.
    pub share: f32,
    /// Makes the row a whole number of vectors.
    pub unused: [f32; 2],
}

impl MixRow {
    /// How many numbers it is.
    pub const LEN: usize = size_of::<Self>() / size_of::<f32>();

    /// The image as it is.
    pub const ALONE: Self = Self { rectangle: [0.0; 4], partner: 0.0, share: 1.0, unused: [0.0; 2] };

    fn share_at(&self, y: usize, x: usize) -> f32 {
        let [left, top, right, bottom] = self.rectangle;
        let inside = (left..right).contains(&(x as f32)) && (top..bottom).contains(&(y as f32));
        if inside { 0.0 } else { self.share }
    }

    /// Position in the batch of the partner of image `n`, held within the batch.
    fn partner_of(&self, n: usize, batch: usize) -> usize {
        n.saturating_add_signed(self.partner as isize).min(batch - 1)
    }
}

/// Mixes images with others of the batch. See [`mix`].
#[derive(Clone, Debug)]
pub struct Mix;

impl Op for Mix {
    fn name(&self) -> &'static str {
        "mix"
    }

    fn infer(&self, inputs: &[&Meta]) -> Result<Meta> {
        let (images, rows) = (inputs[0], inputs[1]);
        let [n, ..] = images.shape.expect::<4>("mix", "the batch of images")?;
        if images.dtype != DType::F32 || images.elements() == 0 {
            return Err(Error::shape(
                "mix",
                format!("images must be floats [n, height, width, channels], not {images}"),
            ));
        }
        if *rows != Meta::f32([n, MixRow::LEN]) {
            let message = format!("{n} images need rows f32[{n}, {}], not {rows}", MixRow::LEN);
            return Err(Error::shape("mix", message));
        }
        Ok(images.clone())
    }

    fn gradient(&self, _graph: &mut Graph, _at: &Backward<'_>, _of: usize) -> Result<Option<Value>> {
        Ok(None)
    }

    fn reference(&self, inputs: &[&Array], output: &Meta) -> Array {
        let numbers: Vec<f32> = inputs[1].data.iter().map(|&v| v as f32).collect();
        let rows: &[MixRow] = bytemuck::cast_slice(&numbers);
        let mut result = Array::zeros(&output.shape);
        for index in super::grid::indices(&output.shape) {
            let [n, y, x, k] = [index[0], index[1], index[2], index[3]];
            let share = f64::from(rows[n].share_at(y, x));
            let partner = inputs[0].at(&[rows[n].partner_of(n, rows.len()), y, x, k]);
            *result.at_mut(&index) = share * inputs[0].at(&index) + (1.0 - share) * partner;
        }
        result
    }

    fn cpu(&self, inputs: &[View<'_>], mut output: ViewMut<'_>, _scratch: &mut [f32]) {
        let &[n, h, w, c] = inputs[0].dims() else { unreachable!("the shape rule demands four axes") };
        let (images, rows): (&[f32], &[MixRow]) = (inputs[0].f32(), bytemuck::cast_slice(inputs[1].f32()));
        let image = |i: usize| &images[i * h * w * c..][..h * w * c];
        output.f32().par_chunks_exact_mut(h * w * c).enumerate().for_each(|(i, result)| {
            let (own, partner) = (image(i), image(rows[i].partner_of(i, n)));
            let pixels = result.chunks_exact_mut(c).zip(own.chunks_exact(c).zip(partner.chunks_exact(c)));
            for (at, (result, (own, partner))) in pixels.enumerate() {
                let share = rows[i].share_at(at / w, at % w);
                let values = own.iter().zip(partner).map(|(own, partner)| share * own + (1.0 - share) * partner);
                result.iter_mut().zip(values).for_each(|(result, value)| *result = value);
            }
        });
    }

    fn kernels(&self, inputs: &[&Meta], _output: &Meta, _capabilities: &Capabilities) -> Vec<Kernel> {
        let &[n, h, w, c] = inputs[0].dims() else { unreachable!("the shape rule demands four axes") };
        let pixels = n * h * w;
        let launch = Launch::new("mix.wgsl", include_str!("../../shaders/mix.wgsl"))
            .constants([("H", h), ("W", w), ("C", c)])
            .params([pixels])
            .bindings([Binding::Input(0), Binding::Input(1), Binding::Output])
            .threads(pixels, 64);
        vec![Kernel::single("pixel", launch)]
    }

    fn tolerance(&self, _inputs: &[&Meta], _output: &Meta) -> Tolerance {
        Tolerance::Arithmetic
    }
}

/// Images f32 `[n, h, w, c]`, each mixed with another as its row of `rows`, f32 `[n, 8]`, says: see [`MixRow`]. Mixup: H.
/// Zhang et al. 2017, <https://arxiv.org/abs/1710.09412>; CutMix: S. Yun et al. 2019, <https://arxiv.org/abs/1905.04899>.
///
/// Images are data: there is no gradient.
///
/// Errors: if the shapes do not fit together.
pub fn mix(graph: &mut Graph, images: Value, rows: Value) -> Result<Value> {
    graph.apply(Mix, &[images, rows])
}

pub(super) fn samples() -> Vec<Sample> {
    let blended = MixRow { partner: 1.0, share: 0.7, ..MixRow::ALONE };
    let back = MixRow { partner: -1.0, ..blended };
    let pasted = MixRow { rectangle: [1.0, 2.0, 4.0, 3.0], partner: -2.0, ..MixRow::ALONE };
    let sample = |images: &[usize], rows: &[MixRow]| {
        let numbers: &[f32] = bytemuck::cast_slice(rows);
        let rows = Given::fixed(&[images[0], MixRow::LEN], numbers.iter().copied().map(f64::from));
        Sample::of(Mix, [Given::uniform(images, -2.0, 2.0), rows]).forward_only()
    };
    vec![
        sample(&[4, 5, 6, 3], &[blended, back, pasted, MixRow::ALONE]),
        sample(&[3, 4, 5, 1], &[MixRow::ALONE, blended, pasted]),
        sample(&[1, 2, 2, 4], &[MixRow::ALONE]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misfits_are_errors() {
        let mut graph = Graph::new();
        let images = graph.input("images", Meta::f32([2, 4, 4, 3]));
        let few = graph.input("few", Meta::f32([1, MixRow::LEN]));
        let bytes = graph.input("bytes", Meta::new([2, 4, 4, 3], DType::U8));
        assert!(mix(&mut graph, images, few).unwrap_err().to_string().contains("2 images need rows"));
        assert!(mix(&mut graph, bytes, few).unwrap_err().to_string().contains("must be floats"));
        assert!(mix(&mut graph, few, images).unwrap_err().to_string().contains("4 dimensions"));
    }
}
