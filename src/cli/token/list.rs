//! `keyferry token list`

use crate::cli::context::CliContext;
use crate::cli::output::{self, CliError};
use crate::cli::server::{ApiPath, ServerArgs};
use crate::cli::table::TextTable;
use crate::wire::TokenPage;

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
    let api = arguments.server.client(context)?;
    let answer = api.pages(&ApiPath::keyferry(&["tokens"]))?;
    let mut page: TokenPage = answer.read()?;
    let all = page.tokens.len();
    let mut json = answer.text()?.to_owned();
    if let Some(integration) = integration {
        page.tokens.retain(|token| token.integration == *integration);
        json = serde_json::to_value(&page).map_err(|error| CliError::of(&error))?.to_string();
    }
    let mut defects = Vec::new();
    context.emit(&json, || {
        let head = ["NAME", "INTEGRATION", "SCOPES", "LAST USED", "EXPIRES", "ID"];
        let mut table = TextTable::new(&head);
        for token in page.tokens {
            if let Some(why) = &token.defect {
                let (name, why) = (output::printable(&token.name), output::printable(why));
                defects.push(format!("keyferry: the token {name} can't be used: {why}"));
            }
            table.add([
                token.name,
                token.integration,
                token.scopes.join(","),
                token.last_used_at.unwrap_or_default(),
                token.expires_at.unwrap_or_default(),
                token.id,
            ]);
        }
        if table.is_empty() {
            output::note(&nothing(integration, all));
        }
        Ok(table.text())
    })?;
    // A defect is a sentence, which no column holds: it is told below the table.
    for sentence in defects {
        output::note(&sentence);
    }
    Ok(())
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
