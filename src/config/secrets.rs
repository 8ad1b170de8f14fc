//! Secrets of the configuration: by reference to a variable, a file or a command, or written
//! literally.

use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::commanded::{Declared, command};
use super::item::{Item, Mark};
use super::readers::{Reader, duration, file, with};
use super::report::Report;
use crate::model::client_identity::MAX_PEM_LEN;
use crate::model::field::SecretError;
use crate::model::oauth::client::AccountClient;
use crate::secret::Secret;
use crate::secret::command::SecretCommand;

/// The text that an operator refers to, or the command that will print it.
enum Reference {
    Value(Secret),
    Command(SecretCommand),
}

/// The kind of text that a reference leads to: others may read a file with a public one.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Content {
    Secret,
    Public,
}

/// A secret that `check` finds fit; what it says is reported, the secret never is.
pub(super) fn secret<E: ToString>(
    check: impl Fn(&[u8]) -> Result<(), E> + Send + Sync + 'static,
) -> Reader<Declared<Secret>> {
    let rule = Arc::new(move |secret: &[u8]| check(secret).map_err(|rule| rule.to_string()));
    Reader::new("a secret", schema(&[env(), file_name(), printed()]), move |item| {
        let mark = item.mark();
        if item.is_text() {
            mark.warning(LITERAL);
        }
        let secret = match referred(item, Content::Secret)? {
            Reference::Value(secret) => secret,
            Reference::Command(command) => {
                return Some(Declared::printed_by(command, Arc::clone(&rule) as _, &mark));
            }
        };
        match rule(secret.expose()) {
            Ok(()) => Some(Declared::Complete(secret)),
            Err(rule) => mark.refuse(format!("the secret can't be used: {rule}")),
        }
    })
}

/// A text that is not secret but may be kept beside one that is.
pub(super) fn public_text<E: ToString>(
    check: impl Fn(&str) -> Result<(), E> + 'static,
) -> Reader<Box<str>> {
    let schema = schema(&[env(), file_name()]);
    Reader::new("a text, which may stand as a secret does", schema, move |item| {
        let mark = item.mark();
        let Reference::Value(written) = referred(item, Content::Public)? else {
            return mark.refuse("a command prints secrets, and this is none: write it down");
        };
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
pub(super) fn account_client() -> Reader<Declared<AccountClient>> {
    let id = || json!({ "type": "string", "description": "The id of the client.", "minLength": 1 });
    let schema = json!({
        "type": "object",
        "properties": { "id": id(), "secret": schema(&[env(), file_name(), printed()]) },
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
        let client_id: Box<str> = client_id?;
        secret?.map(move |secret| Some(AccountClient { client_id: client_id.clone(), secret }))
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

fn referred(item: Item<'_>, content: Content) -> Option<Reference> {
    if item.is_text() {
        return item.parse(|text| Ok::<_, String>(Reference::Value(Secret::new(text))));
    }
    let mark = item.mark();
    let mut section = item.section()?;
    let [variable, path, words, ttl] =
        ["env", "file", "command", "ttl"].map(|key| section.take(key));
    section.close();
    match (variable, path, words, ttl) {
        (Some(variable), None, None, None) => from_variable(variable, &mark).map(Reference::Value),
        (None, Some(path), None, None) => {
            let path = file().read(path)?;
            if content == Content::Secret {
                mark.has_secret_in(&path);
            }
            from_file(&path, &mark).map(Reference::Value)
        }
        (None, None, Some(words), ttl) => command(words, ttl, &mark).map(Reference::Command),
        _ => mark.refuse(A_REFERENCE),
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
    match File::open(path).and_then(|file| Secret::read(file, MAX_FILE_LEN)) {
        Ok(secret) => Some(secret),
        Err(why) => mark.refuse(format!("the file {} can't be read: {why}", path.display())),
    }
}

fn is_inside(path: &Path, directory: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    real(directory).zip(real(path)).is_some_and(|(directory, path)| path.starts_with(directory))
}

/// The schema of a value that is written as one of `references`, or literally.
fn schema(references: &[Value]) -> Value {
    let literal = json!({
        "type": "string",
        "description": "The value itself; secrets are warned of.",
    });
    let all: Vec<_> = references.iter().cloned().chain([literal]).collect();
    json!({ "anyOf": all })
}

fn env() -> Value {
    let text = json!({
        "type": "string",
        "description": "The environment variable that holds it.",
    });
    reference("env", &json!({ "env": text }))
}

fn file_name() -> Value {
    let text = json!({
        "type": "string",
        "description": "The file that holds it; one newline at its end is removed.",
    });
    reference("file", &json!({ "file": text }))
}

fn printed() -> Value {
    let words = json!({
        "type": "array",
        "items": { "type": "string" },
        "minItems": 1,
        "description": "The program that prints it, and its arguments; no shell reads them. One \
                        newline at its end is removed.",
    });
    let ttl = with(
        duration().schema,
        "description",
        json!("The time for which it is good; without it, the command is run at each (re)load."),
    );
    reference("command", &json!({ "command": words, "ttl": ttl }))
}

fn reference(name: &str, properties: &Value) -> Value {
    json!({
        "type": "object",
        "properties": properties,
        "required": [name],
        "additionalProperties": false,
    })
}

const A_REFERENCE: &str = "must be { env = \"NAME\" } or { file = \"PATH\" } or \
                           { command = [\"PROGRAM\", \"ARGUMENT\"], ttl = \"1h\" }";

/// The longest content of a file: a certificate with its chain. Each value has a limit of its own.
const MAX_FILE_LEN: usize = MAX_PEM_LEN;

const LITERAL: &str = "the secret is written into the configuration: refer to it with \
                       { env = \"NAME\" } or { file = \"PATH\" } instead";
