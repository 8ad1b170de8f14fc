//! Access tokens (contract §5).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::secret::in_clear;
use super::{Member, PageMeta, Request, RuleMembers};
use crate::secret::Secret;

/// An access token. Only a digest of its secret is kept.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[schema(as = Token)]
pub struct TokenView {
    /// By which it is revoked.
    #[schema(example = "ac10a230-0c43-45f8-b221-9e085ce90418", format = Uuid)]
    pub id: String,
    /// Its name, which logs show.
    #[schema(example = "ci")]
    pub name: String,
    /// The integration that it belongs to, or `*` for all.
    #[schema(example = "my_integration")]
    pub integration: String,
    /// The scopes that it has.
    pub scopes: Vec<String>,
    /// The only connections that it may use: their names, or `integration.name` under `*`; null
    /// when it may use all of them.
    pub connections: Option<Vec<String>>,
    /// The rules that narrow those of each connection; only there where there are any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub rules: Vec<RuleMembers>,
    /// The time at which it was made (RFC 3339, UTC).
    #[schema(example = "1985-04-12T23:20:50.520000Z", format = DateTime)]
    pub created_at: String,
    /// The time at which it expires (RFC 3339, UTC), if it does.
    #[schema(example = "2030-01-31T12:00:00.000000Z", format = DateTime)]
    pub expires_at: Option<String>,
    /// The time of its last use (RFC 3339, UTC), to the minute or so.
    #[schema(example = "1985-04-12T23:20:50.520000Z", format = DateTime)]
    pub last_used_at: Option<String>,
    /// The connection that it was last used for, as `integration.name`, to the minute or so; only
    /// there once it was used for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "my_integration.example")]
    pub last_used_for: Option<String>,
    /// Only there when the token can't be used: what is wrong with it, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub defect: Option<String>,
}

/// An access token that has just been made, with its secret, which is shown this once.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[schema(as = NewToken)]
pub struct CreatedTokenView {
    #[expect(missing_docs, reason = "its members are this one's")]
    #[serde(flatten)]
    pub token: TokenView,
    /// The token itself.
    #[serde(with = "in_clear")]
    #[schema(value_type = String, example = "kf_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE", format = Password)]
    pub secret: Secret,
}

/// The answer that has a new token in it.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[schema(as = NewTokenAnswer)]
pub struct CreatedTokenAnswer {
    #[expect(missing_docs, reason = "the name says it")]
    pub token: CreatedTokenView,
    /// Warnings, such as of listed connections that do not exist yet. Left out where there is
    /// nothing to say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub warnings: Vec<String>,
}

/// A page of tokens, in the order of their ids.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[schema(as = Tokens)]
pub struct TokenPage {
    #[expect(missing_docs, reason = "the name says it")]
    pub tokens: Vec<TokenView>,
    #[expect(missing_docs, reason = "the name says it")]
    pub meta: PageMeta,
}

/// An access token that is to be made.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TokenForm, example = json!({"name": "ci", "integration": "my_integration", "scopes": ["read", "proxy"]}))]
pub struct NewToken {
    /// Its name, which logs show; no other live token of the integration has it.
    #[schema(required = true, value_type = String, min_length = 1, max_length = 64, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]+$")]
    pub name: Member<String>,
    /// The integration that it belongs to, or `*` for all.
    #[schema(required = true, value_type = String, pattern = "^(\\*|[a-z0-9_-]{1,64})$")]
    pub integration: Member<String>,
    /// The scopes that it has.
    #[schema(required = true, value_type = Vec<ScopeName>, min_items = 1, inline)]
    pub scopes: Member<Vec<String>>,
    /// The only connections that it may use: their names, or `integration.name` under `*`; it may
    /// use all of them where there is no list.
    #[schema(value_type = Option<Vec<String>>, min_items = 1, max_items = 256)]
    pub connections: Member<Vec<String>>,
    /// The time when it ends (RFC 3339); without one it does not end. A token that ends
    /// itself makes none that ends later.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Member<String>,
    /// The rules that narrow those of each connection: the first that matches a request decides,
    /// and what none matches is refused.
    #[serde(default, skip_serializing_if = "Member::is_absent")]
    #[schema(value_type = Option<Vec<RuleMembers>>, max_items = 64)]
    pub rules: Member<Vec<RuleMembers>>,
}

impl Request for NewToken {}

/// A scope: `read`, for GETs; `write`, for everything that changes; `proxy`, for the data plane;
/// `audit`, for the audit trail and events, and nothing else; `admin`, for all of it, and tokens and
/// keys.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the model reads scopes; this lists their names")]
pub(super) enum ScopeName {
    #[schema(rename = "read")]
    Read,
    #[schema(rename = "write")]
    Write,
    #[schema(rename = "proxy")]
    Proxy,
    #[schema(rename = "admin")]
    Admin,
    #[schema(rename = "audit")]
    Audit,
    #[schema(rename = "zis:read")]
    ZisRead,
    #[schema(rename = "zis:write")]
    ZisWrite,
}
