//! `keyferry connection update`

use super::body::Body;
use super::{Common, kind_parser};
use crate::cli::output::{self, Failure, Shape};
use crate::cli::secret::Source;
use crate::config::{Environment, Options};
use crate::model::connection::ConnectionType;
use crate::model::name::ConnectionName;

/// Which connection, and what is new. Its name, type and allowed domain never change.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    common: Common,
    /// The connection's name
    #[arg(value_name = "NAME", value_parser = ConnectionName::parse)]
    name: ConnectionName,
    /// Only if it is of this type
    #[arg(long = "type", value_name = "TYPE", value_parser = kind_parser())]
    kind: Option<ConnectionType>,
    /// Another header for an API key
    #[arg(long, value_name = "NAME")]
    header_name: Option<String>,
    /// Another user name for Basic authentication
    #[arg(long)]
    username: Option<String>,
    #[command(flatten)]
    secret: Source,
}

pub(super) fn run(
    arguments: &Arguments,
    options: &Options,
    environment: &Environment,
) -> Result<(), Failure> {
    let shelf = arguments.common.shelf(options, environment)?;
    let name = &arguments.name;
    let (kind, _shown) = shelf.find(name, arguments.kind)?;
    let mut body = Body::default()
        .with_any("header_name", arguments.header_name.as_ref())
        .with_any("username", arguments.username.as_ref());
    // Whoever changes nothing else has come to replace the secret.
    if body.is_empty() || arguments.secret.is_named() {
        let secret = arguments.secret.read(kind.secret_label())?;
        body = body.with_secret(kind.secret_member(), &secret)?;
    }
    let path = shelf.path(&[kind.as_str(), name.as_str()]);
    if shelf.server.patch(&path, body.into_document())?.is_none() {
        return Err(shelf.missing(name, Some(kind)));
    }
    match arguments.common.output {
        Shape::Table => output::result(&format!("updated {name}")),
        Shape::Json => Ok(()),
    }
}
