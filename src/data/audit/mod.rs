//! What is wrong with a data set, found before a network learns it: copies, leaks, contradictions, oddities, imbalance.
//!
//! In come pictures, each looked at once ([`Look`]); out come [`Finding`]s for people, the gravest first.

mod duplicates;
mod fingerprint;
mod oddities;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::groups::shared;
use super::normalize::Moments;
use super::{Annotation, Dataset, Image, Images, Normalization, Normalize, Sample, Splits};
use crate::error::{Error, Result};

use duplicates::Group;
use fingerprint::Fingerprint;

/// A data set as it is, and what is wrong with it.
#[derive(Clone, Debug, Serialize)]
pub struct Audit {
    /// Class names.
    pub classes: Vec<String>,
    /// The parts that there are.
    pub parts: Vec<PartCounts>,
    /// Heights and widths: least, median and most of each.
    pub sizes: [[usize; 3]; 2],
    /// How many pictures are grey, and how many in colour.
    pub channels: [usize; 2],
    /// Of the readable pictures of all parts, in their own size, from 0 to 1; grey counts as colour where there is both.
    pub statistics: Normalization,
    /// What is wrong, the gravest first.
    pub findings: Vec<Finding>,
}

/// What a part has; what cannot be read counts too.
#[derive(Clone, Debug, Serialize)]
pub struct PartCounts {
    /// training, validation or test.
    pub name: &'static str,
    /// How many pictures.
    pub images: usize,
    /// How many of each class, as [`Dataset::class_counts`] has them.
    pub counts: Vec<usize>,
}

/// Something that is wrong, or may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Whether results with such data would mislead, or a picture is lost.
    pub serious: bool,
    /// What.
    pub title: String,
    /// Where: a line each.
    pub items: Vec<String>,
}

/// What is remembered of a picture.
struct Look {
    size: [usize; 2],
    channels: usize,
    blank: bool,
    moments: Moments,
    fingerprint: Fingerprint,
}

/// A picture that was looked at, and what it is called.
struct Seen {
    look: Look,
    part: usize,
    class: String,
    name: String,
}

const PARTS: [&str; 3] = ["training", "validation", "test"];

