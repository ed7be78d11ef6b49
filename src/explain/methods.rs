use std::fmt;
use std::str::FromStr;

use rand_distr::{Distribution, StandardNormal};

use super::{Heatmap, Score, Watched};
use crate::error::{Error, Result};
use crate::seed::Seed;

/// How it is found out which pixels count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Channels of a map, each weighted by its mean gradient; what speaks against the class is left out (Selvaraju et al., 2017,
    /// <https://arxiv.org/abs/1610.02391>).
    GradCam,
    /// The same with weights that count every place where a channel matters, however small (Chattopadhay et al., 2018,
    /// <https://arxiv.org/abs/1710.11063>). No weight is negative, so that the map depends less on the class: ask for the comparison
    /// with random weights.
    GradCamPlusPlus,
    /// Gradients on the way from an even picture to this one: they add up to the difference of the scores (Sundararajan et al.,
    /// 2017, <https://arxiv.org/abs/1703.01365>).
    IntegratedGradients,
    /// The mean gradient of noisy copies (Smilkov et al., 2017, <https://arxiv.org/abs/1706.03825>), its size.
    SmoothGrad,
    /// By how much the probability falls when a square is covered (Zeiler & Fergus, 2014, <https://arxiv.org/abs/1311.2901>).
    Occlusion,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::GradCam, Self::GradCamPlusPlus, Self::IntegratedGradients, Self::SmoothGrad, Self::Occlusion];

    fn name(self) -> &'static str {
        match self {
            Self::GradCam => "grad-cam",
            Self::GradCamPlusPlus => "grad-cam++",
            Self::IntegratedGradients => "integrated-gradients",
            Self::SmoothGrad => "smooth-grad",
            Self::Occlusion => "occlusion",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Method {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let names = || Self::ALL.map(Self::name).join(", ");
        let unknown = || Error::config(format!("there is no method \"{name}\"; there are {}", names()));
        Self::ALL.into_iter().find(|method| method.name() == name).ok_or_else(unknown)
    }
}

/// Steps on the way of integrated gradients.
const STEPS: usize = 32;
/// Noisy copies, and their noise as a share of the picture's range: the paper's 10 to 20 %.
const COPIES: usize = 32;
const NOISE: f32 = 0.15;
/// Squares are an eighth of a side, and half of that apart.
const SQUARES: usize = 8;

/// How much the pixels of a picture, `[h, w, c]` as the network takes it, count for a score.
///
/// Errors: if the device is lost.
pub fn explain(watched: &mut Watched, method: Method, picture: &[f32], score: &Score, seed: Seed) -> Result<Heatmap> {
    match method {
        Method::GradCam => class_activation(watched, picture, score, |_, gradient| {
            gradient.iter().sum::<f32>() / gradient.len() as f32
        }),
        Method::GradCamPlusPlus => class_activation(watched, picture, score, |map, gradient| {
            let total: f32 = map.iter().sum();
            let share = |g: f32| {
                let whole = 2.0 * g * g + total * g * g * g;
                if whole == 0.0 { 0.0 } else { g * g / whole }
            };
            gradient.iter().map(|&g| share(g) * g.max(0.0)).sum()
        }),
        Method::IntegratedGradients => integrated_gradients(watched, picture, score),
        Method::SmoothGrad => smooth_grad(watched, picture, score, seed),
        Method::Occlusion => occlusion(watched, picture, score),
    }
}

/// `relu(Σ weight(channel) channel)` of the map within; `weight` is told a channel's values and their gradients.
fn class_activation(
    watched: &mut Watched,
    picture: &[f32],
    score: &Score,
    weight: impl Fn(&[f32], &[f32]) -> f32,
) -> Result<Heatmap> {
    let [h, w, channels] = watched.map();
    let seen = watched.look(&[picture.to_vec()], score)?;
    let channel = |values: &[f32], c: usize| values.iter().skip(c).step_by(channels).copied().collect::<Vec<f32>>();
    let mut sum = vec![0.0; h * w];
    for c in 0..channels {
        let (map, gradient) = (channel(&seen.maps[0], c), channel(&seen.map_gradients[0], c));
        let weight = weight(&map, &gradient);
        sum.iter_mut().zip(&map).for_each(|(sum, value)| *sum += weight * value);
    }
    sum.iter_mut().for_each(|value| *value = value.max(0.0));
    // Nothing is interpolated from one frame to the next.
    let ([height, width, _], frames) = (watched.input(), watched.map_frames());
    let stretched = |frame| Heatmap::stretched(frame, [h / frames, w], [height / frames, width]).values;
    Ok(Heatmap { size: [height, width], values: sum.chunks(sum.len() / frames).flat_map(stretched).collect() })
}

