//! OAuth clients: the registration of an integration with a provider (RFC 6749 §2).

use jiff::Timestamp;
use uuid::Uuid;

use super::endpoint::{EndpointTemplate, Subdomain, TokenEndpoint};
use super::grant::{Grant, GrantType, Injection};
use super::profile::Profile;
use super::tokens::TokenSet;
use crate::model::name::{ClientName, IntegrationName, ZENDESK};
use crate::model::sealed::{Context, Sealed};
use crate::model::{named_enum, parsed_by_name};
use crate::secret::Secret;

/// The stored record of an OAuth client.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientRecord {
    /// The id of the record, which never changes.
    pub uuid: Uuid,
    /// The integration that it belongs to.
    pub integration: IntegrationName,
    /// Its name, which is its uuid unless one was given.
    pub name: ClientName,
    /// The provider's id of the client (`client_id`).
    pub client_id: Box<str>,
    /// The authorization endpoint; not needed for client credentials.
    pub auth_url: Option<EndpointTemplate>,
    /// The token endpoint.
    pub token_url: EndpointTemplate,
    /// The scopes to request unless a flow names others, separated by spaces.
    pub default_scopes: Box<str>,
    /// The grant type unless a flow names another.
    pub grant_type: GrantType,
    /// The client authentication method.
    pub auth_method: AuthMethod,
    /// Everything by which its provider differs from RFC 6749.
    pub profile: Box<Profile>,
    /// The operator who has created it.
    pub created_by: Box<str>,
    /// Its sealed secret, which may be a private key; empty for a public client.
    pub sealed: Sealed,
    /// The time at which it was created, in whole microseconds.
    pub created_at: Timestamp,
    /// The time of its last change, in whole microseconds.
    pub updated_at: Timestamp,
}

named_enum! {
    /// The method by which a client authenticates to the token endpoint (RFC 6749 §2.3.1,
    /// RFC 7591 §2).
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub enum AuthMethod {
        /// `client_secret_post`: in the body.
        ClientSecretPost = "client_secret_post",
        /// `client_secret_basic`: in the `Authorization` field.
        ClientSecretBasic = "client_secret_basic",
        /// `client_secret_basic` without form-encoding, for providers that don't decode it.
        ClientSecretBasicRaw = "client_secret_basic_raw",
        /// `private_key_jwt`: an assertion that the client signs (RFC 7523 §2.2).
        PrivateKeyJwt = "private_key_jwt",
        /// `none`: nothing is shown. Such a client has no secret, unless its grant is signed.
        None = "none",
    }
}

parsed_by_name!(AuthMethod);

/// The client that every integration has for its account, where the operator names one
/// (`zis.client`). It is made of the configuration, and not stored.
#[derive(Clone, Debug)]
pub struct AccountClient {
    /// The account's id of the client.
    pub client_id: Box<str>,
    /// Its secret.
    pub secret: Secret,
}

impl AccountClient {
    /// The uuid that it has in every integration.
    pub const UUID: Uuid = Uuid::from_u128(0x6b65_7966_6572_8000_8000_7a65_6e64_736b);

    /// Its record in this integration, as of the time at which the configuration was read; the
    /// secret is not sealed yet.
    #[must_use]
    pub fn record(
        &self,
        integration: &IntegrationName,
        read_at: Timestamp,
    ) -> Option<ClientRecord> {
        let endpoint = |url| EndpointTemplate::parse(url).ok();
        Some(ClientRecord {
            uuid: Self::UUID,
            integration: integration.clone(),
            name: ClientName::parse(ZENDESK).ok()?,
            client_id: self.client_id.clone(),
            auth_url: Some(endpoint("https://{subdomain}.zendesk.com/oauth/authorizations/new")?),
            token_url: endpoint("https://{subdomain}.zendesk.com/oauth/tokens")?,
            default_scopes: "read".into(),
            grant_type: GrantType::AuthorizationCode,
            auth_method: AuthMethod::ClientSecretPost,
            profile: Box::new(Profile::decode(ZENDESK_PROFILE)?),
            created_by: "keyferry".into(),
            sealed: Sealed::default(),
            created_at: read_at,
            updated_at: read_at,
        })
    }
}

impl ClientRecord {
    /// Tells whether it is the account's own client, which the configuration declares.
    #[must_use]
    pub fn is_declared(&self) -> bool {
        self.uuid == AccountClient::UUID
    }

    /// The context for which its secret is sealed.
    #[must_use]
    pub fn context(&self) -> Context<'_> {
        Context::Client {
            uuid: self.uuid,
            integration: &self.integration,
            client_id: &self.client_id,
            auth_url: self.auth_url.as_ref().map(EndpointTemplate::as_str),
            token_url: self.token_url.as_str(),
            auth_method: self.auth_method,
            profile: &self.profile,
        }
    }
}

impl ClientRecord {
    /// The places that carry an access token of this client; `None` for `Authorization: Bearer`.
    #[must_use]
    pub fn injection(&self) -> Option<Box<Injection>> {
        let placements = self.profile.inject.clone();
        let client_id = self.client_id.clone();
        (!placements.is_empty()).then(|| Box::new(Injection { placements, client_id }))
    }

