//! `keyferry token create`

use serde_json::{Value, json};

use super::Common;
use crate::cli::output::{self, Failure, Shape};
use crate::cli::server::Path;
use crate::cli::table::cell;
use crate::config::{Environment, Options};
use crate::secret::Secret;

/// What a token may do.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    common: Common,
    /// What it is called in logs
    #[arg(long)]
    name: String,
    /// Where it may act, or * for everywhere [environment: `KEYFERRY_INTEGRATION`]
    #[arg(long, value_name = "NAME", help = INTEGRATION_HELP)]
    integration: Option<String>,
    /// What it may do: read, write, proxy or admin; may be given several times
    #[arg(long = "scope", value_name = "SCOPE", required = true, value_delimiter = ',')]
    scopes: Vec<String>,
    /// The only connections that it may use; may be given several times
    #[arg(long = "connection", value_name = "NAME", value_delimiter = ',')]
    connections: Vec<String>,
    /// When it ends, as 2027-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    expires_at: Option<String>,
}

pub(super) fn run(
    arguments: &Arguments,
    options: &Options,
    environment: &Environment,
) -> Result<(), Failure> {
    let named = arguments.integration.as_deref().or_else(|| environment.text(INTEGRATION));
    let Some(integration) = named else {
        return Err(Failure::Usage(format!(
            "which integration? Name it with --integration or {INTEGRATION}, or say '*' for all"
        )));
    };
    let server = arguments.common.whom.find(options, environment)?;
    let listed = Some(&arguments.connections).filter(|names| !names.is_empty());
    let body = json!({
        "name": arguments.name,
        "integration": integration,
        "scopes": arguments.scopes,
        "connections": listed,
        "expires_at": arguments.expires_at,
    });
    let body = Secret::new(body.to_string());
    let answer = server.post(&Path::keyferry(&["tokens"]), Some(body));
    let answer = answer.map_err(|failure| failure.by_options(&OPTIONS))?;
    if arguments.common.output == Shape::Json {
        return output::result(answer.text()?);
    }
    let answer = answer.json()?;
    let token = answer.get("token").unwrap_or(&Value::Null);
    output::note(&format!(
        "token {} ({}) for {integration}: keep it, it is not shown again",
        cell(token, "name"),
        cell(token, "id"),
    ));
    for warning in answer.get("warnings").and_then(Value::as_array).into_iter().flatten() {
        let warning = warning.as_str().unwrap_or_default();
        output::note(&format!("warning: {}", output::printable(warning)));
    }
    output::result(&cell(token, "secret"))
}

/// The members of the API's documents, and the options that fill them.
const OPTIONS: [(&str, &str); 5] = [
    ("name", "--name"),
    ("integration", "--integration"),
    ("scopes", "--scope"),
    ("connections", "--connection"),
    ("expires_at", "--expires-at"),
];

const INTEGRATION: &str = "KEYFERRY_INTEGRATION";

const INTEGRATION_HELP: &str =
    "Where it may act, or '*' for everywhere [environment: KEYFERRY_INTEGRATION]";
