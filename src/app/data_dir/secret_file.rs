//! A file that holds a secret: for its owner alone, and never half written.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use zeroize::Zeroizing;

use super::{DataDirError, is_ours};
use crate::secret::Secret;

/// Reads a secret file of at most `longest` bytes, and one more to show that there is more.
/// `None` when there is no such file.
///
/// # Errors
/// [`DataDirError`] when it can't be read, or when others can read or change it.
pub(in crate::app) fn read_secret(
    path: &Path,
    longest: usize,
) -> Result<Option<Secret>, DataDirError> {
    let unusable = |why| DataDirError::File(path.to_path_buf(), why);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(unusable(why)),
    };
    // The open file is judged, not its name, so that nobody can exchange it in between.
    let metadata = file.metadata().map_err(unusable)?;
    if metadata.mode() & 0o077 != 0 || !is_ours(&metadata) {
        return Err(DataDirError::OpenFile(path.to_path_buf()));
    }
    let mut content = Zeroizing::new(Vec::with_capacity(longest + 1));
    file.take(longest as u64 + 1).read_to_end(&mut content).map_err(unusable)?;
    Ok(Some(Secret::new(std::mem::take(&mut *content))))
}

/// Writes a secret file. A crash can't leave half of one: it is written whole under another name
/// first. Nobody else writes here, because this process holds the data directory's lock.
///
/// # Errors
/// [`DataDirError`] when it can't be written.
pub(in crate::app) fn write_secret(path: &Path, content: &[u8]) -> Result<(), DataDirError> {
    let mut draft = OsString::from(path);
    draft.push(".new");
    let draft = Path::new(&draft);
    let written = remove_stale(draft)
        .and_then(|()| write_new(draft, content))
        .and_then(|()| fs::rename(draft, path))
        .and_then(|()| keep_name(path));
    written.map_err(|why| DataDirError::File(path.to_path_buf(), why))
}

fn remove_stale(draft: &Path) -> io::Result<()> {
    match fs::remove_file(draft) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
        _ => Ok(()),
    }
}

/// The mode is set as the file is made: there is no moment at which others could open it.
fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// What was sealed with a key must not outlive the name under which the key is found.
fn keep_name(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}
