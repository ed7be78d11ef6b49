use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::dataset::Region;
use super::mask::{Coding, Mask, UNLABELLED, histogram};
use super::split::{Part, Splits};
use super::{Annotation, Dataset, Sample, Source, files};
use crate::error::{Error, Result};

/// How pictures and masks are read.
#[derive(Clone, Debug, Default)]
pub struct MaskOptions {
    /// How values of masks mean classes; found out where it is not said.
    pub coding: Option<MaskCoding>,
    /// Names of the classes, where masks do not bring them.
    pub names: Option<Vec<String>>,
    /// `[height, width]` of the tiles into which pictures are cut; otherwise they are taken whole.
    pub tile: Option<[usize; 2]>,
}

/// How values of masks mean classes, as it can be asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum MaskCoding {
    /// See [`Coding::Index`].
    Index,
    /// See [`Coding::Binary`].
    Binary,
    /// Grey values that occur are classes.
    Levels,
    /// Colours that a palette names.
    Colors(Vec<(String, [u8; 3])>),
}

const IMAGES: [&str; 4] = ["images", "image", "imgs", "jpegimages"];
const MASKS: [&str; 5] = ["masks", "mask", "labels", "annotations", "segmentationclass"];
/// Names of two classes, where masks do not bring them.
const BINARY: [&str; 2] = ["background", "foreground"];
/// Grey values above which numbers of classes would be unusual, and how many levels there may be.
const MOST_CLASSES: u8 = 64;

/// Whether `path` holds a folder of images beside one of their masks, also under `train/`.
pub fn has_masks(path: &Path) -> bool {
    let below = |path: &Path| matches!(pairs(path), Ok(Some(_)));
    path.is_dir() && (below(path) || below(&path.join("train")))
}

/// Opens images with masks of the same name (`images/1.jpg`, `masks/1.png`), also under `train/`, `val/` and `test/`. Classes
/// of masks that hold numbers are named by them, unless `classes.txt` or `labels.txt` beside the folders has a name a line;
/// `known`: the classes of the training set, if this is another.
///
/// Errors: if there are no such folders, an image has no mask, or it is not clear what a mask's values mean.
pub fn open_masks(path: &Path, options: &MaskOptions, known: Option<&[String]>) -> Result<Splits> {
    path.metadata().map_err(|source| Error::io("read", path, source))?;
    let mut found: Vec<(Part, Vec<Pair>)> = Vec::new();
    for folder in files::folders_in(path)? {
        if let Some(part) = Part::named(&files::lower_name(&folder))
            && let Some(pairs) = pairs(&folder)?
        {
            found.push((part, pairs));
        }
    }
    if found.is_empty() {
        let pairs = pairs(path)?.ok_or_else(|| Error::format(path, UNRECOGNISED))?;
        found.push((Part::Train, pairs));
    }
    let masks: Vec<PathBuf> = found.iter().flat_map(|(_, pairs)| pairs.iter().map(|p| p.mask.clone())).collect();
    let (coding, classes) = Meaning { path, options, known }.of(&masks)?;
    let coding = Arc::new(coding);
    let mut splits = Splits::default();
    for (part, pairs) in found {
        let samples = pairs.into_iter().map(|pair| samples(pair, &coding, options.tile));
        let samples = samples.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
        *splits.part_mut(part) =
            Dataset { root: path.to_owned(), classes: classes.clone(), samples, ..Dataset::default() };
    }
    for part in [Part::Train, Part::Val, Part::Test] {
        splits.part_mut(part).classes.clone_from(&classes);
    }
    Ok(splits)
}

const UNRECOGNISED: &str = "has no images with masks; looked for folders images/ and masks/ with files of the same names (also \
                            under train/, val/, test/)";

struct Pair {
    image: PathBuf,
    mask: PathBuf,
}

