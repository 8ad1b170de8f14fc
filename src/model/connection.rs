//! A connection: one stored credential of one type, bound to one allowed domain (ZIS spec §1).

use std::fmt;

use super::credential::{Credential, NotAFieldValue};
use super::domain::AllowedDomain;
use super::field::CredentialField;
use super::name::{ConnectionName, IntegrationName};
use super::origin::{HostName, Origin};
use crate::secret::Secret;

/// A connection of an integration.
///
/// It holds the one header field that its secret becomes, and no other copy of the secret.
#[derive(Debug)]
pub struct Connection {
    integration: IntegrationName,
    name: ConnectionName,
    allowed_domain: AllowedDomain,
    kind: ConnectionType,
    credential: Credential,
    /// The one origin at the usual port, where the allowed domain is exact.
    home: Option<Origin>,
}

/// The secret of a connection, with what is needed to build its header field.
#[derive(Debug)]
pub enum Authentication {
    /// `api_key`: the key, verbatim, in a field of its own.
    ApiKey {
        /// The field that carries it.
        field: CredentialField,
        /// The key.
        key: Secret,
    },
    /// `basic_auth`: RFC 7617.
    BasicAuth {
        /// The user name, which is not secret.
        username: Box<str>,
        /// The password.
        password: Secret,
    },
    /// `bearer_token`: RFC 6750.
    BearerToken {
        /// The token.
        token: Secret,
    },
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
    /// Makes a connection; the secret goes into its credential.
    ///
    /// # Errors
    /// [`NotAFieldValue`] when the secret can't stand in a header field.
    pub fn new(
        integration: IntegrationName,
        name: ConnectionName,
        allowed_domain: AllowedDomain,
        authentication: &Authentication,
    ) -> Result<Self, NotAFieldValue> {
        let kind = match authentication {
            Authentication::ApiKey { .. } => ConnectionType::ApiKey,
            Authentication::BasicAuth { .. } => ConnectionType::BasicAuth,
            Authentication::BearerToken { .. } => ConnectionType::BearerToken,
        };
        let credential = Credential::build(authentication)?;
        let home = allowed_domain.exact().map(|host| Origin::new(&host, 443));
        Ok(Self { integration, name, allowed_domain, kind, credential, home })
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
        self.kind
    }

    /// Whether `other` would send the same credential to the same places.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.allowed_domain == other.allowed_domain
            && self.credential.same_as(&other.credential)
    }

    /// The header field that it injects.
    #[must_use]
    pub fn credential(&self) -> &Credential {
        &self.credential
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
