//! Secrets of the configuration: by reference to a variable or a file, or written literally.

use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::environment::Environment;
use super::item::{Item, Mark};
use crate::model::field::MAX_SECRET;
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
    let secret = written(item, sources)?;
    match check(secret.expose()) {
        Ok(()) => Some(secret),
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
    let written = written(item, sources)?;
    let Ok(text) = std::str::from_utf8(written.expose()) else {
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

fn written(item: Item<'_, '_>, sources: Sources<'_>) -> Option<Secret> {
    if item.is_text() {
        return item.parse(|text| Ok::<_, String>(Secret::new(text)));
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

fn from_variable(item: Item<'_, '_>, environment: &Environment, mark: &Mark<'_>) -> Option<Secret> {
    let name = item.parse(|text| Ok::<_, String>(text.to_owned()))?;
    let value = environment.value(&name);
    if value.is_none() {
        mark.fault(format!("the environment variable {name} is not set"));
    }
    value.map(|value| Secret::new(value.as_bytes()))
}

fn from_file(path: &Path, mark: &Mark<'_>) -> Option<Secret> {
    match File::open(path).and_then(|file| Secret::read(file, MAX_SECRET)) {
        Ok(secret) => Some(secret),
        Err(why) => {
            mark.fault(format!("the file {} can't be read: {why}", path.display()));
            None
        }
    }
}

fn is_inside(path: &Path, directory: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    real(directory).zip(real(path)).is_some_and(|(directory, path)| path.starts_with(directory))
}

const LITERAL: &str = "the secret is written into the configuration: refer to it with \
                       { env = \"NAME\" } or { file = \"PATH\" } instead";
