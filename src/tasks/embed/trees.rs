use std::fs;
use std::io;
use std::num::NonZero;
use std::path::Path;

use arroy::distances::Cosine;
use arroy::{Database, Reader, Writer};
use heed::byteorder::BigEndian;
use heed::types::{Str, U32};
use heed::{CommitOrAbort, Env, EnvFlags, EnvOpenOptions, WithoutTls};
use serde::{Deserialize, Serialize};

use super::{Hit, Index, Origin};
use crate::atomic;
use crate::data::Seed;
use crate::error::{Error, Result};

/// An index that is searched approximately, and not read whole: trees of planes that halve the vectors again and again, as in
/// Annoy (<https://github.com/spotify/annoy>), in a memory-mapped file.
///
/// It is a folder with vectors, trees and paths in an LMDB file, and what else there is to know in `index.toml`.
pub struct Trees {
    env: Env<WithoutTls>,
    trees: Database<'static, Cosine>,
    paths: heed::Database<'static, U32<BigEndian>, Str>,
    about: About,
}

/// What `index.toml` says.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    format: String,
    pictures: usize,
    dimensions: usize,
    /// Length of the file, by which it is known whether it was cut short.
    bytes: u64,
    classes: Vec<String>,
    #[serde(flatten)]
    origin: Origin,
}

const FORMAT: &str = "ocellus-trees-1";
const ABOUT: &str = "index.toml";
const FILE: &str = "data.mdb";
/// Names of the parts of the file.
const TREES: &str = "trees";
const PATHS: &str = "paths";

impl Trees {
    /// From so many pictures on an index gets them unasked.
    pub const WORTHWHILE: usize = 1_000_000;
    /// How many times more vectors are looked at than are wanted, in each tree.
    const EFFORT: usize = 15;
    /// Least number of vectors for which that is meant.
    const LEAST: usize = 20;

    /// Makes them of an index, in `folder`, which is replaced as a whole or left as it was. `cancelled` is asked now and then.
    ///
    /// Errors: if the folder cannot be written; [`Error::Interrupted`] if it was cancelled.
    pub fn build(folder: &Path, index: &Index, seed: Seed, cancelled: impl Fn() -> bool + Sync + Send) -> Result<()> {
        let failed = |e: &dyn std::fmt::Display| Error::format(folder, format!("could not be made: {e}"));
        let made = atomic::begin_folder(folder).map_err(|e| Error::io("write", folder, e))?;
        let space = 4 * size_of_val(index.embeddings.vectors.as_slice()) + 1024 * index.paths.len() + (64 << 20);
        let env = open(made.path(), space, EnvFlags::empty()).map_err(|e| failed(&e))?;
        write(&env, index, seed, cancelled).map_err(|e| match e {
            arroy::Error::BuildCancelled => Error::Interrupted,
            e => failed(&e),
        })?;
        env.prepare_for_closing().wait();
        let file = made.path().join(FILE);
        let about = About {
            format: FORMAT.to_owned(),
            pictures: index.paths.len(),
            dimensions: index.embeddings.dimensions,
            bytes: file.metadata().map_err(|e| Error::io("read", &file, e))?.len(),
            classes: index.classes.clone(),
            origin: index.origin.clone(),
        };
        let text = toml::to_string(&about).map_err(|e| failed(&e))?;
        let path = made.path().join(ABOUT);
        atomic::write(&path, text.as_bytes()).map_err(|e| Error::io("write", &path, e))?;
        remove(folder)?;
        atomic::finish_folder(made, folder).map_err(|e| Error::io("write", folder, e))
    }