    /// Tells whether its secret is a private key, which signs and is never sent.
    #[must_use]
    pub fn has_key(&self) -> bool {
        self.grant_type.is_signed() || self.auth_method == AuthMethod::PrivateKeyJwt
    }

    /// Tells whether it has no secret at all.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.auth_method == AuthMethod::None && !self.has_key()
    }

    /// Tells whether a flow may get tokens by this grant. A key signs the grant that it was
    /// entered for, and no other.
    #[must_use]
    pub fn allows(&self, grant_type: GrantType) -> bool {
        self.grant_type == grant_type || !(self.grant_type.is_signed() || grant_type.is_signed())
    }
}

impl ClientRecord {
    /// The origins of the endpoints at which a flow asks for consent and tokens, and at which these
    /// are refreshed, as one text; `None` where a URL needs a subdomain and there is none.
    #[must_use]
    pub fn origins(&self, subdomain: Option<&Subdomain>) -> Option<Box<str>> {
        let refresh_url = self.profile.refresh_url.as_ref().unwrap_or(&self.token_url);
        let urls = [self.auth_url.as_ref(), Some(&self.token_url), Some(refresh_url)];
        let origin =
            |url: &EndpointTemplate| Some(url.resolve(subdomain).ok()?.origin().to_string());
        let origins = urls.map(|url| url.map_or_else(|| Some("-".to_owned()), origin));
        let origins: Option<Vec<_>> = origins.into_iter().collect();
        origins.map(|origins| origins.join(" ").into())
    }

    /// Tells whether a refresh token would go to another origin than the one that was to refresh it
    /// when it came: who may change the client's URLs must not have others' tokens sent there.
    #[must_use]
    pub fn has_moved(&self, grant: &Grant, tokens: &TokenSet) -> bool {
        let endpoint = TokenEndpoint::of_refresh(self, grant.subdomain.as_ref());
        let there = endpoint.map(|endpoint| endpoint.origin().to_string());
        grant.grant_type.has_user()
            && tokens.refresh_token.is_some()
            && there.is_ok_and(|there| there != *tokens.issuer)
    }
}

/// The profile of Zendesk, whose answers tell no lifetime unless the request has one.
const ZENDESK_PROFILE: &str = r#"{
    "provider": "zendesk",
    "token_params": {"expires_in": "1800", "refresh_token_expires_in": "2592000"},
    "refresh_params": {"expires_in": "1800", "refresh_token_expires_in": "2592000"},
    "default_lifetime": "30m",
    "refresh_token_lifetime": "30d"
}"#;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[test]
    fn the_accounts_client_is_one_of_every_integration() {
        let client = AccountClient { client_id: "id".into(), secret: Secret::new("s") };
        let integration = IntegrationName::parse("acme").unwrap();
        let record = client.record(&integration, Timestamp::UNIX_EPOCH).unwrap();
        assert!(record.is_declared() && !example().is_declared());
        assert_eq!(record.profile.token_params["expires_in"], "1800");
    }

    #[test]
    fn a_flow_notices_that_an_endpoint_has_moved_to_another_origin() {
        use crate::model::oauth::flow::{FlowPayload, FlowPlan};
        // 1. A flow of the client as it is.
        let client = example();
        let mut content = FlowPayload::new(FlowPlan {
            name: None,
            allowed_domain: None,
            grant_type: GrantType::AuthorizationCode,
            scopes: "".into(),
            subdomain: None,
            offline: false,
            redirect_to: None,
            created_by: "admin".into(),
            begun_with: None,
            person: None,
        });
        content.origins = client.origins(None);
        // 2. The client as it may be afterwards.
        let endpoint = |url| EndpointTemplate::parse(url).unwrap();
        let same = ClientRecord { token_url: endpoint("https://id.example.com/v2"), ..example() };
        assert!(!content.has_moved(&client) && !content.has_moved(&same));
        let mut moved = [example(), example(), example(), example()];
        moved[0].token_url = endpoint("https://id.example.net/token");
        moved[1].auth_url = Some(endpoint("https://id.example.net/authorize"));
        moved[2].profile.refresh_url = Some(endpoint("https://id.example.com:8443/token"));
        moved[3].token_url = endpoint("https://{subdomain}.example.com/token");
        for moved in moved {
            assert!(content.has_moved(&moved), "{moved:?}");
        }
    }

    /// A client of `https://id.example.com`, whose secret is not sealed.
    pub(crate) fn example() -> ClientRecord {
        let endpoint = |url| EndpointTemplate::parse(url).unwrap();
        ClientRecord {
            uuid: Uuid::from_bytes([1; 16]),
            integration: IntegrationName::parse("acme").unwrap(),
            name: ClientName::parse("example").unwrap(),
            client_id: "id".into(),
            auth_url: Some(endpoint("https://id.example.com/authorize")),
            token_url: endpoint("https://id.example.com/token"),
            default_scopes: "".into(),
            grant_type: GrantType::AuthorizationCode,
            auth_method: AuthMethod::ClientSecretPost,
            profile: Box::default(),
            created_by: "admin".into(),
            sealed: Sealed::default(),
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
        }
    }
}
