//! `keyferry client list`

use serde_json::Value;

use crate::cli::integration::IntegrationClient;
use crate::cli::output::{self, CliError};
use crate::cli::table::{TextTable, cell};

pub(super) fn run(client: &IntegrationClient<'_>) -> Result<(), CliError> {
    let whole = client.api.pages(&client.clients())?;
    client.emit(&whole, || {
        let whole: Value = serde_json::from_str(&whole).unwrap_or_default();
        let mut table = TextTable::new(&["NAME", "CLIENT ID", "GRANT TYPE", "TOKEN URL", "UUID"]);
        for item in whole.get("clients").and_then(Value::as_array).into_iter().flatten() {
            let members = ["name", "client_id", "grant_type", "token_url", "uuid"];
            table.add(members.map(|member| cell(item, member)));
        }
        if table.is_empty() {
            output::note(&format!(
                "the integration {} has no client: `keyferry client create` makes one",
                client.integration
            ));
        }
        Ok(table.text())
    })
}