    /// Opens a folder of them.
    ///
    /// Errors: if it holds none, or they are damaged.
    pub fn open(folder: &Path) -> Result<Self> {
        let damaged = |e: &dyn std::fmt::Display| Error::format(folder, format!("is damaged: {e}"));
        let path = folder.join(ABOUT);
        let text = fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e))?;
        let about: About = toml::from_str(&text).map_err(|e| Error::format(&path, e.message().to_owned()))?;
        if about.format != FORMAT {
            return Err(Error::format(&path, format!("its format is \"{}\", not \"{FORMAT}\"", about.format)));
        }
        let file = folder.join(FILE);
        let bytes = file.metadata().map_err(|e| Error::io("read", &file, e))?.len();
        if bytes != about.bytes {
            return Err(damaged(&format!("{FILE} has {bytes} bytes of {}", about.bytes)));
        }
        let env = open(folder, bytes as usize, EnvFlags::READ_ONLY | EnvFlags::NO_LOCK).map_err(|e| damaged(&e))?;
        let transaction = env.read_txn().map_err(|e| damaged(&e))?;
        let parts = env.open_databases_and_commit(transaction, |opener, transaction| -> heed::Result<_> {
            let trees = opener.open_database(transaction, Some(TREES))?;
            Ok(CommitOrAbort::<_, ()>::Commit((trees, opener.open_database(transaction, Some(PATHS))?)))
        });
        let (Some(trees), Some(paths)) = parts.map_err(|e| damaged(&e))?.unwrap_commit() else {
            return Err(damaged(&"it has no trees"));
        };
        Ok(Self { env, trees, paths, about })
    }

    /// How many pictures there are.
    pub fn len(&self) -> usize {
        self.about.pictures
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.about.pictures == 0
    }

    /// The network that made the vectors.
    pub fn origin(&self) -> &Origin {
        &self.about.origin
    }

    /// As [`Search::nearest`](super::Search::nearest), but some of the nearest may be missed.
    ///
    /// Errors: if a vector has another length, or the file is damaged.
    pub fn nearest(&self, queries: &[f32], top: usize) -> Result<Vec<Vec<Hit>>> {
        let dimensions = self.about.dimensions;
        if dimensions == 0 || !queries.len().is_multiple_of(dimensions) {
            let message = format!("vectors of {dimensions} numbers do not divide {}", queries.len());
            return Err(Error::shape("search", message));
        }
        let look = || -> Result<Vec<Vec<Hit>>, arroy::Error> {
            let transaction = self.env.read_txn()?;
            let reader = Reader::open(&transaction, 0, self.trees)?;
            let looked_at = NonZero::new(top.max(Self::LEAST) * reader.n_trees() * Self::EFFORT);
            let find = |query: &[f32]| {
                let mut search = reader.nns(top);
                looked_at.map(|nodes| search.search_k(nodes));
                let found = search.by_vector(&transaction, query)?;
                // Its distance is (1 - cosine) / 2.
                let hit =
                    |(item, distance): (u32, f32)| Hit { picture: item as usize, similarity: 1.0 - 2.0 * distance };
                Ok(found.into_iter().map(hit).collect())
            };
            queries.chunks_exact(dimensions).map(find).collect()
        };
        look().map_err(|e| Error::format(self.env.path(), format!("could not be searched: {e}")))
    }

    /// A picture's path, and its class if it has one.
    ///
    /// Errors: if there is no such picture, or the file is damaged.
    pub fn picture(&self, number: usize) -> Result<(String, Option<&str>)> {
        let damaged = |what: String| Error::format(self.env.path(), format!("is damaged: {what}"));
        let read = || -> heed::Result<Option<String>> {
            let transaction = self.env.read_txn()?;
            Ok(self.paths.get(&transaction, &(number as u32))?.map(str::to_owned))
        };
        let entry = read().map_err(|e| damaged(e.to_string()))?;
        let parts = entry.as_deref().and_then(|entry| entry.split_once(' '));
        let (label, path) = parts.ok_or_else(|| damaged(format!("picture {number} is missing")))?;
        let class = label.parse::<usize>().ok().and_then(|label| self.about.classes.get(label));
        Ok((path.to_owned(), class.map(String::as_str)))
    }
}

/// Removes the trees in a folder, if there are any.
///
/// Errors: if that is not possible.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", folder, e)),
        _ => Ok(()),
    }
}

fn open(folder: &Path, bytes: usize, flags: EnvFlags) -> heed::Result<Env<WithoutTls>> {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.max_dbs(2).map_size(bytes.next_multiple_of(1 << 16));
    // SAFETY: the file is only mapped while nobody writes to it: it is made in a folder of its own, moved to its place when it is
    // whole, and never changed there.
    unsafe { options.flags(flags).open(folder) }
}

