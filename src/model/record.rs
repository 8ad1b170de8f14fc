//! The stored records of connections, caller tokens and CAs. Secrets are in them as ciphertext or
//! digest only.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use super::aws::access::AwsAccess;
use super::caller::Reach;
use super::connection::ConnectionType;
use super::connection_secrets::ConnectionSecrets;
use super::custom::CustomAccess;
use super::domain::AllowedDomain;
use super::name::{ConnectionName, IntegrationName};
use super::oauth::grant::Grant;
use super::options::ConnectionOptions;
use super::rules::Rules;
use super::sealed::{Context, Mac, Sealed};
use super::token::{Scopes, TokenDigest};
use crate::random;
use crate::secret::Secret;

/// The stored record of a connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConnectionRecord {
    /// The id of the record, which never changes.
    pub uuid: Uuid,
    /// The integration that it belongs to.
    pub integration: IntegrationName,
    /// Its name, unique within the integration across all types.
    pub name: ConnectionName,
    /// The domain to which its secret may be sent: of a custom connection the first one, the others
    /// are in its detail. Only an OAuth connection may be without one; it can then be used only with
    /// `oauth.unrestricted`.
    pub allowed_domain: Option<AllowedDomain>,
    /// Its type and everything of it that is not secret.
    pub detail: Detail,
    /// Its options.
    pub options: Arc<ConnectionOptions>,
    /// Its sealed secret.
    pub sealed: Sealed,
    /// The time at which it was created, in whole microseconds.
    pub created_at: Timestamp,
    /// The time of its last change, in whole microseconds.
    pub updated_at: Timestamp,
}

/// The type of a connection and everything of it that is not secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Detail {
    /// `api_key`
    ApiKey {
        /// The header's name, spelled as it was entered.
        header_name: Box<str>,
    },
    /// `basic_auth`
    BasicAuth {
        /// The user name.
        username: Box<str>,
    },
    /// `bearer_token`
    BearerToken,
    /// `oauth`
    OAuth(Box<Grant>),
    /// `aws_sigv4`
    AwsSigV4(Box<AwsAccess>),
    /// `custom`
    Custom(Box<CustomAccess>),
}

/// The stored record of a caller token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenRecord {
    /// The id of the record.
    pub id: Uuid,
    /// The token's name.
    pub name: Box<str>,
    /// The integrations and connections that it reaches.
    pub reach: Reach,
    /// Its scopes.
    pub scopes: Scopes,
    /// The time at which it was created, in whole microseconds.
    pub created_at: Timestamp,
    /// The time at which it expires, in whole microseconds; `None` for never.
    pub expires_at: Option<Timestamp>,
    /// The rules of the requests that it may be used for.
    pub rules: Rules,
    /// The time of its last use, which is written only now and then; `None` before the first.
    pub last_used_at: Option<Timestamp>,
    /// The full name of the connection that it was last used for, to the minute or so.
    pub last_used_for: Option<Box<str>>,
    /// The digest of the token, which itself is not stored.
    pub digest: TokenDigest,
    /// Proves that a holder of the master key has written the record.
    pub mac: Mac,
}

/// The stored record of an interception CA.
#[derive(Clone, Debug)]
pub struct CaRecord {
    /// The id of the record.
    pub id: Uuid,
    /// Its certificate, as PEM.
    pub certificate: Box<str>,
    /// The time from which it signs, in whole microseconds.
    pub signs_from: Timestamp,
    /// Its sealed private key.
    pub sealed: Sealed,
}

/// Everything that decides what a token may do. The [`Mac`] of its record covers it.
#[derive(Clone, Copy, Debug)]
pub struct TokenClaims<'a> {
    /// The id of the record.
    pub id: Uuid,
    /// The token's name.
    pub name: &'a str,
    /// The integrations and connections that it reaches.
    pub reach: &'a Reach,
    /// Its scopes.
    pub scopes: Scopes,
    /// The time at which it expires, in whole microseconds; `None` for never.
    pub expires_at: Option<Timestamp>,
    /// The rules of the requests that it may be used for.
    pub rules: &'a Rules,
    /// The digest of the token itself.
    pub digest: TokenDigest,
}

impl ConnectionRecord {
    /// Its type.
    pub fn kind(&self) -> ConnectionType {
        self.detail.kind()
    }

    /// The context for which its secret is sealed.
    pub fn context(&self) -> Context<'_> {
        Context::Connection {
            uuid: self.uuid,
            integration: &self.integration,
            name: &self.name,
            allowed_domain: self.allowed_domain.as_ref(),
            detail: &self.detail,
            options: &self.options,
        }
    }

    /// Its secrets, of what was opened; `None` when the key of its client certificate is missing.
    #[must_use]
    pub fn secrets(&self, opened: &Secret) -> Option<ConnectionSecrets> {
        let secrets = ConnectionSecrets::unpack(opened)?;
        let lacks_key = self.options.client_certificate.is_some() && secrets.client_key.is_none();
        (!lacks_key).then_some(secrets)
    }

    /// A hash of the record's id and its sealed secret. It does not change when the secret is
    /// wrapped by another master key.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.uuid.as_bytes(), &self.sealed.payload).hash(&mut hasher);
        hasher.finish()
    }

    /// Tells whether its keys assume a role.
    #[must_use]
    pub fn has_role(&self) -> bool {
        matches!(&self.detail, Detail::AwsSigV4(access) if access.assume_role.is_some())
    }

    /// The grant of an OAuth connection; `None` for other types.
    #[must_use]
    pub fn grant(&self) -> Option<&Grant> {
        match &self.detail {
            Detail::OAuth(grant) => Some(grant),
            _ => None,
        }
    }
}

impl CaRecord {
    /// The context for which its key is sealed.
    pub fn context(&self) -> Context<'_> {
        Context::Authority {
            id: self.id,
            certificate: &self.certificate,
            signs_from: self.signs_from,
        }
    }
}

impl Detail {
    /// The type.
    pub fn kind(&self) -> ConnectionType {
        match self {
            Self::ApiKey { .. } => ConnectionType::ApiKey,
            Self::BasicAuth { .. } => ConnectionType::BasicAuth,
            Self::BearerToken => ConnectionType::BearerToken,
            Self::OAuth(_) => ConnectionType::OAuth,
            Self::AwsSigV4(_) => ConnectionType::AwsSigV4,
            Self::Custom(_) => ConnectionType::Custom,
        }
    }
}

impl TokenRecord {
    /// The claims that its MAC covers.
    pub fn claims(&self) -> TokenClaims<'_> {
        TokenClaims {
            id: self.id,
            name: &self.name,
            reach: &self.reach,
            scopes: self.scopes,
            expires_at: self.expires_at,
            rules: &self.rules,
            digest: self.digest,
        }
    }
}

/// A new random id (RFC 9562 §5.4).
pub fn new_id() -> Result<Uuid, random::RandomError> {
    Ok(uuid::Builder::from_random_bytes(random::bytes()?).into_uuid())
}

/// Truncates `time` to whole microseconds, the resolution of the store.
pub fn whole_microseconds(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_random_and_say_so() {
        let (one, two) = (new_id().unwrap(), new_id().unwrap());
        assert_ne!(one, two);
        assert_eq!(one.get_version_num(), 4);
    }

    #[test]
    fn what_is_finer_than_a_microsecond_is_cut_off() {
        let time: Timestamp = "2030-01-31T12:00:00.123456789Z".parse().unwrap();
        assert_eq!(whole_microseconds(time).to_string(), "2030-01-31T12:00:00.123456Z");
    }
}
