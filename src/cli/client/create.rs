//! `keyferry client create`

use super::key::KeyArgs;
use super::{OPTIONS, SECRET_LABEL, auth_method_parser, grant_type_parser, print};
use crate::cli::integration::IntegrationClient;
use crate::cli::output::CliError;
use crate::cli::secret::SecretArgs;
use crate::model::oauth::client::AuthMethod;
use crate::model::oauth::grant::GrantType;
use crate::wire::{Member, NewOAuthClient};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Its name, unique within the integration
    #[arg(long)]
    name: String,
    /// Its id at the provider; the file of a service account names it
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// URL at which the provider gives tokens; the file of a service account, and --installation,
    /// say it
    #[arg(long, value_name = "URL")]
    token_url: Option<String>,
    /// URL at which the provider asks its user; needed for authorization codes
    #[arg(long, value_name = "URL")]
    auth_url: Option<String>,
    /// Scopes of connections that name none, with a space between two
    #[arg(long, value_name = "SCOPES")]
    scopes: Option<String>,
    /// Grant by which its connections get tokens [default: authorization_code]
    #[arg(long, value_name = "TYPE", value_parser = grant_type_parser())]
    grant_type: Option<GrantType>,
    /// Method by which it shows its secret [default: client_secret_post, or none where its key
    /// signs the grant]
    #[arg(long, value_name = "METHOD", value_parser = auth_method_parser())]
    auth_method: Option<AuthMethod>,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    secret: SecretArgs,
}

pub(super) fn run(arguments: &Arguments, client: &IntegrationClient<'_>) -> Result<(), CliError> {
    let secret = arguments.secret.read(SECRET_LABEL)?;
    let request = NewOAuthClient {
        name: arguments.name.as_str().into(),
        client_id: arguments.client_id.as_deref().into(),
        client_secret: secret.into(),
        auth_url: arguments.auth_url.as_deref().into(),
        token_url: arguments.token_url.as_deref().into(),
        default_scopes: arguments.scopes.as_deref().into(),
        grant_type: arguments.grant_type.map(GrantType::as_str).into(),
        token_endpoint_auth_method: arguments.auth_method.map(AuthMethod::as_str).into(),
        assertion: arguments.key.assertion(Member::Absent)?,
        installation: arguments.key.installation(Member::Absent),
        ..NewOAuthClient::default()
    };
    let answer = client.api.post(&client.clients(), &request);
    print(client, &answer.map_err(|error| error.by_options(&OPTIONS))?)
}
