//! The data directory: made, judged, locked and kept for as long as the process lives.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::model::token::{self, TokenDigest};
use crate::random;
use crate::secret::Secret;
use crate::secret::file::{self, SecretFileError, is_ours};

/// The data directory, held by this process alone until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// The kernel gives the lock back when the file is closed, however the process ends.
    _lock: File,
}

/// The operator's first token, which every command finds in the data directory.
#[derive(Debug)]
pub struct AdminToken {
    /// The file that holds it.
    pub path: PathBuf,
    /// The digest, which is all that is kept of it in memory.
    pub digest: TokenDigest,
    /// Tells whether it was made just now.
    pub is_new: bool,
}

/// The reason why the data directory can't be used; each sentence says what to do.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the text of each variant says it")]
pub enum DataDirError {
    #[error(
        "the data directory {} can't be made: choose one that can with --data-dir or data_dir",
        .0.display()
    )]
    Make(PathBuf, #[source] io::Error),
    #[error("the data directory {} is not a directory: choose another with --data-dir", .0.display())]
    NotADirectory(PathBuf),
    #[error(
        "others can read or change the data directory {path} (its mode is {mode:04o}): run chmod 700 \
         on it, or choose a new directory below it with --data-dir",
        path = .0.display(), mode = .1
    )]
    Open(PathBuf, u32),
    #[error(
        "the data directory {} belongs to another user: choose another with --data-dir, or one \
         below it",
        .0.display()
    )]
    Foreign(PathBuf),
    #[error(
        "another server uses the data directory {}: stop it, or choose another with --data-dir",
        .0.display()
    )]
    InUse(PathBuf),
    #[error(transparent)]
    File(#[from] SecretFileError),
    #[error("the file {} holds no access token: delete it and start again to get a new one", .0.display())]
    NotAToken(PathBuf),
    #[error("no access token can be made")]
    Chance(#[source] random::RandomError),
}

impl DataDir {
    /// Makes the directory when there is none (mode 0700), refuses one that others can read or
    /// that is not ours, and takes its lock.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let mut builder = DirBuilder::new();
        match builder.recursive(true).mode(0o700).create(path) {
            Ok(()) => {}
            Err(_) if path.exists() && !path.is_dir() => {
                return Err(DataDirError::NotADirectory(path.to_path_buf()));
            }
            Err(why) => return Err(DataDirError::Make(path.to_path_buf(), why)),
        }
        let metadata =
            fs::metadata(path).map_err(|why| DataDirError::Make(path.to_path_buf(), why))?;
        if !is_ours(&metadata) {
            return Err(DataDirError::Foreign(path.to_path_buf()));
        }
        if metadata.mode() & 0o077 != 0 {
            return Err(DataDirError::Open(path.to_path_buf(), metadata.mode() & 0o7777));
        }
        Ok(Self { path: path.to_path_buf(), _lock: lock(path)? })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The admin token: the one that is there, or a new one.
    ///
    /// # Errors
    /// [`DataDirError`] when the file can't be used, when others can read it, or when it holds
    /// something else.
    pub fn admin_token(&self) -> Result<AdminToken, DataDirError> {
        let path = self.path.join(ADMIN_TOKEN);
        let Some(content) = file::read(&path, MAX_TOKEN_FILE_LEN)? else {
            return make_token(path);
        };
        let content = content.expose();
        let token = content.strip_suffix(b"\n").unwrap_or(content);
        match TokenDigest::of(token) {
            Some(digest) => Ok(AdminToken { path, digest, is_new: false }),
            None => Err(DataDirError::NotAToken(path)),
        }
    }
}

/// The admin token that a server keeps in its data directory, for those who may read it; `None`
/// where there is none. Takes no lock and makes nothing.
///
/// # Errors
/// [`DataDirError`] when the file can't be read, when others can read it, or when it holds
/// something else.
pub fn find_admin_token(data_dir: &Path) -> Result<Option<Secret>, DataDirError> {
    let path = data_dir.join(ADMIN_TOKEN);
    let Some(content) = file::read(&path, MAX_TOKEN_FILE_LEN)? else { return Ok(None) };
    let token = content.expose().strip_suffix(b"\n").unwrap_or_else(|| content.expose());
    match TokenDigest::of(token) {
        Some(_) => Ok(Some(Secret::new(token))),
        None => Err(DataDirError::NotAToken(path)),
    }
}

fn make_token(path: PathBuf) -> Result<AdminToken, DataDirError> {
    let token = token::generate().map_err(DataDirError::Chance)?;
    let digest = TokenDigest::of(token.expose());
    let digest = digest.ok_or_else(|| DataDirError::NotAToken(path.clone()))?;
    let mut line = Zeroizing::new(token.expose().to_vec());
    line.push(b'\n');
    file::write(&path, &line)?;
    Ok(AdminToken { path, digest, is_new: true })
}

fn lock(directory: &Path) -> Result<File, DataDirError> {
    let path = directory.join(LOCK);
    let mut options = OpenOptions::new();
    let file = options.create(true).append(true).mode(0o600).open(&path);
    let file = file.map_err(|why| SecretFileError::Unusable(path.clone(), why))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DataDirError::InUse(directory.to_path_buf())),
        Err(TryLockError::Error(why)) => Err(SecretFileError::Unusable(path, why).into()),
    }
}

const ADMIN_TOKEN: &str = "admin.token";

const LOCK: &str = "lock";