/// Images and their masks in a folder; `None` if it has no such folders.
fn pairs(path: &Path) -> Result<Option<Vec<Pair>>> {
    if !path.is_dir() {
        return Ok(None);
    }
    let folders = files::folders_in(path)?;
    let named = |names: &[&str]| {
        let find = |name: &&str| folders.iter().find(|f| files::lower_name(f) == *name);
        names.iter().find_map(find).cloned()
    };
    let (Some(images), Some(masks)) = (named(&IMAGES), named(&MASKS)) else { return Ok(None) };
    let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let by_name: HashMap<String, PathBuf> = files::images_below(&masks)?.into_iter().map(|m| (stem(&m), m)).collect();
    let images = files::images_below(&images)?;
    if by_name.is_empty() || images.is_empty() {
        return Ok(None);
    }
    let pair = |image: PathBuf| {
        let name = stem(&image);
        let endings = ["", "_mask", "-mask", "_L", "_P"];
        let mask = endings.iter().find_map(|ending| by_name.get(&format!("{name}{ending}")));
        let missing = || Error::format(&image, format!("has no mask of that name in {}", masks.display()));
        Ok(Pair { mask: mask.ok_or_else(missing)?.clone(), image })
    };
    images.into_iter().map(pair).collect::<Result<_>>().map(Some)
}

/// One sample, or one for each tile.
fn samples(pair: Pair, coding: &Arc<Coding>, tile: Option<[usize; 2]>) -> Result<Vec<Sample>> {
    let Pair { image, mask } = pair;
    let sample = |source, region| {
        let mask = Mask { path: mask.clone(), coding: coding.clone(), region };
        Sample { annotation: Annotation::Mask(mask), ..Sample::new(source, 0) }
    };
    let Some(size) = tile else { return Ok(vec![sample(Source::File(image), None)]) };
    let header = Source::File(image.clone()).header()?;
    let regions = Region::tiles(header.size, size);
    Ok(regions
        .map(|region| sample(Source::Tile { path: image.clone(), region: region.clone() }, Some(region)))
        .collect())
}

/// What the values of masks mean.
struct Meaning<'a> {
    path: &'a Path,
    options: &'a MaskOptions,
    known: Option<&'a [String]>,
}

impl Meaning<'_> {
    fn of(&self, masks: &[PathBuf]) -> Result<(Coding, Vec<String>)> {
        if let Some(MaskCoding::Colors(colors)) = &self.options.coding {
            let (names, colors) = colors.iter().cloned().unzip();
            return Ok((Coding::Colors(colors), names));
        }
        let values = histogram(masks)?;
        let labelled: Vec<u8> = values.keys().copied().filter(|&v| v != UNLABELLED).collect();
        let asked = self.options.coding.clone().map_or_else(|| self.likely(&values, &labelled), Ok)?;
        match asked {
            MaskCoding::Binary => Ok((Coding::Binary, self.names(&BINARY.map(str::to_owned))?)),
            MaskCoding::Levels => {
                let levels: Vec<u8> = match self.known {
                    Some(known) => known.iter().filter_map(|name| name.parse().ok()).collect(),
                    None => values.keys().copied().collect(),
                };
                let names: Vec<String> = levels.iter().map(u8::to_string).collect();
                Ok((Coding::Levels(levels), self.known.map_or(names, <[String]>::to_vec)))
            }
            _ => {
                let most = labelled.last().map_or(0, |&v| usize::from(v) + 1);
                let numbers: Vec<String> = (0..most).map(|class| class.to_string()).collect();
                let names = self.names(&numbers)?;
                if most > names.len() {
                    let message =
                        format!("masks hold class {}, but there are names for {} classes only", most - 1, names.len());
                    return Err(Error::format(self.path, message));
                }
                Ok((Coding::Index, names))
            }
        }
    }

    /// Numbers of classes, two greys, or a few.
    fn likely(&self, values: &BTreeMap<u8, u64>, labelled: &[u8]) -> Result<MaskCoding> {
        let known: BTreeSet<&str> = self.known.into_iter().flatten().map(String::as_str).collect();
        let binary = values.keys().all(|v| [0, 255].contains(v)) && values.contains_key(&255);
        if known == BTreeSet::from(BINARY) || (known.is_empty() && binary) {
            return Ok(MaskCoding::Binary);
        }
        if labelled.last().is_none_or(|&v| v < MOST_CLASSES) {
            return Ok(MaskCoding::Index);
        }
        if values.len() <= usize::from(MOST_CLASSES) / 4 {
            return Ok(MaskCoding::Levels);
        }
        let message = format!(
            "it is not clear what the masks' {} values mean: say --masks index, binary or levels, or name their colours \
             with --palette",
            values.len()
        );
        Err(Error::format(self.path, message))
    }

    /// Those of the training set, as asked for, or in a file; else numbers.
    fn names(&self, otherwise: &[String]) -> Result<Vec<String>> {
        if let Some(known) = self.known {
            return Ok(known.to_vec());
        }
        if let Some(names) = &self.options.names {
            return Ok(names.clone());
        }
        for name in ["classes.txt", "labels.txt"] {
            let path = self.path.join(name);
            if path.is_file() {
                return read_names(&path);
            }
        }
        Ok(otherwise.to_vec())
    }
}

