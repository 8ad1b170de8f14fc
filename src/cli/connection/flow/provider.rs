//! The client of a connection to a provider of the catalogue, which is made along with it.

use super::FlowArgs;
use crate::cli::client::{OPTIONS, SECRET_LABEL, is_public};
use crate::cli::integration::IntegrationClient;
use crate::cli::output::{self, CliError};
use crate::cli::secret::SecretArgs;
use crate::model::name::ZENDESK;
use crate::wire::{NewFlow, NewOAuthClient, OAuthClient, ParamMap};

/// Makes the client, which is called as the connection, and that as the provider unless an option
/// says otherwise. One that an earlier run has made is used again.
pub(super) fn prepare(
    client: &IntegrationClient<'_>,
    provider: &str,
    arguments: &FlowArgs,
    secret: &SecretArgs,
    request: &mut NewFlow,
) -> Result<OAuthClient, CliError> {
    request.name.fill_blank(Some(&default_name(provider, arguments)));
    let name = request.name.filled().unwrap_or(provider);
    let client_id = arguments.client_id.as_deref();
    // 1. The client that is there already.
    if let Some(known) = client.client_named(name)? {
        let is_same = known.profile.provider.filled() == Some(provider)
            && client_id.is_none_or(|id| id == known.client_id);
        if !is_same {
            return Err(CliError::Message(format!(
                "the client {} is there already, and differs: use it with --client, or give \
                 another --name",
                output::printable(name)
            )));
        }
        output::note(&format!(
            "the client {} is there already, and is used as it is: `keyferry client update` \
             changes it",
            output::printable(name)
        ));
        return Ok(known);
    }
    // 2. Otherwise one is made.
    let values: ParamMap = arguments.set.iter().cloned().collect();
    let mut wanted = NewOAuthClient {
        name: name.into(),
        client_id: client_id.into(),
        provider_values: Some(values).filter(|values| !values.is_empty()).into(),
        ..NewOAuthClient::default()
    };
    wanted.provider = provider.into();
    if secret.is_named() || !is_public(&wanted) {
        wanted.client_secret = secret.read(SECRET_LABEL)?.into();
    }
    let made = client.api.post(&client.clients(), &wanted);
    made.map_err(|error| error.by_options(&OPTIONS))?.read()
}

/// The name of the connection, and its client, where none is given. `zendesk` alone is the account's
/// own connection.
fn default_name(provider: &str, arguments: &FlowArgs) -> String {
    let asked = arguments.set.iter().find(|(name, _)| name == "subdomain");
    let asked = asked.map(|(_, value)| value.as_str()).or(arguments.subdomain.as_deref());
    match asked {
        Some(subdomain) if provider == ZENDESK => format!("{provider}-{subdomain}"),
        _ => provider.to_owned(),
    }
}
