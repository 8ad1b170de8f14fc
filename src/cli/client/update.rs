//! `keyferry client update`

use super::key::KeyArgs;
use super::{ClientArgs, OPTIONS, SECRET_LABEL, auth_method_parser};
use crate::cli::integration::IntegrationClient;
use crate::cli::output::{self, CliError};
use crate::cli::secret::SecretArgs;
use crate::model::oauth::client::AuthMethod;
use crate::wire::{OAuthClient, OAuthClientChange};

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
    key: KeyArgs,
    #[command(flatten)]
    secret: SecretArgs,
}

pub(super) fn run(arguments: &Arguments, client: &IntegrationClient<'_>) -> Result<(), CliError> {
    let named = &arguments.client.named;
    let OAuthClient { uuid, profile, .. } = client.find_client(named)?.read()?;
    let mut change = OAuthClientChange {
        client_id: arguments.client_id.as_deref().into(),
        auth_url: arguments.auth_url.as_deref().into(),
        token_url: arguments.token_url.as_deref().into(),
        default_scopes: arguments.scopes.as_deref().into(),
        token_endpoint_auth_method: arguments.auth_method.map(AuthMethod::as_str).into(),
        assertion: arguments.key.assertion(profile.assertion)?,
        installation: arguments.key.installation(profile.installation),
        ..OAuthClientChange::default()
    };
    // What is signed changes only along with the key, as a URL only along with the secret.
    let moves =
        arguments.token_url.is_some() || arguments.auth_url.is_some() || arguments.key.are_given();
    let changes = moves
        || arguments.client_id.is_some()
        || arguments.scopes.is_some()
        || arguments.auth_method.is_some();
    // Without another change the secret is meant.
    if !changes || moves || arguments.secret.is_named() {
        change.client_secret = arguments.secret.read(SECRET_LABEL)?.into();
    }
    let answer = client.api.patch(&client.client(&uuid), &change);
    let Some(answer) = answer.map_err(|error| error.by_options(&OPTIONS))? else {
        return Err(client.no_client(named));
    };
    client.emit(answer.text()?, || Ok(format!("updated {}", output::printable(named))))
}
