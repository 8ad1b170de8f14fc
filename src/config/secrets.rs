//! Secrets of the configuration: by reference to a variable or a file, or written literally.

use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use super::item::{Item, Mark};
use super::readers::{Reader, file};
use super::report::Report;
use crate::model::field::{MAX_SECRET, SecretError};
use crate::model::oauth::client::AccountClient;
use crate::secret::Secret;

/// A secret that `check` finds fit; what it says is reported, the secret never is.
pub(super) fn secret<E: ToString>(
    check: impl Fn(&[u8]) -> Result<(), E> + 'static,
) -> Reader<Secret> {
    Reader::new("a secret", schema(), move |item| {
        let mark = item.mark();
        if item.is_text() {
            mark.warning(LITERAL);
        }
        let secret = referred(item)?;
        match check(secret.expose()) {
            Ok(()) => Some(secret),
            Err(rule) => mark.refuse(format!("the secret can't be used: {}", rule.to_string())),
        }
    })
}

/// A text that is not secret but may be kept beside one that is.
pub(super) fn public_text<E: ToString>(
    check: impl Fn(&str) -> Result<(), E> + 'static,
) -> Reader<Box<str>> {
    Reader::new("a text, which may stand as a secret does", schema(), move |item| {
        let mark = item.mark();
        let written = referred(item)?;
        let Ok(text) = std::str::from_utf8(written.expose()) else {
            return mark.refuse("is not UTF-8 text");
        };
        match check(text) {
            Ok(()) => Some(text.into()),
            Err(rule) => mark.refuse(rule.to_string()),
        }
    })
}

/// An OAuth client: its id, and its secret.
pub(super) fn account_client() -> Reader<AccountClient> {
    let id = || json!({ "type": "string", "description": "The id of the client.", "minLength": 1 });
    let schema = json!({
        "type": "object",
        "properties": { "id": id(), "secret": schema() },
        "required": ["id", "secret"],
        "additionalProperties": false,
    });
    Reader::new("{ id = \"ID\", secret = { env = \"NAME\" } }", schema, |item| {
        let mut section = item.section()?;
        let client_id = section.needed("id").and_then(|item| {
            item.parse(|text| match text {
                "" => Err("must not be empty"),
                text => Ok(Box::from(text)),
            })
        });
        let reader = secret(|secret| match secret {
            [] => Err(SecretError::Empty),
            _ => Ok(()),
        });
        let secret = section.needed("secret").and_then(|item| reader.read(item));
        section.close();
        Some(AccountClient { client_id: client_id?, secret: secret? })
    })
}

/// Warns of files with secrets that everyone can read, and refuses those in the data directory.
///
/// Elsewhere it is often a mount of the orchestrator's making, as `/run/secrets` with mode 0444,
/// which the operator can't change and nobody else can reach.
pub(super) fn check_modes(report: &Report<'_>, data_dir: &Path) {
    for (place, key, path) in report.secret_files.take() {
        let Ok(metadata) = std::fs::metadata(&path) else { continue };
        let (mode, shown) = (metadata.permissions().mode(), path.display());
        if mode & 0o077 != 0 && is_inside(&path, data_dir) {
            let rule = format!("others can read the file {shown}: run chmod 600 on it");
            report.fault(&place, &key, rule);
        } else if mode & 0o004 != 0 {
            let rule = format!("everyone on this machine can read the file {shown}");
            report.warning(&place, &key, rule);
        }
    }
}

fn referred(item: Item<'_>) -> Option<Secret> {
    if item.is_text() {
        return item.parse(|text| Ok::<_, String>(Secret::new(text)));
    }
    let mark = item.mark();
    let mut section = item.section()?;
    let [variable, path] = ["env", "file"].map(|key| section.take(key));
    section.close();
    match (variable, path) {
        (Some(variable), None) => from_variable(variable, &mark),
        (None, Some(path)) => from_file(&file().read(path)?, &mark),
        _ => mark.refuse("must be { env = \"NAME\" } or { file = \"PATH\" }"),
    }
}

fn from_variable(item: Item<'_>, mark: &Mark<'_>) -> Option<Secret> {
    let name = item.parse(|text| Ok::<_, String>(text.to_owned()))?;
    let value = mark.report.source.environment.value(&name);
    if value.is_none() {
        mark.fault(format!("the environment variable {name} is not set"));
    }
    value.map(|value| Secret::new(value.as_bytes()))
}

fn from_file(path: &Path, mark: &Mark<'_>) -> Option<Secret> {
    mark.has_secret_in(path);
    match File::open(path).and_then(|file| Secret::read(file, MAX_SECRET)) {
        Ok(secret) => Some(secret),
        Err(why) => mark.refuse(format!("the file {} can't be read: {why}", path.display())),
    }
}

fn is_inside(path: &Path, directory: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    real(directory).zip(real(path)).is_some_and(|(directory, path)| path.starts_with(directory))
}

fn schema() -> Value {
    let reference = |name: &str, about: &str| {
        json!({
            "type": "object",
            "properties": { name: { "type": "string", "description": about } },
            "required": [name],
            "additionalProperties": false,
        })
    };
    json!({ "anyOf": [
        reference("env", "The environment variable that holds it."),
        reference("file", "The file that holds it; one newline at its end is removed."),
        { "type": "string", "description": "The value itself; secrets are warned of." },
    ] })
}

const LITERAL: &str = "the secret is written into the configuration: refer to it with \
                       { env = \"NAME\" } or { file = \"PATH\" } instead";
