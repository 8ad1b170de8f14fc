//! `keyferry token create`

use serde_json::{Value, json};

use crate::cli::context::{CliContext, INTEGRATION};
use crate::cli::output::{self, CliError, OutputFormat};
use crate::cli::server::{ApiPath, ServerArgs};
use crate::cli::table::cell;
use crate::secret::Secret;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Its name, which logs show
    #[arg(long)]
    name: String,
    #[arg(long, value_name = "NAME", help = INTEGRATION_HELP)]
    integration: Option<String>,
    /// Scope that it has: read, write, proxy or admin; may be given several times
    #[arg(long = "scope", value_name = "SCOPE", required = true, value_delimiter = ',')]
    scopes: Vec<String>,
    /// Connection that it may use, and no other; may be given several times
    #[arg(long = "connection", value_name = "NAME", value_delimiter = ',')]
    connections: Vec<String>,
    /// Time at which it ends, as 2027-01-31T12:00:00Z [default: never]
    #[arg(long, value_name = "TIME")]
    expires_at: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) fn run(arguments: &Arguments, context: &CliContext) -> Result<(), CliError> {
    let Some(integration) = context.integration(arguments.integration.as_deref()) else {
        return Err(CliError::Usage(format!(
            "which integration? Name it with --integration or {INTEGRATION}, or say '*' for all"
        )));
    };
    let listed = Some(&arguments.connections).filter(|names| !names.is_empty());
    let body = json!({
        "name": arguments.name,
        "integration": integration,
        "scopes": arguments.scopes,
        "connections": listed,
        "expires_at": arguments.expires_at,
    });
    let body = Secret::new(body.to_string());
    let answer =
        arguments.server.client(context)?.post(&ApiPath::keyferry(&["tokens"]), Some(body));
    let answer = answer.map_err(|error| error.by_options(&OPTIONS))?;
    let told = answer.json()?;
    if context.format == OutputFormat::Text {
        note(&told, integration);
    }
    context.emit(answer.text()?, || Ok(cell(token(&told), "secret")))
}

/// The token stands alone on standard output, and all else beside it.
fn note(told: &Value, integration: &str) {
    output::note(&format!(
        "token {} ({}) for {integration}: keep it, it is not shown again",
        cell(token(told), "name"),
        cell(token(told), "id"),
    ));
    for warning in told.get("warnings").and_then(Value::as_array).into_iter().flatten() {
        let warning = warning.as_str().unwrap_or_default();
        output::note(&format!("warning: {}", output::printable(warning)));
    }
}

fn token(told: &Value) -> &Value {
    told.get("token").unwrap_or(&Value::Null)
}

/// The members of the API's documents, and the options that fill them.
const OPTIONS: [(&str, &str); 5] = [
    ("name", "--name"),
    ("integration", "--integration"),
    ("scopes", "--scope"),
    ("connections", "--connection"),
    ("expires_at", "--expires-at"),
];

const INTEGRATION_HELP: &str = "Integration in which it may act, or '*' for all; needed here or in \
                                the environment [env: KEYFERRY_INTEGRATION]";
