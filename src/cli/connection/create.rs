//! `keyferry connection create`

use super::flow::{self, Wish};
use super::{OPTIONS, kind_parser, print, refuse_misplaced};
use crate::cli::body::Body;
use crate::cli::output::Failure;
use crate::cli::secret::Source;
use crate::cli::shelf::Common;
use crate::config::{Environment, Options};
use crate::model::connection::ConnectionType;

/// What a connection is made of. One by OAuth that is there already is authorised again.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    common: Common,
    /// How the secret is sent
    #[arg(long = "type", value_name = "TYPE", value_parser = kind_parser())]
    kind: ConnectionType,
    /// Its name, unique within the integration
    #[arg(long, required_if_eq_any(ENTERED))]
    name: Option<String>,
    /// Where the secret may be sent, as api.example.com or *.example.com
    #[arg(long, value_name = "DOMAIN", required_if_eq_any(ENTERED))]
    allowed_domain: Option<String>,
    /// The header that carries an API key
    #[arg(long, value_name = "NAME", required_if_eq("kind", "api_key"))]
    header_name: Option<String>,
    /// The user name of Basic authentication
    #[arg(long, required_if_eq("kind", "basic_auth"))]
    username: Option<String>,
    #[command(flatten)]
    secret: Source,
    #[command(flatten)]
    wish: Wish,
}

pub(super) fn run(
    arguments: &Arguments,
    options: &Options,
    environment: &Environment,
) -> Result<(), Failure> {
    let kind = arguments.kind;
    check(arguments)?;
    let shelf = arguments.common.shelf(options, environment)?;
    let body = Body::default()
        .with_any("name", arguments.name.as_deref())
        .with_any("allowed_domain", arguments.allowed_domain.as_deref());
    let made = if kind == ConnectionType::OAuth {
        flow::run(&shelf, &arguments.wish, body, environment)
    } else {
        let secret =
            arguments.secret.read(&format!("{} that the service gave", kind.secret_label()))?;
        let body = body
            .with_any("header_name", arguments.header_name.as_deref())
            .with_any("username", arguments.username.as_deref())
            .with_secret(kind.secret_member(), &secret)?;
        shelf.server.post(&shelf.connections(kind.as_str()), Some(body.into_document()))
    };
    let answer = made.map_err(|failure| failure.by_options(&OPTIONS))?;
    print(&answer, kind, arguments.common.output)
}

fn check(arguments: &Arguments) -> Result<(), Failure> {
    let kind = arguments.kind;
    let is_oauth = kind == ConnectionType::OAuth;
    let entered = [
        ("--header-name", arguments.header_name.is_some(), kind == ConnectionType::ApiKey),
        ("--username", arguments.username.is_some(), kind == ConnectionType::BasicAuth),
        ("--secret-stdin or --secret-file", arguments.secret.is_named(), !is_oauth),
    ];
    let wished = arguments.wish.given().map(|(option, is_given)| (option, is_given, is_oauth));
    refuse_misplaced(kind, entered.into_iter().chain(wished))
}

/// The types whose secret is entered.
const ENTERED: [(&str, &str); 3] =
    [("kind", "api_key"), ("kind", "basic_auth"), ("kind", "bearer_token")];