/// Mean gradient of pictures, one value for each of theirs.
fn mean_gradient(watched: &mut Watched, pictures: &[Vec<f32>], score: &Score) -> Result<Vec<f32>> {
    let mut sum = vec![0.0; pictures[0].len()];
    for some in pictures.chunks(watched.batch()) {
        for gradient in watched.look(some, score)?.pixel_gradients {
            sum.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += g);
        }
    }
    sum.iter_mut().for_each(|value| *value /= pictures.len() as f32);
    Ok(sum)
}

/// A value for each pixel from one for each of its channels.
fn by_pixel(watched: &Watched, values: &[f32], f: impl Fn(&[f32]) -> f32) -> Heatmap {
    let [height, width, channels] = watched.input();
    Heatmap { size: [height, width], values: values.chunks(channels).map(f).collect() }
}

fn integrated_gradients(watched: &mut Watched, picture: &[f32], score: &Score) -> Result<Heatmap> {
    // 0 is the mean colour of what the network was trained on.
    let on_the_way = |step: usize| {
        let share = (step as f32 + 0.5) / STEPS as f32;
        picture.iter().map(|x| x * share).collect::<Vec<f32>>()
    };
    let pictures: Vec<Vec<f32>> = (0..STEPS).map(on_the_way).collect();
    let mut values = mean_gradient(watched, &pictures, score)?;
    values.iter_mut().zip(picture).for_each(|(g, x)| *g *= x);
    Ok(by_pixel(watched, &values, |pixel| pixel.iter().sum()))
}

fn smooth_grad(watched: &mut Watched, picture: &[f32], score: &Score, seed: Seed) -> Result<Heatmap> {
    let (least, most) = picture.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), &x| (a.min(x), b.max(x)));
    let deviation = NOISE * (most - least);
    let mut random = seed.generator("smooth-grad", &[]);
    let mut noisy = |x: &f32| {
        let noise: f32 = StandardNormal.sample(&mut random);
        x + deviation * noise
    };
    let pictures: Vec<Vec<f32>> = (0..COPIES).map(|_| picture.iter().map(&mut noisy).collect()).collect();
    let values = mean_gradient(watched, &pictures, score)?;
    Ok(by_pixel(watched, &values, |pixel| pixel.iter().map(|g| g.abs()).fold(0.0, f32::max)))
}

fn occlusion(watched: &mut Watched, picture: &[f32], score: &Score) -> Result<Heatmap> {
    let [height, width, channels] = watched.input();
    let frame = height / watched.frames();
    let side = [frame, width].map(|extent| extent.div_ceil(SQUARES).max(1));
    let starts = |extent: usize, side: usize| (0..extent).step_by(side.div_ceil(2)).collect::<Vec<usize>>();
    let mut squares = Vec::new();
    for top in starts(height, side[0]) {
        squares.extend(starts(width, side[1]).into_iter().map(|left| [top, left]));
    }
    let within = |[top, left]: [usize; 2]| {
        let bottom = (top + side[0]).min((top / frame + 1) * frame);
        let (rows, columns) = (top..bottom, left..(left + side[1]).min(width));
        rows.flat_map(move |y| columns.clone().map(move |x| y * width + x))
    };
    let covered = |&square: &[usize; 2]| {
        let mut copy = picture.to_vec();
        within(square).for_each(|at| copy[at * channels..][..channels].fill(0.0));
        copy
    };
    let whole = watched.probabilities(&[picture.to_vec()], score)?[0];
    let (mut falls, mut times) = (vec![0.0; height * width], vec![0.0_f32; height * width]);
    for some in squares.chunks(watched.batch()) {
        let copies: Vec<Vec<f32>> = some.iter().map(covered).collect();
        for (&square, probability) in some.iter().zip(watched.probabilities(&copies, score)?) {
            within(square).for_each(|at| {
                falls[at] += whole - probability;
                times[at] += 1.0;
            });
        }
    }
    let values = falls.iter().zip(&times).map(|(fall, times)| fall / times.max(1.0)).collect();
    Ok(Heatmap { size: [height, width], values })
}
