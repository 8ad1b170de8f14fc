//! A file that holds a secret: for its owner alone, and never half written.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::Secret;

/// A secret file can't be used; each sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// It can't be read or written.
    #[error("the file {} can't be used: make it readable and writable, or move it away", .0.display())]
    Unusable(PathBuf, #[source] io::Error),
    /// It belongs to another user, who may read and change it.
    #[error(
        "the secret file {} belongs to another user: run this as that user, or give the file to \
         this one with chown if nobody else has read it",
        .0.display()
    )]
    Foreign(PathBuf),
    /// Others may read or change it.
    #[error(
        "others can read or change the secret file {}: make a new one (move this away and start \
         again), or run chmod 600 on it if nobody has read it",
        .0.display()
    )]
    Exposed(PathBuf),
}

/// Reads a secret file. Of a file that is too long, one byte more than `longest` is read. `None`
/// when the file does not exist.
///
/// # Errors
/// [`SecretFileError`] when it can't be read, or when others can read or change it.
pub fn read(path: &Path, longest: usize) -> Result<Option<Secret>, SecretFileError> {
    let unusable = |why| SecretFileError::Unusable(path.to_path_buf(), why);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(unusable(why)),
    };
    // The open file is checked, not its path, which could be exchanged in between.
    let metadata = file.metadata().map_err(unusable)?;
    if !is_ours(&metadata) {
        return Err(SecretFileError::Foreign(path.to_path_buf()));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(SecretFileError::Exposed(path.to_path_buf()));
    }
    let mut content = Zeroizing::new(Vec::with_capacity(longest + 1));
    file.take(longest as u64 + 1).read_to_end(&mut content).map_err(unusable)?;
    Ok(Some(Secret::new(std::mem::take(&mut *content))))
}

/// Writes a secret file under another name first and renames it, so that a crash can't leave half
/// of it. The caller must exclude other writers.
pub fn write(path: &Path, content: &[u8]) -> Result<(), SecretFileError> {
    let mut draft = OsString::from(path);
    draft.push(".new");
    let draft = Path::new(&draft);
    let written = remove_stale(draft)
        .and_then(|()| write_new(draft, content))
        .and_then(|()| fs::rename(draft, path))
        .and_then(|()| sync_parent(path));
    written.map_err(|why| SecretFileError::Unusable(path.to_path_buf(), why))
}

/// Tells whether a file belongs to the user of this process.
pub fn is_ours(metadata: &Metadata) -> bool {
    metadata.uid() == rustix::process::geteuid().as_raw()
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

/// Syncs the directory of a file, so that its name survives a crash.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()
}
