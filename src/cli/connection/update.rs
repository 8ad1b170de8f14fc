//! `keyferry connection update`

use super::{ConnectionArgs, OPTIONS, refuse_misplaced};
use crate::cli::body::JsonBody;
use crate::cli::integration::IntegrationClient;
use crate::cli::output::CliError;
use crate::cli::secret::SecretArgs;
use crate::model::connection::ConnectionType;

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// New header for an API key
    #[arg(long, value_name = "NAME")]
    header_name: Option<String>,
    /// New user name for Basic authentication
    #[arg(long)]
    username: Option<String>,
    /// Domain to which the tokens of a connection by OAuth may be sent; it is set once
    #[arg(long, value_name = "DOMAIN")]
    allowed_domain: Option<String>,
    /// Never changes; read so that the answer says what to do
    #[arg(long = "name", value_name = "NAME", hide = true)]
    renamed: Option<String>,
    #[command(flatten)]
    secret: SecretArgs,
}

pub(super) fn run(arguments: &Arguments, client: &IntegrationClient<'_>) -> Result<(), CliError> {
    let name = &arguments.connection.name;
    let (kind, _shown) = client.find(name, arguments.connection.kind)?;
    let body = body(arguments, kind)?;
    let changed = client.api.patch(&client.connection(kind, name), body.into_document());
    if changed.map_err(|error| error.by_options(&OPTIONS))?.is_none() {
        return Err(client.missing(name, Some(kind)));
    }
    client.emit("", || Ok(format!("updated {name}")))
}

/// The changes to a connection of this type.
fn body(arguments: &Arguments, kind: ConnectionType) -> Result<JsonBody, CliError> {
    check(arguments, kind)?;
    let mut body = JsonBody::default()
        .with_any("header_name", arguments.header_name.as_deref())
        .with_any("username", arguments.username.as_deref())
        .with_any("allowed_domain", arguments.allowed_domain.as_deref());
    // Without another change the secret is meant.
    if kind != ConnectionType::OAuth && (body.is_empty() || arguments.secret.is_named()) {
        let secret =
            arguments.secret.read(&format!("{} that the service gave", kind.secret_label()))?;
        body = body.with_secret(kind.secret_member(), &secret)?;
    }
    Ok(body)
}

fn check(arguments: &Arguments, kind: ConnectionType) -> Result<(), CliError> {
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
        return Err(CliError::Usage(
            "nothing is to change: give --allowed-domain, or have `keyferry connection refresh` \
             ask for new tokens"
                .to_owned(),
        ));
    }
    Ok(())
}

/// Says of a member, in the API's words, that only a new connection can have another.
fn never_changes(member: &str) -> CliError {
    CliError::Usage(format!(
        "the {member} of a connection never changes: delete the connection and create it again"
    ))
}
