//! `keyferry connection`: the connections that a running server keeps.

mod body;
mod create;
mod delete;
mod list;
mod show;
mod update;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::Value;

use super::output::{self, Failure, Shape};
use super::server::{Answer, Path, Server, Whom};
use super::table::{cell, record};
use crate::config::{Environment, Options};
use crate::model::connection::ConnectionType;
use crate::model::name::{ConnectionName, IntegrationName};

/// What to do with connections.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Stores a connection
    Create(create::Arguments),
    /// Lists the connections of an integration
    List(list::Arguments),
    /// Shows a connection; its secret is never shown
    Show(show::Arguments),
    /// Replaces a connection's secret, or what goes with it
    Update(update::Arguments),
    /// Deletes a connection
    Delete(delete::Arguments),
}

/// What all of them take.
#[derive(clap::Args)]
struct Common {
    #[command(flatten)]
    whom: Whom,
    /// The integration of the connection [environment: `KEYFERRY_INTEGRATION`]
    #[arg(long, value_name = "NAME", value_parser = IntegrationName::parse, help = INTEGRATION_HELP)]
    integration: Option<IntegrationName>,
    /// How the result is printed
    #[arg(long, value_enum, default_value = "table", value_name = "FORMAT")]
    output: Shape,
}

/// The connections of one integration, as a server keeps them.
struct Shelf {
    server: Server,
    integration: IntegrationName,
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

impl Common {
    fn shelf(&self, options: &Options, environment: &Environment) -> Result<Shelf, Failure> {
        let integration = match (&self.integration, environment.text(INTEGRATION)) {
            (Some(name), _) => name.clone(),
            (None, Some(text)) => IntegrationName::parse(text).map_err(|rule| {
                Failure::Because(format!("{rule}: mend {INTEGRATION} or unset it"))
            })?,
            (None, None) => {
                return Err(Failure::Usage(format!(
                    "which integration? Name it with --integration or {INTEGRATION}"
                )));
            }
        };
        Ok(Shelf { server: self.whom.find(options, environment)?, integration })
    }
}

impl Shelf {
    /// The path of a connection, or of all of a type.
    fn path(&self, below: &[&str]) -> Path {
        let above = ["integrations", self.integration.as_str(), "connections"];
        Path::zis(&[&above, below].concat())
    }

    /// Looks for a connection of this name, in one type or in all of them; a name is used once
    /// within its integration.
    fn find(
        &self,
        name: &ConnectionName,
        kind: Option<ConnectionType>,
    ) -> Result<(ConnectionType, Answer), Failure> {
        for kind in kinds(kind) {
            let path = self.path(&[kind.as_str(), name.as_str()]);
            if let Some(answer) = self.server.look(&path)? {
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
    let connection = answer.get(kind.as_str()).unwrap_or(&Value::Null);
    output::result(&record(&[
        ("name", cell(connection, "name")),
        ("type", kind.to_string()),
        ("allowed domain", cell(connection, "allowed_domain")),
        ("header name", cell(connection, "header_name")),
        ("username", cell(connection, "username")),
        (kind.secret_label(), cell(connection, kind.secret_member())),
        ("created at", cell(connection, "created_at")),
        ("updated at", cell(connection, "updated_at")),
        ("declared", cell(connection, "declared")),
    ]))
}

/// Reads `--type`.
fn kind_parser() -> impl TypedValueParser<Value = ConnectionType> {
    PossibleValuesParser::new(TYPES.map(ConnectionType::as_str))
        .try_map(|text| ConnectionType::parse(&text).ok_or("there is no such type"))
}

const TYPES: [ConnectionType; 3] =
    [ConnectionType::BearerToken, ConnectionType::ApiKey, ConnectionType::BasicAuth];

const INTEGRATION: &str = "KEYFERRY_INTEGRATION";

const INTEGRATION_HELP: &str =
    "The integration of the connection [environment: KEYFERRY_INTEGRATION]";
