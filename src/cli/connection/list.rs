//! `keyferry connection list`

use serde_json::Value;

use super::{TYPES, state};
use crate::cli::output::{self, Failure, Shape};
use crate::cli::shelf::Common;
use crate::cli::table::{Table, cell};
use crate::clock::Clock;
use crate::config::{Environment, Options};

/// Whose connections.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(
    arguments: &Arguments,
    options: &Options,
    environment: &Environment,
) -> Result<(), Failure> {
    let shelf = arguments.common.shelf(options, environment)?;
    let whole = shelf.server.pages(&shelf.connections("all"))?;
    if arguments.common.output == Shape::Json {
        return output::result(&whole);
    }
    let whole: Value = serde_json::from_str(&whole).unwrap_or_default();
    let (mut rows, mut unusable, now) = (Vec::new(), Vec::new(), Clock::system().now());
    for kind in TYPES {
        let connections = whole.get(kind.as_str()).and_then(Value::as_array);
        for connection in connections.into_iter().flatten() {
            if connection.get("defect").is_some() {
                let (name, why) = (cell(connection, "name"), cell(connection, "defect"));
                unusable.push(format!("keyferry: the connection {name} can't be used: {why}"));
            }
            rows.push([
                cell(connection, "name"),
                kind.to_string(),
                cell(connection, "allowed_domain"),
                state::of(connection, now),
                cell(connection, "updated_at"),
                cell(connection, "declared"),
            ]);
        }
    }
    // As the API orders them: by the bytes of their names.
    rows.sort();
    let head = ["NAME", "TYPE", "ALLOWED DOMAIN", "STATE", "UPDATED AT", "DECLARED"];
    let mut table = Table::new(&head);
    for row in rows {
        table.add(row);
    }
    if table.is_empty() {
        output::note(&format!(
            "the integration {} has no connection: `keyferry connection create` makes one",
            shelf.integration
        ));
        return Ok(());
    }
    output::result(&table.text())?;
    for sentence in unusable {
        output::note(&sentence);
    }
    Ok(())
}
