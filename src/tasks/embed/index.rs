use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Embeddings;
use crate::error::{Error, Result};
use crate::interop::safetensors::{self, Texts};
use crate::tensor::{DType, Tensor};

/// Vectors of many pictures with what they are called, in a file: a search looks among them.
///
/// It is a safetensors file with the tensors `vectors` f32 `[pictures, dimensions]` and, where pictures have classes, `labels` i32
/// `[pictures]`; texts say what made it, and hold paths and class names as JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct Index {
    /// Of length 1 each, with the number of each picture's class; 0 where there are no classes.
    pub embeddings: Embeddings,
    /// The pictures.
    pub paths: Vec<String>,
    /// Class names; none where pictures have no classes.
    pub classes: Vec<String>,
    /// What made it.
    pub origin: Origin,
}

/// The network that made an index: a picture that is looked for must go through the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Its run folder.
    pub run: String,
    /// Of its weights: so that no other network is taken for it.
    pub fingerprint: String,
}

/// In the text `format`.
const FORMAT: &str = "ocellus-index-1";
/// A vector's length may differ so much from 1.
const ROUNDING: f32 = 1e-3;

impl Index {
    /// An index of pictures below `folder`, whose classes are the folders in it, if each picture is in one. `vectors`: of length 1,
    /// in the order of `paths`.
    pub fn new(folder: &Path, paths: &[&Path], vectors: Vec<f32>, dimensions: usize, origin: Origin) -> Self {
        let class = |path: &&Path| {
            let below = path.strip_prefix(folder).ok()?;
            let first = below.components().next().filter(|_| below.components().count() > 1)?;
            Some(first.as_os_str().to_string_lossy().into_owned())
        };
        let named: Option<Vec<String>> = paths.iter().map(class).collect();
        let named = named.unwrap_or_default();
        let classes: Vec<String> = named.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect();
        let label = |name: &String| classes.binary_search(name).unwrap_or(0);
        let labels = if named.is_empty() { vec![0; paths.len()] } else { named.iter().map(label).collect() };
        let paths = paths.iter().map(|path| path.display().to_string()).collect();
        Self { embeddings: Embeddings { vectors, dimensions, labels }, paths, classes, origin }
    }

