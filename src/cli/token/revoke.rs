//! `keyferry token revoke`

use crate::cli::confirm::ConfirmArgs;
use crate::cli::context::CliContext;
use crate::cli::output::{self, CliError, printable};
use crate::cli::server::{ApiClient, ApiPath, ServerArgs};
use crate::wire::{TokenPage, TokenView};

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
    let (api, named) = (arguments.server.client(context)?, printable(&arguments.named));
    let token = find(&api, &arguments.named)?;
    arguments.confirm.ask(|| Ok(question(&token)))?;
    if api.delete(&ApiPath::keyferry(&["tokens", &token.id]))?.is_none() {
        return Err(missing(&arguments.named));
    }
    context.emit("", || Ok(format!("revoked {named}")))
}

fn question(token: &TokenView) -> String {
    format!(
        "This revokes the token {} ({}) of {}, and cuts what it has open. Programs that show it are \
         refused from then on.",
        printable(&token.name),
        printable(&token.scopes.join(",")),
        printable(&token.integration),
    )
}

/// The token that is meant.
fn find(api: &ApiClient<'_>, named: &str) -> Result<TokenView, CliError> {
    let TokenPage { mut tokens, .. } = api.pages(&ApiPath::keyferry(&["tokens"]))?.read()?;
    if let Some(index) = tokens.iter().position(|token| token.id == named) {
        return Ok(tokens.swap_remove(index));
    }
    tokens.retain(|token| token.name == named);
    if tokens.len() > 1 {
        let ids: Vec<_> = tokens.iter().map(|token| printable(&token.id)).collect();
        return Err(CliError::Message(format!(
            "{} have that name: name one by its id, which is one of {}",
            output::count(ids.len(), "token"),
            ids.join(", ")
        )));
    }
    tokens.pop().ok_or_else(|| missing(named))
}

fn missing(named: &str) -> CliError {
    let named = printable(named);
    CliError::Message(format!("there is no token {named}: `keyferry token list` shows all"))
}
