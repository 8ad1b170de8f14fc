//! A sign-in that is under way. Its browser keeps it, signed, so that nothing is stored for somebody
//! who is not known yet; state, nonce and verifier are made of its seed, which nobody else knows.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Context as DigestContext, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};

use crate::model::sealed::Mac;
use crate::random::{self, RandomError};
use crate::secret::Secret;
use crate::store::SpentSignIn;
use crate::vault::Vault;

/// A sign-in that is under way.
pub(super) struct PendingSignIn {
    seed: String,
    ends_at: Timestamp,
    /// The path to go on to.
    next: String,
}

impl PendingSignIn {
    /// Begins a sign-in that goes on to this path.
    pub(super) fn begin(next: &str, now: Timestamp) -> Result<Self, RandomError> {
        let seed = URL_SAFE_NO_PAD.encode(random::bytes::<32>()?);
        let ends_at = now.checked_add(MAX_SIGN_IN_TIME).unwrap_or(Timestamp::MAX);
        Ok(Self { seed, ends_at, next: next.to_owned() })
    }

    /// The value of the cookie that the browser keeps.
    pub(super) fn seal(&self, vault: &Vault) -> String {
        let text = self.text();
        let Mac { key_id, code } = vault.mac_sign_in(&text);
        format!("{text}:{key_id}:{}", URL_SAFE_NO_PAD.encode(code))
    }

    /// Reads the cookie of a sign-in; `None` where it was not written here, or is over.
    pub(super) fn open(cookie: &str, vault: &Vault, now: Timestamp) -> Option<Self> {
        let (text, code) = cookie.rsplit_once(':')?;
        let (text, key_id) = text.rsplit_once(':')?;
        let code = URL_SAFE_NO_PAD.decode(code).ok()?.try_into().ok()?;
        vault.verify_sign_in(text, &Mac { key_id: key_id.into(), code }).ok()?;
        let mut parts = text.split(':');
        let (seed, end, next) = (parts.next()?, parts.next()?, parts.next()?);
        let ends_at = Timestamp::from_second(end.parse().ok()?).ok()?;
        let next = String::from_utf8(URL_SAFE_NO_PAD.decode(next).ok()?).ok()?;
        (now < ends_at).then(|| Self { seed: seed.to_owned(), ends_at, next })
    }

    fn text(&self) -> String {
        let next = URL_SAFE_NO_PAD.encode(&self.next);
        format!("{}:{}:{next}", self.seed, self.ends_at.as_second())
    }

    /// The state, by which the provider's answer is known to be this sign-in's.
    pub(super) fn state(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.derive("state"))
    }

    /// Tells whether the answer shows the state, in constant time.
    pub(super) fn is_of(&self, state: &str) -> bool {
        verify_slices_are_equal(self.state().as_bytes(), state.as_bytes()).is_ok()
    }

    /// The nonce, which the ID token must have.
    pub(super) fn nonce(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.derive("nonce"))
    }

    /// The verifier of the code challenge (RFC 7636).
    pub(super) fn verifier(&self) -> Secret {
        Secret::new(URL_SAFE_NO_PAD.encode(self.derive("verifier")))
    }

    /// The sign-in as one whose code was exchanged.
    pub(super) fn spent(&self) -> SpentSignIn {
        SpentSignIn { digest: self.derive("spent"), ends_at: self.ends_at }
    }

    pub(super) fn next(&self) -> &str {
        &self.next
    }

    fn derive(&self, purpose: &str) -> [u8; 32] {
        let mut context = DigestContext::new(&SHA256);
        for part in ["keyferry sign-in", purpose, &self.seed] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.finish().as_ref());
        bytes
    }
}

/// The longest time that a sign-in may take.
pub(super) const MAX_SIGN_IN_TIME: SignedDuration = SignedDuration::from_mins(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::Keyring;

    fn vault(byte: u8) -> Vault {
        use base64::engine::general_purpose::STANDARD;
        let line = format!("k1:{}", STANDARD.encode([byte; 32]));
        Vault::new(Keyring::parse(&Secret::new(line)).unwrap())
    }

    #[test]
    fn a_cookie_is_read_by_who_has_written_it_and_in_its_time() {
        let now = Timestamp::UNIX_EPOCH;
        let pending = PendingSignIn::begin("/console/i/acme/events?a=b:c", now).unwrap();
        let cookie = pending.seal(&vault(1));
        let opened = PendingSignIn::open(&cookie, &vault(1), now).unwrap();
        assert_eq!(opened.next(), "/console/i/acme/events?a=b:c");
        assert_eq!(opened.nonce(), pending.nonce());
        assert!(opened.is_of(&pending.state()) && !opened.is_of("") && !opened.is_of("x"));
        assert_eq!(opened.verifier().len(), 43);
        assert!(PendingSignIn::open(&cookie, &vault(2), now).is_none(), "another master key");
        let late = now + MAX_SIGN_IN_TIME;
        assert!(PendingSignIn::open(&cookie, &vault(1), late).is_none());
        let (rest, code) = cookie.rsplit_once(':').unwrap();
        let seed = rest.split(':').next().unwrap();
        for forged in [
            String::new(),
            ":::".to_owned(),
            format!("{rest}:{}", "A".repeat(43)),
            format!("{rest}x:{code}"),
            cookie.replace(seed, &"A".repeat(43)),
            cookie.replacen(":600:", ":6000:", 1),
        ] {
            assert!(PendingSignIn::open(&forged, &vault(1), now).is_none(), "{forged}");
        }
    }

    #[test]
    fn what_is_made_of_a_seed_does_not_tell_the_rest() {
        let now = Timestamp::UNIX_EPOCH;
        let (one, other) =
            (PendingSignIn::begin("", now).unwrap(), PendingSignIn::begin("", now).unwrap());
        let made = [&one, &other].map(|pending| {
            let verifier = String::from_utf8(pending.verifier().expose().to_vec()).unwrap();
            let spent = URL_SAFE_NO_PAD.encode(pending.spent().digest);
            [pending.state(), pending.nonce(), verifier, spent, pending.seed.clone()]
        });
        let all: std::collections::BTreeSet<_> = made.iter().flatten().collect();
        assert_eq!(all.len(), 10);
    }
}
