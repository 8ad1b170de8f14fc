//! A secret at rest: its ciphertext and the context for which it was sealed (contract §5).

use std::fmt;

use jiff::Timestamp;
use uuid::Uuid;

use super::domain::AllowedDomain;
use super::name::{ConnectionName, IntegrationName};
use super::oauth::client::AuthMethod;
use super::oauth::profile::Profile;
use super::options::ConnectionOptions;
use super::record::Detail;

/// A sealed secret. Only a vault with its master key opens it, and only for the same [`Context`].
/// The default is the place of one that is yet to be made.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Sealed {
    /// The master key that wrapped the data key.
    pub key_id: Box<str>,
    /// The data key, wrapped by the master key.
    pub wrapped: Box<[u8]>,
    /// The secret, encrypted with the data key.
    pub payload: Box<[u8]>,
}

/// The id of a master key: 1 to 64 characters out of `A-Z a-z 0-9 . _ -`.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct KeyId {
    text: [u8; Self::MAX_LEN],
    length: u8,
}

/// The context of a sealed secret: its record, and everything that decides where or how the secret
/// is sent. A secret opens for an equal context only.
#[derive(Clone, Copy, Debug)]
pub enum Context<'a> {
    /// The secret of an OAuth client.
    Client {
        /// The record.
        uuid: Uuid,
        /// The integration that it belongs to.
        integration: &'a IntegrationName,
        /// The provider's id of the client (`client_id`).
        client_id: &'a str,
        /// The URL of the authorization endpoint.
        auth_url: Option<&'a str>,
        /// The URL of the token endpoint, to which the secret is sent.
        token_url: &'a str,
        /// The client authentication method, by which the secret is sent.
        auth_method: AuthMethod,
        /// Everything by which its provider differs from RFC 6749.
        profile: &'a Profile,
    },
    /// The secret of a connection, or the tokens of an OAuth connection.
    Connection {
        /// The record.
        uuid: Uuid,
        /// The integration that it belongs to.
        integration: &'a IntegrationName,
        /// Its name.
        name: &'a ConnectionName,
        /// The domain to which the secret may be sent.
        allowed_domain: Option<&'a AllowedDomain>,
        /// Its type, which decides how the secret is sent.
        detail: &'a Detail,
        /// Its options, which decide what it may be used for.
        options: &'a ConnectionOptions,
    },
    /// The key of an interception CA.
    Authority {
        /// The record.
        id: Uuid,
        /// The CA's certificate, as PEM.
        certificate: &'a str,
        /// The time from which it signs.
        signs_from: Timestamp,
    },
    /// The payload of an OAuth flow between two steps.
    Flow {
        /// The flow.
        id: Uuid,
        /// The integration that it is for.
        integration: &'a IntegrationName,
        /// The client that it is for.
        client: Uuid,
        /// The step that it waits for.
        step: &'a str,
    },
    /// A constant that shows whether a master key is the one that sealed all other secrets.
    KeyCheck,
}

/// A MAC that proves that a holder of the master key has written a record.
#[derive(Clone, Eq, PartialEq)]
pub struct Mac {
    /// The master key that made it.
    pub key_id: Box<str>,
    /// HMAC-SHA-256.
    pub code: [u8; 32],
}

impl KeyId {
    const MAX_LEN: usize = 64;

    /// Reads an id; `None` when its characters or its length don't fit.
    pub fn parse(id: &str) -> Option<Self> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let length = u8::try_from(id.len()).ok().filter(|length| *length > 0)?;
        let mut text = [0; Self::MAX_LEN];
        text.get_mut(..id.len())?.copy_from_slice(id.as_bytes());
        id.bytes().all(is_allowed).then_some(Self { text, length })
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        let text = self.text.get(..usize::from(self.length)).unwrap_or_default();
        std::str::from_utf8(text).unwrap_or_default()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed(under {})", self.key_id)
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mac(under {})", self.key_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_a_key_is_short_and_plain() {
        let longest = "x".repeat(64);
        for id in ["k", "2026-11", "A.b_c-9", &longest] {
            assert_eq!(KeyId::parse(id).unwrap().as_str(), id);
        }
        for id in ["", "a b", "a\n", "é", "<b>", &"x".repeat(65), &"x".repeat(300)] {
            assert_eq!(KeyId::parse(id), None, "{id:?}");
        }
    }

    #[test]
    fn debug_shows_the_key_id_alone() {
        let sealed = Sealed {
            key_id: "k1".into(),
            wrapped: Box::new(*b"wrapped"),
            payload: Box::new(*b"payload"),
        };
        assert_eq!(format!("{sealed:?}"), "Sealed(under k1)");
        assert_eq!(format!("{:?}", Mac { key_id: "k2".into(), code: [7; 32] }), "Mac(under k2)");
    }
}
