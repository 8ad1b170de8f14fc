//! `keyferry check`: every fault of the configuration, with file, line and key. The store and the
//! master keys belong to the server, and are not looked at; commands that print secrets are looked
//! for, and not run.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::context::CliContext;
use super::output::{self, CliError, OutputFormat};
use crate::config::{self, ConfigFault, ConfigFaults, Loaded, SourcePlace, StoreUrl};

/// Reads the configuration as `serve` would, and binds nothing.
pub(super) fn run(context: &CliContext) -> Result<(), CliError> {
    let verdict = config::load(&context.options, &context.environment);
    match (context.format, verdict) {
        (OutputFormat::Text, Ok(loaded)) => {
            output::warn(&loaded.warnings);
            output::result(&summary(&loaded))
        }
        (OutputFormat::Text, Err(faults)) => Err(CliError::Faults(faults)),
        (OutputFormat::Json, Ok(loaded)) => output::result(&passed(&loaded).to_string()),
        (OutputFormat::Json, Err(faults)) => {
            output::result(&failed(&faults).to_string())?;
            Err(CliError::Printed)
        }
    }
}

fn summary(loaded: &Loaded) -> String {
    let connections = output::count(loaded.config.connections.len(), "connection");
    let tokens = output::count(loaded.config.tokens.len(), "token");
    let store = match loaded.config.store.url {
        StoreUrl::Memory => "",
        _ => "; the store and the master keys were not read",
    };
    let commands = match commands(loaded) {
        0 => String::new(),
        count => format!("; {} found and not run", output::count(count, "command")),
    };
    let found = format!("no fault; {connections}, {tokens}{commands}{store}");
    match &loaded.file {
        Some(file) => format!("{}: {found}", file.display()),
        None => format!("no configuration file; {found}"),
    }
}

/// The number of different commands that print secrets.
fn commands(loaded: &Loaded) -> usize {
    let uses = loaded.config.commanded.uses();
    uses.map(|named| &named.command).collect::<HashSet<_>>().len()
}

fn passed(loaded: &Loaded) -> Value {
    let mut passed = json!({
        "ok": true,
        "file": loaded.file.as_ref().map(|file| file.display().to_string()),
        "connections": loaded.config.connections.len(),
        "tokens": loaded.config.tokens.len(),
        "store_read": false,
        "faults": [],
        "warnings": loaded.warnings.iter().map(object).collect::<Vec<_>>(),
    });
    if let (count @ 1.., Some(members)) = (commands(loaded), passed.as_object_mut()) {
        members.insert("commands_found".to_owned(), json!(count));
    }
    passed
}

fn failed(faults: &ConfigFaults) -> Value {
    json!({
        "ok": false,
        "faults": faults.faults.iter().map(object).collect::<Vec<_>>(),
        "warnings": faults.warnings.iter().map(object).collect::<Vec<_>>(),
    })
}

fn object(fault: &ConfigFault) -> Value {
    let mut object = json!({ "key": fault.key, "rule": fault.rule });
    let Some(members) = object.as_object_mut() else { return object };
    let mut member = |name: &str, value: Value| drop(members.insert(name.to_owned(), value));
    match &fault.place {
        SourcePlace::File(file) => member("file", json!(file.display().to_string())),
        SourcePlace::Line { file, line, column } => {
            member("file", json!(file.display().to_string()));
            member("line", json!(line));
            member("column", json!(column));
        }
        SourcePlace::Variable(name) => member("variable", json!(name)),
        SourcePlace::Argument(name) => member("argument", json!(name)),
        SourcePlace::Default => {}
    }
    object
}