    /// Writes the file, whole or not at all.
    ///
    /// Errors: if it cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let Embeddings { vectors, dimensions, labels } = &self.embeddings;
        let vectors = Tensor::new([self.paths.len(), *dimensions], vectors.clone())?;
        let labels: Vec<i32> = labels.iter().map(|&label| label as i32).collect();
        let labels = Tensor::new([labels.len()], labels)?;
        let json = |list: &[String]| serde_json::to_string(list).map_err(|e| Error::format(path, e.to_string()));
        let texts = [
            ("format", FORMAT.to_owned()),
            ("paths", json(&self.paths)?),
            ("classes", json(&self.classes)?),
            ("run", self.origin.run.clone()),
            ("fingerprint", self.origin.fingerprint.clone()),
        ];
        let texts: Texts = texts.map(|(name, text)| (name.to_owned(), text)).into();
        let labelled = (!self.classes.is_empty()).then_some(("labels", &labels));
        safetensors::save_with(path, std::iter::once(("vectors", &vectors)).chain(labelled), texts)
    }

    /// Reads a file back.
    ///
    /// Errors: if it is no index, or damaged: what is missing, of another size, no number or not of length 1 is named.
    pub fn open(path: &Path) -> Result<Self> {
        let (tensors, texts) = safetensors::load_with(path)?;
        let wrong = |message: String| Error::format(path, message);
        let text = |name: &str| {
            texts.get(name).cloned().ok_or_else(|| wrong(format!("is no index: it has no text \"{name}\"")))
        };
        let format = text("format")?;
        if format != FORMAT {
            return Err(wrong(format!("is no index that can be read: its format is \"{format}\", not \"{FORMAT}\"")));
        }
        let list = |name: &str| -> Result<Vec<String>> {
            serde_json::from_str(&text(name)?).map_err(|e| wrong(format!("its {name} are damaged: {e}")))
        };
        let (paths, classes) = (list("paths")?, list("classes")?);
        let vectors = tensors.get("vectors").ok_or_else(|| wrong("has no vectors".to_owned()))?;
        let dimensions = match (vectors.dtype(), vectors.shape().dims()) {
            (DType::F32, &[n, dimensions]) if n == paths.len() && n > 0 && dimensions > 0 => dimensions,
            _ => return Err(wrong(format!("has vectors {} for {} pictures", vectors.meta(), paths.len()))),
        };
        let labels = match tensors.get("labels").filter(|_| !classes.is_empty()) {
            None if classes.is_empty() => vec![0; paths.len()],
            Some(labels) if labels.dtype() == DType::I32 && labels.shape().dims() == [paths.len()] => {
                labels.i32().iter().map(|&label| usize::try_from(label).unwrap_or(usize::MAX)).collect()
            }
            _ => return Err(wrong(format!("has no class for each of its {} pictures", paths.len()))),
        };
        if !classes.is_empty() && labels.iter().any(|&label| label >= classes.len()) {
            return Err(wrong(format!("has a class that is none of its {}", classes.len())));
        }
        let length = |vector: &[f32]| vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        let odd = |vector: &[f32]| {
            vector.iter().any(|x| *x != 0.0) && !(1.0 - ROUNDING..=1.0 + ROUNDING).contains(&length(vector))
        };
        if let Some(at) = vectors.f32().chunks_exact(dimensions).position(odd) {
            return Err(wrong(format!("is damaged: the vector of {} is not of length 1", paths[at])));
        }
        let embeddings = Embeddings { vectors: vectors.f32().to_vec(), dimensions, labels };
        Ok(Self { embeddings, paths, classes, origin: Origin { run: text("run")?, fingerprint: text("fingerprint")? } })
    }

    /// A picture's class, if it has one.
    pub fn class(&self, picture: usize) -> Option<&str> {
        self.classes.get(self.embeddings.labels[picture]).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Origin {
        Origin { run: "runs/x".into(), fingerprint: "abc".into() }
    }

    fn index() -> Index {
        let paths = ["a/dog/1.png", "a/cat/deep/2.png", "a/dog/3.png"].map(Path::new);
        Index::new(Path::new("a"), &paths, vec![1.0, 0.0, 0.6, -0.8, 0.0, 0.0], 2, origin())
    }

    #[test]
    fn it_survives_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.safetensors");
        let index = index();
        assert_eq!(
            (index.classes.as_slice(), &index.embeddings.labels),
            (&["cat".to_owned(), "dog".to_owned()][..], &vec![1, 0, 1])
        );
        index.save(&path).unwrap();
        assert_eq!(Index::open(&path).unwrap(), index);
        let loose =
            Index::new(Path::new("a"), &[Path::new("a/1.png"), Path::new("a/b/2.png")], vec![1.0, 1.0], 1, origin());
        assert_eq!((loose.classes.len(), loose.class(1)), (0, None));
        loose.save(&path).unwrap();
        assert_eq!(Index::open(&path).unwrap(), loose);
    }

    #[test]
    fn damage_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.safetensors");
        let failure = |change: &dyn Fn(&mut Index)| {
            let mut index = index();
            change(&mut index);
            index.save(&path).unwrap();
            let message = Index::open(&path).unwrap_err().to_string();
            assert!(message.contains("index.safetensors"), "{message}");
            message
        };
        assert!(failure(&|i| i.embeddings.vectors[2] = 0.7).contains("a/cat/deep/2.png is not of length 1"));
        assert!(failure(&|i| i.embeddings.vectors[1] = f32::NAN).contains("a/dog/1.png"));
        assert!(failure(&|i| i.embeddings.labels[0] = 2).contains("none of its 2"));
        assert!(
            failure(&|i| {
                i.embeddings.labels.pop();
            })
            .contains("no class for each")
        );
        index().save(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for end in 0..bytes.len() {
            std::fs::write(&path, &bytes[..end]).unwrap();
            assert!(Index::open(&path).is_err(), "{end}");
        }
        for (from, to) in [("[3,2]", "[2,3]"), ("index-1", "index-9"), ("\"paths\"", "\"pathz\""), ("3.png", "3\\png")]
        {
            let mut changed = bytes.clone();
            let at = changed.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
            changed.splice(at..at + from.len(), to.bytes());
            std::fs::write(&path, &changed).unwrap();
            assert!(Index::open(&path).is_err(), "{from}");
        }
        safetensors::save(&path, [("vectors", &Tensor::scalar(1.0))]).unwrap();
        assert!(Index::open(&path).unwrap_err().to_string().contains("is no index"));
    }
}
