//! Everything secret of a connection, sealed as one payload.

use jiff::Timestamp;

use super::options::ConnectionOptions;
use super::packer::{Packer, Unpacker};
use crate::secret::Secret;

/// The secrets of a connection.
#[derive(Clone, Debug)]
pub struct ConnectionSecrets {
    /// The secret of a static connection, or the packed provider tokens of one by OAuth.
    pub secret: Secret,
    /// The secret before it, which is used where an origin refuses the new one (contract §8,
    /// `keep_old_for`).
    pub old: Option<OldSecret>,
    /// The key of its client certificate, in PEM.
    pub client_key: Option<Secret>,
}

/// A secret that was replaced and is kept for a time.
#[derive(Clone, Debug)]
pub struct OldSecret {
    /// The secret.
    pub secret: Secret,
    /// The time at which it is forgotten, in whole microseconds.
    pub until: Timestamp,
}

impl From<Secret> for ConnectionSecrets {
    fn from(secret: Secret) -> Self {
        Self { secret, old: None, client_key: None }
    }
}

impl ConnectionSecrets {
    /// Reads a payload; `None` for one that was packed in another way. Every payload that was not
    /// packed is a secret as it is: none begins with the control character by which the others are
    /// known.
    #[must_use]
    pub fn unpack(payload: &Secret) -> Option<Self> {
        if payload.expose().first() == Some(&KIND) {
            return Self::unpack_several(payload);
        }
        Some(payload.clone().into())
    }

    /// The payload that is sealed: the secret as it is, where there is no other.
    #[must_use]
    pub fn pack(&self) -> Secret {
        let Self { secret, old, client_key } = self;
        if old.is_none() && client_key.is_none() {
            return secret.clone();
        }
        let (old, until) = match old {
            Some(old) => (Some(old.secret.expose()), old.until.as_microsecond()),
            None => (None, 0),
        };
        let packed = Packer::new(KIND).text(secret.expose()).optional_text(old).number(until);
        packed.optional_text(client_key.as_ref().map(Secret::expose)).finish()
    }

    /// Puts `secret` in the place of the present one, which is kept until then, if at all. One that
    /// was kept before is forgotten, unless origins refuse the present one (`is_refused`): then it
    /// is kept in that one's place.
    #[must_use]
    pub fn replaced_by(
        self,
        secret: Secret,
        keep_until: Option<Timestamp>,
        is_refused: bool,
    ) -> Self {
        // The same secret replaces nothing.
        let Self { secret: present, old, client_key } = self;
        if present.expose() == secret.expose() {
            return Self { secret, old, client_key };
        }
        // One that origins refuse is not worth keeping; the one before it may be good.
        let kept = match old {
            Some(old) if is_refused => old.secret,
            _ => present,
        };
        let old = keep_until.map(|until| OldSecret { secret: kept, until });
        Self { secret, old, client_key }
    }

    /// The same with another key, where the options have a certificate; without one they have none.
    #[must_use]
    pub fn with_client_key(self, key: Option<Secret>, options: &ConnectionOptions) -> Self {
        let has_certificate = options.client_certificate.is_some();
        let client_key = if has_certificate { key.or(self.client_key) } else { None };
        Self { client_key, ..self }
    }

    fn unpack_several(payload: &Secret) -> Option<Self> {
        let mut unpacking = Unpacker::new(KIND, payload)?;
        let secret = Secret::new(unpacking.text()?);
        let old = unpacking.optional_text()?.map(Secret::new);
        let until = Timestamp::from_microsecond(unpacking.number()?).ok()?;
        let client_key = unpacking.optional_text()?.map(Secret::new);
        let old = old.map(|secret| OldSecret { secret, until });
        unpacking.is_done().then_some(Self { secret, old, client_key })
    }
}

/// The first byte of a packed payload. Secrets that people enter have no control characters, and
/// packed tokens and keys begin with others.
const KIND: u8 = 0x0e;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_payload_of_before_is_the_secret_itself() {
        for text in ["\u{e}", "\u{e}hunter2"] {
            assert!(ConnectionSecrets::unpack(&Secret::new(text)).is_none(), "no secret is one");
        }
        for text in ["hunter2", ""] {
            let payload = Secret::new(text);
            let read = ConnectionSecrets::unpack(&payload).unwrap();
            assert!(read.old.is_none() && read.client_key.is_none());
            assert_eq!(read.secret.expose(), text.as_bytes());
            assert_eq!(read.pack().expose(), text.as_bytes());
        }
    }

    #[test]
    fn the_third_secret_forgets_the_first() {
        let until = Timestamp::from_second(9).unwrap();
        let one = ConnectionSecrets::from(Secret::new("one"));
        let two = one.replaced_by(Secret::new("two"), Some(until), false);
        assert_eq!(two.old.as_ref().unwrap().secret.expose(), b"one");
        let same = two.clone().replaced_by(Secret::new("two"), None, false);
        assert_eq!(same.old.as_ref().unwrap().secret.expose(), b"one", "nothing is replaced");
        let corrected = two.clone().replaced_by(Secret::new("three"), Some(until), true);
        assert_eq!(corrected.old.as_ref().unwrap().secret.expose(), b"one", "two was refused");
        let three = two.replaced_by(Secret::new("three"), None, false);
        assert!(three.old.is_none());
        assert_eq!(three.pack().expose(), b"three");
    }

    proptest! {
        #[test]
        fn all_secrets_are_read_as_they_were_packed(
            secret: Vec<u8>, old: Option<Vec<u8>>, key: Option<Vec<u8>>,
            micros in -9_000_000_000_000_i64..9_000_000_000_000,
        ) {
            let until = Timestamp::from_microsecond(micros).unwrap();
            let is_packed = old.is_some() || key.is_some();
            let secrets = ConnectionSecrets {
                secret: Secret::new(secret.clone()),
                old: old.clone().map(|old| OldSecret { secret: Secret::new(old), until }),
                client_key: key.clone().map(Secret::new),
            };
            prop_assume!(is_packed || secret.first() != Some(&KIND));
            let read = ConnectionSecrets::unpack(&secrets.pack()).unwrap();
            prop_assert_eq!(read.secret.expose(), &*secret);
            let read_old = read.old.as_ref().map(|old| (old.secret.expose().to_vec(), old.until));
            prop_assert_eq!(read_old, old.map(|old| (old, until)));
            prop_assert_eq!(read.client_key.map(|key| key.expose().to_vec()), key);
        }
    }
}
