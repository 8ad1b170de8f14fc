//! `keyferry client update`

use serde_json::json;

use super::key::KeyArgs;
use super::profile::{self, ProfileArgs};
use super::{ClientArgs, OPTIONS, SECRET_LABEL, auth_method_parser};
use crate::cli::integration::IntegrationClient;
use crate::cli::output::{self, CliError};
use crate::cli::secret::SecretArgs;
use crate::cli::unset::MemberParser;
use crate::model::oauth::client::AuthMethod;
use crate::wire::{OAuthClient, OAuthClientChange, PROFILE_MEMBERS};

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
    #[command(flatten)]
    profile: ProfileArgs,
    /// Member of the profile that is taken away, as pkce; may be repeated
    #[arg(
        long,
        value_name = "MEMBER",
        value_parser = MemberParser::of(PROFILE_MEMBERS),
        hide_possible_values = true,
        help_heading = "Where the provider differs from RFC 6749"
    )]
    unset: Vec<String>,
}

pub(super) fn run(arguments: &Arguments, client: &IntegrationClient<'_>) -> Result<(), CliError> {
    let named = &arguments.client.named;
    let known: OAuthClient = client.find_client(named)?.read()?;
    let OAuthClient { uuid, token_endpoint_auth_method, profile: before, .. } = known;
    // 1. The members that the file and the options give.
    let mut members = arguments.profile.members()?;
    let own = [
        ("client_id", arguments.client_id.as_deref()),
        ("token_url", arguments.token_url.as_deref()),
        ("auth_url", arguments.auth_url.as_deref()),
        ("default_scopes", arguments.scopes.as_deref()),
        ("token_endpoint_auth_method", arguments.auth_method.map(AuthMethod::as_str)),
    ];
    for (name, value) in own {
        if let Some(value) = value {
            members.insert(name.to_owned(), json!(value));
        }
    }
    // 2. Where a secret goes and where a token goes change only with the secret, where there is one.
    //    Without another change, the secret is meant.
    let has_secret = token_endpoint_auth_method != AuthMethod::None.as_str();
    let is_changed = |name: &&str| {
        members.contains_key(*name) || arguments.unset.iter().any(|unset| unset == *name)
    };
    // What is signed changes only along with the key.
    let moves = (has_secret && SEALED_FOR.iter().any(is_changed)) || arguments.key.are_given();
    let changes = moves || !members.is_empty() || !arguments.unset.is_empty();
    let mut change: OAuthClientChange = profile::request(members)?;
    let mut profile = change.take_profile();
    arguments.unset.iter().for_each(|name| profile.take_away(name));
    change.put_profile(profile);
    if arguments.key.are_given() {
        change.assertion = arguments.key.assertion(before.assertion)?;
        change.installation = arguments.key.installation(before.installation);
    }
    if !changes || moves || arguments.secret.is_named() {
        change.client_secret = arguments.secret.read(SECRET_LABEL)?.into();
    }
    let answer = client.api.patch(&client.client(&uuid), &change);
    let Some(answer) = answer.map_err(|error| error.by_options(&OPTIONS))? else {
        return Err(client.no_client(named));
    };
    client.emit(answer.text()?, || Ok(format!("updated {}", output::printable(named))))
}

/// Members that change only with the secret.
const SEALED_FOR: [&str; 7] = [
    "auth_url",
    "token_url",
    "refresh_url",
    "revocation_url",
    "inject",
    "token_path",
    "refresh_token_path",
];
