//! `keyferry connection`: the connections that a running server keeps.

mod create;
mod delete;
mod flow;
mod list;
mod refresh;
mod show;
mod state;
mod update;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use jiff::Timestamp;
use serde_json::Value;

use super::output::{self, Failure, Shape};
use super::server::{Answer, Path};
use super::shelf::Shelf;
use super::table::{cell, record};
use crate::clock::Clock;
use crate::config::{Environment, Options};
use crate::model::connection::ConnectionType;
use crate::model::name::ConnectionName;

/// What to do with connections.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Stores a connection, or has one authorised by OAuth
    Create(create::Arguments),
    /// Lists the connections of an integration
    List(list::Arguments),
    /// Shows a connection; its secret is never shown
    Show(show::Arguments),
    /// Replaces a connection's secret, or what goes with it
    Update(update::Arguments),
    /// Asks the provider for other tokens now
    Refresh(refresh::Arguments),
    /// Deletes a connection
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
        Command::Refresh(arguments) => refresh::run(arguments, options, environment),
        Command::Delete(arguments) => delete::run(arguments, options, environment),
    }
}

impl Shelf {
    /// The path of all connections, or of all of a type.
    pub(super) fn connections(&self, which: &str) -> Path {
        Path::zis(&["integrations", self.integration.as_str(), "connections", which])
    }

    /// The path of a connection by OAuth that is known by its uuid.
    fn authorized(&self, uuid: &str) -> Path {
        Path::zis(&["connections", self.integration.as_str()]).with("uuid", uuid)
    }

    /// The path of a connection.
    fn connection(&self, kind: ConnectionType, name: &ConnectionName) -> Path {
        Path::connection(self.integration.as_str(), kind, name.as_str())
    }

    /// Looks for a connection of this name, in one type or in all of them; a name is used once
    /// within its integration.
    fn find(
        &self,
        name: &ConnectionName,
        kind: Option<ConnectionType>,
    ) -> Result<(ConnectionType, Answer), Failure> {
        for kind in kinds(kind) {
            if let Some(answer) = self.server.look(&self.connection(kind, name))? {
                return Ok((kind, answer));
            }
        }
        Err(self.missing(name, kind))
    }

    fn missing(&self, name: &ConnectionName, kind: Option<ConnectionType>) -> Failure {
        let of = kind.map_or_else(String::new, |kind| format!(" of type {kind}"));
        Failure::Because(format!(
            "the integration {} has no connection {name}{of}: `keyferry connection list` shows \
             those that it has",
            self.integration
        ))
    }
}

/// The types in which a connection is looked for.
fn kinds(named: Option<ConnectionType>) -> Vec<ConnectionType> {
    named.map_or_else(|| TYPES.to_vec(), |kind| vec![kind])
}

/// Prints the one connection of an answer.
fn print(answer: &Answer, kind: ConnectionType, shape: Shape) -> Result<(), Failure> {
    if shape == Shape::Json {
        return output::result(answer.text()?);
    }
    let answer = answer.json()?;
    output::result(&match kind {
        ConnectionType::OAuth => authorized(&answer, Clock::system().now()),
        ConnectionType::ApiKey | ConnectionType::BasicAuth | ConnectionType::BearerToken => {
            entered(answer.get(kind.as_str()).unwrap_or(&Value::Null), kind)
        }
    })
}

/// A connection whose secret somebody has entered.
fn entered(connection: &Value, kind: ConnectionType) -> String {
    record(&[
        ("name", cell(connection, "name")),
        ("type", kind.to_string()),
        ("allowed domain", cell(connection, "allowed_domain")),
        ("header name", cell(connection, "header_name")),
        ("username", cell(connection, "username")),
        (kind.secret_label(), cell(connection, kind.secret_member())),
        ("created at", cell(connection, "created_at")),
        ("updated at", cell(connection, "updated_at")),
        ("declared", cell(connection, "declared")),
        ("unusable because", cell(connection, "defect")),
    ])
}

/// A connection by OAuth. The API gives its tokens in clear to whoever may write; a terminal is no
/// place for them.
fn authorized(connection: &Value, now: Timestamp) -> String {
    let masked = |member| match cell(connection, member) {
        token if token.is_empty() => token,
        _ => "*****".to_owned(),
    };
    record(&[
        ("name", cell(connection, "name")),
        ("type", ConnectionType::OAuth.to_string()),
        ("allowed domain", cell(connection, "allowed_domain")),
        ("state", state::of(connection, now)),
        ("because", state::reason(connection)),
        ("unusable because", cell(connection, "defect")),
        ("scopes", cell(connection, "permission_scope")),
        ("access token", masked("access_token")),
        ("refresh token", masked("refresh_token")),
        ("token type", cell(connection, "token_type")),
        ("token expiry", cell(connection, "token_expiry")),
        ("subdomain", cell(connection, "oauth_url_subdomain")),
        ("client", cell(connection, "oauth_client_uuid")),
        ("created by", cell(connection, "created_by")),
        ("uuid", cell(connection, "uuid")),
    ])
}

/// What is given on the command line, and goes with another type, would be passed over, which
/// nobody means.
fn refuse_misplaced(
    kind: ConnectionType,
    options: impl IntoIterator<Item = (&'static str, bool, bool)>,
) -> Result<(), Failure> {
    let mut options = options.into_iter();
    match options.find(|(_, is_given, belongs)| *is_given && !belongs) {
        Some((option, ..)) => Err(Failure::Usage(format!(
            "a connection of type {kind} takes no {option}: leave it out"
        ))),
        None => Ok(()),
    }
}

/// Reads `--type`.
fn kind_parser() -> impl TypedValueParser<Value = ConnectionType> {
    PossibleValuesParser::new(TYPES.map(ConnectionType::as_str))
        .try_map(|text| ConnectionType::parse(&text).ok_or("there is no such type"))
}

/// The members of the API's documents, and the options that fill them.
const OPTIONS: [(&str, &str); 12] = [
    ("name", "--name"),
    ("allowed_domain", "--allowed-domain"),
    ("header_name", "--header-name"),
    ("username", "--username"),
    ("api_key", "the secret"),
    ("password", "the secret"),
    ("token", "the secret"),
    ("oauth_client_uuid", "--client"),
    ("permission_scopes", "--scopes"),
    ("oauth_url_subdomain", "--subdomain"),
    ("allow_offline_access", "--offline"),
    ("grant_type", "--grant-type"),
];

const TYPES: [ConnectionType; 4] = [
    ConnectionType::BearerToken,
    ConnectionType::ApiKey,
    ConnectionType::BasicAuth,
    ConnectionType::OAuth,
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn no_token_of_a_connection_is_printed_for_people() {
        let shown = authorized(
            &json!({
                "name": "crm", "access_token": "hunter2", "refresh_token": "hunter3",
                "oauth_access_token_response_body": "{\"access_token\":\"hunter2\"}",
                "token_expiry": "2026-01-01T01:00:00Z", "permission_scope": "read write",
                "allowed_domain": "api.example.com",
            }),
            "2026-01-01T00:00:00Z".parse().unwrap(),
        );
        assert!(!shown.contains("hunter"), "{shown}");
        assert!(shown.contains("token expires in 60 min"), "{shown}");
        assert!(shown.contains("refresh token   *****"), "{shown}");
        let client_credentials = authorized(&json!({"access_token": "x"}), Timestamp::UNIX_EPOCH);
        assert!(!client_credentials.contains("refresh token"), "{client_credentials}");
    }
}