/// Names of classes, one a line.
///
/// Errors: if the file cannot be read, or has none.
pub fn read_names(path: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
    let names: Vec<String> = text.lines().map(str::trim).filter(|l| !l.is_empty()).map(str::to_owned).collect();
    if names.is_empty() { Err(Error::format(path, "holds no class names")) } else { Ok(names) }
}

/// Colours of classes: lines `name,red,green,blue`, or `red green blue name`, as CamVid has them.
///
/// Errors: if the file cannot be read, or a line is neither.
pub fn read_palette(path: &Path) -> Result<Vec<(String, [u8; 3])>> {
    let text = fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    let colors: Vec<(String, [u8; 3])> = lines
        .map(|(i, line)| {
            let words: Vec<&str> = line.split([',', ' ', '\t']).filter(|word| !word.is_empty()).collect();
            let color = |words: &[&str]| {
                let numbers: Vec<u8> = words.iter().map_while(|word| word.parse().ok()).collect();
                <[u8; 3]>::try_from(numbers).ok()
            };
            let n = words.len();
            let first = || Some((words.get(3..)?.join(" "), color(&words[..3])?));
            let last = || Some((words[..n.checked_sub(3)?].join(" "), color(&words[n - 3..])?));
            let found = first().or_else(last).filter(|(name, _)| !name.is_empty());
            found.ok_or_else(|| Error::format(path, format!("line {}: expected `name,red,green,blue`", i + 1)))
        })
        .collect::<Result<_>>()?;
    match colors.len() {
        0..2 => Err(Error::format(path, "names fewer than two colours")),
        2..255 => Ok(colors),
        _ => Err(Error::format(path, "names more than 254 colours")),
    }
}

#[cfg(test)]
mod tests {
    use image::{GrayImage, ImageFormat, Luma};

    use super::super::fixtures::{encode, plain, write};
    use super::*;

    /// Images of 4x4 with masks of these values, one for each pixel in turn.
    fn folder(root: &Path, masks: &[&[u8]]) {
        for (i, values) in masks.iter().enumerate() {
            write(root, format!("images/{i}.png"), encode(plain(4, 4, [i as u8; 3]), ImageFormat::Png));
            let mask = GrayImage::from_fn(4, 4, |x, y| Luma([values[(4 * y + x) as usize % values.len()]]));
            write(root, format!("masks/{i}.png"), encode(mask, ImageFormat::Png));
        }
    }

    fn mask(data: &Dataset, index: usize) -> Vec<u8> {
        match &data.samples[index].annotation {
            Annotation::Mask(mask) => mask.read(None).unwrap().classes,
            other => panic!("{other:?} is no mask"),
        }
    }

    fn opened(masks: &[&[u8]], options: &MaskOptions) -> Result<Dataset> {
        let dir = tempfile::tempdir().unwrap();
        folder(dir.path(), masks);
        let train = open_masks(dir.path(), options, None)?.train;
        let read: Vec<Vec<u8>> = (0..train.len()).map(|i| mask(&train, i)).collect();
        assert!(read.iter().all(|m| m.len() == 16));
        Ok(train)
    }

