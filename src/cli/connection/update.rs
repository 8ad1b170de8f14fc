//! `keyferry connection update`

use super::{OPTIONS, kind_parser, refuse_misplaced};
use crate::cli::body::Body;
use crate::cli::output::{self, Failure, Shape};
use crate::cli::secret::Source;
use crate::cli::shelf::Common;
use crate::config::{Environment, Options};
use crate::model::connection::ConnectionType;
use crate::model::name::ConnectionName;

/// Which connection, and what is new. Its name, type and allowed domain never change; a connection
/// by OAuth that has no domain yet is given one.
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
    /// Where the tokens of a connection by OAuth may be sent; it is set once
    #[arg(long, value_name = "DOMAIN")]
    allowed_domain: Option<String>,
    /// Never changes; read so that the answer says what to do
    #[arg(long = "name", value_name = "NAME", hide = true)]
    renamed: Option<String>,
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
    let body = body(arguments, kind)?;
    let changed = shelf.server.patch(&shelf.connection(kind, name), body.into_document());
    if changed.map_err(|failure| failure.by_options(&OPTIONS))?.is_none() {
        return Err(shelf.missing(name, Some(kind)));
    }
    match arguments.common.output {
        Shape::Table => output::result(&format!("updated {name}")),
        Shape::Json => Ok(()),
    }
}

/// What is new, of a connection of this type.
fn body(arguments: &Arguments, kind: ConnectionType) -> Result<Body, Failure> {
    check(arguments, kind)?;
    let mut body = Body::default()
        .with_any("header_name", arguments.header_name.as_deref())
        .with_any("username", arguments.username.as_deref())
        .with_any("allowed_domain", arguments.allowed_domain.as_deref());
    // Whoever changes nothing else has come to replace the secret.
    if kind != ConnectionType::OAuth && (body.is_empty() || arguments.secret.is_named()) {
        let secret =
            arguments.secret.read(&format!("{} that the service gave", kind.secret_label()))?;
        body = body.with_secret(kind.secret_member(), &secret)?;
    }
    Ok(body)
}

fn check(arguments: &Arguments, kind: ConnectionType) -> Result<(), Failure> {
    let is_oauth = kind == ConnectionType::OAuth;
    if !is_oauth && arguments.allowed_domain.is_some() {
        return Err(never_changes("allowed domain"));
    }
    if arguments.renamed.is_some() {
        return Err(never_changes("name"));
    }
    refuse_misplaced(
        kind,
        [
            ("--header-name", arguments.header_name.is_some(), kind == ConnectionType::ApiKey),
            ("--username", arguments.username.is_some(), kind == ConnectionType::BasicAuth),
            ("--secret-stdin or --secret-file", arguments.secret.is_named(), !is_oauth),
        ],
    )?;
    if is_oauth && arguments.allowed_domain.is_none() {
        return Err(Failure::Usage(
            "nothing is to change: give --allowed-domain, or have `keyferry connection refresh` \
             ask for other tokens"
                .to_owned(),
        ));
    }
    Ok(())
}

/// Says of a member, in the API's words, that only a new connection can have another.
fn never_changes(member: &str) -> Failure {
    Failure::Usage(format!(
        "the {member} of a connection never changes: delete the connection and create it again"
    ))
}
