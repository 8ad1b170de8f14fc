//! `keyferry client list`

use serde_json::Value;

use crate::cli::output::{self, Failure, Shape};
use crate::cli::shelf::Common;
use crate::cli::table::{Table, cell};
use crate::config::{Environment, Options};

/// Whose clients.
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
    let whole = shelf.server.pages(&shelf.clients())?;
    if arguments.common.output == Shape::Json {
        return output::result(&whole);
    }
    let whole: Value = serde_json::from_str(&whole).unwrap_or_default();
    let mut table = Table::new(&["NAME", "CLIENT ID", "GRANT TYPE", "TOKEN URL", "UUID"]);
    for client in whole.get("clients").and_then(Value::as_array).into_iter().flatten() {
        let members = ["name", "client_id", "grant_type", "token_url", "uuid"];
        table.add(members.map(|member| cell(client, member)));
    }
    if table.is_empty() {
        output::note(&format!(
            "the integration {} has no client: `keyferry client create` makes one",
            shelf.integration
        ));
        return Ok(());
    }
    output::result(&table.text())
}
