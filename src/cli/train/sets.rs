use std::path::Path;
use std::sync::Arc;

use crate::cli::{Common, interrupted, progress};
use crate::data::{self, Canvas, Finding, Images, Part, Splits, audit_decoded};
use crate::error::{Error, Result};
use crate::tasks::{Classifier, RunTask};
use crate::train::Settings;

/// The bundled digits, so that training works wherever the program is.
const SAMPLE: [(&str, &[u8]); 4] = [
    ("train-images-idx3-ubyte.gz", include_bytes!("../../../samples/mnist/train-images-idx3-ubyte.gz")),
    ("train-labels-idx1-ubyte.gz", include_bytes!("../../../samples/mnist/train-labels-idx1-ubyte.gz")),
    ("t10k-images-idx3-ubyte.gz", include_bytes!("../../../samples/mnist/t10k-images-idx3-ubyte.gz")),
    ("t10k-labels-idx1-ubyte.gz", include_bytes!("../../../samples/mnist/t10k-labels-idx1-ubyte.gz")),
];

/// The data at `path`, or the sample set.
pub(in crate::cli) fn open_data<T: RunTask>(path: Option<&Path>, options: &toml::Table) -> Result<Splits> {
    if let Some(path) = path {
        return T::open(path, options);
    }
    if T::NAME != Classifier::NAME {
        return Err(Error::config(format!("--task {} needs data: name a folder or file", T::NAME)));
    }
    // IDX files are read whole, so the folder need not outlive this.
    let folder = tempfile::tempdir().map_err(|e| Error::io("create", std::env::temp_dir(), e))?;
    for (name, bytes) in SAMPLE {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).map_err(|e| Error::io("write", &path, e))?;
    }
    let mut splits = data::open(folder.path())?;
    for part in [&mut splits.train, &mut splits.val, &mut splits.test] {
        part.root = "the bundled sample set (MNIST)".into();
    }
    Ok(splits)
}

/// Gives the data the validation part that the settings ask for.
pub(in crate::cli) fn validation_part<T: RunTask>(mut splits: Splits, settings: &Settings) -> Result<Splits> {
    let classes = splits.train.classes.clone();
    let open = |path: &Path, part| T::open_part(path, part, &classes, &settings.options);
    if let Some(path) = &settings.val {
        splits.val = open(path, Part::Val)?;
    } else if settings.val_fraction == 0.0 {
        splits.val.samples.clear();
    }
    if let Some(path) = &settings.test {
        splits.test = open(path, Part::Test)?;
    }
    T::split(splits, settings)
}
/// The parts of the data, decoded.
pub(super) struct Sets {
    pub train: Arc<Images>,
    pub val: Option<Arc<Images>>,
    pub test: Option<Arc<Images>>,
    /// What is wrong with them.
    pub findings: Vec<Finding>,
}

impl Sets {
    pub fn load<T: RunTask>(splits: Splits, canvas: Canvas, settings: &Settings, common: &Common) -> Result<Self> {
        let total = (splits.train.len() + splits.val.len() + splits.test.len()) as u64;
        let bar = progress::bar(common, total, "reading");
        let tick = || {
            bar.inc(1);
            if interrupted() { Err(Error::Interrupted) } else { Ok(()) }
        };
        let parts = Images::load_splits(splits, canvas, settings.cache, &tick)?;
        let [train, val, test] = parts.map(|part| part.map(Arc::new));
        let train = train.ok_or_else(|| Error::config("there are no training images"))?;
        bar.finish_and_clear();
        let parts = [Some(train.as_ref()), val.as_deref(), test.as_deref()];
        let findings = audit_decoded(parts, &T::class_counts(train.dataset()))?;
        let sets = Self { train, val, test, findings };
        sets.report(common);
        Ok(sets)
    }

    fn report(&self, common: &Common) {
        let parts = [Some(&self.train), self.val.as_ref(), self.test.as_ref()];
        let skipped: Vec<&Error> = parts.into_iter().flatten().flat_map(|i| i.skipped()).collect();
        for error in skipped.iter().take(10) {
            common.say(format!("skipped: {error}"));
        }
        if !skipped.is_empty() {
            common.say(format!("{} images could not be read and are left out", skipped.len()));
        }
        let count = |part: Option<&Arc<Images>>| part.map_or(0, |i| i.len());
        let train = self.train.dataset();
        common.say(format!(
            "data     {}: {} training, {} validation, {} test images, {} classes",
            train.root.display(),
            self.train.len(),
            count(self.val.as_ref()),
            count(self.test.as_ref()),
            train.classes.len()
        ));
        common.say(format!("cache    decoded images are kept {}", self.train.kept()));
        for Finding { title, .. } in &self.findings {
            common.say(format!("note     {title}"));
        }
        if !self.findings.is_empty() && train.root.exists() {
            common.say(format!("note     ocellus check {} says which", train.root.display()));
        }
    }
}
