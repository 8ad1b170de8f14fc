//! `keyferry client create`

use serde_json::{Map, Value, json};

use super::key::KeyArgs;
use super::profile::{self, ProfileArgs, parse_pair};
use super::{OPTIONS, SECRET_LABEL, auth_method_parser, grant_type_parser, print};
use crate::cli::integration::IntegrationClient;
use crate::cli::output::CliError;
use crate::cli::provider::ProviderNameParser;
use crate::cli::secret::SecretArgs;
use crate::management::Catalogue;
use crate::model::oauth::client::AuthMethod;
use crate::model::oauth::grant::GrantType;
use crate::wire::NewOAuthClient;

#[expect(
    clippy::doc_markdown,
    reason = "the sentences are the help, which shows marks as they are"
)]
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Its name, unique within the integration
    #[arg(long)]
    name: String,
    /// Its id at the provider; the file of a service account names it
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// Provider of the catalogue, whose entry gives what no other option does
    #[arg(long, value_name = "NAME", value_parser = ProviderNameParser, hide_possible_values = true)]
    provider: Option<String>,
    /// Value that the provider's entry asks for, as subdomain=acme; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    set: Vec<(String, String)>,
    /// URL at which the provider gives tokens; the provider's entry, a profile, the file of a
    /// service account, and --installation, say it
    #[arg(long, value_name = "URL")]
    token_url: Option<String>,
    /// URL at which the provider asks its user; needed for authorization codes
    #[arg(long, value_name = "URL")]
    auth_url: Option<String>,
    /// Scopes of connections that name none, with a space between two
    #[arg(long, value_name = "SCOPES")]
    scopes: Option<String>,
    /// Grant by which its connections get tokens [default: the provider's, authorization_code]
    #[arg(long, value_name = "TYPE", value_parser = grant_type_parser())]
    grant_type: Option<GrantType>,
    /// Method by which it shows its secret [default: the provider's, client_secret_post; none where
    /// its key signs the grant]
    #[arg(long, value_name = "METHOD", value_parser = auth_method_parser())]
    auth_method: Option<AuthMethod>,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    secret: SecretArgs,
    #[command(flatten)]
    profile: ProfileArgs,
}

pub(super) fn run(arguments: &Arguments, client: &IntegrationClient<'_>) -> Result<(), CliError> {
    let mut request: NewOAuthClient = profile::request(arguments.members()?)?;
    request.assertion = arguments.key.assertion(request.assertion)?;
    request.installation = arguments.key.installation(request.installation);
    if arguments.secret.is_named() || !is_public(&request) {
        request.client_secret = arguments.secret.read(SECRET_LABEL)?.into();
    }
    let answer = client.api.post(&client.clients(), &request);
    print(client, &answer.map_err(|error| error.by_options(&OPTIONS))?)
}

impl Arguments {
    /// The members of the request, but for the secret.
    fn members(&self) -> Result<Map<String, Value>, CliError> {
        let mut members = self.profile.members()?;
        let own = [
            ("name", Some(self.name.as_str())),
            ("client_id", self.client_id.as_deref()),
            ("provider", self.provider.as_deref()),
            ("token_url", self.token_url.as_deref()),
            ("auth_url", self.auth_url.as_deref()),
            ("default_scopes", self.scopes.as_deref()),
            ("grant_type", self.grant_type.map(GrantType::as_str)),
            ("token_endpoint_auth_method", self.auth_method.map(AuthMethod::as_str)),
        ];
        for (name, value) in own {
            if let Some(value) = value {
                members.insert(name.to_owned(), json!(value));
            }
        }
        if !self.set.is_empty() {
            let values = self.set.iter().map(|(name, value)| (name.clone(), json!(value)));
            members.insert("provider_values".to_owned(), Value::Object(values.collect()));
        }
        Ok(members)
    }
}

/// Tells whether the client has no secret, by its own method or its provider's.
pub(in crate::cli) fn is_public(request: &NewOAuthClient) -> bool {
    let entry = request.provider.filled().and_then(|name| Catalogue::built_in().find(name));
    let of_entry = entry.and_then(|entry| entry.token_endpoint_auth_method.filled());
    request.token_endpoint_auth_method.filled().or(of_entry) == Some(AuthMethod::None.as_str())
}
