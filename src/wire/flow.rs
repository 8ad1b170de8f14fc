//! Flows, and the token proxy (ZIS spec §7.2, §7.9).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::secret::{in_clear, in_clear_if_any};
use super::{Member, Request};
use crate::secret::Secret;

/// A flow that is to be begun.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FlowForm, example = json!({"allow_offline_access": true, "grant_type": "authorization_code", "name": "my_connection_name", "oauth_client_name": "my_oauth_client_name", "oauth_url_subdomain": "foobar", "origin_oauth_redirect_url": "https://client.int/callback", "permission_scopes": "read write"}))]
pub struct NewFlow {
    /// The connection that is to be made, or authorized again. One without a name is called by its
    /// uuid.
    #[schema(value_type = Option<String>, pattern = "^([A-Za-z0-9_-]{3,64})?$")]
    pub name: Member<String>,
    /// The client, by its name.
    #[schema(value_type = Option<String>, pattern = "^([A-Za-z0-9_-][A-Za-z0-9 _-]{1,62}[A-Za-z0-9_-])?$")]
    pub oauth_client_name: Member<String>,
    /// The client, by its uuid.
    #[schema(value_type = Option<String>, format = Uuid)]
    pub oauth_client_uuid: Member<String>,
    /// The grant type, if not the client's: `authorization_code` or `client_credentials`. A client
    /// of `jwt_bearer` or `github_app` has no other.
    #[schema(
        value_type = Option<String>,
        pattern = "^(authorization_code|client_credentials|jwt_bearer|github_app)?$"
    )]
    pub grant_type: Member<String>,
    /// The scopes to ask for, if not the client's: space-separated.
    #[schema(value_type = Option<String>, max_length = 4096, pattern = "^[ !#-\\[\\]-~]*$")]
    pub permission_scopes: Member<String>,
    /// The same by another name; where both stand they are equal.
    #[schema(value_type = Option<String>, max_length = 4096, pattern = "^[ !#-\\[\\]-~]*$")]
    pub permission_scope: Member<String>,
    /// The value of `{subdomain}` in the client's URLs.
    #[schema(value_type = Option<String>, pattern = "^([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)?$")]
    pub oauth_url_subdomain: Member<String>,
    /// The URL that the browser is sent to at the end: at `public_url`, on loopback, or at one of
    /// `oauth.allowed_redirect_origins`.
    #[schema(value_type = Option<String>)]
    pub origin_oauth_redirect_url: Member<String>,
    /// Asks the provider for access while its user is away.
    #[schema(value_type = Option<bool>)]
    pub allow_offline_access: Member<bool>,
    /// The hosts that the tokens may be sent to; never changes once it is set. Without it, the
    /// connection can't be used until it is set.
    #[schema(value_type = Option<String>, max_length = 255)]
    pub allowed_domain: Member<String>,
}

impl Request for NewFlow {}

/// The way on for a flow.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct FlowAnswer {
    /// Of an authorization code's flow, where the browser is to go; of client credentials', what
    /// completes it.
    #[schema(
        example = "https://foobar.zendesk.com/api/services/zis/connections/oauth/start_redirect?flow_token=xyz"
    )]
    pub redirect_url: String,
}

/// A request to the account's token endpoint.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AccountQuestion, example = json!({"client_id": "my_client_id", "client_secret": "my_client_secret", "code": "LgwEzL8CA3aRA35r5QYfRbjjMa3Iacsk1CvwcRsnM", "grant_type": "authorization_code", "redirect_uri": "https://client.int/callback", "scope": "read write"}))]
pub struct AccountTokenRequest {
    /// The client.
    #[schema(required = true, value_type = String, min_length = 1)]
    pub client_id: Member<String>,
    /// Its secret.
    #[schema(required = true, value_type = String, min_length = 1, format = Password)]
    pub client_secret: Member<Secret>,
    /// The grant type.
    #[schema(required = true, value_type = String, min_length = 1)]
    pub grant_type: Member<String>,
    /// The authorization code.
    #[schema(value_type = Option<String>)]
    pub code: Member<Secret>,
    /// The code verifier.
    #[schema(value_type = Option<String>)]
    pub code_verifier: Member<Secret>,
    /// The redirect URI of the authorization request.
    #[schema(value_type = Option<String>)]
    pub redirect_uri: Member<String>,
    /// The refresh token.
    #[schema(value_type = Option<String>)]
    pub refresh_token: Member<Secret>,
    /// The scopes.
    #[schema(value_type = Option<String>)]
    pub scope: Member<String>,
    /// The lifetime that the access token is to have, in seconds. Without it the account's answer
    /// tells none.
    #[schema(value_type = Option<u64>, example = 1800)]
    pub expires_in: Member<u64>,
    /// The lifetime that the refresh token is to have, in seconds.
    #[schema(value_type = Option<u64>, example = 2_592_000)]
    pub refresh_token_expires_in: Member<u64>,
}

impl Request for AccountTokenRequest {}

/// Tokens of the account.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct AccountTokens {
    /// The access token.
    #[serde(with = "in_clear")]
    #[schema(value_type = String)]
    pub access_token: Secret,
    /// Its lifetime in seconds, if that is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<i64>,
    /// The refresh token, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "in_clear_if_any")]
    #[schema(value_type = Option<String>)]
    pub refresh_token: Option<Secret>,
    /// Its lifetime in seconds, if that is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token_expires_in: Option<i64>,
    /// The scope.
    #[schema(example = "read write")]
    pub scope: String,
    /// The type of the access token.
    #[schema(example = "bearer")]
    pub token_type: String,
}