/// Looks at every picture of a data set, decoded in full on all cores. `counts` are those of the classes among the training
/// pictures, where an imbalance is to be told. `progress` is called after each picture.
///
/// Errors: those of `progress`; or if not one picture can be read.
pub fn audit(splits: &Splits, counts: &[usize], progress: &(dyn Fn() -> Result<()> + Sync)) -> Result<Audit> {
    let parts = [&splits.train, &splits.val, &splits.test];
    let (mut seen, mut unreadable) = (Vec::new(), Vec::new());
    for (part, data) in parts.into_iter().enumerate() {
        let look = |sample: &Sample| {
            let look = sample.source.image_with(data.window).map(Look::at);
            progress().map(|()| look)
        };
        let looks: Vec<Result<Look>> = data.samples.par_iter().map(look).collect::<Result<_>>()?;
        for (sample, look) in data.samples.iter().zip(looks) {
            match look {
                Ok(look) => {
                    let class = class_of(sample, data);
                    seen.push(Seen { look, part, class, name: sample.source.to_string() });
                }
                Err(error) => unreadable.push(error.to_string()),
            }
        }
    }
    if seen.is_empty() {
        return Err(Error::format(&splits.train.root, "not one of its images can be read"));
    }
    let mut findings = Vec::new();
    if !unreadable.is_empty() {
        findings.push(Finding::serious(format!("{} cannot be read", images(unreadable.len())), unreadable));
    }
    findings.extend(leaked_groups(parts));
    findings.extend(in_common(&seen, &splits.train.classes, counts));
    findings.extend(oddities::find(&seen));
    let counts =
        |(name, data): (&'static str, &Dataset)| PartCounts { name, images: data.len(), counts: data.class_counts() };
    let sizes = [0, 1].map(|axis| extremes(seen.iter().map(|s| s.look.size[axis]).collect()));
    let colour = seen.iter().filter(|s| s.look.channels == 3).count();
    let depth = if colour > 0 { 3 } else { 1 };
    let moments = |s: &Seen| match (s.look.channels, depth) {
        (1, 3) => s.look.moments.in_colour(),
        _ => s.look.moments,
    };
    let moments = seen.iter().map(moments).fold(Moments::default(), Moments::plus);
    Ok(Audit {
        classes: splits.train.classes.clone(),
        parts: PARTS.into_iter().zip(parts).filter(|(_, data)| !data.is_empty()).map(counts).collect(),
        sizes,
        channels: [seen.len() - colour, colour],
        statistics: Normalization::new(Normalize::Dataset, depth, &moments),
        findings,
    })
}

/// Pictures among which looking for copies takes no more than a second or two.
const MOST_AT_ONCE: usize = 30_000;

/// What can be told at once of pictures as the network sees them: imbalance of training pictures, of which there are `counts` of
/// each class, and copies, unless there are very many pictures or the decoded are not kept.
///
/// Errors: if a picture can no longer be read.
pub fn audit_decoded(parts: [Option<&Images>; 3], counts: &[usize]) -> Result<Vec<Finding>> {
    let mut seen = Vec::new();
    let few = parts.iter().flatten().map(|images| images.len()).sum::<usize>() <= MOST_AT_ONCE;
    for (part, images) in parts.into_iter().enumerate() {
        let Some(images) = images.filter(|images| few && images.is_kept()) else { continue };
        let look = |index: usize| {
            let sample = &images.dataset().samples[index];
            let look = Look::at(images.image(index)?);
            let class = class_of(sample, images.dataset());
            Ok(Seen { look, part, class, name: sample.source.to_string() })
        };
        seen.extend((0..images.len()).into_par_iter().map(look).collect::<Result<Vec<Seen>>>()?);
    }
    let none = Dataset::default();
    let leaked = leaked_groups(parts.map(|part| part.map_or(&none, Images::dataset)));
    let common = parts[0].map_or(Vec::new(), |train| in_common(&seen, &train.dataset().classes, counts));
    Ok(leaked.into_iter().chain(common).collect())
}

/// The class of the whole picture; empty where it has none.
fn class_of(sample: &Sample, data: &Dataset) -> String {
    match sample.annotation {
        Annotation::None => data.classes.get(sample.label).cloned().unwrap_or_default(),
        Annotation::Mask(_) | Annotation::Boxes(_) | Annotation::Text(_) => String::new(),
    }
}

/// Groups that a network could know from training.
fn leaked_groups(parts: [&Dataset; 3]) -> Option<Finding> {
    let line = |(group, counts): (String, [usize; 3])| {
        let parts =
            PARTS.iter().zip(counts).filter(|(_, n)| *n > 0).map(|(part, n)| format!("{} in {part}", images(n)));
        format!("{group}: {}", parts.collect::<Vec<_>>().join(", "))
    };
    let lines: Vec<String> = shared(parts).into_iter().map(line).collect();
    let title = format!(
        "{} in more than one part: results on their images may flatter",
        counted(lines.len(), "group stands", "groups stand")
    );
    (!lines.is_empty()).then(|| Finding::serious(title, lines))
}

fn in_common(seen: &[Seen], classes: &[String], counts: &[usize]) -> Vec<Finding> {
    let groups = duplicates::groups(&seen.iter().map(|s| &s.look.fingerprint).collect::<Vec<_>>());
    [copies(seen, &groups), imbalance(classes, counts)].concat()
}

fn copies(seen: &[Seen], groups: &[Group]) -> Vec<Finding> {
    let differ = |group: &Group, of: fn(&Seen) -> &str| {
        group.members.iter().any(|&member| of(&seen[member]) != of(&seen[group.members[0]]))
    };
    let kind = |group: &Group| if group.exact { "the same" } else { "nearly the same" };
    let line = |group: &Group, tell: &dyn Fn(&Seen) -> String| {
        let members: Vec<String> = group.members.iter().map(|&member| tell(&seen[member])).collect();
        format!("{}: {}", kind(group), members.join(", "))
    };
    let lines = |exact: bool, of: fn(&Seen) -> &str, tell: &dyn Fn(&Seen) -> String| -> Vec<String> {
        let told = groups.iter().filter(|group| group.exact == exact && differ(group, of));
        told.map(|group| line(group, tell)).collect()
    };
    let part = |s: &Seen| format!("{} ({})", s.name, PARTS[s.part]);
    let class = |s: &Seen| format!("{} ({})", s.name, s.class);
    let [leaks, like_leaks] = [true, false].map(|exact| lines(exact, |s| PARTS[s.part], &part));
    let [contradictions, doubts] = [true, false].map(|exact| lines(exact, |s| &s.class, &class));
    let copies: usize = groups.iter().map(|group| group.members.len() - 1).sum();
    let repeated = format!(
        "{} of others: where the validation part is drawn at random, copies may fall on both sides",
        counted(copies, "is a copy", "are copies")
    );
    let all = groups.iter().map(|group| line(group, &|s| s.name.clone())).collect();
    let findings = [
        Finding::serious(format!("{} in more than one part: results on them say nothing", stand(leaks.len())), leaks),
        Finding::serious(format!("{} in more than one class", stand(contradictions.len())), contradictions),
        Finding::minor(format!("{} in another part", look_like(like_leaks.len())), like_leaks),
        Finding::minor(format!("{} of another class", look_like(doubts.len())), doubts),
        Finding::minor(repeated, all),
    ];
    findings.into_iter().filter(|finding| !finding.items.is_empty()).collect()
}

/// Largest over smallest class from which on it is told.
const IMBALANCE: usize = 3;
/// Training pictures of a class below which it is told.
const FEW: usize = 10;

fn imbalance(classes: &[String], counts: &[usize]) -> Vec<Finding> {
    let classes = || classes.iter().zip(counts.iter().copied());
    let mut findings = Vec::new();
    let (Some(largest), Some(smallest)) = (classes().max_by_key(|c| c.1), classes().min_by_key(|c| c.1)) else {
        return findings;
    };
    if smallest.1 > 0 && largest.1 >= IMBALANCE * smallest.1 {
        let ratio = largest.1 as f64 / smallest.1 as f64;
        let title = format!("the largest class has {ratio:.1} times as many training images as the smallest");
        let lines = [largest, smallest].map(|(class, n)| format!("{class}: {n}")).into();
        findings.push(Finding::minor(title + ": consider --sampling balanced or --class-weights auto", lines));
    }
    let few: Vec<String> = classes().filter(|c| c.1 < FEW).map(|(class, n)| format!("{class}: {n}")).collect();
    if !few.is_empty() {
        let title = format!("{} fewer than {FEW} training images", counted(few.len(), "class has", "classes have"));
        findings.push(Finding::minor(title, few));
    }
    findings
}

impl Look {
    fn at(image: Image) -> Self {
        Self {
            size: image.size,
            channels: image.channels,
            blank: image.pixels.chunks_exact(image.channels).all(|pixel| *pixel == image.pixels[..image.channels]),
            moments: Moments::of(&image.pixels, image.channels),
            fingerprint: Fingerprint::of(image),
        }
    }
}

impl Finding {
    fn serious(title: String, items: Vec<String>) -> Self {
        Self { serious: true, title, items }
    }

    fn minor(title: String, items: Vec<String>) -> Self {
        Self { serious: false, title, items }
    }
}

fn counted(n: usize, one: &str, more: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { more })
}

