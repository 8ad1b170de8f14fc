//! Secrets at rest (contract §2, §5).
//!
//! Owns the master keys, promises that a secret opens only for the context it was sealed for and
//! that a token's record counts only as it was written, and must never know who asks or where
//! anything is kept.

mod context;
mod envelope;
mod keyring;
mod mac;

use std::fmt;

use zeroize::Zeroizing;

pub use self::keyring::{Keyring, KeyringError};
use crate::model::record::TokenClaims;
use crate::model::sealed::{Context, KeyId, Mac, Sealed};
use crate::random;
use crate::secret::Secret;

/// Seals and opens secrets with the keys of one keyring.
#[derive(Debug)]
pub struct Vault {
    keyring: Keyring,
}

/// A secret could not be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// There is no randomness for a key or a nonce.
    #[error("there is no randomness to seal with")]
    Chance(#[source] random::RandomError),
    /// The cipher refused; it has no reason to.
    #[error("the cipher failed")]
    Cipher,
}

/// What is kept can't be opened, or was not written by a holder of the key. It names the master
/// key where that is not at hand, and says no more, so that nobody learns from it how far an
/// attempt got.
#[derive(Debug)]
pub struct OpenError {
    missing_key: Option<KeyId>,
}

/// What is kept can't be brought under another master key.
#[derive(Debug, thiserror::Error)]
pub enum RewrapError {
    /// It does not open with the keys at hand.
    #[error("what is kept can't be opened")]
    Open(#[source] OpenError),
    /// It can't be sealed again.
    #[error("it can't be sealed again")]
    Seal(#[source] SealError),
}

impl OpenError {
    /// The key is at hand, and does not open it.
    const BROKEN: Self = Self { missing_key: None };

    /// The key of this id is not at hand. What can't be the id of a key was written by hand.
    fn without(key_id: &str) -> Self {
        Self { missing_key: KeyId::parse(key_id) }
    }

    /// The master key that it takes, if that is not at hand.
    #[must_use]
    pub fn missing_key(&self) -> Option<KeyId> {
        self.missing_key
    }
}

impl std::error::Error for OpenError {}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.missing_key {
            Some(id) => write!(f, "its master key {id} is missing"),
            None => f.write_str("it can't be opened"),
        }
    }
}

impl Vault {
    /// A vault that seals with the first key and opens with all of them.
    #[must_use]
    pub fn new(keyring: Keyring) -> Self {
        Self { keyring }
    }

    /// The keys.
    #[must_use]
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Seals a secret for `context`, with a data key of its own.
    ///
    /// # Errors
    /// [`SealError`] when there is no randomness.
    pub fn seal(&self, context: &Context<'_>, secret: &Secret) -> Result<Sealed, SealError> {
        let data_key = Zeroizing::new(random::bytes::<32>().map_err(SealError::Chance)?);
        let cipher = envelope::Cipher::new(&*data_key)?;
        let payload = cipher.encrypt(&context::of_payload(context), secret.expose())?;
        let first = self.keyring.first();
        let wrapped = first.wrap.encrypt(&context::of_wrap(context, &first.id), &*data_key)?;
        Ok(Sealed { key_id: first.id.clone(), wrapped, payload })
    }

    /// Opens what was sealed for this very context.
    ///
    /// # Errors
    /// [`OpenError`] when the context is another, the ciphertext was changed, or its master key
    /// is not at hand.
    pub fn open(&self, context: &Context<'_>, sealed: &Sealed) -> Result<Secret, OpenError> {
        let data_key = self.unwrap(context, sealed)?;
        let cipher = envelope::Cipher::new(&data_key).map_err(|_silent| OpenError::BROKEN)?;
        let text = cipher.decrypt(&context::of_payload(context), &sealed.payload)?;
        Ok(Secret::new(text.to_vec()))
    }

    /// Wraps the data key under the first master key; the payload stays as it is. `None` when it
    /// is under that key already.
    ///
    /// # Errors
    /// [`RewrapError`] when the data key can't be unwrapped, or not wrapped again.
    pub fn rewrap(
        &self,
        context: &Context<'_>,
        sealed: &Sealed,
    ) -> Result<Option<Sealed>, RewrapError> {
        let first = self.keyring.first();
        if first.id == sealed.key_id {
            return Ok(None);
        }
        let data_key = self.unwrap(context, sealed).map_err(RewrapError::Open)?;
        let wrapped = first.wrap.encrypt(&context::of_wrap(context, &first.id), &data_key);
        let wrapped = wrapped.map_err(RewrapError::Seal)?;
        Ok(Some(Sealed { key_id: first.id.clone(), wrapped, payload: sealed.payload.clone() }))
    }

    /// The code that goes with a token's record, under the first master key.
    #[must_use]
    pub fn mac(&self, claims: &TokenClaims<'_>) -> Mac {
        let first = self.keyring.first();
        Mac { key_id: first.id.clone(), code: mac::sign(&first.mac, &first.id, claims) }
    }

    /// Checks that a token's record is as a holder of the master key wrote it.
    ///
    /// # Errors
    /// [`OpenError`] when it is not, or when the master key is not at hand.
    pub fn verify(&self, claims: &TokenClaims<'_>, mac: &Mac) -> Result<(), OpenError> {
        let key = self.keyring.lookup(&mac.key_id);
        let key = key.ok_or_else(|| OpenError::without(&mac.key_id))?;
        if mac::is_genuine(&key.mac, &key.id, claims, &mac.code) {
            Ok(())
        } else {
            Err(OpenError::BROKEN)
        }
    }

    /// The code of a token's record under the first master key, when the record is genuine. `None`
    /// when it is under that key already.
    ///
    /// # Errors
    /// [`OpenError`] when the record is not genuine.
    pub fn renew_mac(&self, claims: &TokenClaims<'_>, mac: &Mac) -> Result<Option<Mac>, OpenError> {
        self.verify(claims, mac)?;
        Ok((self.keyring.first().id != mac.key_id).then(|| self.mac(claims)))
    }

    fn unwrap(
        &self,
        context: &Context<'_>,
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let key = self.keyring.lookup(&sealed.key_id);
        let key = key.ok_or_else(|| OpenError::without(&sealed.key_id))?;
        key.wrap.decrypt(&context::of_wrap(context, &key.id), &sealed.wrapped)
    }
}

#[cfg(test)]
mod tests;
