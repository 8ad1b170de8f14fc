//! `keyferry token create`

use crate::cli::context::{CliContext, INTEGRATION};
use crate::cli::output::{self, CliError, printable};
use crate::cli::server::{ApiPath, ServerArgs};
use crate::wire::{CreatedTokenAnswer, NewToken};

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
    let request = NewToken {
        name: arguments.name.as_str().into(),
        integration: integration.into(),
        scopes: arguments.scopes.clone().into(),
        connections: listed.cloned().into(),
        expires_at: arguments.expires_at.as_deref().into(),
    };
    let answer = arguments.server.client(context)?.post(&ApiPath::keyferry(&["tokens"]), &request);
    let answer = answer.map_err(|error| error.by_options(&OPTIONS))?;
    context.emit(answer.text()?, || {
        // The token stands alone on standard output, and all else beside it.
        let CreatedTokenAnswer { token, warnings } = answer.read()?;
        let (name, id) = (printable(&token.token.name), printable(&token.token.id));
        let kept = "keep it, it is not shown again";
        output::note(&format!("token {name} ({id}) for {integration}: {kept}"));
        for warning in warnings {
            output::note(&format!("warning: {}", printable(&warning)));
        }
        Ok(printable(&String::from_utf8_lossy(token.secret.expose())))
    })
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
