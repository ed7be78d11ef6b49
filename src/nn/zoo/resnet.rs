//! What residual networks have in common. Names are those of torchvision, so that its weights fit.
//!
//! Source: He, Zhang, Ren & Sun, 2016, <https://arxiv.org/abs/1512.03385>.

use crate::nn::layers::{ActivationLayer, Add, BatchNormalization, Conv2D};
use crate::nn::{Activation, Initializer, Model};
use crate::ops::Padding;

/// A residual network in the making, and its newest result.
pub(super) struct Residual {
    pub model: Model,
    pub last: String,
    pub normalization: BatchNormalization,
}

impl Residual {
    /// A convolution without bias, with padding that keeps the extents at stride 1, and batch-norm; returns its result.
    pub fn conv(&mut self, names: [&str; 2], from: &str, filters: usize, kernel: usize, stride: usize) -> String {
        let conv = Conv2D {
            strides: stride.into(),
            padding: Padding::Explicit([kernel / 2; 4]),
            use_bias: false,
            kernel_initializer: Initializer::HeNormal,
            ..Conv2D::new(filters, kernel)
        };
        let conv = self.model.named(names[0], conv, [from]);
        self.model.named(names[1], self.normalization.clone(), [conv])
    }

    pub fn relu(&mut self, from: String) -> String {
        self.model.layer(ActivationLayer { activation: Activation::Relu }, [from])
    }

    /// Two 3x3 convolutions beside a shortcut, which is a 1x1 convolution where the extents or channels change.
    pub fn block(&mut self, name: &str, filters: usize, stride: usize, changes: bool) {
        let input = self.last.clone();
        let own = |part: &str| format!("{name}.{part}");
        let main = self.conv([&own("conv1"), &own("bn1")], &input, filters, 3, stride);
        let main = self.relu(main);
        let main = self.conv([&own("conv2"), &own("bn2")], &main, filters, 3, 1);
        let shortcut = match changes {
            true => self.conv([&own("downsample.0"), &own("downsample.1")], &input, filters, 1, stride),
            false => input,
        };
        let sum = self.model.named(&own("add"), Add {}, [main, shortcut]);
        self.last = self.relu(sum);
    }

    /// Stages of `blocks` blocks each: the first keeps the extents, the others halve them.
    pub fn stages(&mut self, filters: &[usize], blocks: usize) {
        for (stage, &filters) in filters.iter().enumerate() {
            for block in 0..blocks {
                let changes = stage > 0 && block == 0;
                self.block(&format!("layer{}.{block}", stage + 1), filters, if changes { 2 } else { 1 }, changes);
            }
        }
    }
}
