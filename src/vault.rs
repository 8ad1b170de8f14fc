//! Secrets at rest (contract §2, §5).
//!
//! Owns the master keys, promises that a secret opens only for the context for which it was sealed
//! and that a token's record is accepted only as a holder of the master key has written it, and
//! must never know the callers of its functions nor the place of any record.

mod context;
mod envelope;
mod event_mac;
mod keyring;
mod mac;
mod session_mac;

use std::fmt;

use zeroize::Zeroizing;

pub use self::keyring::{Keyring, KeyringError};
use crate::model::connection_secrets::ConnectionSecrets;
use crate::model::record::{ConnectionRecord, TokenClaims};
use crate::model::sealed::{Context, KeyId, Mac, Sealed};
use crate::random;
use crate::secret::Secret;

/// Seals and opens secrets with the keys of one keyring.
#[derive(Debug)]
pub struct Vault {
    keyring: Keyring,
}

/// A secret that could not be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The system gives no random bytes for a key or a nonce.
    #[error("the system gives no random bytes to seal with")]
    Chance(#[source] random::RandomError),
    /// The cipher has failed.
    #[error("the cipher failed")]
    Cipher,
}

/// A record that can't be opened, or whose MAC does not verify. It names the master key where that
/// is missing, and nothing else, so that it does not tell an attacker how far an attempt got.
#[derive(Debug)]
pub struct OpenError {
    missing_key: Option<KeyId>,
}

/// A record that can't be rewrapped by another master key.
#[derive(Debug, thiserror::Error)]
pub enum RewrapError {
    /// It does not open under the known keys.
    #[error("the record can't be opened")]
    Open(#[source] OpenError),
    /// Wrapping its data key again has failed.
    #[error("the record can't be sealed again")]
    Seal(#[source] SealError),
}

impl OpenError {
    /// The key is known and does not open the record.
    pub(crate) const BROKEN: Self = Self { missing_key: None };

    /// The key of this id is not known. A text that can't be an id was written by hand, and is not
    /// repeated.
    fn without(key_id: &str) -> Self {
        Self { missing_key: KeyId::parse(key_id) }
    }

    /// The missing master key; `None` where the key is known and does not open the record.
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
    /// A vault that seals with the first key and opens with all.
    pub fn new(keyring: Keyring) -> Self {
        Self { keyring }
    }

    /// The keyring.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Seals a secret for `context`, with a data key of its own.
    pub fn seal(&self, context: &Context<'_>, secret: &Secret) -> Result<Sealed, SealError> {
        let data_key = Zeroizing::new(random::bytes::<32>().map_err(SealError::Chance)?);
        let cipher = envelope::Cipher::new(&*data_key)?;
        let payload = cipher.encrypt(&context::of_payload(context), secret.expose())?;
        let first = self.keyring.first();
        let wrapped = first.wrap.encrypt(&context::of_wrap(context, &first.id), &*data_key)?;
        Ok(Sealed { key_id: first.id.clone(), wrapped, payload })
    }

    /// Opens a secret that was sealed for this context.
    ///
    /// # Errors
    /// [`OpenError`] when the context differs, the ciphertext was changed, or its master key is
    /// missing.
    pub fn open(&self, context: &Context<'_>, sealed: &Sealed) -> Result<Secret, OpenError> {
        let data_key = self.unwrap_data_key(context, sealed)?;
        let cipher = envelope::Cipher::new(&data_key).map_err(|_silent| OpenError::BROKEN)?;
        let text = cipher.decrypt(&context::of_payload(context), &sealed.payload)?;
        Ok(Secret::new(text.to_vec()))
    }

    /// Opens everything secret of a connection.
    ///
    /// # Errors
    /// [`OpenError`], as of [`Self::open`].
    pub fn open_connection(
        &self,
        record: &ConnectionRecord,
    ) -> Result<ConnectionSecrets, OpenError> {
        let opened = self.open(&record.context(), &record.sealed)?;
        record.secrets(&opened).ok_or(OpenError::BROKEN)
    }

    /// Wraps the data key by the first master key, and leaves the payload unchanged. `None` when
    /// that key wraps it already.
    pub fn rewrap(
        &self,
        context: &Context<'_>,
        sealed: &Sealed,
    ) -> Result<Option<Sealed>, RewrapError> {
        let first = self.keyring.first();
        if first.id == sealed.key_id {
            return Ok(None);
        }
        let data_key = self.unwrap_data_key(context, sealed).map_err(RewrapError::Open)?;
        let wrapped = first.wrap.encrypt(&context::of_wrap(context, &first.id), &data_key);
        let wrapped = wrapped.map_err(RewrapError::Seal)?;
        Ok(Some(Sealed { key_id: first.id.clone(), wrapped, payload: sealed.payload.clone() }))
    }

    /// The MAC of a token's record, by the first master key.
    pub fn mac(&self, claims: &TokenClaims<'_>) -> Mac {
        let first = self.keyring.first();
        Mac { key_id: first.id.clone(), code: mac::sign(&first.mac, &first.id, claims) }
    }

    /// Verifies the MAC of a token's record.
    pub fn verify(&self, claims: &TokenClaims<'_>, mac: &Mac) -> Result<(), OpenError> {
        let key = self.keyring.lookup(&mac.key_id);
        let key = key.ok_or_else(|| OpenError::without(&mac.key_id))?;
        if mac::is_genuine(&key.mac, &key.id, claims, &mac.code) {
            Ok(())
        } else {
            Err(OpenError::BROKEN)
        }
    }

    /// The MAC of a token's record by the first master key, if its current MAC verifies. `None`
    /// when that key has made it already.
    pub fn renew_mac(&self, claims: &TokenClaims<'_>, mac: &Mac) -> Result<Option<Mac>, OpenError> {
        self.verify(claims, mac)?;
        Ok((self.keyring.first().id != mac.key_id).then(|| self.mac(claims)))
    }

    fn unwrap_data_key(
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
