//! `keyferry connection list`

use serde_json::Value;

use super::{TYPES, state};
use crate::cli::integration::IntegrationClient;
use crate::cli::output::{self, CliError};
use crate::cli::table::{TextTable, cell};
use crate::clock::Clock;

pub(super) fn run(client: &IntegrationClient<'_>) -> Result<(), CliError> {
    let whole = client.api.pages(&client.connections("all"))?;
    let mut unusable = Vec::new();
    client.emit(&whole, || {
        // Each type has a list of its own.
        let whole: Value = serde_json::from_str(&whole).unwrap_or_default();
        let (mut rows, now) = (Vec::new(), Clock::system().now());
        for kind in TYPES {
            let connections = whole.get(kind.as_str()).and_then(Value::as_array);
            for connection in connections.into_iter().flatten() {
                // A defect is a sentence, which no column holds.
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
        Ok(table(rows, client))
    })?;
    // Told below the table.
    for sentence in unusable {
        output::note(&sentence);
    }
    Ok(())
}

/// The rows in the order of the API, which is that of the bytes of their names.
fn table(mut rows: Vec<[String; 6]>, client: &IntegrationClient<'_>) -> String {
    rows.sort();
    let head = ["NAME", "TYPE", "ALLOWED DOMAIN", "STATE", "UPDATED AT", "DECLARED"];
    let mut table = TextTable::new(&head);
    for row in rows {
        table.add(row);
    }
    if table.is_empty() {
        output::note(&format!(
            "the integration {} has no connection: `keyferry connection create` makes one",
            client.integration
        ));
    }
    table.text()
}
