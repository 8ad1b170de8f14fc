//! A secret at rest: ciphertext, and the context that it was sealed for (contract §5).

use std::fmt;

use jiff::Timestamp;
use uuid::Uuid;

use super::domain::AllowedDomain;
use super::name::{ConnectionName, IntegrationName};
use super::oauth::client::AuthMethod;
use super::record::Detail;

/// A sealed secret: opaque bytes that only a vault can open, and only for the same [`Context`].
#[derive(Clone, Eq, PartialEq)]
pub struct Sealed {
    /// The master key that wrapped the data key.
    pub key_id: Box<str>,
    /// The data key, wrapped by the master key.
    pub wrapped: Box<[u8]>,
    /// The secret, encrypted with the data key.
    pub payload: Box<[u8]>,
}

/// What a secret is sealed for: the record, and everything that decides where or how the secret
/// is sent. It opens for the very same context and no other.
#[derive(Clone, Copy, Debug)]
pub enum Context<'a> {
    /// The secret of an OAuth client.
    Client {
        /// The record.
        uuid: Uuid,
        /// The integration that it belongs to.
        integration: &'a IntegrationName,
        /// What the provider calls it.
        client_id: &'a str,
        /// Where the resource owner is asked.
        auth_url: Option<&'a str>,
        /// Where the secret is sent.
        token_url: &'a str,
        /// How the secret is sent.
        auth_method: AuthMethod,
    },
    /// The secret of a connection; of one by OAuth, its tokens.
    Connection {
        /// The record.
        uuid: Uuid,
        /// The integration that it belongs to.
        integration: &'a IntegrationName,
        /// Its name.
        name: &'a ConnectionName,
        /// Where the secret may be sent.
        allowed_domain: Option<&'a AllowedDomain>,
        /// Its type, and how the secret is sent.
        detail: &'a Detail,
    },
    /// The key of an interception CA.
    Authority {
        /// The record.
        id: Uuid,
        /// The CA's certificate, as PEM.
        certificate: &'a str,
        /// From when it signs.
        signs_from: Timestamp,
    },
    /// What an OAuth flow carries from step to step.
    Flow {
        /// The flow.
        id: Uuid,
        /// The integration that it is for.
        integration: &'a IntegrationName,
        /// The client that it is for.
        client: Uuid,
        /// What it waits for.
        step: &'a str,
    },
    /// A constant, which shows that the master key is the one that sealed everything else.
    KeyCheck,
}

/// A code that shows that a record was written by a holder of the master key.
#[derive(Clone, Eq, PartialEq)]
pub struct Mac {
    /// The master key that it was made under.
    pub key_id: Box<str>,
    /// HMAC-SHA-256.
    pub code: [u8; 32],
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
