use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use crate::error::{Error, Result};

/// File name endings of the image formats that can be decoded, in lower case. They only pick files out of folders; what
/// a file is, its content says.
const EXTENSIONS: [&str; 10] = ["jpg", "jpeg", "png", "bmp", "gif", "tif", "tiff", "webp", "dcm", "dicom"];

/// The images that a path names: itself, if it is a file; every image below it, sorted by path, if it is a folder; the
/// files that match, if it is a pattern like `photos/*.jpg`.
///
/// A path that is none of these comes back as it is, so that whoever opens it says what is wrong with it.
///
/// Errors: if the folder holds no image, no file matches the pattern, or a folder cannot be read.
pub fn list_images(path: impl AsRef<Path>) -> Result<Vec<PathBuf>> {
    let path = path.as_ref();
    if path.is_dir() {
        let images = images_below(path)?;
        return if images.is_empty() { Err(Error::format(path, "the folder holds no image")) } else { Ok(images) };
    }
    match path.to_str() {
        Some(pattern) if !path.exists() && pattern.contains(['*', '?', '[']) => matching(pattern),
        _ => Ok(vec![path.to_owned()]),
    }
}

/// Sorted; patterns that end at a folder name the images below it.
fn matching(pattern: &str) -> Result<Vec<PathBuf>> {
    let paths = glob::glob(pattern).map_err(|e| Error::config(format!("pattern {pattern:?}: {e}")))?;
    let mut images = Vec::new();
    for path in paths {
        let path = path.map_err(|e| {
            let folder = e.path().to_owned();
            Error::io("read", folder, e.into())
        })?;
        if path.is_dir() { images.extend(images_below(&path)?) } else { images.push(path) }
    }
    if images.is_empty() { Err(Error::config(format!("no file matches {pattern:?}"))) } else { Ok(images) }
}

/// Every image below `folder`, sorted by path. Hidden files and folders are left out, links are followed.
pub(super) fn images_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut images = Vec::new();
    for entry in walk(folder) {
        let entry = entry?;
        if entry.file_type().is_file() && is_image(entry.path()) {
            images.push(entry.into_path());
        }
    }
    Ok(images)
}

/// Every file below `folder` whose name ends in `.extension`, sorted by path, without hidden ones.
pub(super) fn files_below(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in walk(folder) {
        let entry = entry?;
        if entry.file_type().is_file() && ends_in(entry.path(), extension) {
            paths.push(entry.into_path());
        }
    }
    Ok(paths)
}

/// Whether the file name ends in `.extension`, in whatever case.
pub(super) fn ends_in(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case(extension))
}

/// Whether the file name ends like an image's.
pub(super) fn is_image(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    EXTENSIONS.iter().any(|e| e.eq_ignore_ascii_case(extension))
}

/// The folders directly in `folder`, sorted by name, without hidden ones.
pub(super) fn folders_in(folder: &Path) -> Result<Vec<PathBuf>> {
    children(folder, |entry| entry.file_type().is_dir())
}

/// The files directly in `folder`, sorted by name, without hidden ones.
pub(super) fn files_in(folder: &Path) -> Result<Vec<PathBuf>> {
    children(folder, |entry| entry.file_type().is_file())
}

fn children(folder: &Path, keep: impl Fn(&DirEntry) -> bool) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in walk_depth(folder, 1) {
        let entry = entry?;
        if entry.depth() == 1 && keep(&entry) {
            paths.push(entry.into_path());
        }
    }
    Ok(paths)
}

/// The last part of a path, in lower case, for comparing it with well-known names.
pub(super) fn lower_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().to_lowercase()
}

fn walk(folder: &Path) -> impl Iterator<Item = Result<DirEntry>> {
    walk_depth(folder, usize::MAX)
}

fn walk_depth(folder: &Path, depth: usize) -> impl Iterator<Item = Result<DirEntry>> {
    let visible = |entry: &DirEntry| entry.depth() == 0 || !entry.file_name().as_encoded_bytes().starts_with(b".");
    WalkDir::new(folder).max_depth(depth).follow_links(true).sort_by_file_name().into_iter().filter_entry(visible).map(
        move |entry| entry.map_err(|e| Error::io("read", e.path().map(Path::to_owned).unwrap_or_default(), e.into())),
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn names(paths: &[PathBuf], root: &Path) -> Vec<String> {
        paths.iter().map(|p| p.strip_prefix(root).unwrap().display().to_string()).collect()
    }

    #[test]
    fn images_are_listed_in_path_order_without_hidden_ones() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b/2.PNG", "b/10.jpg", "b.jpeg", "a/x/1.webp", ".hidden/3.png", "b/._2.png", "notes.txt"] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let found = list_images(dir.path()).unwrap();
        assert_eq!(names(&found, dir.path()), ["a/x/1.webp", "b/10.jpg", "b/2.PNG", "b.jpeg"]);

        let pattern = dir.path().join("b*");
        let found = list_images(pattern).unwrap();
        assert_eq!(names(&found, dir.path()), ["b/10.jpg", "b/2.PNG", "b.jpeg"]);
    }

    #[test]
    fn what_names_no_image_is_an_error_or_left_to_the_reader() {
        let dir = tempfile::tempdir().unwrap();
        assert!(list_images(dir.path()).unwrap_err().to_string().contains("holds no image"));
        assert!(list_images(dir.path().join("*.png")).unwrap_err().to_string().contains("no file matches"));
        let missing = dir.path().join("missing.png");
        assert_eq!(list_images(&missing).unwrap(), [missing]);
    }
}