fn write(
    env: &Env<WithoutTls>,
    index: &Index,
    seed: Seed,
    cancelled: impl Fn() -> bool + Sync + Send,
) -> Result<(), arroy::Error> {
    let parts = env.create_databases_and_commit(env.write_txn()?, |opener, transaction| -> heed::Result<_> {
        let trees = opener.create_database(transaction, Some(TREES))?;
        let paths = opener.create_database::<U32<BigEndian>, Str>(transaction, Some(PATHS))?;
        Ok(CommitOrAbort::<_, ()>::Commit((trees, paths)))
    });
    let (trees, paths) = parts?.unwrap_commit();
    let mut transaction = env.write_txn()?;
    let writer = Writer::<Cosine>::new(trees, 0, index.embeddings.dimensions);
    let vectors = index.embeddings.vectors.chunks_exact(index.embeddings.dimensions);
    for (number, (vector, path)) in (0..).zip(vectors.zip(&index.paths)) {
        writer.append_item(&mut transaction, number, vector)?;
        let label = index.embeddings.labels[number as usize];
        paths.put(&mut transaction, &number, &format!("{label} {path}"))?;
    }
    writer.builder(&mut seed.generator("trees", &[])).cancel(cancelled).build(&mut transaction)?;
    Ok(transaction.commit()?)
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::device::Device;
    use crate::tasks::embed::Search;

    /// Vectors around 40 directions.
    fn index(pictures: usize) -> Index {
        let dimensions = 16;
        let mut rng = Seed(3).generator("vectors", &[]);
        let mut vectors = Vec::new();
        let centres: Vec<f32> = (0..40 * dimensions).map(|_| rng.random_range(-1.0..1.0)).collect();
        for i in 0..pictures {
            let centre = &centres[i % 40 * dimensions..][..dimensions];
            let vector: Vec<f32> = centre.iter().map(|x| x + rng.random_range(-0.5..0.5)).collect();
            let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
            vectors.extend(vector.iter().map(|x| x / length));
        }
        let paths: Vec<String> = (0..pictures).map(|i| format!("all/c{}/{i}.png", i % 40)).collect();
        let paths: Vec<&Path> = paths.iter().map(Path::new).collect();
        let origin = Origin { run: "runs/x".into(), fingerprint: "abc".into() };
        Index::new(Path::new("all"), &paths, vectors, dimensions, origin)
    }

    #[test]
    fn nearly_all_of_the_nearest_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("index.trees");
        let index = index(4000);
        for _ in 0..2 {
            Trees::build(&folder, &index, Seed(0), || false).unwrap();
        }
        let trees = Trees::open(&folder).unwrap();
        assert_eq!((trees.len(), trees.origin()), (4000, &index.origin));
        let queries = &index.embeddings.vectors[..50 * index.embeddings.dimensions];
        let exact = Search::new(&Device::Cpu).unwrap().nearest(&index.embeddings, queries, 10).unwrap();
        let found = trees.nearest(queries, 10).unwrap();
        let mut right = 0;
        for (exact, found) in exact.iter().zip(&found) {
            assert_eq!(found.len(), 10);
            for hit in found {
                let same = exact.iter().find(|other| other.picture == hit.picture);
                right += usize::from(same.is_some());
                assert!(same.is_none_or(|other| (other.similarity - hit.similarity).abs() < 1e-5));
            }
        }
        assert!(right > 490, "{right} of 500");
        assert_eq!(trees.picture(41).unwrap(), ("all/c1/41.png".to_owned(), Some("c1")));
        assert!(trees.picture(4000).is_err() && trees.nearest(&[1.0; 3], 1).is_err());
        assert_eq!(dir.path().read_dir().unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn damage_and_cancelling_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("index.trees");
        let outcome = Trees::build(&folder, &index(500), Seed(0), || true);
        assert!(matches!(outcome, Err(Error::Interrupted)) && dir.path().read_dir().unwrap().count() == 0);
        Trees::build(&folder, &index(500), Seed(0), || false).unwrap();
        let file = folder.join(FILE);
        let bytes = fs::read(&file).unwrap();
        fs::write(&file, &bytes[..bytes.len() - 4096]).unwrap();
        let error = |folder: &Path| Trees::open(folder).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error(&folder).contains("is damaged: data.mdb has"), "{}", error(&folder));
        fs::write(&file, vec![0; bytes.len()]).unwrap();
        assert!(error(&folder).contains("is damaged"), "{}", error(&folder));
        fs::write(folder.join(ABOUT), "format = 1").unwrap();
        assert!(error(&folder).contains(ABOUT));
        remove(&folder).unwrap();
        remove(&folder).unwrap();
        assert!(error(&folder).contains("index.trees"));
    }
}
