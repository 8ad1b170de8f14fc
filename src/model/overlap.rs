//! A static secret and the one that it has replaced, sealed as one payload while both are used
//! (contract §8, `keep_old_for`).

use jiff::Timestamp;

use super::oauth::packer::{Packer, Unpacker};
use crate::secret::Secret;

/// The secret of a static connection, and the one before it while that is kept.
#[derive(Debug)]
pub struct OverlappingSecrets {
    /// The secret.
    pub secret: Secret,
    /// The one before it, which is used where an origin refuses the new one.
    pub old: Option<OldSecret>,
}

/// A secret that was replaced and is kept for a time.
#[derive(Debug)]
pub struct OldSecret {
    /// The secret.
    pub secret: Secret,
    /// The time at which it is forgotten, in whole microseconds.
    pub until: Timestamp,
}

impl OverlappingSecrets {
    /// A secret without one before it.
    #[must_use]
    pub fn of(secret: Secret) -> Self {
        Self { secret, old: None }
    }

    /// Reads a payload. Every payload that was not packed is a secret as it is: none begins with
    /// the control character by which the others are known.
    #[must_use]
    pub fn unpack(payload: &Secret) -> Self {
        Self::unpack_two(payload).unwrap_or_else(|| Self::of(payload.clone()))
    }

    /// The payload that is sealed: the secret as it is, where there is no other.
    #[must_use]
    pub fn pack(&self) -> Secret {
        let Some(old) = &self.old else { return self.secret.clone() };
        Packer::new(KIND)
            .text(self.secret.expose())
            .text(old.secret.expose())
            .number(old.until.as_microsecond())
            .finish()
    }

    /// Puts `secret` in the place of the present one, which is kept until then, if at all. One that
    /// was kept before is forgotten.
    #[must_use]
    pub fn replaced_by(self, secret: Secret, keep_until: Option<Timestamp>) -> Self {
        let old = keep_until.map(|until| OldSecret { secret: self.secret, until });
        Self { secret, old }
    }

    fn unpack_two(payload: &Secret) -> Option<Self> {
        let mut unpacking = Unpacker::new(KIND, payload)?;
        let secret = Secret::new(unpacking.text()?);
        let old = Secret::new(unpacking.text()?);
        let until = Timestamp::from_microsecond(unpacking.number()?).ok()?;
        unpacking.is_done().then_some(Self { secret, old: Some(OldSecret { secret: old, until }) })
    }
}

/// The first byte of a packed payload. Secrets that people enter have no control characters.
const KIND: u8 = 0x0e;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_payload_of_before_is_the_secret_itself() {
        for text in ["hunter2", "", "\u{e}", "\u{e}hunter2"] {
            let payload = Secret::new(text);
            let read = OverlappingSecrets::unpack(&payload);
            assert!(read.old.is_none());
            assert_eq!(read.secret.expose(), text.as_bytes());
            assert_eq!(read.pack().expose(), text.as_bytes());
        }
    }

    #[test]
    fn the_third_secret_forgets_the_first() {
        let until = Timestamp::from_second(9).unwrap();
        let one = OverlappingSecrets::of(Secret::new("one"));
        let two = one.replaced_by(Secret::new("two"), Some(until));
        assert_eq!(two.old.as_ref().unwrap().secret.expose(), b"one");
        let three = two.replaced_by(Secret::new("three"), None);
        assert!(three.old.is_none());
        assert_eq!(three.pack().expose(), b"three");
    }

    proptest! {
        #[test]
        fn both_secrets_are_read_as_they_were_packed(
            one: Vec<u8>, two: Vec<u8>, micros in -9_000_000_000_000_i64..9_000_000_000_000,
        ) {
            let until = Timestamp::from_microsecond(micros).unwrap();
            let secrets = OverlappingSecrets {
                secret: Secret::new(one.clone()),
                old: Some(OldSecret { secret: Secret::new(two.clone()), until }),
            };
            let read = OverlappingSecrets::unpack(&secrets.pack());
            let old = read.old.unwrap();
            prop_assert_eq!((read.secret.expose(), old.secret.expose()), (&*one, &*two));
            prop_assert_eq!(old.until, until);
        }
    }
}
