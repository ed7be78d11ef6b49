//! Files that are there whole or not at all, whatever happens while they are written.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use tempfile::{Builder, TempDir};

/// How the names of files and folders begin that are not finished.
const UNFINISHED: &str = ".unfinished-";

/// Writes a file beside `path`, which then takes its place: until it is on the disk, an earlier one of that name stays.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = folder_of(path);
    let mut file = builder(0o666).tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    sync_folder(folder)
}

/// Begins a folder beside `path`; dropped before [`finish_folder`], it goes away.
pub fn begin_folder(path: &Path) -> io::Result<TempDir> {
    let parent = folder_of(path);
    fs::create_dir_all(parent)?;
    builder(0o777).tempdir_in(parent)
}

/// Gives a folder with all that it holds its name.
///
/// Errors: if something stands at `path` but an empty folder.
pub fn finish_folder(folder: TempDir, path: &Path) -> io::Result<()> {
    fs::rename(folder.path(), path)?;
    let _old_name = folder.keep();
    sync_folder(folder_of(path))
}

/// Removes what writers that were killed have left in a folder.
pub fn sweep(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if is_unfinished(&entry.path()) && entry.file_type()?.is_file() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Whether it is what a killed writer has left.
pub fn is_unfinished(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(UNFINISHED))
}

/// New names are on the disk only with their folder; not every system can do that.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// As of any new file: the umask takes away from `mode` what it should.
fn builder(mode: u32) -> Builder<'static, 'static> {
    let mut builder = Builder::new();
    builder.prefix(UNFINISHED);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(mode));
    }
    #[cfg(not(unix))]
    let _ = mode;
    builder
}
