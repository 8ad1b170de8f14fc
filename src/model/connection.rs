//! A connection: one stored credential of one type, bound to one allowed domain (ZIS spec §1).

use std::fmt;

use http::{HeaderName, header};

use super::credential::{Credential, NotAFieldValue};
use super::domain::AllowedDomain;
use super::field::CredentialField;
use super::name::{ConnectionName, IntegrationName};
use super::origin::{HostName, Origin};
use super::record::Detail;
use crate::secret::Secret;

/// A connection of an integration.
///
/// It holds the one header field that its secret becomes, and no other copy of the secret.
#[derive(Debug)]
pub struct Connection {
    integration: IntegrationName,
    name: ConnectionName,
    allowed_domain: AllowedDomain,
    detail: Detail,
    field: HeaderName,
    /// Missing where the sealed secret could not be opened.
    credential: Option<Credential>,
    /// The one origin at the usual port, where the allowed domain is exact.
    home: Option<Origin>,
}

/// The type of a connection, by the names that the API uses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ConnectionType {
    /// `api_key`
    ApiKey,
    /// `basic_auth`
    BasicAuth,
    /// `bearer_token`
    BearerToken,
}

impl Connection {
    /// Makes a connection; `secret` goes into its credential.
    ///
    /// # Errors
    /// [`NotAFieldValue`] when the secret can't stand in a header field, or `detail` names a field
    /// that may carry none.
    pub fn new(
        integration: IntegrationName,
        name: ConnectionName,
        allowed_domain: AllowedDomain,
        detail: Detail,
        secret: &Secret,
    ) -> Result<Self, NotAFieldValue> {
        let credential = Credential::build(&detail, secret)?;
        let mut connection = Self::sealed(integration, name, allowed_domain, detail);
        connection.field = credential.field().clone();
        connection.credential = Some(credential);
        Ok(connection)
    }

    /// A connection whose secret can't be opened: it can be named, and nothing can be sent with it.
    #[must_use]
    pub fn sealed(
        integration: IntegrationName,
        name: ConnectionName,
        allowed_domain: AllowedDomain,
        detail: Detail,
    ) -> Self {
        let field = match &detail {
            Detail::ApiKey { header_name } => CredentialField::parse(header_name)
                .map_or(header::AUTHORIZATION, |field| field.name().clone()),
            Detail::BasicAuth { .. } | Detail::BearerToken => header::AUTHORIZATION,
        };
        let home = allowed_domain.exact().map(|host| Origin::new(&host, 443));
        Self { integration, name, allowed_domain, detail, field, credential: None, home }
    }

    /// The integration that it belongs to.
    #[must_use]
    pub fn integration(&self) -> &IntegrationName {
        &self.integration
    }

    /// Its name, unique within the integration across all types.
    #[must_use]
    pub fn name(&self) -> &ConnectionName {
        &self.name
    }

    /// Where its credential may be sent.
    #[must_use]
    pub fn allowed_domain(&self) -> &AllowedDomain {
        &self.allowed_domain
    }

    /// The origin at `host` and `port`; the one that is meant most often is at hand.
    #[must_use]
    pub(super) fn origin(&self, host: &HostName, port: u16) -> Origin {
        match &self.home {
            Some(home) if port == 443 && home.host() == host.as_str() => home.clone(),
            _ => Origin::new(host, port),
        }
    }

    /// Its type.
    #[must_use]
    pub fn kind(&self) -> ConnectionType {
        self.detail.kind()
    }

    /// Its type, and what of it is not secret.
    #[must_use]
    pub fn detail(&self) -> &Detail {
        &self.detail
    }

    /// Whether `other` would send the same credential to the same places.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        let same_credential = match (&self.credential, &other.credential) {
            (Some(ours), Some(theirs)) => ours.same_as(theirs),
            _ => false,
        };
        same_credential
            && self.detail == other.detail
            && self.allowed_domain == other.allowed_domain
    }

    /// The header field that it injects.
    #[must_use]
    pub fn field(&self) -> &HeaderName {
        &self.field
    }

    /// What it injects; `None` when its secret could not be opened.
    #[must_use]
    pub fn credential(&self) -> Option<&Credential> {
        self.credential.as_ref()
    }
}

impl ConnectionType {
    /// Reads the API's name of a type.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::ApiKey, Self::BasicAuth, Self::BearerToken]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }

    /// The member of the API's documents that holds the secret.
    #[must_use]
    pub fn secret_member(self) -> &'static str {
        match self {
            Self::ApiKey => "api_key",
            Self::BasicAuth => "password",
            Self::BearerToken => "token",
        }
    }

    /// What a person calls the secret.
    #[must_use]
    pub fn secret_label(self) -> &'static str {
        match self {
            Self::ApiKey => "API key",
            Self::BasicAuth => "password",
            Self::BearerToken => "token",
        }
    }

    /// The API's name of the type.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ApiKey => "api_key",
            Self::BasicAuth => "basic_auth",
            Self::BearerToken => "bearer_token",
        }
    }
}

impl fmt::Display for ConnectionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
