//! `keyferry token list`

use serde_json::Value;

use crate::cli::context::CliContext;
use crate::cli::output::{self, CliError};
use crate::cli::server::{ApiPath, ServerArgs};
use crate::cli::table::{TextTable, cell};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Integration whose tokens alone are listed
    #[arg(long, value_name = "NAME")]
    integration: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) fn run(arguments: &Arguments, context: &CliContext) -> Result<(), CliError> {
    let integration = arguments.integration.as_deref();
    let mut whole = arguments.server.client(context)?.pages(&ApiPath::keyferry(&["tokens"]))?;
    let mut told: Value = serde_json::from_str(&whole).unwrap_or_default();
    let all = tokens(&told).count();
    if let (Some(integration), Some(Value::Array(tokens))) = (integration, told.get_mut("tokens")) {
        tokens.retain(|token| cell(token, "integration") == *integration);
        whole = told.to_string();
    }
    context.emit(&whole, || {
        let head = ["NAME", "INTEGRATION", "SCOPES", "LAST USED", "EXPIRES", "ID"];
        let mut table = TextTable::new(&head);
        for token in tokens(&told) {
            let members = ["name", "integration", "scopes", "last_used_at", "expires_at", "id"];
            table.add(members.map(|member| cell(token, member)));
        }
        if table.is_empty() {
            output::note(&nothing(integration, all));
        }
        Ok(table.text())
    })
}

fn tokens(told: &Value) -> impl Iterator<Item = &Value> {
    told.get("tokens").and_then(Value::as_array).into_iter().flatten()
}

/// Says why the list is empty, where the server keeps `all` tokens.
fn nothing(integration: Option<&str>, all: usize) -> String {
    match integration {
        Some("*") if all > 0 => format!(
            "no token for every integration is kept, but {} of one each: `keyferry token list` \
             shows all",
            output::count(all, "token")
        ),
        Some(integration) if all > 0 => format!(
            "no token of the integration {} is kept, but {} of others: `keyferry token list` \
             shows all, and --integration '*' those for every integration",
            output::printable(integration),
            output::count(all, "token")
        ),
        _ => "no token is kept: `keyferry token create` makes one".to_owned(),
    }
}
