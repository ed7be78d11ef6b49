use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The folder with the cache's files.
///
/// Together they take at most half of what they take and what is free. To make room, those go first that were opened the
/// longest ago. What a run has open stays.
#[derive(Clone, Debug)]
pub struct CacheFolder(PathBuf);

struct Entry {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

impl CacheFolder {
    #[cfg(test)]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// `images` in the folder of all caches; `None` if the platform has no such place.
    pub fn of_user() -> Option<Self> {
        Some(Self(crate::caches::folder()?.join("images")))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Sees to it that there is room for a file of `bytes`.
    ///
    /// Errors: if there is not, with whatever may be removed removed; then nothing is.
    pub fn make_room(&self, bytes: u64) -> io::Result<()> {
        fs::create_dir_all(&self.0)?;
        self.remove_unfinished()?;
        let mut entries = self.entries()?;
        let taken: u64 = entries.iter().map(|entry| entry.bytes).sum();
        let budget = (fs4::available_space(&self.0)? + taken) / 2;
        entries.retain(|entry| lock_free(&entry.path).is_some());
        entries.sort_by_key(|entry| entry.used);
        let goes = removals(&entries, (taken + bytes).saturating_sub(budget)).ok_or_else(|| no_room(bytes, budget))?;
        entries[..goes].iter().try_for_each(|entry| match fs::remove_file(&entry.path) {
            // Another run was faster.
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        })
    }

    /// What runs that were killed have left behind.
    fn remove_unfinished(&self) -> io::Result<()> {
        for path in self.files(UNFINISHED)? {
            // Locked until it is gone: a run that has just made it and waits for the lock then finds it gone.
            if let Some(_lock) = lock_free(&path) {
                let _ = fs::remove_file(path);
            }
        }
        Ok(())
    }

    fn entries(&self) -> io::Result<Vec<Entry>> {
        let entry = |path: PathBuf| {
            let metadata = path.metadata().ok()?;
            Some(Entry { path, bytes: metadata.len(), used: metadata.modified().ok()? })
        };
        Ok(self.files(FINISHED)?.into_iter().filter_map(entry).collect())
    }

    fn files(&self, extension: &str) -> io::Result<Vec<PathBuf>> {
        let paths = fs::read_dir(&self.0)?.map(|entry| entry.map(|entry| entry.path()));
        let is_ours = |path: &PathBuf| path.extension().is_some_and(|e| e == extension);
        paths.filter(|path| path.as_ref().map_or(true, is_ours)).collect()
    }
}

/// How names of the cache's files end.
pub const FINISHED: &str = "pixels";
/// How they end while they are written.
pub const UNFINISHED: &str = "part";

/// The file, locked, if no run uses it: every run keeps a lock on each file that it reads or writes.
fn lock_free(path: &Path) -> Option<File> {
    let file = File::open(path).ok()?;
    file.try_lock().ok()?;
    Some(file)
}

/// How many of the first `entries` have to go to gain `bytes`, if they are enough.
fn removals(entries: &[Entry], bytes: u64) -> Option<usize> {
    let mut gained = 0;
    let mut gains = std::iter::once(0).chain(entries.iter().map(|entry| {
        gained += entry.bytes;
        gained
    }));
    gains.position(|gained| gained >= bytes)
}

fn no_room(bytes: u64, budget: u64) -> io::Error {
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    let message = format!(
        "the decoded images take {:.1} GiB, but half of what is free and what earlier ones take is {:.1} GiB",
        gib(bytes),
        gib(budget)
    );
    io::Error::new(io::ErrorKind::StorageFull, message)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn entry(folder: &Path, name: &str, bytes: usize, age: u64) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, vec![0; bytes]).unwrap();
        let used = SystemTime::now() - Duration::from_secs(age);
        File::options().write(true).open(&path).unwrap().set_modified(used).unwrap();
        path
    }

    #[test]
    fn the_longest_unused_go_first_and_no_more_than_needed() {
        let entries: Vec<_> =
            [30, 10, 20].map(|bytes| Entry { path: PathBuf::new(), bytes, used: SystemTime::UNIX_EPOCH }).into();
        let found = [0, 1, 30, 31, 60, 61].map(|bytes| removals(&entries, bytes));
        assert_eq!(found, [Some(0), Some(1), Some(1), Some(2), Some(3), None]);
    }

    #[test]
    fn what_cannot_fit_removes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let old = entry(dir.path(), "old.pixels", 100, 10);
        let error = CacheFolder::new(dir.path()).make_room(1 << 60).unwrap_err();
        assert!(error.to_string().contains("1073741824.0 GiB"), "{error}");
        assert!(old.exists());
    }

    #[test]
    fn leftovers_of_killed_runs_go_unless_a_run_has_them_open() {
        let dir = tempfile::tempdir().unwrap();
        let left = entry(dir.path(), "1.part", 1, 0);
        let open = entry(dir.path(), "2.part", 1, 0);
        let foreign = entry(dir.path(), "notes.txt", 1, 0);
        let lock = File::open(&open).unwrap();
        lock.lock().unwrap();
        CacheFolder::new(dir.path()).make_room(1).unwrap();
        assert_eq!([&left, &open, &foreign].map(|path| path.exists()), [false, true, true]);
    }
}
