use crate::data::{Canvas, Normalization};
use crate::error::Result;
use crate::graph::{Graph, Value};
use crate::ops::{self, AugmentRow};
use crate::tensor::{DType, Meta};

/// The pictures of a batch as a network takes them, f32 `[n, h, w, c]`: the inputs `images` and `rows`, changed and normalised. The
/// frames of a sequence are changed alike.
///
/// Errors: if the normalisation is for another number of channels.
pub(super) fn pictures(
    graph: &mut Graph,
    n: usize,
    canvas: impl Into<Canvas>,
    normalization: &Normalization,
) -> Result<Value> {
    let canvas = canvas.into();
    let [h, w, c] = canvas.shape;
    graph.scope("preprocessing");
    let images = graph.input("images", Meta::new([n, h, w, c], DType::U8));
    let rows = graph.input("rows", Meta::f32([n, AugmentRow::LEN]));
    ops::augment_frames(graph, images, rows, canvas.frames(), &normalization.mean, &normalization.std)
}
