//! OAuth clients (ZIS spec §4.5).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::profile::{
    AssertionMembers, InstallationMembers, ParamMap, ProfileMembers, each_profile_member,
    take_member, with_profile_members,
};
use super::{Member, PageMeta, PlacementMembers, ProviderEntry, Redacted, Request};
use crate::secret::Secret;

/// An OAuth client. Its secret is never shown.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
pub struct OAuthClient {
    /// The URL at which the resource owner is asked; null where nobody is.
    #[schema(example = "https://id.example.com/authorize")]
    pub auth_url: Option<String>,
    /// The client's id at the provider.
    #[schema(example = "my_client_id")]
    pub client_id: String,
    /// Always `*****`.
    #[schema(value_type = String, example = "*****")]
    pub client_secret: Redacted,
    /// The time at which it was made (RFC 3339, UTC).
    #[schema(example = "1985-04-12T23:20:50.520000Z", format = DateTime)]
    pub created_at: String,
    /// The name of the token that made it.
    #[schema(example = "test_user")]
    pub created_by: String,
    /// True of the account's own client, which the configuration declares (`zis.client`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub declared: bool,
    /// The scopes that are asked for unless a flow says otherwise.
    #[schema(example = "read write")]
    pub default_scopes: String,
    /// The grant type, unless a flow says otherwise.
    #[schema(example = "authorization_code")]
    pub grant_type: String,
    /// The integration.
    #[schema(example = "my_integration")]
    pub integration: String,
    /// Its name; its uuid where it has no other.
    #[schema(example = "my_oauth_client_name")]
    pub name: String,
    /// The way to show its secret: `client_secret_post`, `client_secret_basic`,
    /// `client_secret_basic_raw`, `private_key_jwt` or `none`.
    #[schema(example = "client_secret_post")]
    pub token_endpoint_auth_method: String,
    /// The URL at which tokens are asked for.
    #[schema(example = "https://id.example.com/token")]
    pub token_url: String,
    /// The time of the last change (RFC 3339, UTC).
    #[schema(example = "1985-04-12T23:20:50.520000Z", format = DateTime)]
    pub updated_at: String,
    /// The client's uuid.
    #[schema(format = Uuid, example = "9c81f444-4beb-4ba7-9bcc-6b2d068e7ade")]
    pub uuid: String,
    /// The members of its token-request profile, as far as they are not their defaults.
    #[serde(flatten)]
    pub profile: ProfileMembers,
}

/// A page of clients.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[schema(as = Clients)]
pub struct ClientPage {
    #[expect(missing_docs, reason = "the name says it")]
    pub clients: Vec<OAuthClient>,
    #[expect(missing_docs, reason = "the name says it")]
    pub meta: PageMeta,
}

with_profile_members! {
    /// A client that is to be made.
    #[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
    #[serde(deny_unknown_fields)]
    #[schema(example = json!({"name": "my_oauth_client_name", "client_id": "my_client_id", "client_secret": "my_client_secret", "auth_url": "https://id.example.com/authorize", "token_url": "https://id.example.com/token", "default_scopes": "read write"}))]
    pub struct NewOAuthClient {
        /// Unique among the integration's clients; never changes. One without a name is called by its
        /// uuid.
        #[schema(value_type = Option<String>, pattern = "^([A-Za-z0-9_-][A-Za-z0-9 _-]{1,62}[A-Za-z0-9_-])?$")]
        pub name: Member<String>,
        /// The integration of the path, which may be said again.
        #[schema(ignore)]
        pub integration: Member<String>,
        /// The client's id at the provider. The file of a service account names it.
        #[schema(required = false, value_type = String, min_length = 1, max_length = 1024, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]+$")]
        pub client_id: Member<String>,
        /// Its secret. With `jwt_bearer`, `github_app` and `private_key_jwt` it is a private key: PEM
        /// (PKCS #8, PKCS #1 or SEC 1), a JWK, or the whole JSON file of a Google service account.
        #[schema(required = false, value_type = String, min_length = 1, max_length = 8192, format = Password)]
        pub client_secret: Member<Secret>,
        /// The https URL at which the resource owner is asked, which may have `{subdomain}` in its path
        /// or as the first label of its host.
        #[schema(value_type = Option<String>, max_length = 2048, pattern = "^([Hh][Tt][Tt][Pp][Ss]://[!-~]+)?$")]
        pub auth_url: Member<String>,
        /// The https URL at which tokens are asked for, likewise. It may be left out where
        /// `provider`, the file of a service account or the id of an installation gives it.
        #[schema(value_type = Option<String>, max_length = 2048, pattern = "^([Hh][Tt][Tt][Pp][Ss]://[!-~]+)?$")]
        pub token_url: Member<String>,
        /// The scopes that are asked for unless a flow says otherwise: space-separated.
        #[schema(value_type = Option<String>, max_length = 4096, pattern = "^[ !#-\\[\\]-~]*$")]
        pub default_scopes: Member<String>,
        /// The grant type, unless a flow says otherwise.
        #[schema(
            value_type = Option<String>,
            pattern = "^(authorization_code|client_credentials|jwt_bearer|github_app)?$",
            default = "authorization_code"
        )]
        pub grant_type: Member<String>,
        /// The way to show its secret (RFC 6749 §2.3.1).
        #[schema(
            value_type = Option<String>,
            pattern = "^(client_secret_post|client_secret_basic|client_secret_basic_raw|private_key_jwt|none)?$",
            default = "client_secret_post"
        )]
        pub token_endpoint_auth_method: Member<String>,
        /// The values of what the provider's entry in the catalogue asks for, by name.
        #[serde(skip_serializing_if = "Member::is_absent")]
        #[schema(value_type = Option<BTreeMap<String, String>>, example = json!({"subdomain": "acme"}))]
        pub provider_values: Member<ParamMap>,
    }
}

