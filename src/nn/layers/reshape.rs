use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::graph::Value;
use crate::nn::builder::sample;
use crate::nn::{Builder, Layer};
use crate::ops;

/// One row for each picture: `[n, ..]` to `[n, c]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flatten {}

/// The same values under other extents: `[n, ..]` to `[n, target_shape ..]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reshape {
    /// Extents of the result without the batch; one may be -1 and then follows from the others.
    pub target_shape: Vec<i64>,
}

impl Layer for Flatten {
    fn type_name(&self) -> &'static str {
        "flatten"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        ops::flatten(builder.graph(), inputs[0])
    }
}

impl Reshape {
    /// The extents that replace those of one sample; `None` if they do not fit.
    fn extents(&self, elements: usize) -> Option<Vec<usize>> {
        let free = self.target_shape.iter().filter(|&&d| d == -1).count();
        let given = self.target_shape.iter().filter(|&&d| d != -1);
        let product = given.map(|&d| usize::try_from(d).ok()).try_fold(1_usize, |n, d| n.checked_mul(d?))?;
        let fits = match free {
            0 => product == elements,
            1 => product > 0 && elements.is_multiple_of(product),
            _ => false,
        };
        let extent = |&d: &i64| usize::try_from(d).unwrap_or_else(|_| elements / product);
        fits.then(|| self.target_shape.iter().map(extent).collect())
    }
}

impl Layer for Reshape {
    fn type_name(&self) -> &'static str {
        "reshape"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        let dims = builder.dims(inputs[0]);
        let elements = dims[1..].iter().product();
        let extents = self.extents(elements).ok_or_else(|| {
            let message = format!(
                "gets {} ({elements} values), which do not fit target_shape {:?}",
                sample(&dims),
                self.target_shape
            );
            builder.error(message)
        })?;
        let shape: Vec<usize> = dims[..1].iter().copied().chain(extents).collect();
        ops::reshape(builder.graph(), inputs[0], shape)
    }
}
