//! The types of connections, by the names that the API uses.

use std::fmt;

/// The type of a connection, by the names that the API uses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ConnectionType {
    /// `api_key`
    ApiKey,
    /// `basic_auth`
    BasicAuth,
    /// `bearer_token`
    BearerToken,
    /// `oauth`
    OAuth,
}

impl ConnectionType {
    /// All types.
    pub const ALL: [Self; 4] = [Self::ApiKey, Self::BasicAuth, Self::BearerToken, Self::OAuth];

    /// Reads the API's name of a type.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// The member of the API's documents that holds what goes with the secret, where there is one.
    pub fn text_member(self) -> Option<&'static str> {
        match self {
            Self::ApiKey => Some("header_name"),
            Self::BasicAuth => Some("username"),
            Self::BearerToken | Self::OAuth => None,
        }
    }

    /// The member of the API's documents that holds the secret.
    pub fn secret_member(self) -> &'static str {
        match self {
            Self::ApiKey => "api_key",
            Self::BasicAuth => "password",
            Self::BearerToken => "token",
            Self::OAuth => "access_token",
        }
    }

    /// The name of the secret in texts for people.
    pub fn secret_label(self) -> &'static str {
        match self {
            Self::ApiKey => "API key",
            Self::BasicAuth => "password",
            Self::BearerToken => "token",
            Self::OAuth => "access token",
        }
    }

    /// The API's name of the type.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ApiKey => "api_key",
            Self::BasicAuth => "basic_auth",
            Self::BearerToken => "bearer_token",
            Self::OAuth => "oauth",
        }
    }
}

impl fmt::Display for ConnectionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
