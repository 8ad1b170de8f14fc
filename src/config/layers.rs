//! The layers over one another: defaults, then the file, then the environment; what the command
//! line says is put on top by the reader.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::Options;
use super::environment::Environment;
use super::fault::Place;
use super::report::Report;
use super::tree::{Node, Table, Value};

/// The file to read: `--config`, else `KEYFERRY_CONFIG`, else none; nothing is picked up silently.
pub(super) fn file(options: &Options, environment: &Environment) -> Option<PathBuf> {
    let named = environment.value("KEYFERRY_CONFIG").filter(|value| !value.is_empty());
    options.config.clone().or_else(|| named.map(PathBuf::from))
}

/// The file's text, which may hold secrets; empty without a file or when it can't be read.
pub(super) fn text(file: Option<&Path>, report: &Report) -> Zeroizing<String> {
    let Some(file) = file else { return Zeroizing::default() };
    let place = Place::File(file.into());
    let bytes = match std::fs::read(file) {
        Ok(bytes) => Zeroizing::new(bytes),
        Err(why) => {
            report.syntax(place, "", format!("the configuration file can't be read: {why}"));
            return Zeroizing::default();
        }
    };
    if let Ok(text) = std::str::from_utf8(&bytes) {
        Zeroizing::new(text.to_owned())
    } else {
        report.syntax(place, "", "the configuration file is not UTF-8 text");
        Zeroizing::default()
    }
}

/// The file's values with the environment's over them.
pub(super) fn tree<'t>(
    environment: &'t Environment,
    file: Option<&Path>,
    text: &'t str,
    report: &Report,
) -> Node<'t> {
    let (mut table, place) = match file {
        Some(file) => (Table::parse(text, file, report), Place::File(file.into())),
        None => (Table::default(), Place::Default),
    };
    if let Some(level) = environment.text(RUST_LOG) {
        let place = Place::Variable(RUST_LOG.to_owned());
        table.put(&LOG_LEVEL.map(str::to_owned), Node { place, value: Value::Raw(level) });
    }
    for (variable, path, value) in environment.settings() {
        let place = Place::Variable(variable.to_owned());
        match value.to_str() {
            Some(text) => table.put(&path, Node { place, value: Value::Raw(text) }),
            None => report.syntax(place, &path.join("."), NOT_UTF_8),
        }
    }
    Node { place, value: Value::Table(table) }
}

/// The variable that programs in Rust read their log level from.
pub(super) const RUST_LOG: &str = "RUST_LOG";

const LOG_LEVEL: [&str; 2] = ["log", "level"];

const NOT_UTF_8: &str = "the value is not UTF-8 text";
