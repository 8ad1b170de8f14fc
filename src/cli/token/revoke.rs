//! `keyferry token revoke`

use serde_json::Value;

use crate::cli::confirm::ConfirmArgs;
use crate::cli::context::CliContext;
use crate::cli::output::{self, CliError};
use crate::cli::server::{ApiClient, ApiPath, ServerArgs};
use crate::cli::table::cell;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The token's id, or its name where no other token has it
    #[arg(value_name = "ID")]
    named: String,
    #[command(flatten)]
    confirm: ConfirmArgs,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) fn run(arguments: &Arguments, context: &CliContext) -> Result<(), CliError> {
    let (api, named) = (arguments.server.client(context)?, output::printable(&arguments.named));
    let token = find(&api, &arguments.named)?;
    arguments.confirm.ask(|| Ok(question(&token)))?;
    if api.delete(&ApiPath::keyferry(&["tokens", &cell(&token, "id")]))?.is_none() {
        return Err(missing(&arguments.named));
    }
    context.emit("", || Ok(format!("revoked {named}")))
}

fn question(token: &Value) -> String {
    format!(
        "This revokes the token {} ({}) of {}, and cuts what it has open. Programs that show it are \
         refused from then on.",
        cell(token, "name"),
        cell(token, "scopes"),
        cell(token, "integration"),
    )
}

/// The token that is meant.
fn find(api: &ApiClient<'_>, named: &str) -> Result<Value, CliError> {
    let whole = api.pages(&ApiPath::keyferry(&["tokens"]))?;
    let whole: Value = serde_json::from_str(&whole).unwrap_or_default();
    let tokens = whole.get("tokens").and_then(Value::as_array);
    let called = |member| -> Vec<&Value> {
        let tokens = tokens.into_iter().flatten();
        tokens.filter(move |token| cell(token, member) == named).collect()
    };
    match (called("id").as_slice(), called("name").as_slice()) {
        ([token, ..], _) | ([], [token]) => Ok((*token).clone()),
        ([], []) => Err(missing(named)),
        ([], several) => {
            let ids: Vec<_> = several.iter().map(|token| cell(token, "id")).collect();
            Err(CliError::Message(format!(
                "{} tokens have that name: name one by its id, which is one of {}",
                several.len(),
                ids.join(", ")
            )))
        }
    }
}

fn missing(named: &str) -> CliError {
    let named = output::printable(named);
    CliError::Message(format!("there is no token {named}: `keyferry token list` shows all"))
}
