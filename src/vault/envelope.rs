//! One layer of the envelope encryption: AES-256-GCM with the nonce in front.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::{OpenError, SealError};
use crate::random;

/// An encryption key. A data key encrypts once, a master key once for each secret, which is far
/// below the limit of 2^32 messages for random nonces (NIST SP 800-38D §8.3).
pub(super) struct Cipher(LessSafeKey);

impl Cipher {
    /// A cipher with a key of 32 bytes.
    pub(super) fn new(key: &[u8]) -> Result<Self, SealError> {
        let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_silent| SealError::Cipher)?;
        Ok(Self::from(key))
    }

    /// Encrypts to `FORMAT | nonce | ciphertext | tag`.
    pub(super) fn encrypt(&self, context: &[u8], text: &[u8]) -> Result<Box<[u8]>, SealError> {
        let nonce = random::bytes::<NONCE_LEN>().map_err(SealError::Chance)?;
        let length = HEAD + text.len() + AES_256_GCM.tag_len();
        let mut sealed = Zeroizing::new(Vec::with_capacity(length));
        sealed.push(FORMAT);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(text);
        let in_place = sealed.get_mut(HEAD..).unwrap_or_default();
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(context), in_place);
        let tag = tag.map_err(|_silent| SealError::Cipher)?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed.as_slice().into())
    }

    pub(super) fn decrypt(
        &self,
        context: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let rest = sealed.strip_prefix(&[FORMAT]).ok_or(OpenError::BROKEN)?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE_LEN>().ok_or(OpenError::BROKEN)?;
        let mut text = Zeroizing::new(rest.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.0.open_in_place(nonce, Aad::from(context), &mut text);
        let length = opened.map_err(|_silent| OpenError::BROKEN)?.len();
        text.truncate(length);
        Ok(text)
    }
}

impl From<UnboundKey> for Cipher {
    fn from(key: UnboundKey) -> Self {
        Self(LessSafeKey::new(key))
    }
}

/// The version of the format, which is part of the associated data too.
pub(super) const FORMAT: u8 = 1;

const HEAD: usize = 1 + NONCE_LEN;
