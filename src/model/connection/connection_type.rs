//! The types of connections, by the names that the API uses.

use std::fmt;

use crate::model::{named_enum, parsed_by_name};

named_enum! {
    /// The type of a connection, by the names that the API uses.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub enum ConnectionType {
        /// `api_key`
        ApiKey = "api_key",
        /// `basic_auth`
        BasicAuth = "basic_auth",
        /// `bearer_token`
        BearerToken = "bearer_token",
        /// `oauth`
        OAuth = "oauth",
        /// `aws_sigv4`
        AwsSigV4 = "aws_sigv4",
        /// `custom`
        Custom = "custom",
    }
}

parsed_by_name!(ConnectionType);

impl ConnectionType {
    /// Tells whether an operator enters one secret for it, which is sent as it is.
    pub fn is_of_one_secret(self) -> bool {
        matches!(self, Self::ApiKey | Self::BasicAuth | Self::BearerToken)
    }

    /// The member of the API's documents that holds what goes with the secret, where there is one.
    pub fn text_member(self) -> Option<&'static str> {
        match self {
            Self::ApiKey => Some("header_name"),
            Self::BasicAuth => Some("username"),
            Self::AwsSigV4 => Some("access_key_id"),
            Self::BearerToken | Self::OAuth | Self::Custom => None,
        }
    }

    /// The member of the API's documents that holds the secret.
    pub fn secret_member(self) -> &'static str {
        match self {
            Self::ApiKey => "api_key",
            Self::BasicAuth => "password",
            Self::BearerToken => "token",
            Self::OAuth => "access_token",
            Self::AwsSigV4 => "secret_access_key",
            Self::Custom => "secrets",
        }
    }

    /// The name of the secret in texts for people.
    pub fn secret_label(self) -> &'static str {
        match self {
            Self::ApiKey => "API key",
            Self::BasicAuth => "password",
            Self::BearerToken => "token",
            Self::OAuth => "access token",
            Self::AwsSigV4 => "secret access key",
            Self::Custom => "secrets",
        }
    }
}

impl fmt::Display for ConnectionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