/// A token, its newline, and one byte that shows when there is more.
const MAX_TOKEN_FILE_LEN: usize = token::PREFIX.len() + token::BODY_LENGTH + 2;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use tempfile::TempDir;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_new_directory_is_for_its_owner_alone() {
        let parent = TempDir::new().unwrap();
        let path = parent.path().join("a/b");
        let opened = DataDir::open(&path).unwrap();
        assert_eq!((opened.path(), mode(&path), mode(&path.join(LOCK))), (&*path, 0o700, 0o600));
    }

    #[test]
    fn a_directory_that_others_can_read_or_write_is_refused() {
        let parent = TempDir::new().unwrap();
        for open in [0o750, 0o705, 0o720, 0o777, 0o1777] {
            set_mode(parent.path(), open);
            let refusal = DataDir::open(parent.path()).unwrap_err();
            assert!(matches!(&refusal, DataDirError::Open(_, mode) if *mode == open), "{open:o}");
            assert!(refusal.to_string().contains(&format!("{open:04o}")), "{refusal}");
        }
        set_mode(parent.path(), 0o700);
        assert!(DataDir::open(parent.path()).is_ok());
    }

    #[test]
    fn what_is_not_a_directory_is_refused() {
        let parent = TempDir::new().unwrap();
        let path = parent.path().join("file");
        fs::write(&path, "").unwrap();
        assert!(matches!(DataDir::open(&path), Err(DataDirError::NotADirectory(_))));
        assert!(matches!(DataDir::open(&path.join("below")), Err(DataDirError::Make(..))));
    }

    #[test]
    fn a_directory_is_for_one_server_at_a_time() {
        let parent = TempDir::new().unwrap();
        let path = parent.path().join("data");
        let first = DataDir::open(&path).unwrap();
        let refusal = DataDir::open(&path).unwrap_err();
        assert!(matches!(refusal, DataDirError::InUse(_)));
        assert!(refusal.to_string().contains(path.to_str().unwrap()), "{refusal}");
        drop(first);
        assert!(DataDir::open(&path).is_ok());
    }

    #[test]
    fn the_admin_token_is_made_once_and_read_again() {
        let parent = TempDir::new().unwrap();
        let opened = DataDir::open(&parent.path().join("data")).unwrap();
        fs::write(opened.path().join("admin.token.new"), "half").unwrap();
        let made = opened.admin_token().unwrap();
        let written = fs::read(&made.path).unwrap();
        assert!(made.is_new && mode(&made.path) == 0o600);
        assert_eq!(TokenDigest::of(written.strip_suffix(b"\n").unwrap()), Some(made.digest));
        assert!(!opened.path().join("admin.token.new").exists());
        let read = opened.admin_token().unwrap();
        assert!(!read.is_new && read.digest == made.digest);
    }

    #[test]
    fn an_admin_token_that_others_can_read_is_refused() {
        let parent = TempDir::new().unwrap();
        let opened = DataDir::open(&parent.path().join("data")).unwrap();
        let path = opened.admin_token().unwrap().path;
        for open in [0o640, 0o604, 0o620] {
            set_mode(&path, open);
            assert!(
                matches!(
                    opened.admin_token(),
                    Err(DataDirError::File(SecretFileError::Exposed(_)))
                ),
                "{open:o}"
            );
        }
        set_mode(&path, 0o400);
        assert!(opened.admin_token().is_ok());
    }

    #[test]
    fn a_secret_file_of_another_user_is_refused_whatever_its_mode() {
        // Nobody else can give a file away.
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let parent = TempDir::new().unwrap();
        let opened = DataDir::open(&parent.path().join("data")).unwrap();
        let path = opened.admin_token().unwrap().path;
        std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
        for mode in [0o600, 0o644] {
            set_mode(&path, mode);
            let refusal = opened.admin_token().unwrap_err();
            assert!(matches!(refusal, DataDirError::File(SecretFileError::Foreign(_))), "{mode:o}");
            assert!(refusal.to_string().contains("chown"), "{refusal}");
        }
    }

    #[test]
    fn a_running_servers_token_is_found_without_disturbing_it() {
        let parent = TempDir::new().unwrap();
        let path = parent.path().join("data");
        assert!(find_admin_token(&path).unwrap().is_none() && !path.exists());
        let opened = DataDir::open(&path).unwrap();
        assert!(find_admin_token(&path).unwrap().is_none());
        let made = opened.admin_token().unwrap();
        let found = find_admin_token(&path).unwrap().unwrap();
        assert_eq!(TokenDigest::of(found.expose()), Some(made.digest));
        set_mode(&made.path, 0o640);
        assert!(matches!(
            find_admin_token(&path),
            Err(DataDirError::File(SecretFileError::Exposed(_)))
        ));
    }

    #[test]
    fn a_file_without_a_token_is_refused() {
        let parent = TempDir::new().unwrap();
        let opened = DataDir::open(&parent.path().join("data")).unwrap();
        let path = opened.admin_token().unwrap().path;
        let good = fs::read_to_string(&path).unwrap();
        for content in ["", "\n", "kf_short\n", &format!("{good}\n"), &format!(" {good}")] {
            fs::write(&path, content).unwrap();
            let refusal = opened.admin_token().unwrap_err();
            assert!(matches!(&refusal, DataDirError::NotAToken(_)), "{content:?}");
            assert!(!refusal.to_string().contains("kf_"), "{refusal}");
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        set_mode(&path, 0o700);
        assert!(matches!(
            opened.admin_token(),
            Err(DataDirError::File(SecretFileError::Unusable(..)))
        ));
    }
}
