//! The catalogue of OAuth providers: an entry as it is kept, and as it is shown.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::profile::{
    AssertionMembers, InstallationMembers, ParamMap, each_profile_member, take_member,
    with_profile_members,
};
use super::{Member, PlacementMembers};

with_profile_members! {
    /// A provider: the members of an OAuth client that are its. In them, `{name}` stands for what
    /// the operator is asked for.
    #[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
    #[serde(deny_unknown_fields)]
    #[schema(as = Provider)]
    pub struct ProviderEntry {
        /// The name by which it is chosen.
        #[schema(example = "zendesk")]
        pub name: String,
        /// The name that people read.
        #[schema(example = "Zendesk")]
        pub title: String,
        /// Anything else to know before a connection is made.
        pub notes: String,
        /// The values that the operator is asked for.
        #[serde(default)]
        pub asks: Vec<ProviderAsk>,
        /// The pages from which its members are known.
        pub sources: Vec<ProviderSource>,
        /// The URL at which the resource owner is asked.
        #[serde(default, skip_serializing_if = "Member::is_absent")]
        #[schema(value_type = Option<String>, example = "https://{subdomain}.zendesk.com/oauth/authorizations/new")]
        pub auth_url: Member<String>,
        /// The URL at which tokens are asked for.
        #[serde(default, skip_serializing_if = "Member::is_absent")]
        #[schema(value_type = Option<String>, example = "https://{subdomain}.zendesk.com/oauth/tokens")]
        pub token_url: Member<String>,
        /// The scopes that are asked for unless a client or a flow says otherwise.
        #[serde(default, skip_serializing_if = "Member::is_absent")]
        #[schema(value_type = Option<String>, example = "read")]
        pub default_scopes: Member<String>,
        /// The grant type; `authorization_code` unless given.
        #[serde(default, skip_serializing_if = "Member::is_absent")]
        #[schema(value_type = Option<String>, example = "client_credentials")]
        pub grant_type: Member<String>,
        /// The way to show the secret; `client_secret_post` unless given.
        #[serde(default, skip_serializing_if = "Member::is_absent")]
        #[schema(value_type = Option<String>, example = "client_secret_basic")]
        pub token_endpoint_auth_method: Member<String>,
    }
}

/// A value that a provider's entry asks the operator for.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderAsk {
    /// The name, which is in braces in the entry's members.
    #[schema(example = "subdomain")]
    pub name: String,
    /// The value in words.
    #[schema(example = "Subdomain of the Zendesk account")]
    pub title: String,
    /// An example of it.
    #[schema(example = "acme")]
    pub example: String,
    /// Tells whether it may be left open, so that each connection gives its own.
    #[serde(default, skip_serializing_if = "super::is_false")]
    pub optional: bool,
}

/// A page from which something of an entry is known.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderSource {
    /// Its URL.
    #[schema(
        example = "https://developer.zendesk.com/documentation/api-basics/authentication/refresh-token"
    )]
    pub url: String,
    /// The page's own date where it tells one, else the day on which it was read.
    #[schema(example = "2026-11-30", format = Date)]
    pub date: String,
    /// Its statement, in short.
    #[schema(example = "access tokens live 30 minutes")]
    pub says: String,
}

/// A provider.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
pub struct ProviderAnswer {
    #[expect(missing_docs, reason = "the type says it")]
    pub provider: ProviderEntry,
}

/// Providers of the catalogue.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
pub struct ProviderList {
    #[expect(missing_docs, reason = "the type says it")]
    pub providers: Vec<ProviderSummary>,
}

/// A provider, in short.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct ProviderSummary {
    /// The name by which it is chosen.
    #[schema(example = "zendesk")]
    pub name: String,
    /// The name that people read.
    #[schema(example = "Zendesk")]
    pub title: String,
    /// The grant type.
    #[schema(example = "authorization_code")]
    pub grant_type: String,
    /// The names of the values that it asks for.
    #[schema(example = json!(["subdomain"]))]
    pub asks: Vec<String>,
    /// The allowed domains that its connections are offered.
    #[schema(example = json!(["{subdomain}.zendesk.com"]))]
    pub allowed_domains: Vec<String>,
}
