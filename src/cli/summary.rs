use std::path::Path;

use clap::Args;

use super::Common;
use crate::error::Result;
use crate::nn::{Model, zoo};
use crate::train::RunFolder;

#[derive(Args)]
pub(super) struct Summary {
    /// A zoo name, a model file, or a run folder.
    network: String,
    /// Height, width and channels of the pictures, for a zoo network: N, HxW or HxWxC.
    #[arg(long, value_name = "SIZE")]
    image_size: Option<String>,
    /// Number of classes, for a zoo network.
    #[arg(long, default_value_t = 2, value_name = "N")]
    classes: usize,
    /// Batch size for which memory is given.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    batch_size: u32,
}

impl Summary {
    pub fn run(&self, common: &Common) -> Result<()> {
        let model = self.model()?;
        let summary = model.summary(self.batch_size as usize)?;
        super::print(if common.json { super::json(&summary)? } else { summary.to_string().trim_end().to_owned() })
    }

    fn model(&self) -> Result<Model> {
        let path = Path::new(&self.network);
        if path.is_dir() {
            return Ok(RunFolder::open(path)?.read()?.model);
        }
        if super::train::is_file(&self.network) {
            return Model::open(path);
        }
        let default = zoo::default_size(&self.network)?.unwrap_or([64, 64]);
        let input = self.image_size.as_deref().map_or(Ok([default[0], default[1], 3]), input_shape)?;
        zoo::build(&self.network, input, self.classes)
    }
}

fn input_shape(text: &str) -> Result<[usize; 3]> {
    match text.rsplit_once(['x', 'X']) {
        Some((size, channels @ ("1" | "3"))) => {
            let [h, w] = super::train::image_size(size)?;
            Ok([h, w, if channels == "1" { 1 } else { 3 }])
        }
        _ => super::train::image_size(text).map(|[h, w]| [h, w, 3]),
    }
}
