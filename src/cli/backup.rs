//! `keyferry backup` and `keyferry restore`: a copy of the embedded store, and the way back.

use std::path::PathBuf;

use serde_json::json;

use super::context::CliContext;
use super::output::{self, CliError, OutputFormat};
use crate::app::{self, Copied};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The backup
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Copies the store into a new file, and says what else must be kept.
pub(super) fn back_up(arguments: &Arguments, context: &CliContext) -> Result<(), CliError> {
    let config = context.configuration()?.config;
    let copied = app::back_up(&config, &context.environment, &arguments.file)?;
    context.emit(&as_json(arguments, &copied), || {
        let (file, database) = (arguments.file.display(), copied.database.display());
        Ok(format!("{file} holds {} of {database}", contents(&copied)))
    })?;
    if context.format == OutputFormat::Text {
        note_keys(&copied);
    }
    Ok(())
}

fn note_keys(copied: &Copied) {
    output::note(&format!(
        "The secrets in it are sealed under {}, which it does not hold: keep {} too, and elsewhere. \
         The audit trail is not part of it.",
        keys(&copied.contents.key_ids),
        copied.keys
    ));
    if !copied.missing_keys.is_empty() {
        output::note(&format!(
            "warning: {} does not hold {}: find the line of that key, and keep it too.",
            copied.keys,
            keys(&copied.missing_keys)
        ));
    }
}

/// Restores a backup into the data directory, and says what else the server needs.
pub(super) fn restore(arguments: &Arguments, context: &CliContext) -> Result<(), CliError> {
    let config = context.configuration()?.config;
    let copied = app::restore(&config, &context.environment, &arguments.file)?;
    context.emit(&as_json(arguments, &copied), || {
        Ok(format!("{} holds {} now", copied.database.display(), contents(&copied)))
    })?;
    if context.format == OutputFormat::Text {
        note_next(&copied);
    }
    Ok(())
}

fn note_next(copied: &Copied) {
    if copied.missing_keys.is_empty() {
        output::note("Its master keys are at hand: start the server.");
    } else {
        output::note(&format!(
            "It is sealed under {}, which {} does not hold: put the line of that key there (mode \
             0600) before you start the server.",
            keys(&copied.missing_keys),
            copied.keys
        ));
    }
    output::note(
        "The server that the backup is of must not run any more: both would spend the same refresh \
         tokens.",
    );
}

fn contents(copied: &Copied) -> String {
    let count =
        |number: u64, noun| output::count(usize::try_from(number).unwrap_or(usize::MAX), noun);
    let (connections, tokens) = (copied.contents.connections, copied.contents.tokens);
    format!("{} and {}", count(connections, "connection"), count(tokens, "token"))
}

/// Lists ids of master keys, which may be foreign text.
fn keys(ids: &[Box<str>]) -> String {
    let ids: Vec<_> = ids.iter().map(|id| output::printable(id)).collect();
    let noun = if ids.len() == 1 { "key" } else { "keys" };
    format!("the master {noun} {}", ids.join(", "))
}

fn as_json(arguments: &Arguments, copied: &Copied) -> String {
    json!({
        "file": arguments.file.display().to_string(),
        "store": copied.database.display().to_string(),
        "connections": copied.contents.connections,
        "tokens": copied.contents.tokens,
        "master_keys": copied.contents.key_ids,
        "missing_master_keys": copied.missing_keys,
        "master_key_file": copied.keys,
    })
    .to_string()
}
