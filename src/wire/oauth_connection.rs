//! Connections by OAuth: the whole, an item of a list, and what a flow has brought. The three differ
//! in what ZIS leaves out (ZIS spec §4.1, §4.6, §7.5).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::options::{each_option_member, with_option_members};
use super::profile::take_member;
use super::secret::in_clear;
use super::{Member, OptionMembers, Redacted, Request, RuleMembers, is_false};
use crate::secret::Secret;

/// A connection by OAuth.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct OAuthConnection {
    /// The access token; `*****` to a token without the scope `write`, or with
    /// `oauth.redact_tokens`.
    #[serde(with = "in_clear")]
    #[schema(value_type = String, example = "ps55XW1CbNj_hKnzwJU3yc968SL39yh3C3Okn1fpC-ThYWDqY2_M5w==")]
    pub access_token: Secret,
    /// The hosts that the tokens may be sent to; only there once it is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "api.example.com")]
    pub allowed_domain: Option<String>,
    /// The name of the token that began the flow.
    #[schema(example = "test_user")]
    pub created_by: String,
    /// Only there when the connection can't be used: what is wrong with it, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub defect: Option<String>,
    /// The integration.
    #[schema(example = "my_integration")]
    pub integration: String,
    /// Its name; its uuid where it has no other.
    #[schema(example = "my_oauth_connection")]
    pub name: String,
    /// Only there, and true, when only a new flow helps.
    #[serde(default, skip_serializing_if = "is_false")]
    pub needs_reauthorization: bool,
    /// The provider's answer as it came.
    #[serde(with = "in_clear")]
    #[schema(value_type = String, example = "{\"access_token\":\"ps55XW1CbNj_hKnzwJU3yc968SL39yh3C3Okn1fpC\"}")]
    pub oauth_access_token_response_body: Secret,
    /// The client.
    #[schema(format = Uuid, example = "9c81f444-4beb-4ba7-9bcc-6b2d068e7ade")]
    pub oauth_client_uuid: String,
    /// The value of the placeholder in the client's URLs.
    #[schema(example = "foobar")]
    pub oauth_url_subdomain: String,
    /// The scope that was granted.
    #[schema(example = "read write")]
    pub permission_scope: String,
    /// The reason why only a new flow helps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reauthorization_reason: Option<String>,
    /// Only there when its tokens are not refreshed: who must act, since when, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub refresh_failure: Option<RefreshFailureReport>,
    /// The refresh token; empty where there is none.
    #[serde(with = "in_clear")]
    #[schema(value_type = String, example = "cs95Xaw_F5PKcxO4fQ9bZKklHKncdkXIc9qGrvktPt2elg==")]
    pub refresh_token: Secret,
    /// The time at which the refresh token expires, as YYYY-MM-DDThh:mm:ssZ; only there when it is
    /// known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "2021-10-31T12:44:22Z", format = DateTime, nullable = false)]
    pub refresh_token_expiry: Option<String>,
    /// The time at which the access token expires, as YYYY-MM-DDThh:mm:ssZ; null where nobody has
    /// said.
    #[schema(example = "2021-10-01T12:44:22Z", format = DateTime)]
    pub token_expiry: Option<String>,
    /// The type that the provider named.
    #[schema(example = "bearer")]
    pub token_type: String,
    /// The connection's uuid.
    #[schema(format = Uuid, example = "ac10a230-0c43-45f8-b221-9e085ce90418")]
    pub uuid: String,
    /// The account's number.
    #[schema(example = 123_456)]
    pub zendesk_account_id: u64,
    /// Always `*****`; only there with a client certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, nullable = false, example = "*****")]
    pub client_key: Option<Redacted>,
    /// The time at which its client certificate expires (RFC 3339, UTC); only there with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime, example = "2030-01-31T12:00:00.000000Z")]
    pub not_after: Option<String>,
    /// Its options, as far as they differ from the default.
    #[serde(flatten)]
    pub options: OptionMembers,
}

/// The reason why a connection's tokens are not refreshed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct RefreshFailureReport {
    /// The one who must act: `operator`, or `user` for somebody with an account at the provider;
    /// `retry` where nobody need.
    #[schema(pattern = "^(retry|operator|user)$", example = "operator")]
    pub who_must_act: String,
    /// The time of the first failure since tokens were got, as YYYY-MM-DDThh:mm:ssZ.
    #[schema(example = "2026-10-01T12:44:22Z", format = DateTime)]
    pub since: String,
    /// The provider's own code, where it has one that is short and plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 64, example = "invalid_client")]
    pub code: Option<String>,
    /// The reason of the last failure.
    #[schema(example = "the provider said invalid_client")]
    pub reason: String,
}

