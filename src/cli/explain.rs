use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::predict::sources;
use super::trained::{Trained, task_of};
use super::{Common, json, print};
use crate::data::Image;
use crate::device::{Device, Weights};
use crate::error::{Error, Result};
use crate::explain::{Heatmap, Method, Score, Watched, channels, explain, faithfulness, filters};
use crate::graph::{Graph, Value};
use crate::interop::npy;
use crate::interop::onnx::{Element, Values};
use crate::seed::Seed;
use crate::tasks::{RunTask, with_task};
use crate::tensor::{Array, Tensor};

/// Shows which pixels decided.
#[derive(Args)]
pub(super) struct Explain {
    /// A run folder, or a weights file in one.
    run: PathBuf,
    /// Images, folders, globs; folders of frames, where the network looks at sequences.
    #[arg(required_unless_present = "filters")]
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
    /// Draw what the layer named by --layer, or the last with height and width, makes of each picture, a tile for each channel.
    #[arg(long)]
    maps: bool,
    /// Draw the kernels of the first convolution, or of the one named by --layer; pictures need not be given.
    #[arg(long)]
    filters: bool,
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

/// Pictures that the network is shown at a time, where many are made of one.
const BATCH: usize = 8;

/// What is said of a picture.
#[derive(Serialize)]
struct Explained {
    path: String,
    /// The class that the map is for.
    class: String,
    /// Its probability.
    score: f32,
    overlay: String,
    /// A picture of the layer's channels.
    #[serde(skip_serializing_if = "Option::is_none")]
    maps: Option<String>,
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
        with_task!(task_of(&self.run)?.as_str(), T => self.run_as::<T>(common))
    }

    fn run_as<T: RunTask>(&self, common: &Common) -> Result<()> {
        let trained = Trained::<T>::open(&self.run, common)?;
        let named = match self.paths.as_slice() {
            [] => Vec::new(),
            paths => sources(paths, trained.session.task().canvas())?,
        };
        let folder = self.run.is_dir().then_some(self.run.as_path()).or(self.run.parent()).unwrap_or(Path::new("."));
        let out = self.out.clone().unwrap_or_else(|| folder.join("explanations"));
        fs::create_dir_all(&out).map_err(|e| Error::io("create", &out, e))?;
        if self.filters {
            self.draw_filters(&trained, &out)?;
        }
        if named.is_empty() {
            return Ok(());
        }
        let classes = &trained.kept.classes;
        let wanted = self.class.as_ref().map(|name| class_number(classes, name)).transpose()?;
        let mut watched = self.watched(&trained)?;
        let mut random = if self.sanity { Some(self.with_random_weights(&trained, common)?) } else { None };
        super::catch_interrupts()?;
        let mut failed = 0;
        for (number, (path, source)) in named.iter().enumerate() {
            match source.image_with(trained.kept.settings.window) {
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
            n => Err(Error::config(format!("{n} of {} images could not be read", named.len()))),
        }
    }

    fn watched<T: RunTask>(&self, trained: &Trained<T>) -> Result<Watched> {
        let session = &trained.session;
        self.watch(session.task(), session.device(), session.weights())
    }

    fn watch<T: RunTask>(&self, task: &T, device: &Device, weights: &Weights) -> Result<Watched> {
        let likelihoods = |graph: &mut Graph, output: Value| task.likelihoods(graph, output);
        let alone = matches!(self.method, Method::GradCam | Method::GradCamPlusPlus) && !self.curves;
        let batch = if alone { 1 } else { BATCH };
        Watched::with_likelihoods(task.model(), device, weights, batch, self.layer.as_deref(), &likelihoods)
    }

    /// The kernels of the layer named, or of the first that is a convolution.
    fn draw_filters<T: RunTask>(&self, trained: &Trained<T>, out: &Path) -> Result<()> {
        let tensors = trained.session.weights().tensors()?;
        let kernels = |(name, tensor): &&(String, Tensor)| match &self.layer {
            Some(layer) => name.strip_prefix(layer.as_str()) == Some(".weight"),
            None => tensor.shape().rank() == 4,
        };
        let found = tensors.iter().find(kernels).ok_or_else(|| Error::config("there is no such convolution"))?;
        let path = out.join("filters.png");
        filters(&found.1)?.save_png(&path)?;
        print(format!("{}: kernels of {}", path.display(), found.0.trim_end_matches(".weight")))
    }

    /// The same network with the weights that training could have started from.
    fn with_random_weights<T: RunTask>(&self, trained: &Trained<T>, common: &Common) -> Result<Watched> {
        let session = &trained.session;
        let model = session.task().model();
        let drawn = model.initialize(Seed(common.seed.unwrap_or(0)))?;
        let weights = session.device().weights(
            (**session.weights().parameters()).clone(),
            (**session.weights().states()).clone(),
            0,
        )?;
        weights.set(|name| drawn.get(name))?;
        self.watch(session.task(), session.device(), &weights)
    }

    #[expect(clippy::too_many_arguments, reason = "all that an explanation depends on")]
    fn picture<T: RunTask>(
        &self,
        watched: &mut Watched,
        random: Option<&mut Watched>,
        trained: &Trained<T>,
        wanted: Option<usize>,
        path: &Path,
        image: Image,
        out: &Path,
        number: usize,
    ) -> Result<Explained> {
        let task = trained.session.task();
        let fitted = image.clone().fit(task.canvas())?;
        let pixels = task.normalization().apply(&fitted.pixels);
        let seed = Seed(0);
        let nothing = Score::output(0, watched.outputs());
        let probabilities = watched.look(std::slice::from_ref(&pixels), &nothing)?.probabilities.remove(0);
        let (class, score) = task.subject(&probabilities, wanted)?;
        let map = explain(watched, self.method, &pixels, &score, seed)?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let name = |ending: &str| out.join(format!("{number:04}-{stem}-{}.{ending}", self.method));
        let overlay = name("png");
        map.over(&image).side_by_side(watched.frames()).save_png(&overlay)?;
        let maps = self.maps.then(|| out.join(format!("{number:04}-{stem}-maps.png")));
        if let Some(path) = &maps {
            let seen = watched.look(std::slice::from_ref(&pixels), &score)?;
            channels(&seen.maps[0], watched.map()).save_png(path)?;
        }
        let heatmap = self.npy.then(|| name("npy"));
        if let Some(path) = &heatmap {
            npy::write(path, &values(&map))?;
        }
        let mut explained = Explained {
            path: path.display().to_string(),
            class,
            score: score.probability(&probabilities),
            overlay: overlay.display().to_string(),
            maps: maps.map(|path| path.display().to_string()),
            heatmap: heatmap.map(|path| path.display().to_string()),
            deletion: None,
            insertion: None,
            sanity: None,
        };
        if self.curves {
            explained.deletion = Some(faithfulness::deletion(watched, &map, &pixels, &score)?.area());
            explained.insertion = Some(faithfulness::insertion(watched, &map, &pixels, &score)?.area());
        }
        if let Some(random) = random {
            explained.sanity = Some(map.rank_correlation(&explain(random, self.method, &pixels, &score, seed)?));
        }
        Ok(explained)
    }
}

impl std::fmt::Display for Explained {
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
