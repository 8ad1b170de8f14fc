//! An OAuth client: how an integration is registered with a provider (RFC 6749 §2).

use jiff::Timestamp;
use uuid::Uuid;

use super::endpoint::EndpointTemplate;
use super::grant::GrantType;
use crate::model::name::{ClientName, IntegrationName};
use crate::model::sealed::{Context, Sealed};

/// A client as it is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientRecord {
    /// Which client it is, for as long as it exists.
    pub uuid: Uuid,
    /// The integration that it belongs to.
    pub integration: IntegrationName,
    /// What it is called; its uuid where nobody has named it.
    pub name: ClientName,
    /// What the provider calls it.
    pub client_id: Box<str>,
    /// Where the resource owner is asked; not needed for client credentials.
    pub auth_url: Option<EndpointTemplate>,
    /// Where tokens are asked for.
    pub token_url: EndpointTemplate,
    /// The scopes that are asked for unless a flow names others, space-separated.
    pub default_scopes: Box<str>,
    /// How it comes by tokens unless a flow says otherwise.
    pub grant_type: GrantType,
    /// How it shows its secret.
    pub auth_method: AuthMethod,
    /// Who made it.
    pub created_by: Box<str>,
    /// Its secret.
    pub sealed: Sealed,
    /// When it was made, in whole microseconds.
    pub created_at: Timestamp,
    /// When it was last changed, in whole microseconds.
    pub updated_at: Timestamp,
}

/// How a client shows its secret to the token endpoint (RFC 6749 §2.3.1, named by RFC 7591 §2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AuthMethod {
    /// `client_secret_basic`: in `Authorization`.
    ClientSecretBasic,
    /// `client_secret_post`: in the body.
    ClientSecretPost,
}

impl ClientRecord {
    /// What its secret is sealed for.
    #[must_use]
    pub fn context(&self) -> Context<'_> {
        Context::Client {
            uuid: self.uuid,
            integration: &self.integration,
            client_id: &self.client_id,
            auth_url: self.auth_url.as_ref().map(EndpointTemplate::as_str),
            token_url: self.token_url.as_str(),
            auth_method: self.auth_method,
        }
    }
}

impl AuthMethod {
    /// The methods by their names.
    pub const ALL: [Self; 2] = [Self::ClientSecretBasic, Self::ClientSecretPost];

    /// Reads the name of a method.
    ///
    /// # Errors
    /// A sentence, when there is no such method.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let found = Self::ALL.into_iter().find(|method| method.as_str() == text);
        found.ok_or("must be client_secret_post or client_secret_basic")
    }

    /// The name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
        }
    }
}
