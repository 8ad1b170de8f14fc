//! `keyferry client`: the OAuth clients that a running server keeps.

mod create;
mod delete;
mod key;
mod list;
mod profile;
mod update;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use uuid::Uuid;

use super::context::CliContext;
use super::examples;
use super::integration::{IntegrationArgs, IntegrationClient};
use super::output::{self, CliError};
use super::provider;
use super::server::{ApiAnswer, ApiPath};
use super::table::record;
use crate::model::oauth::client::AuthMethod;
use crate::model::oauth::grant::GrantType;
use crate::wire::{ClientPage, OAuthClient};

pub(super) use self::create::is_public;
pub(super) use self::profile::parse_pair;

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    integration: IntegrationArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Stores a client, as the provider has registered it
    #[command(after_help = examples::CLIENT_CREATE)]
    Create(create::Arguments),
    /// Lists the clients of an integration
    #[command(visible_alias = "ls", after_help = examples::CLIENT_LIST)]
    List,
    /// Shows a client; its secret is never shown
    #[command(after_help = examples::CLIENT_SHOW)]
    Show(ClientArgs),
    /// Replaces a client's secret, or what goes with it
    #[command(after_help = examples::CLIENT_UPDATE)]
    Update(update::Arguments),
    /// Deletes a client, and every connection that it has
    #[command(visible_alias = "rm", after_help = examples::CLIENT_DELETE)]
    Delete(delete::Arguments),
}

/// The client that is meant.
#[derive(clap::Args)]
struct ClientArgs {
    /// The client's name or uuid
    #[arg(value_name = "CLIENT")]
    named: String,
}

pub(super) fn run(arguments: &Arguments, context: &CliContext) -> Result<(), CliError> {
    let client = arguments.integration.client(context)?;
    match &arguments.command {
        Command::Create(arguments) => create::run(arguments, &client),
        Command::List => list::run(&client),
        Command::Show(arguments) => print(&client, &client.find_client(&arguments.named)?),
        Command::Update(arguments) => update::run(arguments, &client),
        Command::Delete(arguments) => delete::run(arguments, &client),
    }
}

impl IntegrationClient<'_> {
    /// The path of all OAuth clients.
    pub(super) fn clients(&self) -> ApiPath {
        ApiPath::zis(&["connections", "oauth", "clients", self.integration.as_str()])
    }

    /// The path of an OAuth client.
    fn client(&self, uuid: &str) -> ApiPath {
        ApiPath::zis(&["connections", "oauth", "clients", self.integration.as_str(), uuid])
    }

    /// Looks for a client by its uuid or its name, which is unique within its integration.
    pub(super) fn find_client(&self, named: &str) -> Result<ApiAnswer, CliError> {
        if let Ok(uuid) = Uuid::try_parse(named)
            && let Some(answer) = self.api.find(&self.client(&uuid.to_string()))?
        {
            return Ok(answer);
        }
        let found = self.client_named(named)?;
        let answer = found.map(|client| self.api.find(&self.client(&client.uuid))).transpose()?;
        answer.flatten().ok_or_else(|| self.no_client(named))
    }

    /// The client of this name, if there is one.
    pub(super) fn client_named(&self, name: &str) -> Result<Option<OAuthClient>, CliError> {
        let ClientPage { clients, .. } = self.api.pages(&self.clients())?.read()?;
        Ok(clients.into_iter().find(|client| client.name == name))
    }

    fn no_client(&self, named: &str) -> CliError {
        CliError::Message(format!(
            "the integration {} has no client {}: `keyferry client list` shows its clients",
            self.integration,
            output::printable(named)
        ))
    }
}

/// Prints the one client of an answer.
fn print(client: &IntegrationClient<'_>, answer: &ApiAnswer) -> Result<(), CliError> {
    client.emit(answer.text()?, || {
        let client: OAuthClient = answer.read()?;
        let profile = provider::members(&client.profile, &[]);
        let mut lines = vec![
            ("name", client.name),
            ("uuid", client.uuid),
            ("client id", client.client_id),
            ("client secret", client.client_secret.to_string()),
            ("auth URL", client.auth_url.unwrap_or_default()),
            ("token URL", client.token_url),
            ("default scopes", client.default_scopes),
            ("grant type", client.grant_type),
            ("auth method", client.token_endpoint_auth_method),
        ];
        lines.extend(profile.iter().map(|(name, value)| (name.as_str(), value.clone())));
        lines.extend([
            ("created by", client.created_by),
            ("created at", client.created_at),
            ("updated at", client.updated_at),
        ]);
        Ok(record(&lines))
    })
}

/// Reads `--grant-type`.
pub(super) fn grant_type_parser() -> impl TypedValueParser<Value = GrantType> {
    PossibleValuesParser::new(GrantType::ALL.map(GrantType::as_str))
        .try_map(|text| GrantType::parse(&text))
}

/// Reads `--auth-method`.
fn auth_method_parser() -> impl TypedValueParser<Value = AuthMethod> {
    PossibleValuesParser::new(AuthMethod::ALL.map(AuthMethod::as_str))
        .try_map(|text| AuthMethod::parse(&text))
}

/// The members of the API's documents, and the options that fill them.
pub(super) const OPTIONS: [(&str, &str); 31] = [
    ("name", "--name"),
    ("client_id", "--client-id"),
    ("client_secret", "the secret"),
    ("token_url", "--token-url"),
    ("auth_url", "--auth-url"),
    ("default_scopes", "--scopes"),
    ("grant_type", "--grant-type"),
    ("token_endpoint_auth_method", "--auth-method"),
    ("assertion", "--assertion"),
    ("installation", "--installation"),
    ("provider_values", "--set"),
    ("provider", "--provider"),
    ("auth_params", "--auth-param"),
    ("token_params", "--token-param"),
    ("refresh_params", "--refresh-param"),
    ("refresh_url", "--refresh-url"),
    ("revocation_url", "--revocation-url"),
    ("token_request_format", "--token-request-format"),
    ("pkce", "--pkce"),
    ("scope_separator", "--scope-separator"),
    ("scope_on_refresh", "--scope-on-refresh"),
    ("token_path", "--token-path"),
    ("refresh_token_path", "--refresh-token-path"),
    ("expires_in_path", "--expires-in-path"),
    ("default_lifetime", "--default-lifetime"),
    ("refresh_token_lifetime", "--refresh-token-lifetime"),
    ("issuer", "--issuer"),
    ("dead_grant_codes", "--dead-grant-code"),
    ("refresh_on_status", "--refresh-on-status"),
    ("inject", "--inject"),
    ("allowed_domains", "--allowed-domain"),
];

/// The secret, in words for people.
pub(super) const SECRET_LABEL: &str = "client secret";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::PROFILE_MEMBERS;
    use clap::Args as _;

    #[test]
    fn every_member_of_a_profile_has_an_option() {
        let command = create::Arguments::augment_args(clap::Command::new("create"));
        let known: Vec<_> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
        for member in PROFILE_MEMBERS {
            let (_, option) = OPTIONS.iter().find(|(known, _)| *known == member).unwrap();
            let name = option.strip_prefix("--").unwrap();
            assert!(known.contains(&name), "{member}: {option}");
        }
    }
}