/// A connection by OAuth in a list of all connections.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[expect(missing_docs, reason = "its members are those of OAuthConnection")]
pub struct OAuthItem {
    #[serde(with = "in_clear")]
    #[schema(value_type = String)]
    pub access_token: Secret,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_domain: Option<String>,
    pub created_by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub defect: Option<String>,
    pub name: String,
    #[serde(default, skip_serializing_if = "is_false")]
    pub needs_reauthorization: bool,
    #[serde(with = "in_clear")]
    #[schema(value_type = String)]
    pub oauth_access_token_response_body: Secret,
    pub oauth_url_subdomain: String,
    pub permission_scope: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reauthorization_reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub refresh_failure: Option<RefreshFailureReport>,
    #[serde(with = "in_clear")]
    #[schema(value_type = String)]
    pub refresh_token: Secret,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime, nullable = false)]
    pub refresh_token_expiry: Option<String>,
    #[schema(format = DateTime)]
    pub token_expiry: Option<String>,
    pub token_type: String,
    #[schema(format = Uuid)]
    pub uuid: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, nullable = false)]
    pub client_key: Option<Redacted>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    pub not_after: Option<String>,
    #[serde(flatten)]
    pub options: OptionMembers,
}

/// The result of a flow.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[expect(missing_docs, reason = "most of its members are those of OAuthConnection")]
pub struct AccessCode {
    #[serde(with = "in_clear")]
    #[schema(value_type = String)]
    pub access_token: Secret,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_domain: Option<String>,
    pub created_by: String,
    pub integration: String,
    #[serde(with = "in_clear")]
    #[schema(value_type = String)]
    pub oauth_access_token_response_body: Secret,
    /// The URL that the browser was sent to at the end; empty where it was not sent.
    pub origin_oauth_redirect_url: String,
    pub permission_scope: String,
    /// The query with which the provider sent the browser back; empty where no browser was asked.
    #[serde(with = "in_clear")]
    #[schema(value_type = String, example = "code=aPrx&state=CC5j68")]
    pub raw_callback_params: Secret,
    #[serde(with = "in_clear")]
    #[schema(value_type = String)]
    pub refresh_token: Secret,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime, nullable = false)]
    pub refresh_token_expiry: Option<String>,
    #[schema(format = DateTime)]
    pub token_expiry: Option<String>,
    pub token_type: String,
    #[schema(format = Uuid)]
    pub uuid: String,
    pub zendesk_account_id: u64,
}

with_option_members! {
    /// A change of a connection by OAuth: the domain of one that has none, and options.
    #[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
    #[serde(deny_unknown_fields)]
    #[schema(as = Binding, example = json!({"allowed_domain": "api.example.com"}))]
    pub struct OAuthConnectionChange {
        /// The hosts that the tokens may be sent to: a host name, or `*.` and a name for it and all
        /// names below; never changes afterwards.
        #[serde(default, skip_serializing_if = "Member::is_absent")]
        #[schema(
            value_type = Option<String>,
            min_length = 3,
            max_length = 253,
            pattern = "^(\\*\\.)?([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\\.)+[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$"
        )]
        pub allowed_domain: Member<String>,
        /// Its uuid, which never changes.
        #[schema(ignore)]
        #[serde(skip_serializing_if = "Member::is_absent")]
        pub uuid: Member<String>,
        /// Its integration, which never changes.
        #[schema(ignore)]
        #[serde(skip_serializing_if = "Member::is_absent")]
        pub integration: Member<String>,
        /// Its name, which never changes.
        #[schema(ignore)]
        #[serde(skip_serializing_if = "Member::is_absent")]
        pub name: Member<String>,
        /// The name of the token that began its flow, which never changes.
        #[schema(ignore)]
        #[serde(skip_serializing_if = "Member::is_absent")]
        pub created_by: Member<String>,
        /// Its client, which never changes.
        #[schema(ignore)]
        #[serde(skip_serializing_if = "Member::is_absent")]
        pub oauth_client_uuid: Member<String>,
        /// The key of the client certificate, in PEM.
        #[serde(default, skip_serializing_if = "Member::is_absent")]
        #[schema(value_type = Option<String>, min_length = 1, max_length = 32768, format = Password)]
        pub client_key: Member<Secret>,
    }
}

impl Request for OAuthConnectionChange {
    /// Members that the provider and the server may have changed since they were shown.
    const READ_ONLY: &'static [&'static str] = &[
        "access_token",
        "defect",
        "needs_reauthorization",
        "not_after",
        "oauth_access_token_response_body",
        "oauth_url_subdomain",
        "permission_scope",
        "reauthorization_reason",
        "refresh_failure",
        "refresh_token",
        "refresh_token_expiry",
        "token_expiry",
        "token_type",
        "zendesk_account_id",
    ];
}