impl Request for NewOAuthClient {
    const MAX_MEMBERS: usize = 64;
}

impl NewOAuthClient {
    /// Takes from a provider's entry each member that is left out here; `profile` are the members
    /// of the profile that were taken out before.
    pub fn fill(&mut self, profile: &mut ProfileMembers, mut entry: ProviderEntry) {
        profile.fill(entry.take_profile());
        for (member, of_entry) in [
            (&mut self.auth_url, entry.auth_url),
            (&mut self.token_url, entry.token_url),
            (&mut self.default_scopes, entry.default_scopes),
            (&mut self.grant_type, entry.grant_type),
            (&mut self.token_endpoint_auth_method, entry.token_endpoint_auth_method),
        ] {
            member.fill_blank(of_entry.filled());
        }
    }
}

with_profile_members! {
    /// A change of a client. URLs, inject and the paths of tokens change only with the secret
    /// entered again; the URLs of a client without a secret stay at its origins.
    #[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
    #[serde(deny_unknown_fields)]
    #[schema(min_properties = 1, example = json!({"client_secret": "my_client_secret"}))]
    pub struct OAuthClientChange {
        /// The client's id at the provider.
        #[serde(skip_serializing_if = "Member::is_absent")]
        #[schema(
            required = false,
            value_type = String,
            min_length = 1,
            max_length = 1024,
            pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]+$"
        )]
        pub client_id: Member<String>,
        /// The new secret.
        #[serde(skip_serializing_if = "Member::is_absent")]
        #[schema(required = false, value_type = String, min_length = 1, max_length = 8192, format = Password)]
        pub client_secret: Member<Secret>,
        /// Another URL at which the resource owner is asked; only along with `client_secret`.
        #[serde(skip_serializing_if = "Member::is_absent")]
        #[schema(required = false, value_type = String, max_length = 2048, pattern = "^[Hh][Tt][Tt][Pp][Ss]://[!-~]+$")]
        pub auth_url: Member<String>,
        /// Another URL at which tokens are asked for; only along with `client_secret`.
        #[serde(skip_serializing_if = "Member::is_absent")]
        #[schema(required = false, value_type = String, max_length = 2048, pattern = "^[Hh][Tt][Tt][Pp][Ss]://[!-~]+$")]
        pub token_url: Member<String>,
        /// Other scopes.
        #[serde(skip_serializing_if = "Member::is_absent")]
        #[schema(required = false, value_type = String, max_length = 4096, pattern = "^[ !#-\\[\\]-~]*$")]
        pub default_scopes: Member<String>,
        /// Another way to show the secret.
        #[serde(skip_serializing_if = "Member::is_absent")]
        #[schema(required = false, value_type = String, pattern = "^(client_secret_post|client_secret_basic|client_secret_basic_raw|private_key_jwt|none)$")]
        pub token_endpoint_auth_method: Member<String>,
        /// Its name, which never changes.
        #[serde(skip_serializing_if = "Member::is_absent")]
        #[schema(ignore)]
        pub name: Member<String>,
        /// Its uuid, which never changes.
        #[serde(skip_serializing_if = "Member::is_absent")]
        #[schema(ignore)]
        pub uuid: Member<String>,
        /// Its integration, which never changes.
        #[serde(skip_serializing_if = "Member::is_absent")]
        #[schema(ignore)]
        pub integration: Member<String>,
        /// Its grant type, which never changes.
        #[serde(skip_serializing_if = "Member::is_absent")]
        #[schema(ignore)]
        pub grant_type: Member<String>,
    }
}

impl Request for OAuthClientChange {
    const MAX_MEMBERS: usize = 64;
    const READ_ONLY: &'static [&'static str] = &["created_at", "created_by", "updated_at"];
}
