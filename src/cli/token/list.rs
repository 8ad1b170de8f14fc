//! `keyferry token list`

use serde_json::Value;

use super::Common;
use crate::cli::output::{self, Failure, Shape};
use crate::cli::server::Path;
use crate::cli::table::{Table, cell};
use crate::config::{Environment, Options};

/// Of which server.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    common: Common,
    /// Those of this integration alone
    #[arg(long, value_name = "NAME")]
    integration: Option<String>,
}

pub(super) fn run(
    arguments: &Arguments,
    options: &Options,
    environment: &Environment,
) -> Result<(), Failure> {
    let server = arguments.common.whom.find(options, environment)?;
    let whole = server.pages(&Path::keyferry(&["tokens"]))?;
    if arguments.common.output == Shape::Json && arguments.integration.is_none() {
        return output::result(&whole);
    }
    let mut whole: Value = serde_json::from_str(&whole).unwrap_or_default();
    let all = whole.get("tokens").and_then(Value::as_array).map_or(0, Vec::len);
    if let (Some(integration), Some(Value::Array(tokens))) =
        (&arguments.integration, whole.get_mut("tokens"))
    {
        tokens.retain(|token| cell(token, "integration") == *integration);
    }
    if arguments.common.output == Shape::Json {
        return output::result(&whole.to_string());
    }
    let mut table = Table::new(&["NAME", "INTEGRATION", "SCOPES", "LAST USED", "EXPIRES", "ID"]);
    for token in whole.get("tokens").and_then(Value::as_array).into_iter().flatten() {
        let members = ["name", "integration", "scopes", "last_used_at", "expires_at", "id"];
        table.add(members.map(|member| cell(token, member)));
    }
    if table.is_empty() {
        output::note(&match (&arguments.integration, all) {
            (Some(integration), 1..) if integration == "*" => format!(
                "no token for every integration is kept, but {} of one each: `keyferry token list` \
                 shows all",
                output::count(all, "token")
            ),
            (Some(integration), 1..) => format!(
                "no token of the integration {} is kept, but {} of others: `keyferry token list` \
                 shows all, and --integration '*' those for every integration",
                output::printable(integration),
                output::count(all, "token")
            ),
            _ => "no token is kept: `keyferry token create` makes one".to_owned(),
        });
        return Ok(());
    }
    output::result(&table.text())
}
