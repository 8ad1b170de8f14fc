//! What is kept of connections and access tokens: their records, with secrets only as ciphertext
//! or digest.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use jiff::Timestamp;
use uuid::Uuid;

use super::caller::Reach;
use super::connection::ConnectionType;
use super::domain::AllowedDomain;
use super::name::{ConnectionName, IntegrationName};
use super::oauth::grant::Grant;
use super::sealed::{Context, Mac, Sealed};
use super::token::{Scopes, TokenDigest};
use crate::random;

/// A connection as it is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConnectionRecord {
    /// Which record it is, for as long as it exists.
    pub uuid: Uuid,
    /// The integration that it belongs to.
    pub integration: IntegrationName,
    /// Its name, unique within the integration across all types.
    pub name: ConnectionName,
    /// Where its secret may be sent. Only a connection by OAuth may lack it, and can't be used then
    /// unless the operator says otherwise.
    pub allowed_domain: Option<AllowedDomain>,
    /// Its type, and what of it is not secret.
    pub detail: Detail,
    /// Its secret.
    pub sealed: Sealed,
    /// When it was made, in whole microseconds.
    pub created_at: Timestamp,
    /// When it was last changed, in whole microseconds.
    pub updated_at: Timestamp,
}

/// The type of a connection, and what of it is not secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Detail {
    /// `api_key`
    ApiKey {
        /// The header's name, in the letters in which it was given.
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
}

/// An access token as it is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenRecord {
    /// Which token it is.
    pub id: Uuid,
    /// What it is called.
    pub name: Box<str>,
    /// Where it may act.
    pub reach: Reach,
    /// What it may do.
    pub scopes: Scopes,
    /// When it was made, in whole microseconds.
    pub created_at: Timestamp,
    /// When it ends, if it does, in whole microseconds.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, if it ever was; written now and then only.
    pub last_used_at: Option<Timestamp>,
    /// All that is kept of the token itself.
    pub digest: TokenDigest,
    /// Shows that nobody wrote or changed the record by hand.
    pub mac: Mac,
}

/// An interception CA, as it is kept.
#[derive(Clone, Debug)]
pub struct CaRecord {
    /// Which one it is.
    pub id: Uuid,
    /// Its certificate, as PEM.
    pub certificate: Box<str>,
    /// From when it signs, in whole microseconds.
    pub signs_from: Timestamp,
    /// Its key.
    pub sealed: Sealed,
}

/// Everything that decides what a token may do: what its [`Mac`] covers.
#[derive(Clone, Copy, Debug)]
pub struct TokenClaims<'a> {
    /// Which token it is.
    pub id: Uuid,
    /// What it is called.
    pub name: &'a str,
    /// Where it may act.
    pub reach: &'a Reach,
    /// What it may do.
    pub scopes: Scopes,
    /// When it ends, if it does; only whole microseconds count.
    pub expires_at: Option<Timestamp>,
    /// The digest of the token itself.
    pub digest: TokenDigest,
}

impl ConnectionRecord {
    /// Its type.
    #[must_use]
    pub fn kind(&self) -> ConnectionType {
        self.detail.kind()
    }

    /// What its secret is sealed for.
    #[must_use]
    pub fn context(&self) -> Context<'_> {
        Context::Connection {
            uuid: self.uuid,
            integration: &self.integration,
            name: &self.name,
            allowed_domain: self.allowed_domain.as_ref(),
            detail: &self.detail,
        }
    }
}

impl ConnectionRecord {
    /// A number that is another one for another record or another sealed secret. It stays the same
    /// when the secret comes under another master key.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.uuid.as_bytes(), &self.sealed.payload).hash(&mut hasher);
        hasher.finish()
    }

    /// The grant, where it is a connection by OAuth.
    #[must_use]
    pub fn grant(&self) -> Option<&Grant> {
        match &self.detail {
            Detail::OAuth(grant) => Some(grant),
            _ => None,
        }
    }
}

impl CaRecord {
    /// What its key is sealed for.
    #[must_use]
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
    #[must_use]
    pub fn kind(&self) -> ConnectionType {
        match self {
            Self::ApiKey { .. } => ConnectionType::ApiKey,
            Self::BasicAuth { .. } => ConnectionType::BasicAuth,
            Self::BearerToken => ConnectionType::BearerToken,
            Self::OAuth(_) => ConnectionType::OAuth,
        }
    }
}

impl TokenRecord {
    /// What its code covers.
    #[must_use]
    pub fn claims(&self) -> TokenClaims<'_> {
        TokenClaims {
            id: self.id,
            name: &self.name,
            reach: &self.reach,
            scopes: self.scopes,
            expires_at: self.expires_at,
            digest: self.digest,
        }
    }
}

/// A new random id (RFC 9562 §5.4).
///
/// # Errors
/// When the system has no randomness to give.
pub fn new_id() -> Result<Uuid, random::RandomError> {
    Ok(uuid::Builder::from_random_bytes(random::bytes()?).into_uuid())
}

/// `time` without what is finer than a microsecond, which is what is kept of it.
#[must_use]
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
