//! `keyferry client create`

use super::{AUTH_METHOD, OPTIONS, SECRET_LABEL, auth_method_parser, grant_type_parser, print};
use crate::cli::body::Body;
use crate::cli::output::Failure;
use crate::cli::secret::Source;
use crate::cli::shelf::Common;
use crate::config::{Environment, Options};
use crate::model::oauth::client::AuthMethod;
use crate::model::oauth::grant::GrantType;

/// What a client is made of.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    common: Common,
    /// Its name, unique within the integration
    #[arg(long)]
    name: String,
    /// What the provider calls it
    #[arg(long, value_name = "ID")]
    client_id: String,
    /// Where the provider gives tokens
    #[arg(long, value_name = "URL")]
    token_url: String,
    /// Where the provider asks its user; not needed where it asks nobody
    #[arg(long, value_name = "URL")]
    auth_url: Option<String>,
    /// What to ask for where a connection names no scopes, with a space between two
    #[arg(long, value_name = "SCOPES")]
    scopes: Option<String>,
    /// How its connections come by tokens
    #[arg(long, default_value = "authorization_code", value_name = "TYPE", value_parser = grant_type_parser())]
    grant_type: GrantType,
    /// How it shows its secret
    #[arg(long, default_value = "client_secret_post", value_name = "METHOD", value_parser = auth_method_parser())]
    auth_method: AuthMethod,
    #[command(flatten)]
    secret: Source,
}

pub(super) fn run(
    arguments: &Arguments,
    options: &Options,
    environment: &Environment,
) -> Result<(), Failure> {
    let shelf = arguments.common.shelf(options, environment)?;
    let secret = arguments.secret.read(SECRET_LABEL)?;
    let body = Body::default()
        .with("name", &arguments.name)
        .with("client_id", &arguments.client_id)
        .with("token_url", &arguments.token_url)
        .with_any("auth_url", arguments.auth_url.as_deref())
        .with_any("default_scopes", arguments.scopes.as_deref())
        .with("grant_type", arguments.grant_type.as_str())
        .with(AUTH_METHOD, arguments.auth_method.as_str())
        .with_secret("client_secret", &secret)?;
    let answer = shelf.server.post(&shelf.clients(), Some(body.into_document()));
    let answer = answer.map_err(|failure| failure.by_options(&OPTIONS))?;
    print(&answer, arguments.common.output)
}
