//! What convolution and pooling have in common: a window that slides over any number of axes.

use super::super::Outcome;
use super::super::call::Call;

/// The window of an operator; an entry for each axis behind batch and channels.
pub struct Sliding {
    pub size: Vec<usize>,
    pub stride: Vec<usize>,
    pub dilation: Vec<usize>,
    /// Before and after.
    pub padding: Vec<[usize; 2]>,
    pub ceil: bool,
}

impl Sliding {
    /// From a node's attributes, for a window of `size` over `spatial` extents.
    pub fn of(call: &Call<'_>, size: Vec<usize>, spatial: &[usize]) -> Outcome<Self> {
        let rank = spatial.len();
        let list = |name: &str| -> Outcome<Vec<usize>> {
            let values = call.ints(name).unwrap_or_else(|| vec![1; rank]);
            let values = call.sizes(name, &values)?;
            if values.len() != rank || values.contains(&0) {
                return Err(call.error(format!("{name} {values:?} do not fit {rank} axes")).into());
            }
            Ok(values)
        };
        if size.len() != rank || size.contains(&0) {
            return Err(call.error(format!("a window of {size:?} does not fit {rank} axes")).into());
        }
        let (stride, dilation) = (list("strides")?, list("dilations")?);
        let span = |a: usize| (size[a] - 1) * dilation[a] + 1;
        let same = |a: usize, upper: bool| {
            let positions = spatial[a].div_ceil(stride[a]).max(1);
            let total = ((positions - 1) * stride[a] + span(a)).saturating_sub(spatial[a]);
            let (less, more) = (total / 2, total.div_ceil(2));
            if upper { [less, more] } else { [more, less] }
        };
        let padding = match call.text("auto_pad", "NOTSET").as_str() {
            "SAME_UPPER" => (0..rank).map(|a| same(a, true)).collect(),
            "SAME_LOWER" => (0..rank).map(|a| same(a, false)).collect(),
            "VALID" => vec![[0; 2]; rank],
            _ => Self::explicit(call, rank)?,
        };
        Ok(Self { size, stride, dilation, padding, ceil: call.flag("ceil_mode", false) })
    }

    /// The attribute `pads`.
    pub fn explicit(call: &Call<'_>, rank: usize) -> Outcome<Vec<[usize; 2]>> {
        let pads = call.ints("pads").unwrap_or_else(|| vec![0; 2 * rank]);
        let pads = call.sizes("pads", &pads)?;
        if pads.len() != 2 * rank {
            return Err(call.error(format!("pads {pads:?} do not fit {rank} axes")).into());
        }
        Ok((0..rank).map(|a| [pads[a], pads[a + rank]]).collect())
    }

    /// Elements from the first tap to the last, both included.
    pub fn span(&self, axis: usize) -> usize {
        (self.size[axis] - 1) * self.dilation[axis] + 1
    }

    /// Positions along an axis.
    ///
    /// Errors: if the window does not fit.
    pub fn positions(&self, call: &Call<'_>, axis: usize, extent: usize) -> Outcome<usize> {
        let [before, after] = self.padding[axis];
        let room = (extent + before + after).checked_sub(self.span(axis));
        let room = room.ok_or_else(|| call.error(format!("a window of {:?} does not fit", self.size)))?;
        if !self.ceil {
            return Ok(room / self.stride[axis] + 1);
        }
        let positions = room.div_ceil(self.stride[axis]) + 1;
        // The last position must begin before what is padded behind.
        let outside = (positions - 1) * self.stride[axis] >= extent + before;
        Ok(positions - usize::from(outside))
    }

    /// The element under each position of a tap, `None` in the padding.
    pub fn taps(&self, axis: usize, tap: usize, positions: usize, extent: usize) -> Vec<Option<usize>> {
        let at = |p: usize| (p * self.stride[axis] + tap * self.dilation[axis]).checked_sub(self.padding[axis][0]);
        (0..positions).map(|p| at(p).filter(|&i| i < extent)).collect()
    }
}

/// The order of axes in which our ops take pictures: batch, extents, channels.
pub fn channels_last(rank: usize) -> Vec<usize> {
    std::iter::once(0).chain(2..rank).chain([1]).collect()
}
