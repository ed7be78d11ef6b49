use std::path::PathBuf;

use clap::Args;
use toml::{Table, Value};

use crate::data::TextFrom;
use crate::error::{Error, Result};
use crate::tasks::autoencode::ReconstructionLoss;
use crate::tasks::embed::MetricLoss;
use crate::tasks::segment::MaskLoss;
use crate::tasks::{Autoencoder, Classifier, Embedder, Reader, RunTask, Segmenter};

/// Options that only one task knows.
#[derive(Args, Clone)]
pub(super) struct TaskOptions {
    /// Of masks: cross-entropy, dice, focal or a sum of them such as cross-entropy+dice, which is the default.
    #[arg(long, value_name = "LOSS", help_heading = SEGMENT)]
    mask_loss: Option<MaskLoss>,
    /// What values of masks mean: index (each is a class), binary, or levels (each grey that occurs is a class); without it,
    /// what the values look like.
    #[arg(long, value_name = "CODING", help_heading = SEGMENT)]
    masks: Option<String>,
    /// Colours of masks: a file of lines `name,red,green,blue`.
    #[arg(long, value_name = "FILE", help_heading = SEGMENT, conflicts_with = "masks")]
    palette: Option<PathBuf>,
    /// Names of the classes, one a line; otherwise from classes.txt or labels.txt beside the images.
    #[arg(long, value_name = "FILE", help_heading = SEGMENT)]
    class_names: Option<PathBuf>,
    /// The class, by name or number, whose pixels count nothing. 255 never does.
    #[arg(long, value_name = "CLASS", help_heading = SEGMENT)]
    ignore_class: Option<String>,
    /// Cut pictures into tiles of --image-size instead of resizing them: for large ones with small things.
    #[arg(long, help_heading = SEGMENT)]
    tiles: bool,
    /// What is minimised of the pictures made again: bce (the default), mse or mae.
    #[arg(long, value_name = "LOSS", help_heading = AUTOENCODE)]
    reconstruction_loss: Option<ReconstructionLoss>,
    /// The class that is normal: it alone is trained on, and all others are anomalies to be found.
    #[arg(long, value_name = "CLASS", help_heading = AUTOENCODE)]
    normal: Option<String>,
    /// Learn to take away noise of this standard deviation, from 0 to 1.
    #[arg(long, value_name = "DEVIATION", help_heading = AUTOENCODE)]
    denoise: Option<f64>,
    /// Numbers of the vector that is made of each picture; 128 by default.
    #[arg(long, value_name = "N", help_heading = EMBED)]
    embedding: Option<u32>,
    /// Pictures show their things at the same place, as faces that are cut out alike do: vectors are made of the network's last map
    /// place by place, not of its mean.
    #[arg(long, help_heading = EMBED)]
    aligned: bool,
    /// arcface (a margin between classes, by angle) or triplet (between the hardest pictures of a batch).
    #[arg(long, value_name = "LOSS", help_heading = EMBED)]
    metric_loss: Option<MetricLoss>,
    /// By how much classes are to be apart: radians for arcface (0.3), a distance for triplet (0.2).
    #[arg(long, value_name = "X", help_heading = EMBED)]
    margin: Option<f32>,
    /// By what arcface multiplies cosines; 16 by default.
    #[arg(long, value_name = "X", help_heading = EMBED)]
    scale: Option<f32>,
    /// Hold the last N classes out of training for validation, 0 for pictures of each class instead; by default a fifth of ten
    /// classes or more, unless the data has a validation or test part.
    #[arg(long, value_name = "N", help_heading = EMBED)]
    hold_out_classes: Option<u32>,
    /// Classify sequences: folders of frames in folders of classes, of which the network looks at so many frames, evenly spread.
    #[arg(long, value_name = "N", help_heading = CLASSIFY, value_parser = clap::value_parser!(u16).range(2..))]
    frames: Option<u16>,
    /// Where texts stand if not in a table: files (name.txt beside name.png), names (1234_0.png, before the underscore) or stems
    /// (all of the name); without it, in files if there are any.
    #[arg(long, value_name = "PLACE", help_heading = READ)]
    text_from: Option<TextFrom>,
}

const SEGMENT: &str = "Options of segmentation";
const AUTOENCODE: &str = "Options of autoencoders";
const EMBED: &str = "Options of metric learning";
const CLASSIFY: &str = "Options of classification";
const READ: &str = "Options of reading";

impl TaskOptions {
    /// As the task reads them: those given, in front of those of an earlier run. `tile`: the network's size.
    ///
    /// Errors: if one is of another task, or a file's path is no text.
    pub fn table(&self, task: &str, earlier: Table, tile: Option<[usize; 2]>) -> Result<Table> {
        let text = |value: &dyn ToString| Value::String(value.to_string());
        let path = |path: &PathBuf| text(&path.canonicalize().unwrap_or_else(|_| path.clone()).display());
        let reconstruction = self.reconstruction_loss.map(|loss| loss.name().into());
        let given: [(&str, &str, &str, Option<Value>); 17] = [
            (Segmenter::NAME, "--mask-loss", "loss", self.mask_loss.map(|loss| String::from(loss).into())),
            (Segmenter::NAME, "--masks", "masks", self.masks.as_ref().map(|m| text(m))),
            (Segmenter::NAME, "--palette", "palette", self.palette.as_ref().map(path)),
            (Segmenter::NAME, "--class-names", "class_names", self.class_names.as_ref().map(path)),
            (Segmenter::NAME, "--ignore-class", "ignore", self.ignore_class.as_ref().map(|c| text(c))),
            (Segmenter::NAME, "--tiles", "tile", self.tiles.then(|| sides(tile.unwrap_or([256; 2])))),
            (Autoencoder::NAME, "--reconstruction-loss", "loss", reconstruction),
            (Autoencoder::NAME, "--normal", "normal", self.normal.as_ref().map(|c| text(c))),
            (Autoencoder::NAME, "--denoise", "denoise", self.denoise.map(Value::Float)),
            (Embedder::NAME, "--embedding", "embedding", self.embedding.map(|n| i64::from(n).into())),
            (Embedder::NAME, "--aligned", "aligned", self.aligned.then_some(Value::Boolean(true))),
            (Embedder::NAME, "--metric-loss", "loss", self.metric_loss.map(|loss| loss.name().into())),
            (Embedder::NAME, "--margin", "margin", self.margin.map(|x| f64::from(x).into())),
            (Embedder::NAME, "--scale", "scale", self.scale.map(|x| f64::from(x).into())),
            (
                Embedder::NAME,
                "--hold-out-classes",
                "hold_out_classes",
                self.hold_out_classes.map(|n| i64::from(n).into()),
            ),
            (Classifier::NAME, "--frames", "frames", self.frames.map(|n| i64::from(n).into())),
            (Reader::NAME, "--text-from", "text_from", self.text_from.as_ref().map(|from| text(from))),
        ];
        let mut table = earlier;
        for (of, flag, key, value) in given {
            let Some(value) = value else { continue };
            if of != task {
                return Err(Error::config(format!("{flag} is for --task {of}, but this is to {task}")));
            }
            table.insert(key.to_owned(), value);
        }
        Ok(table)
    }
}

fn sides([height, width]: [usize; 2]) -> Value {
    vec![Value::Integer(height as i64), Value::Integer(width as i64)].into()
}
