//! `keyferry connection create`

use super::body::Body;
use super::{Common, kind_parser, print};
use crate::cli::output::Failure;
use crate::cli::secret::Source;
use crate::config::{Environment, Options};
use crate::model::connection::ConnectionType;

/// What a connection is made of.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    common: Common,
    /// How the secret is sent
    #[arg(long = "type", value_name = "TYPE", value_parser = kind_parser())]
    kind: ConnectionType,
    /// Its name, unique within the integration
    #[arg(long)]
    name: String,
    /// Where the secret may be sent, as api.example.com or *.example.com
    #[arg(long, value_name = "DOMAIN")]
    allowed_domain: String,
    /// The header that carries an API key
    #[arg(long, value_name = "NAME", required_if_eq("kind", "api_key"))]
    header_name: Option<String>,
    /// The user name of Basic authentication
    #[arg(long, required_if_eq("kind", "basic_auth"))]
    username: Option<String>,
    #[command(flatten)]
    secret: Source,
}

pub(super) fn run(
    arguments: &Arguments,
    options: &Options,
    environment: &Environment,
) -> Result<(), Failure> {
    let kind = arguments.kind;
    check(arguments)?;
    let shelf = arguments.common.shelf(options, environment)?;
    let secret = arguments.secret.read(kind.secret_label())?;
    let body = Body::default()
        .with("name", &arguments.name)
        .with("allowed_domain", &arguments.allowed_domain)
        .with_any("header_name", arguments.header_name.as_ref())
        .with_any("username", arguments.username.as_ref())
        .with_secret(kind.secret_member(), &secret)?;
    let path = shelf.path(&[kind.as_str()]);
    let answer = shelf.server.post(&path, Some(body.into_document()))?;
    print(&answer, kind, arguments.common.output)
}

/// What goes with another type would be passed over, which nobody means.
fn check(arguments: &Arguments) -> Result<(), Failure> {
    let misplaced = match arguments.kind {
        ConnectionType::ApiKey => arguments.username.as_ref().map(|_| "--username"),
        ConnectionType::BasicAuth => arguments.header_name.as_ref().map(|_| "--header-name"),
        ConnectionType::BearerToken => match (&arguments.header_name, &arguments.username) {
            (Some(_), _) => Some("--header-name"),
            (None, Some(_)) => Some("--username"),
            (None, None) => None,
        },
    };
    match misplaced {
        Some(option) => {
            let kind = arguments.kind;
            Err(Failure::Usage(format!("a {kind} connection takes no {option}: leave it out")))
        }
        None => Ok(()),
    }
}
