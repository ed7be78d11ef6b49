use clap::Args;

use crate::error::{Error, Result};
use crate::tasks::RunTask;
use crate::tasks::embed::{Embedder, MetricLoss};

/// Options that only one task knows.
#[derive(Args, Clone)]
pub(super) struct TaskOptions {
    #[command(flatten)]
    embed: EmbedOptions,
}

/// Those of `--task embed`.
#[derive(Args, Clone)]
#[command(next_help_heading = "With --task embed")]
struct EmbedOptions {
    /// Numbers of the vector that is made of each picture; 128 by default.
    #[arg(long, value_name = "N")]
    embedding: Option<u32>,
    /// arcface (a margin between classes, by angle) or triplet (between the hardest pictures of a batch).
    #[arg(long, value_name = "LOSS")]
    metric_loss: Option<MetricLoss>,
    /// By how much classes are to be apart: radians for arcface (0.5), a distance for triplet (0.2).
    #[arg(long, value_name = "X")]
    margin: Option<f32>,
    /// By what arcface multiplies cosines; 32 by default.
    #[arg(long, value_name = "X")]
    scale: Option<f32>,
    /// Hold the last N classes out of training for validation, 0 for pictures of each class instead; by default a fifth of ten
    /// classes or more, unless the data has a validation or test part.
    #[arg(long, value_name = "N")]
    hold_out_classes: Option<u32>,
}

impl TaskOptions {
    /// As the task reads them: those given, in front of those of an earlier run.
    ///
    /// Errors: if one is of another task.
    pub fn table(&self, task: &str, earlier: toml::Table) -> Result<toml::Table> {
        let given = [(Embedder::NAME, self.embed.table()?)];
        if let Some((other, options)) = given.iter().find(|(of, options)| *of != task && !options.is_empty()) {
            let names: Vec<String> = options.keys().map(|key| format!("--{key}")).collect();
            return Err(Error::config(format!("{} is for --task {other}, not for {task}", names.join(", "))));
        }
        let own = given.into_iter().filter(|(of, _)| *of == task).flat_map(|(_, options)| options);
        Ok(earlier.into_iter().chain(own).collect())
    }
}

impl EmbedOptions {
    fn table(&self) -> Result<toml::Table> {
        let mut table = toml::Table::new();
        let metric_loss = self.metric_loss.map(toml::Value::try_from).transpose();
        let metric_loss = metric_loss.map_err(|e| Error::config(format!("--metric-loss: {e}")))?;
        let values = [
            ("embedding", self.embedding.map(|n| i64::from(n).into())),
            ("metric-loss", metric_loss),
            ("margin", self.margin.map(|x| f64::from(x).into())),
            ("scale", self.scale.map(|x| f64::from(x).into())),
            ("hold-out-classes", self.hold_out_classes.map(|n| i64::from(n).into())),
        ];
        let given = values.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        table.extend(given);
        Ok(table)
    }
}