fn images(n: usize) -> String {
    counted(n, "image", "images")
}

fn stand(n: usize) -> String {
    counted(n, "image stands", "images stand")
}

fn look_like(n: usize) -> String {
    counted(n, "image looks like others", "images look like others")
}

/// Least, median and most; of at least one.
fn extremes(mut values: Vec<usize>) -> [usize; 3] {
    values.sort_unstable();
    [values[0], values[values.len() / 2], values[values.len() - 1]]
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use image::imageops::{self, FilterType};
    use image::{ImageFormat, RgbImage};
    use rand::RngExt;

    use super::super::Seed;
    use super::super::fixtures::{encode, write};
    use super::*;

    /// A picture of soft blobs, other ones for each seed.
    fn blobs(seed: u64, [width, height]: [u32; 2]) -> RgbImage {
        let mut rng = Seed(seed).generator("blobs", &[]);
        let coarse = RgbImage::from_fn(8, 6, |_, _| image::Rgb(rng.random()));
        imageops::resize(&coarse, width, height, FilterType::Triangle)
    }

    fn save(folder: &Path, name: &str, picture: RgbImage, format: ImageFormat) {
        write(folder, name, encode(picture, format));
    }

    /// Twelve cats and as many dogs to train on, four of each to test.
    fn pets() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for i in 0..32 {
            let (part, class) = (if i < 24 { "train" } else { "test" }, if i % 2 == 0 { "cat" } else { "dog" });
            save(folder.path(), &format!("{part}/{class}/{i:02}.png"), blobs(i, [64, 48]), ImageFormat::Png);
        }
        folder
    }

    fn of_folder(folder: &Path) -> Audit {
        let splits = super::super::open(folder).unwrap();
        audit(&splits, &splits.train.class_counts(), &|| Ok(())).unwrap()
    }

    fn findings(folder: &Path) -> Vec<Finding> {
        of_folder(folder).findings
    }

    #[test]
    fn a_good_set_has_no_findings_and_is_described() {
        let folder = pets();
        let audit = of_folder(folder.path());
        assert_eq!(audit.findings, []);
        assert_eq!((audit.sizes, audit.channels), ([[48; 3], [64; 3]], [0, 32]));
        let counts: Vec<(&str, &[usize])> = audit.parts.iter().map(|p| (p.name, p.counts.as_slice())).collect();
        assert_eq!(counts, [("training", &[12, 12][..]), ("test", &[4, 4][..])]);
        assert!(audit.statistics.mean.iter().all(|m| (0.3..0.7).contains(m)), "{:?}", audit.statistics);
    }

    #[test]
    fn a_copy_in_another_part_and_class_is_a_leak_and_a_contradiction() {
        let folder = pets();
        fs::copy(folder.path().join("train/cat/02.png"), folder.path().join("test/dog/copy.png")).unwrap();
        let found = findings(folder.path());
        let titles: Vec<(&str, bool)> = found.iter().map(|f| (f.title.split(':').next().unwrap(), f.serious)).collect();
        assert_eq!(
            titles,
            [
                ("1 image stands in more than one part", true),
                ("1 image stands in more than one class", true),
                ("1 is a copy of others", false)
            ]
        );
        assert!(found[0].items[0].starts_with("the same: ") && found[0].items[0].contains("copy.png (test)"));
        assert!(found[1].items[0].contains("02.png (cat)"), "{found:?}");
    }

    #[test]
    fn stored_anew_or_smaller_a_picture_is_nearly_the_same() {
        let folder = pets();
        save(folder.path(), "train/cat/again.jpg", blobs(4, [64, 48]), ImageFormat::Jpeg);
        save(folder.path(), "train/dog/small.png", blobs(5, [56, 42]), ImageFormat::Png);
        let found = findings(folder.path());
        assert_eq!((found.len(), found[0].items.len()), (1, 2), "{found:?}");
        assert!(found[0].items.iter().all(|line| line.starts_with("nearly the same: ")), "{found:?}");
        assert!(found[0].title.starts_with("2 are copies"), "{found:?}");
    }

    #[test]
    fn what_cannot_be_read_comes_first_with_the_reason() {
        let folder = pets();
        let whole = encode(blobs(40, [64, 48]), ImageFormat::Jpeg);
        write(folder.path(), "train/cat/cut.jpg", &whole[..whole.len() / 2]);
        write(folder.path(), "train/cat/empty.png", "");
        let found = findings(folder.path());
        assert_eq!((found[0].title.as_str(), found[0].serious), ("2 images cannot be read", true));
        assert!(found[0].items[0].contains("cut.jpg") && found[0].items[1].contains("empty"), "{found:?}");
    }

    #[test]
    fn imbalance_and_small_classes_are_told() {
        let folder = pets();
        for i in 0..30 {
            save(folder.path(), &format!("train/cat/more{i}.png"), blobs(100 + i, [64, 48]), ImageFormat::Png);
        }
        for i in (1..24).step_by(2).skip(3) {
            fs::remove_file(folder.path().join(format!("train/dog/{i:02}.png"))).unwrap();
        }
        let found = findings(folder.path());
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].title.starts_with("the largest class has 14.0 times"), "{found:?}");
        assert_eq!(found[0].items, ["cat: 42", "dog: 3"]);
        assert_eq!((found[1].title.as_str(), found[1].serious), ("1 class has fewer than 10 training images", false));
    }

    #[test]
    fn nothing_readable_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "cat/a.png", "");
        write(folder.path(), "dog/b.png", "");
        let splits = super::super::open(folder.path()).unwrap();
        assert!(audit(&splits, &[], &|| Ok(())).unwrap_err().to_string().contains("not one of its images"));
        assert!(matches!(audit(&splits, &[], &|| Err(Error::Interrupted)), Err(Error::Interrupted)));
    }
}
