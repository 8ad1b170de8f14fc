//! `keyferry token`: access tokens.

use serde_json::json;

use super::confirm::ConfirmArgs;
use super::context::{CliContext, INTEGRATION};
use super::examples;
use super::output::{self, CliError, printable};
use super::rules::{self, RULE_HELP};
use super::server::{ApiClient, ApiPath, ServerArgs};
use super::table::TextTable;
use crate::model::rules::WrittenRule;
use crate::model::token;
use crate::wire::{CreatedTokenAnswer, NewToken, TokenPage, TokenView};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Makes a token that the server knows from now on, and prints it this once
    #[command(after_help = examples::TOKEN_CREATE)]
    Create(CreateArgs),
    /// Lists the tokens that the server keeps; the tokens themselves are never shown again
    #[command(visible_alias = "ls", after_help = examples::TOKEN_LIST)]
    List(ListArgs),
    /// Revokes a token, by its id or its name
    #[command(visible_aliases = ["rm", "delete"], after_help = examples::TOKEN_REVOKE)]
    Revoke(RevokeArgs),
    /// Prints a new token, to be declared in a configuration; asks no server
    #[command(after_help = examples::TOKEN_GENERATE)]
    Generate,
}

#[derive(clap::Args)]
struct CreateArgs {
    /// Its name, which logs show
    #[arg(long)]
    name: String,
    #[arg(long, value_name = "NAME", help = INTEGRATION_HELP)]
    integration: Option<String>,
    /// Scope that it has: read, write, proxy, audit or admin; may be given several times
    #[arg(long = "scope", value_name = "SCOPE", required = true, value_delimiter = ',')]
    scopes: Vec<String>,
    /// Connection that it may use, and no other; may be given several times
    #[arg(long = "connection", value_name = "NAME", value_delimiter = ',')]
    connections: Vec<String>,
    /// Time at which it ends, as 2027-01-31T12:00:00Z [default: never]
    #[arg(long, value_name = "TIME")]
    expires_at: Option<String>,
    #[arg(long = "rule", value_name = "RULE", value_parser = WrittenRule::parse, help = RULE_HELP)]
    rules: Vec<WrittenRule>,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(clap::Args)]
struct ListArgs {
    /// Integration whose tokens alone are listed
    #[arg(long, value_name = "NAME")]
    integration: Option<String>,
    /// Text that the name, a scope, a connection or the last use of a token contains
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    #[arg(long, value_name = "ORDER", allow_hyphen_values = true, help = ORDER_HELP)]
    sort: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(clap::Args)]
struct RevokeArgs {
    /// The token's id, or its name where no other token has it
    #[arg(value_name = "ID")]
    named: String,
    #[command(flatten)]
    confirm: ConfirmArgs,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) fn run(arguments: &Arguments, context: &CliContext) -> Result<(), CliError> {
    match &arguments.command {
        Command::Create(arguments) => create(arguments, context),
        Command::List(arguments) => list(arguments, context),
        Command::Revoke(arguments) => revoke(arguments, context),
        Command::Generate => generate(context),
    }
}

fn create(arguments: &CreateArgs, context: &CliContext) -> Result<(), CliError> {
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
        rules: rules::members(&arguments.rules).into(),
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

fn list(arguments: &ListArgs, context: &CliContext) -> Result<(), CliError> {
    let integration = arguments.integration.as_deref();
    let api = arguments.server.client(context)?;
    let given = [("search", &arguments.search), ("sort", &arguments.sort)];
    let given = given.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
    let path = ApiPath::keyferry(&["tokens"]);
    let answer = api.pages(&given.fold(path, |path, (name, value)| path.with(name, value)));
    let answer = answer.map_err(|error| error.by_options(&[("sort", "--sort")]))?;
    let mut page: TokenPage = answer.read()?;
    let all = page.tokens.len();
    let mut json = answer.text()?.to_owned();
    if let Some(integration) = integration {
        page.tokens.retain(|token| token.integration == *integration);
        json = serde_json::to_value(&page)?.to_string();
    }
    let mut defects = Vec::new();
    context.emit(&json, || {
        let head = ["NAME", "INTEGRATION", "SCOPES", "LIMITED TO", "LAST USED", "EXPIRES", "ID"];
        let mut table = TextTable::new(&head);
        for token in page.tokens {
            defects.push((token.name.clone(), token.defect));
            table.add([
                token.name,
                token.integration,
                token.scopes.join(","),
                limits(token.connections.as_deref(), token.rules.len()),
                token.last_used_at.unwrap_or_default(),
                token.expires_at.unwrap_or_default(),
                token.id,
            ]);
        }
        if table.is_empty() {
            output::note(&match &arguments.search {
                Some(text) => nothing_found(text),
                None => nothing(integration, all),
            });
        }
        Ok(table.text())
    })?;
    // A defect is a sentence, which no column holds: it is told below the table.
    for (name, defect) in defects {
        output::note_defect("token", &name, defect.as_deref());
    }
    Ok(())
}

/// The connections and rules to which a token is limited, as a column tells them; nothing where it
/// has none.
fn limits(connections: Option<&[String]>, rules: usize) -> String {
    let connections = match connections {
        None => Vec::new(),
        Some([]) => vec!["no connection".to_owned()],
        Some(many) if many.len() > MAX_NAMED => vec![output::count(many.len(), "connection")],
        Some(few) => few.to_vec(),
    };
    let rules = (rules > 0).then(|| output::count(rules, "rule"));
    connections.into_iter().chain(rules).collect::<Vec<_>>().join(", ")
}

/// Says that no token has a text.
fn nothing_found(text: &str) -> String {
    let text = printable(text);
    format!(
        "no token has {text} in its name, scopes or connections: `keyferry token list` shows all"
    )
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
            printable(integration),
            output::count(all, "token")
        ),
        _ => "no token is kept: `keyferry token create` makes one".to_owned(),
    }
}

fn revoke(arguments: &RevokeArgs, context: &CliContext) -> Result<(), CliError> {
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

fn generate(context: &CliContext) -> Result<(), CliError> {
    let token = token::generate()?;
    // Printed for the operator to keep: there is no other copy.
    let text = String::from_utf8_lossy(token.expose());
    context.emit(&json!({ "token": text }).to_string(), || Ok(text.clone().into_owned()))
}

/// The number of connections that a column names.
const MAX_NAMED: usize = 2;

/// The members of the API's documents, and the options that fill them.
const OPTIONS: [(&str, &str); 6] = [
    ("name", "--name"),
    ("integration", "--integration"),
    ("scopes", "--scope"),
    ("connections", "--connection"),
    ("expires_at", "--expires-at"),
    ("rules", "--rule"),
];

const ORDER_HELP: &str = "Order of the list: name, created_at, expires_at or last_used_at; descending \
                          after a hyphen, as --sort=-last_used_at";

const INTEGRATION_HELP: &str = "Integration in which it may act, or '*' for all; needed here or in \
                                the environment [env: KEYFERRY_INTEGRATION]";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_what_a_token_is_limited_to() {
        let names: Vec<_> = ["crm", "orders", "mail"].map(str::to_owned).into();
        for (connections, rules, said) in [
            (None, 0, ""),
            (None, 2, "2 rules"),
            (names.get(..0), 0, "no connection"),
            (names.get(..2), 1, "crm, orders, 1 rule"),
            (Some(&*names), 0, "3 connections"),
        ] {
            assert_eq!(limits(connections, rules), said);
        }
    }
}
