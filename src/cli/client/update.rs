//! `keyferry client update`

use super::{AUTH_METHOD, ClientArgs, OPTIONS, SECRET_LABEL, auth_method_parser};
use crate::cli::body::JsonBody;
use crate::cli::integration::IntegrationClient;
use crate::cli::output::{self, CliError};
use crate::cli::secret::SecretArgs;
use crate::cli::table::cell;
use crate::model::oauth::client::AuthMethod;

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    client: ClientArgs,
    /// Its new id at the provider
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// New URL at which the provider gives tokens; the secret is asked for again
    #[arg(long, value_name = "URL")]
    token_url: Option<String>,
    /// New URL at which the provider asks its user; the secret is asked for again
    #[arg(long, value_name = "URL")]
    auth_url: Option<String>,
    /// Scopes of connections that name none, with a space between two
    #[arg(long, value_name = "SCOPES")]
    scopes: Option<String>,
    /// Method by which it shows its secret
    #[arg(long, value_name = "METHOD", value_parser = auth_method_parser())]
    auth_method: Option<AuthMethod>,
    #[command(flatten)]
    secret: SecretArgs,
}

pub(super) fn run(arguments: &Arguments, client: &IntegrationClient<'_>) -> Result<(), CliError> {
    let named = &arguments.client.named;
    let uuid = cell(&client.find_client(named)?.json()?, "uuid");
    let mut body = JsonBody::default()
        .with_any("client_id", arguments.client_id.as_deref())
        .with_any("token_url", arguments.token_url.as_deref())
        .with_any("auth_url", arguments.auth_url.as_deref())
        .with_any("default_scopes", arguments.scopes.as_deref())
        .with_any(AUTH_METHOD, arguments.auth_method.map(AuthMethod::as_str));
    let moves = arguments.token_url.is_some() || arguments.auth_url.is_some();
    // Without another change the secret is meant.
    if body.is_empty() || moves || arguments.secret.is_named() {
        let secret = arguments.secret.read(SECRET_LABEL)?;
        body = body.with_secret("client_secret", &secret)?;
    }
    let answer = client.api.patch(&client.client(&uuid), body.into_document());
    let Some(answer) = answer.map_err(|error| error.by_options(&OPTIONS))? else {
        return Err(client.no_client(named));
    };
    client.emit(answer.text()?, || Ok(format!("updated {}", output::printable(named))))
}
