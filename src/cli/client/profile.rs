//! The options and the file by which a client is fitted to its provider.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::cli::output::CliError;
use crate::model::placement::WrittenPlacement;
use crate::wire::PlacementMembers;

/// The members of a client's profile. All are left out as the provider's entry in the catalogue, or
/// else RFC 6749, has them.
#[expect(
    clippy::doc_markdown,
    reason = "the sentences are the help, which shows marks as they are"
)]
#[derive(clap::Args)]
#[command(next_help_heading = "Where the provider differs from RFC 6749")]
pub(super) struct ProfileArgs {
    /// TOML file with such members, by the names that the API has for them; options win
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Further parameter of the authorization request; may be repeated
    #[arg(long = "auth-param", value_name = "NAME=VALUE", value_parser = parse_pair)]
    auth_params: Vec<(String, String)>,
    /// Further parameter of the request for the first tokens; may be repeated
    #[arg(long = "token-param", value_name = "NAME=VALUE", value_parser = parse_pair)]
    token_params: Vec<(String, String)>,
    /// Further parameter of a refresh; may be repeated
    #[arg(long = "refresh-param", value_name = "NAME=VALUE", value_parser = parse_pair)]
    refresh_params: Vec<(String, String)>,
    /// URL at which tokens are refreshed [default: the token URL]
    #[arg(long, value_name = "URL")]
    refresh_url: Option<String>,
    /// URL at which tokens are revoked when a connection is deleted (RFC 7009)
    #[arg(long, value_name = "URL")]
    revocation_url: Option<String>,
    /// Format of the token requests' bodies [default: form]
    #[arg(long, value_name = "FORMAT", value_parser = PossibleValuesParser::new(["form", "json"]))]
    token_request_format: Option<String>,
    /// Code challenge method (RFC 7636); off for a provider that refuses one [default: S256]
    #[arg(long, value_name = "METHOD", value_parser = PossibleValuesParser::new(["S256", "off"]))]
    pkce: Option<String>,
    /// Text between two scopes, as the provider wants it [default: a space]
    #[arg(long, value_name = "TEXT")]
    scope_separator: Option<String>,
    /// Sends the scopes with a refresh too
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    scope_on_refresh: Option<bool>,
    /// JSON Pointer to the access token in the answer [default: /access_token]
    #[arg(long, value_name = "POINTER")]
    token_path: Option<String>,
    /// JSON Pointer to the refresh token in the answer [default: /refresh_token]
    #[arg(long, value_name = "POINTER")]
    refresh_token_path: Option<String>,
    /// JSON Pointer to the access token's lifetime in the answer [default: /expires_in]
    #[arg(long, value_name = "POINTER")]
    expires_in_path: Option<String>,
    /// Lifetime of an access token where the answer names none, as 30m
    #[arg(long, value_name = "TIME")]
    default_lifetime: Option<String>,
    /// Lifetime of a refresh token where the answer names none, as 30d
    #[arg(long, value_name = "TIME")]
    refresh_token_lifetime: Option<String>,
    /// Issuer identifier, which the provider's answers must name exactly (RFC 9207)
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// Error code by which the provider says that a grant has ended; may be repeated
    #[arg(long = "dead-grant-code", value_name = "CODE")]
    dead_grant_codes: Vec<String>,
    /// Statuses of an API's answer that call for a refresh, as 401,403 [default: 401]
    #[arg(long, value_name = "STATUS", value_delimiter = ',')]
    refresh_on_status: Vec<u16>,
    /// Place that carries the access token: 'X-Token: {access_token}' for a header,
    /// '?token={access_token}' for a parameter of the query, '/KEYFERRY={access_token}' for a segment
    /// of the path; may be repeated [default: Authorization: Bearer]
    #[arg(long, value_name = "PLACE", value_parser = WrittenPlacement::read_line)]
    inject: Vec<WrittenPlacement>,
    /// Domain that the client's connections are offered, the first unless another is named; may be
    /// repeated
    #[arg(long = "allowed-domain", value_name = "DOMAIN")]
    allowed_domains: Vec<String>,
}

impl ProfileArgs {
    /// The members that the file and the options give, by their names.
    pub(super) fn members(&self) -> Result<Map<String, Value>, CliError> {
        let mut members = self.read_file()?;
        // 1. Parameters stand beside those of the file.
        for (name, params) in [
            ("auth_params", &self.auth_params),
            ("token_params", &self.token_params),
            ("refresh_params", &self.refresh_params),
        ] {
            if params.is_empty() {
                continue;
            }
            let known = members.entry(name).or_insert_with(|| json!({}));
            if let Value::Object(known) = known {
                known.extend(params.iter().map(|(name, value)| (name.clone(), json!(value))));
            }
        }
        // 2. Other options take the place of the file's members.
        let texts = [
            ("refresh_url", &self.refresh_url),
            ("revocation_url", &self.revocation_url),
            ("token_request_format", &self.token_request_format),
            ("pkce", &self.pkce),
            ("scope_separator", &self.scope_separator),
            ("token_path", &self.token_path),
            ("refresh_token_path", &self.refresh_token_path),
            ("expires_in_path", &self.expires_in_path),
            ("default_lifetime", &self.default_lifetime),
            ("refresh_token_lifetime", &self.refresh_token_lifetime),
            ("issuer", &self.issuer),
        ];
        let texts = texts.map(|(name, text)| (name, text.as_ref().map(|text| json!(text))));
        let inject: Vec<_> = self.inject.iter().cloned().map(PlacementMembers::from).collect();
        let others = [
            ("scope_on_refresh", self.scope_on_refresh.map(|flag| json!(flag))),
            ("dead_grant_codes", list(&self.dead_grant_codes)),
            ("refresh_on_status", list(&self.refresh_on_status)),
            ("inject", list(&inject)),
            ("allowed_domains", list(&self.allowed_domains)),
        ];
        for (name, value) in texts.into_iter().chain(others) {
            if let Some(value) = value {
                members.insert(name.to_owned(), value);
            }
        }
        Ok(members)
    }

    fn read_file(&self) -> Result<Map<String, Value>, CliError> {
        let Some(path) = &self.profile else { return Ok(Map::new()) };
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|why| {
            CliError::Message(format!("{shown} can't be read ({why}): name another --profile"))
        })?;
        let members: Map<String, Value> = toml::from_str(&text).map_err(|why| {
            let before = why.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            CliError::Message(format!("{shown}:{line} is not TOML: {}", why.message()))
        })?;
        if members.contains_key("client_secret") {
            return Err(CliError::Message(format!(
                "{shown} has a client_secret, which is given by --secret-file or --secret-stdin"
            )));
        }
        Ok(members)
    }
}

/// The request that has these members; one that it does not know, or of another type, is refused.
pub(super) fn request<T: DeserializeOwned + Serialize>(
    members: Map<String, Value>,
) -> Result<T, CliError> {
    let wrong = |why: String| CliError::Message(format!("the client can't be sent: {why}"));
    let given = members.clone();
    let request: T =
        serde_json::from_value(Value::Object(members)).map_err(|why| wrong(why.to_string()))?;
    let read = serde_json::to_value(&request).map_err(|why| wrong(why.to_string()))?;
    match given.iter().find(|(name, value)| read.get(name) != Some(value)) {
        Some((name, _)) => Err(wrong(format!("{name} has a value of another type"))),
        None => Ok(request),
    }
}

/// Reads `NAME=VALUE`.
pub(in crate::cli) fn parse_pair(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("must be a name, = and a value"),
    }
}

fn list<T: Serialize>(items: &[T]) -> Option<Value> {
    (!items.is_empty()).then(|| json!(items))
}
