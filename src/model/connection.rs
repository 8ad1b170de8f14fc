//! A connection: one stored credential of one type, bound to one allowed domain (ZIS spec §1).

use std::fmt;

use super::domain::AllowedDomain;
use super::field::CredentialField;
use super::name::{ConnectionName, IntegrationName};
use crate::secret::Secret;

/// A connection of an integration.
#[derive(Debug)]
pub struct Connection {
    /// The integration that it belongs to.
    pub integration: IntegrationName,
    /// Its name, unique within the integration across all types.
    pub name: ConnectionName,
    /// Where its credential may be sent.
    pub allowed_domain: AllowedDomain,
    /// What it holds.
    pub authentication: Authentication,
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
    /// The type of the connection.
    #[must_use]
    pub fn kind(&self) -> ConnectionType {
        match self.authentication {
            Authentication::ApiKey { .. } => ConnectionType::ApiKey,
            Authentication::BasicAuth { .. } => ConnectionType::BasicAuth,
            Authentication::BearerToken { .. } => ConnectionType::BearerToken,
        }
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
