//! The MACs of sessions, and of what a browser keeps while somebody signs in: HMAC-SHA-256.

use aws_lc_rs::hmac;

use super::context::Encoding;
use super::{OpenError, Vault};
use crate::model::sealed::Mac;
use crate::model::session::SessionClaims;

impl Vault {
    /// The MAC of a session's record, by the first master key.
    pub fn mac_session(&self, claims: &SessionClaims<'_>) -> Mac {
        self.sign(|key_id| encode_session(key_id, claims))
    }

    /// Verifies the MAC of a session's record.
    ///
    /// # Errors
    /// [`OpenError`] when it does not verify, or its master key is missing.
    pub fn verify_session(&self, claims: &SessionClaims<'_>, mac: &Mac) -> Result<(), OpenError> {
        self.check(mac, |key_id| encode_session(key_id, claims))
    }

    /// The MAC of what a browser keeps while somebody signs in, by the first master key.
    pub fn mac_sign_in(&self, kept: &str) -> Mac {
        self.sign(|key_id| encode_sign_in(key_id, kept))
    }

    /// Verifies the MAC of what a browser has kept.
    ///
    /// # Errors
    /// [`OpenError`] when it does not verify, or its master key is missing.
    pub fn verify_sign_in(&self, kept: &str, mac: &Mac) -> Result<(), OpenError> {
        self.check(mac, |key_id| encode_sign_in(key_id, kept))
    }

    fn sign(&self, encode: impl Fn(&str) -> Vec<u8>) -> Mac {
        let first = self.keyring.first();
        let mut code = [0; 32];
        code.copy_from_slice(hmac::sign(&first.mac, &encode(&first.id)).as_ref());
        Mac { key_id: first.id.clone(), code }
    }

    /// Compares in constant time.
    fn check(&self, mac: &Mac, encode: impl Fn(&str) -> Vec<u8>) -> Result<(), OpenError> {
        let key = self.keyring.lookup(&mac.key_id);
        let key = key.ok_or_else(|| OpenError::without(&mac.key_id))?;
        hmac::verify(&key.mac, &encode(&key.id), &mac.code).map_err(|_silent| OpenError::BROKEN)
    }
}

fn encode_session(key_id: &str, claims: &SessionClaims<'_>) -> Vec<u8> {
    let SessionClaims { digest, holder, begun_at, seen_at } = claims;
    Encoding::new("keyferry session")
        .text(key_id)
        .bytes(digest.as_bytes())
        .text(holder)
        .number(begun_at.as_microsecond())
        .number(seen_at.as_microsecond())
        .finish()
}

fn encode_sign_in(key_id: &str, kept: &str) -> Vec<u8> {
    Encoding::new("keyferry sign-in").text(key_id).text(kept).finish()
}
