//! `keyferry client`: the OAuth clients that a running server keeps.

mod create;
mod delete;
mod list;
mod show;
mod update;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::Value;
use uuid::Uuid;

use super::output::{self, Failure, Shape};
use super::server::{Answer, Path};
use super::shelf::Shelf;
use super::table::{cell, record};
use crate::config::{Environment, Options};
use crate::model::oauth::client::AuthMethod;
use crate::model::oauth::grant::GrantType;

/// What to do with clients.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Stores a client, as the provider has registered it
    Create(create::Arguments),
    /// Lists the clients of an integration
    List(list::Arguments),
    /// Shows a client; its secret is never shown
    Show(show::Arguments),
    /// Replaces a client's secret, or what goes with it
    Update(update::Arguments),
    /// Deletes a client, and every connection that it has
    Delete(delete::Arguments),
}

/// Does it.
pub(super) fn run(
    arguments: &Arguments,
    options: &Options,
    environment: &Environment,
) -> Result<(), Failure> {
    match &arguments.command {
        Command::Create(arguments) => create::run(arguments, options, environment),
        Command::List(arguments) => list::run(arguments, options, environment),
        Command::Show(arguments) => show::run(arguments, options, environment),
        Command::Update(arguments) => update::run(arguments, options, environment),
        Command::Delete(arguments) => delete::run(arguments, options, environment),
    }
}

impl Shelf {
    /// The path of all clients.
    fn clients(&self) -> Path {
        Path::zis(&["connections", "oauth", "clients", self.integration.as_str()])
    }

    /// The path of a client.
    fn client(&self, uuid: &str) -> Path {
        Path::zis(&["connections", "oauth", "clients", self.integration.as_str(), uuid])
    }

    /// Looks for a client by its uuid or its name; a name is used once within its integration.
    pub(super) fn find_client(&self, named: &str) -> Result<Answer, Failure> {
        if let Ok(uuid) = Uuid::try_parse(named)
            && let Some(answer) = self.server.look(&self.client(&uuid.to_string()))?
        {
            return Ok(answer);
        }
        let whole = self.server.pages(&self.clients())?;
        let whole: Value = serde_json::from_str(&whole).unwrap_or_default();
        let mut clients = whole.get("clients").and_then(Value::as_array).into_iter().flatten();
        let found = clients.find(|client| cell(client, "name") == named);
        let uuid = found.map(|client| cell(client, "uuid"));
        let answer = uuid.map(|uuid| self.server.look(&self.client(&uuid))).transpose()?;
        answer.flatten().ok_or_else(|| self.no_client(named))
    }

    fn no_client(&self, named: &str) -> Failure {
        Failure::Because(format!(
            "the integration {} has no client {}: `keyferry client list` shows those that it has",
            self.integration,
            output::printable(named)
        ))
    }
}

/// Prints the one client of an answer.
fn print(answer: &Answer, shape: Shape) -> Result<(), Failure> {
    if shape == Shape::Json {
        return output::result(answer.text()?);
    }
    let client = answer.json()?;
    output::result(&record(&[
        ("name", cell(&client, "name")),
        ("uuid", cell(&client, "uuid")),
        ("client id", cell(&client, "client_id")),
        ("client secret", cell(&client, "client_secret")),
        ("auth URL", cell(&client, "auth_url")),
        ("token URL", cell(&client, "token_url")),
        ("default scopes", cell(&client, "default_scopes")),
        ("grant type", cell(&client, "grant_type")),
        ("auth method", cell(&client, AUTH_METHOD)),
        ("created by", cell(&client, "created_by")),
        ("created at", cell(&client, "created_at")),
        ("updated at", cell(&client, "updated_at")),
    ]))
}

/// Reads `--grant-type`.
pub(super) fn grant_type_parser() -> impl TypedValueParser<Value = GrantType> {
    PossibleValuesParser::new(GrantType::ALL.map(GrantType::as_str))
        .try_map(|text| GrantType::parse(&text))
}

/// Reads `--auth-method`.
fn auth_method_parser() -> impl TypedValueParser<Value = AuthMethod> {
    PossibleValuesParser::new(AuthMethod::ALL.map(AuthMethod::as_str))
        .try_map(|text| AuthMethod::parse(&text))
}

/// The member that says how the client shows its secret.
const AUTH_METHOD: &str = "token_endpoint_auth_method";

/// The members of the API's documents, and the options that fill them.
const OPTIONS: [(&str, &str); 8] = [
    ("name", "--name"),
    ("client_id", "--client-id"),
    ("client_secret", "the secret"),
    ("token_url", "--token-url"),
    ("auth_url", "--auth-url"),
    ("default_scopes", "--scopes"),
    ("grant_type", "--grant-type"),
    (AUTH_METHOD, "--auth-method"),
];

/// What a person calls the secret.
const SECRET_LABEL: &str = "client secret";
