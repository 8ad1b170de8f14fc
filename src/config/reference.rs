//! Secrets of the configuration: by reference to a variable or a file, or written literally.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use zeroize::Zeroizing;

use super::environment::Environment;
use super::item::{Item, Mark};
use crate::secret::Secret;

/// What secrets are read from.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a> {
    pub(super) environment: &'a Environment,
    pub(super) data_dir: &'a Path,
}

/// Reads a secret that `check` finds fit; what it says is reported, the secret never is.
pub(super) fn secret<E: ToString>(
    item: Item<'_, '_>,
    sources: Sources<'_>,
    check: impl Fn(&[u8]) -> Result<(), E>,
) -> Option<Secret> {
    let mark = item.mark();
    if item.is_text() {
        mark.warning(LITERAL);
    }
    let bytes = written(item, sources)?;
    match check(&bytes) {
        Ok(()) => Some(Secret::new(bytes.to_vec())),
        Err(rule) => {
            mark.fault(format!("the secret can't be used: {}", rule.to_string()));
            None
        }
    }
}

/// Reads a text that is not secret but may be kept beside one that is.
pub(super) fn text<E: ToString>(
    item: Item<'_, '_>,
    sources: Sources<'_>,
    check: impl Fn(&str) -> Result<(), E>,
) -> Option<Box<str>> {
    let mark = item.mark();
    let bytes = written(item, sources)?;
    let Ok(text) = std::str::from_utf8(&bytes) else {
        mark.fault("is not UTF-8 text");
        return None;
    };
    match check(text) {
        Ok(()) => Some(text.into()),
        Err(rule) => {
            mark.fault(rule.to_string());
            None
        }
    }
}

/// Warns of a file with a secret that everyone can read, and refuses it in the data directory.
///
/// Elsewhere it is often a mount of the orchestrator's making, as `/run/secrets` with mode 0444,
/// which the operator can't change and nobody else can reach.
pub(super) fn check_mode(path: &Path, sources: Sources<'_>, mark: &Mark<'_>) {
    let Ok(metadata) = std::fs::metadata(path) else { return };
    let mode = metadata.permissions().mode();
    let shown = path.display();
    if mode & 0o077 != 0 && is_inside(path, sources.data_dir) {
        mark.fault(format!("others can read the file {shown}: run chmod 600 on it"));
    } else if mode & 0o004 != 0 {
        mark.warning(format!("everyone on this machine can read the file {shown}"));
    }
}

fn written(item: Item<'_, '_>, sources: Sources<'_>) -> Option<Zeroizing<Vec<u8>>> {
    if item.is_text() {
        return item.parse(|text| Ok::<_, String>(Zeroizing::new(text.as_bytes().to_vec())));
    }
    let mark = item.mark();
    let mut section = item.section()?;
    let variable = section.take("env");
    let file = section.take("file");
    section.close();
    match (variable, file) {
        (Some(variable), None) => from_variable(variable, sources.environment, &mark),
        (None, Some(file)) => {
            let path = file.file()?;
            check_mode(&path, sources, &mark);
            from_file(&path, &mark)
        }
        _ => {
            mark.fault("must be { env = \"NAME\" } or { file = \"PATH\" }");
            None
        }
    }
}

fn from_variable(
    item: Item<'_, '_>,
    environment: &Environment,
    mark: &Mark<'_>,
) -> Option<Zeroizing<Vec<u8>>> {
    let name = item.parse(|text| Ok::<_, String>(text.to_owned()))?;
    let value = environment.value(&name);
    if value.is_none() {
        mark.fault(format!("the environment variable {name} is not set"));
    }
    value.map(|value| Zeroizing::new(value.as_bytes().to_vec()))
}

fn from_file(path: &Path, mark: &Mark<'_>) -> Option<Zeroizing<Vec<u8>>> {
    match read_bounded(path) {
        Ok(bytes) => Some(without_newline(bytes)),
        Err(why) => {
            mark.fault(format!("the file {} can't be read: {why}", path.display()));
            None
        }
    }
}

/// Reads no more than is needed to see that a file is too long for a secret.
fn read_bounded(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(ENOUGH));
    File::open(path)?.take(ENOUGH as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Editors and `echo` end a file with a newline, which is no part of the secret; only one goes.
fn without_newline(mut bytes: Zeroizing<Vec<u8>>) -> Zeroizing<Vec<u8>> {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    bytes
}

fn is_inside(path: &Path, directory: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    real(directory).zip(real(path)).is_some_and(|(directory, path)| path.starts_with(directory))
}

const LITERAL: &str = "the secret is written into the configuration: refer to it with \
                       { env = \"NAME\" } or { file = \"PATH\" } instead";

/// The longest secret is 8192 bytes; one that is longer is seen to be.
const ENOUGH: usize = 8192 + 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_trailing_newline_is_removed() {
        for (written, kept) in
            [("a", "a"), ("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a\r", "a\r"), ("\n", "")]
        {
            let bytes = without_newline(Zeroizing::new(written.as_bytes().to_vec()));
            assert_eq!(*bytes, kept.as_bytes(), "{written:?}");
        }
    }
}