    #[test]
    fn what_values_mean_is_found_out() {
        let classes = |masks: &[&[u8]]| opened(masks, &MaskOptions::default()).unwrap().classes;
        assert_eq!(classes(&[&[0, 1], &[2, 255]]), ["0", "1", "2"]);
        assert_eq!(classes(&[&[0, 255]]), BINARY);
        assert_eq!(classes(&[&[0, 128], &[255]]), ["0", "128", "255"]);
        let many: Vec<u8> = (0..16).map(|v| 10 * v).collect();
        let more: Vec<u8> = (0..16).map(|v| 10 * v + 5).collect();
        let error = opened(&[&many, &more], &MaskOptions::default()).unwrap_err().to_string();
        assert!(error.contains("--masks index, binary or levels"), "{error}");
    }

    #[test]
    fn tiles_cover_each_pixel_once() {
        let options = MaskOptions { tile: Some([3, 3]), ..MaskOptions::default() };
        let dir = tempfile::tempdir().unwrap();
        folder(dir.path(), &[&[0, 1, 2, 3]]);
        let train = open_masks(dir.path(), &options, None).unwrap().train;
        assert_eq!(train.len(), 4);
        let labelled = (0..4).map(|i| mask(&train, i).iter().filter(|&&c| c != UNLABELLED).count());
        assert_eq!(labelled.collect::<Vec<_>>(), [9, 3, 3, 1]);
        assert_eq!(train.samples[3].source.image().unwrap().size, [3, 3]);
    }

    #[test]
    fn parts_share_classes_and_a_missing_mask_is_named() {
        let dir = tempfile::tempdir().unwrap();
        folder(&dir.path().join("train"), &[&[0, 1]]);
        folder(&dir.path().join("val"), &[&[3]]);
        assert!(has_masks(dir.path()));
        let splits = open_masks(dir.path(), &MaskOptions::default(), None).unwrap();
        assert_eq!((splits.train.classes.len(), splits.val.len()), (4, 1));
        fs::remove_file(dir.path().join("val/masks/0.png")).unwrap();
        write(dir.path(), "val/masks/other.png", encode(plain(4, 4, [0; 3]), ImageFormat::Png));
        let error = open_masks(dir.path(), &MaskOptions::default(), None).unwrap_err().to_string();
        assert!(error.contains("0.png: has no mask"), "{error}");
    }

    #[test]
    fn colours_and_names_come_from_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), "palette.txt", "# CamVid\n64 128 64\tAnimal\nroad,0,0,9\n");
        let colors = read_palette(&path).unwrap();
        assert_eq!(colors, [("Animal".to_owned(), [64, 128, 64]), ("road".to_owned(), [0, 0, 9])]);
        let wrong = write(dir.path(), "wrong.txt", "a,1,2,3\nb,1,2,300\n");
        assert!(read_palette(&wrong).unwrap_err().to_string().contains("line 2"));
        folder(dir.path(), &[&[0, 9]]);
        write(dir.path(), "classes.txt", "sky\nroad\n");
        let error = open_masks(dir.path(), &MaskOptions::default(), None).unwrap_err().to_string();
        assert!(error.contains("class 9, but there are names for 2"), "{error}");
        let coding = Some(MaskCoding::Colors(colors));
        let options = MaskOptions { coding, ..MaskOptions::default() };
        let train = open_masks(dir.path(), &options, None).unwrap().train;
        assert_eq!((train.classes.len(), mask(&train, 0)[0]), (2, UNLABELLED));
    }

    #[test]
    fn palettes_of_pngs_are_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.png");
        let mut encoder = png::Encoder::new(fs::File::create(&path).unwrap(), 5, 2);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_depth(png::BitDepth::Four);
        encoder.set_palette(vec![0, 0, 0, 200, 0, 0, 0, 200, 0, 9, 9, 9]);
        encoder.write_header().unwrap().write_image_data(&[0x01, 0x23, 0x10, 0x32, 0x10, 0x00]).unwrap();
        let mask = Mask { path, coding: Arc::new(Coding::Index), region: None };
        assert_eq!(mask.read(Some(3)).unwrap().classes, [0, 1, 2, 255, 1, 255, 2, 1, 0, 0]);
    }
}
