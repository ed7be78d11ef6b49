use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::trained::Trained;
use super::{Common, json, print};
use crate::data::{Image, list_images};
use crate::error::{Error, Result};
use crate::explain::{Heatmap, Method, Watched, explain, faithfulness};
use crate::interop::npy;
use crate::interop::onnx::{Element, Values};
use crate::seed::Seed;
use crate::tasks::Classifier;
use crate::tensor::Array;

/// Shows which pixels decided.
#[derive(Args)]
pub(super) struct Explain {
    /// A run folder, or a weights file in one.
    run: PathBuf,
    /// Images, folders, globs.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// grad-cam, grad-cam++, integrated-gradients, smooth-grad or occlusion.
    #[arg(long, default_value_t = Method::GradCam, value_name = "NAME")]
    method: Method,
    /// For which class; without it, the one that is predicted.
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
    /// For grad-cam: the layer whose map is weighed; without it, the last that has height and width.
    #[arg(long, value_name = "NAME")]
    layer: Option<String>,
    /// Where overlays go; without it, explanations/ in the run's folder.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write the numbers too, as arrays of numpy.
    #[arg(long)]
    npy: bool,
    /// Measure how fast the probability falls as the pixels named go, and rises as they come.
    #[arg(long)]
    curves: bool,
    /// Compare with the map of the same network with weights drawn anew: a map that stays the same explains nothing.
    #[arg(long)]
    sanity: bool,
}

/// Pictures that the network is shown at a time.
const BATCH: usize = 8;

/// What is said of a picture.
#[derive(Serialize)]
struct Explained<'a> {
    path: String,
    /// The class that the map is for.
    class: &'a str,
    /// Its probability.
    score: f32,
    overlay: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    heatmap: Option<String>,
    /// Area under the probability as pixels go: the less, the better.
    #[serde(skip_serializing_if = "Option::is_none")]
    deletion: Option<f64>,
    /// Area under the probability as pixels come: the more, the better.
    #[serde(skip_serializing_if = "Option::is_none")]
    insertion: Option<f64>,
    /// Correlation of ranks with the map of random weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    sanity: Option<f64>,
}

impl Explain {
    pub fn run(&self, common: &Common) -> Result<()> {
        let mut paths = Vec::new();
        for path in &self.paths {
            paths.extend(list_images(path)?);
        }
        if paths.is_empty() {
            return Err(Error::config("there are no images in what was given"));
        }
        let trained = Trained::<Classifier>::open(&self.run, common)?;
        let classes = &trained.kept.classes;
        let wanted = self.class.as_ref().map(|name| class_number(classes, name)).transpose()?;
        let mut watched = self.watched(&trained)?;
        let mut random = if self.sanity { Some(self.with_random_weights(&trained, common)?) } else { None };
        let folder = self.run.is_dir().then_some(self.run.as_path()).or(self.run.parent()).unwrap_or(Path::new("."));
        let out = self.out.clone().unwrap_or_else(|| folder.join("explanations"));
        fs::create_dir_all(&out).map_err(|e| Error::io("create", &out, e))?;
        super::catch_interrupts()?;
        let mut failed = 0;
        for (number, path) in paths.iter().enumerate() {
            match Image::open_with(path, trained.kept.settings.window) {
                Ok(image) => {
                    let explained =
                        self.picture(&mut watched, random.as_mut(), &trained, wanted, path, image, &out, number)?;
                    print(if common.json { json(&explained)? } else { explained.to_string() })?;
                }
                Err(error) => {
                    failed += 1;
                    super::predict::print_unreadable(path.display().to_string(), &error, common)?;
                }
            }
            if super::interrupted() {
                return Err(Error::Interrupted);
            }
        }
        match failed {
            0 => Ok(()),
            n => Err(Error::config(format!("{n} of {} images could not be read", paths.len()))),
        }
    }

    fn watched(&self, trained: &Trained<Classifier>) -> Result<Watched> {
        let session = &trained.session;
        Watched::new(&session.task().model, session.device(), session.weights(), BATCH, self.layer.as_deref())
    }

    /// The same network with the weights that training could have started from.
    fn with_random_weights(&self, trained: &Trained<Classifier>, common: &Common) -> Result<Watched> {
        let session = &trained.session;
        let model = &session.task().model;
        let drawn = model.initialize(Seed(common.seed.unwrap_or(0)))?;
        let weights = session.device().weights(
            (**session.weights().parameters()).clone(),
            (**session.weights().states()).clone(),
            0,
        )?;
        weights.set(|name| drawn.get(name))?;
        Watched::new(model, session.device(), &weights, BATCH, self.layer.as_deref())
    }

    #[expect(clippy::too_many_arguments, reason = "all that an explanation depends on")]
    fn picture<'a>(
        &self,
        watched: &mut Watched,
        random: Option<&mut Watched>,
        trained: &'a Trained<Classifier>,
        wanted: Option<usize>,
        path: &Path,
        image: Image,
        out: &Path,
        number: usize,
    ) -> Result<Explained<'a>> {
        let task = trained.session.task();
        let fitted = image.clone().fit(task.input())?;
        let pixels = task.normalization.apply(&fitted.pixels);
        let seed = Seed(0);
        let probabilities = watched.look(std::slice::from_ref(&pixels), 0)?.probabilities.remove(0);
        let best = (0..probabilities.len()).reduce(|a, b| if probabilities[b] > probabilities[a] { b } else { a });
        let class = wanted.or(best).unwrap_or(0);
        let map = explain(watched, self.method, &pixels, class, seed)?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let name = |ending: &str| out.join(format!("{number:04}-{stem}-{}.{ending}", self.method));
        let overlay = name("png");
        map.over(&image).save_png(&overlay)?;
        let heatmap = self.npy.then(|| name("npy"));
        if let Some(path) = &heatmap {
            npy::write(path, &values(&map))?;
        }
        let mut explained = Explained {
            path: path.display().to_string(),
            class: &trained.kept.classes[class],
            score: probabilities[class],
            overlay: overlay.display().to_string(),
            heatmap: heatmap.map(|path| path.display().to_string()),
            deletion: None,
            insertion: None,
            sanity: None,
        };
        if self.curves {
            explained.deletion = Some(faithfulness::deletion(watched, &map, &pixels, class)?.area());
            explained.insertion = Some(faithfulness::insertion(watched, &map, &pixels, class)?.area());
        }
        if let Some(random) = random {
            explained.sanity = Some(map.rank_correlation(&explain(random, self.method, &pixels, class, seed)?));
        }
        Ok(explained)
    }
}

impl std::fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}  {}  {:.3}   {}", self.path, self.class, self.score, self.overlay)?;
        if let (Some(deletion), Some(insertion)) = (self.deletion, self.insertion) {
            write!(f, "   deletion {deletion:.3}, insertion {insertion:.3}")?;
        }
        self.sanity.map_or(Ok(()), |correlation| write!(f, "   with random weights {correlation:.2}"))
    }
}

fn class_number(classes: &[String], name: &str) -> Result<usize> {
    let known = || classes.iter().take(10).cloned().collect::<Vec<_>>().join(", ");
    let more = if classes.len() > 10 { ", …" } else { "" };
    let unknown = || Error::config(format!("there is no class \"{name}\"; there are {}{more}", known()));
    classes.iter().position(|class| class == name).ok_or_else(unknown)
}

fn values(map: &Heatmap) -> Values {
    let data = map.values.iter().map(|&v| f64::from(v)).collect();
    Values { element: Element::Float, array: Array { shape: map.size.into(), data } }
}
