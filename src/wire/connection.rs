//! Static connections, and the list of all connections (ZIS spec §4.1 to §4.4).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::{Array, ArrayBuilder, Ref};

use super::options::{each_option_member, with_option_members};
use super::profile::take_member;
use super::{Member, OAuthItem, OptionMembers, PageMeta, Redacted, Request, RuleMembers, is_false};
use crate::secret::Secret;

with_option_members! {
    /// The members of a static connection that is to be made or changed: of these, those of its
    /// type.
    #[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
    #[serde(deny_unknown_fields)]
    pub struct StaticMembers {
        /// Unique within the integration across all types; never changes.
        #[serde(skip_serializing_if = "Member::is_absent")]
        #[schema(required = true, value_type = String, min_length = 3, max_length = 64, pattern = "^[A-Za-z0-9_-]+$")]
        pub name: Member<String>,
        /// The hosts that the secret may be sent to: a host name, or `*.` and a name for it and all
        /// names below; never changes.
        #[serde(skip_serializing_if = "Member::is_absent")]
        #[schema(
            required = true,
            value_type = String,
            min_length = 3,
            max_length = 253,
            pattern = "^(\\*\\.)?([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\\.)+[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$"
        )]
        pub allowed_domain: Member<String>,
        /// The header that carries the key.
        #[serde(skip_serializing_if = "Member::is_absent")]
        #[schema(required = true, value_type = String, min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]
        pub header_name: Member<String>,
        /// The key, sent as it is.
        #[serde(skip_serializing_if = "Member::is_absent")]
        #[schema(required = true, value_type = String, min_length = 1, max_length = 8192, format = Password)]
        pub api_key: Member<Secret>,
        /// The user name; it is shown, so it must not be secret.
        #[serde(skip_serializing_if = "Member::is_absent")]
        #[schema(required = true, value_type = String, min_length = 1, max_length = 8192)]
        pub username: Member<String>,
        /// The password.
        #[serde(skip_serializing_if = "Member::is_absent")]
        #[schema(required = true, value_type = String, min_length = 1, max_length = 8192, format = Password)]
        pub password: Member<Secret>,
        /// The token, sent as `Authorization: Bearer` and the token.
        #[serde(skip_serializing_if = "Member::is_absent")]
        #[schema(required = true, value_type = String, min_length = 1, max_length = 8192, format = Password)]
        pub token: Member<Secret>,
        /// Goes with a secret that replaces another: the time for which the old one is kept, and
        /// used once for a request whose new one the origin answers by 401. From `1s` to `7d`. `0s`,
        /// with a secret or alone, forgets what is kept of an earlier replacement.
        #[serde(skip_serializing_if = "Member::is_absent")]
        #[schema(value_type = Option<String>, example = "10m")]
        pub keep_old_for: Member<String>,
        /// The key of the client certificate, in PEM.
        #[serde(skip_serializing_if = "Member::is_absent")]
        #[schema(value_type = Option<String>, min_length = 1, max_length = 32768, format = Password)]
        pub client_key: Member<Secret>,
    }
}

impl Request for StaticMembers {
    const READ_ONLY: &'static [&'static str] =
        &["created_at", "defect", "not_after", "old_secret_until", "updated_at"];
}

/// A static connection as it is shown: of these members, those of its type. Its secret is never
/// shown.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
pub struct StaticConnection {
    /// The hosts that the secret may be sent to.
    #[schema(example = "api.example.com")]
    pub allowed_domain: String,
    /// Always `*****`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, example = "*****")]
    pub api_key: Option<Redacted>,
    /// The time at which it was made (RFC 3339, UTC).
    #[schema(example = "1985-04-12T23:20:50.520000Z", format = DateTime)]
    pub created_at: String,
    /// Only there, and true, when the configuration declares the connection.
    #[serde(default, skip_serializing_if = "is_false")]
    pub declared: bool,
    /// Only there when the connection can't be used: what is wrong with it, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub defect: Option<String>,
    /// The header that carries the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, example = "x-api-key")]
    pub header_name: Option<String>,
    /// Its name.
    pub name: String,
    /// Only there while a replaced secret is kept: the time at which it is forgotten (RFC 3339,
    /// UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    pub old_secret_until: Option<String>,
    /// Always `*****`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, example = "*****")]
    pub password: Option<Redacted>,
    /// Always `*****`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, example = "*****")]
    pub token: Option<Redacted>,
    /// The time of the last change (RFC 3339, UTC).
    #[schema(example = "1985-04-12T23:20:50.520000Z", format = DateTime)]
    pub updated_at: String,
    /// The user name, which is not secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, example = "john.doe@example.com")]
    pub username: Option<String>,
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

/// The answer that has one static connection in it, under the name of its type.
pub type StaticAnswer = BTreeMap<String, StaticConnection>;

/// A page of connections. They are listed by their names across all types, then sorted into one
/// array for each type.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[schema(as = Page)]
#[expect(missing_docs, reason = "the names say it")]
pub struct ConnectionPage {
    #[schema(schema_with = array_of_api_key)]
    pub api_key: Vec<StaticConnection>,
    #[schema(schema_with = array_of_basic_auth)]
    pub basic_auth: Vec<StaticConnection>,
    #[schema(schema_with = array_of_bearer_token)]
    pub bearer_token: Vec<StaticConnection>,
    pub meta: PageMeta,
    pub oauth: Vec<OAuthItem>,
}

fn array_of_api_key() -> Array {
    array_of("ApiKey")
}

fn array_of_basic_auth() -> Array {
    array_of("BasicAuth")
}

fn array_of_bearer_token() -> Array {
    array_of("BearerToken")
}

/// The schemas of single types are drawn from [`StaticConnection`] where their paths are described.
fn array_of(schema: &str) -> Array {
    ArrayBuilder::new().items(Ref::from_schema_name(schema)).build()
}
