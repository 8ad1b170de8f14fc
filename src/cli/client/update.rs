//! `keyferry client update`

use super::{AUTH_METHOD, OPTIONS, SECRET_LABEL, auth_method_parser};
use crate::cli::body::Body;
use crate::cli::output::{self, Failure, Shape};
use crate::cli::secret::Source;
use crate::cli::shelf::Common;
use crate::cli::table::cell;
use crate::config::{Environment, Options};
use crate::model::oauth::client::AuthMethod;

/// Which client, and what is new. Its name and grant type never change; where it is sent changes
/// only with its secret entered again.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    common: Common,
    /// The client's name or uuid
    #[arg(value_name = "CLIENT")]
    named: String,
    /// What the provider calls it now
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// Where the provider gives tokens now; the secret is asked for again
    #[arg(long, value_name = "URL")]
    token_url: Option<String>,
    /// Where the provider asks its user now; the secret is asked for again
    #[arg(long, value_name = "URL")]
    auth_url: Option<String>,
    /// What to ask for where a connection names no scopes, with a space between two
    #[arg(long, value_name = "SCOPES")]
    scopes: Option<String>,
    /// How it shows its secret
    #[arg(long, value_name = "METHOD", value_parser = auth_method_parser())]
    auth_method: Option<AuthMethod>,
    #[command(flatten)]
    secret: Source,
}

pub(super) fn run(
    arguments: &Arguments,
    options: &Options,
    environment: &Environment,
) -> Result<(), Failure> {
    let shelf = arguments.common.shelf(options, environment)?;
    let uuid = cell(&shelf.find_client(&arguments.named)?.json()?, "uuid");
    let mut body = Body::default()
        .with_any("client_id", arguments.client_id.as_deref())
        .with_any("token_url", arguments.token_url.as_deref())
        .with_any("auth_url", arguments.auth_url.as_deref())
        .with_any("default_scopes", arguments.scopes.as_deref())
        .with_any(AUTH_METHOD, arguments.auth_method.map(AuthMethod::as_str));
    let moves = arguments.token_url.is_some() || arguments.auth_url.is_some();
    // Whoever changes nothing else has come to replace the secret.
    if body.is_empty() || moves || arguments.secret.is_named() {
        let secret = arguments.secret.read(SECRET_LABEL)?;
        body = body.with_secret("client_secret", &secret)?;
    }
    let answer = shelf.server.patch(&shelf.client(&uuid), body.into_document());
    let Some(answer) = answer.map_err(|failure| failure.by_options(&OPTIONS))? else {
        return Err(shelf.no_client(&arguments.named));
    };
    match arguments.common.output {
        Shape::Table => output::result(&format!("updated {}", output::printable(&arguments.named))),
        Shape::Json => output::result(answer.text()?),
    }
}
