//! The master keys: the first one seals, all of them open.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, UnboundKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::envelope::Cipher;
use crate::model::sealed::KeyId;
use crate::random;
use crate::secret::Secret;

/// The master keys in their order.
pub struct Keyring {
    first: MasterKey,
    others: Vec<MasterKey>,
}

/// A master key. It is not used itself: each purpose has a key derived from it (RFC 5869).
pub(super) struct MasterKey {
    pub(super) id: Box<str>,
    pub(super) wrap: Cipher,
    pub(super) mac: hmac::Key,
    bytes: Secret,
}

/// A keyring that was refused. No text repeats the input.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the text of each variant says it")]
pub enum KeyringError {
    #[error("a master key can't be generated")]
    Chance(#[source] random::RandomError),
    #[error("the cipher refuses the master key {0}")]
    Cipher(Box<str>),
    #[error("there is no master key; a line for one is an id, a colon, and the base64 of 32 bytes")]
    Empty,
    #[error("line {0}: a master key's id is 1 to 64 characters out of A-Z a-z 0-9 . _ -")]
    Id(usize),
    #[error("line {0}: after the colon stands the base64 of exactly 32 bytes, with its padding")]
    Key(usize),
    #[error("line {0}: a master key is written as its id, a colon, and the base64 of 32 bytes")]
    Shape(usize),
    #[error("line {0}: another master key has the same id")]
    Twice(usize),
}

impl Keyring {
    /// Reads `id:base64` from each line; empty lines are skipped.
    pub fn parse(text: &Secret) -> Result<Self, KeyringError> {
        let mut keys: Vec<MasterKey> = Vec::new();
        for (number, line) in (1..).zip(text.expose().split(|byte| *byte == b'\n')) {
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            let key = MasterKey::parse(line, number)?;
            if keys.iter().any(|other| other.id == key.id) {
                return Err(KeyringError::Twice(number));
            }
            keys.push(key);
        }
        let mut keys = keys.into_iter();
        let first = keys.next().ok_or(KeyringError::Empty)?;
        Ok(Self { first, others: keys.collect() })
    }

    /// A keyring with one new key.
    pub fn generate() -> Result<Self, KeyringError> {
        Ok(Self { first: MasterKey::generate()?, others: Vec::new() })
    }

    /// These keys after a new one, which seals.
    pub fn with_new_first(&self) -> Result<Self, KeyringError> {
        let others: Result<_, _> = self.all().map(MasterKey::copy).collect();
        Ok(Self { first: MasterKey::generate()?, others: others? })
    }

    /// These keys, and after them those of `in_use` that are missing here.
    pub fn with_rest_of(&self, in_use: &Self) -> Result<Self, KeyringError> {
        let rest = in_use.all().filter(|key| !self.has(&key.id));
        let others: Result<_, _> = self.others.iter().chain(rest).map(MasterKey::copy).collect();
        Ok(Self { first: self.first.copy()?, others: others? })
    }

    /// A keyring of the first key alone.
    pub fn first_alone(&self) -> Result<Self, KeyringError> {
        Ok(Self { first: self.first.copy()?, others: Vec::new() })
    }

    /// The keys in the form that [`Keyring::parse`] reads.
    pub fn to_text(&self) -> Secret {
        let mut text = Zeroizing::new(String::with_capacity(LINE * (1 + self.others.len())));
        for key in self.all() {
            text.push_str(&key.id);
            text.push(':');
            STANDARD.encode_string(key.bytes.expose(), &mut text);
            text.push('\n');
        }
        Secret::new(text.as_bytes())
    }

    /// The ids of the keys in their order.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.all().map(|key| &*key.id)
    }

    /// Tells whether there is a key of this id.
    pub fn has(&self, id: &str) -> bool {
        self.lookup(id).is_some()
    }

    /// Tells whether there is a key of this id that does not differ from the one of `in_use`.
    pub fn has_as(&self, id: &str, in_use: &Self) -> bool {
        match (self.lookup(id), in_use.lookup(id)) {
            (Some(ours), Some(theirs)) => {
                let (ours, theirs) = (ours.bytes.expose(), theirs.bytes.expose());
                verify_slices_are_equal(ours, theirs).is_ok()
            }
            (ours, _) => ours.is_some(),
        }
    }

    /// The id of the key that seals.
    pub fn first_id(&self) -> &str {
        &self.first.id
    }

    pub(super) fn first(&self) -> &MasterKey {
        &self.first
    }

    pub(super) fn lookup(&self, id: &str) -> Option<&MasterKey> {
        self.all().find(|key| &*key.id == id)
    }

    fn all(&self) -> impl Iterator<Item = &MasterKey> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

impl MasterKey {
    fn parse(line: &[u8], number: usize) -> Result<Self, KeyringError> {
        let colon = line.iter().position(|byte| *byte == b':');
        let colon = colon.ok_or(KeyringError::Shape(number))?;
        let (id, rest) = line.split_at_checked(colon).unwrap_or_default();
        let id = std::str::from_utf8(id).ok().filter(|id| KeyId::parse(id).is_some());
        let id = id.ok_or(KeyringError::Id(number))?;
        let mut bytes = Zeroizing::new([0; 33]);
        let length =
            STANDARD.decode_slice(rest.strip_prefix(b":").unwrap_or_default(), &mut *bytes);
        if !matches!(length, Ok(32)) {
            return Err(KeyringError::Key(number));
        }
        Self::new(id.into(), Secret::new(bytes.get(..32).unwrap_or_default()))
    }

    fn generate() -> Result<Self, KeyringError> {
        let bytes = Zeroizing::new(random::bytes::<32>().map_err(KeyringError::Chance)?);
        let id = random::bytes::<6>().map_err(KeyringError::Chance)?;
        let id = id.iter().fold("k".to_owned(), |id, byte| format!("{id}{byte:02x}"));
        Self::new(id.into(), Secret::new(*bytes))
    }

    fn copy(&self) -> Result<Self, KeyringError> {
        Self::new(self.id.clone(), self.bytes.clone())
    }

    fn new(id: Box<str>, bytes: Secret) -> Result<Self, KeyringError> {
        let derived = Salt::new(HKDF_SHA256, SALT).extract(bytes.expose());
        let wrap = derived.expand(&[b"wrap"], &AES_256_GCM).map(UnboundKey::from);
        let mac = derived.expand(&[b"token"], HMAC_SHA256).map(hmac::Key::from);
        match (wrap, mac) {
            (Ok(wrap), Ok(mac)) => Ok(Self { id, wrap: wrap.into(), mac, bytes }),
            _ => Err(KeyringError::Cipher(id)),
        }
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keyring").field(&self.ids().collect::<Vec<_>>()).finish()
    }
}

const SALT: &[u8] = b"keyferry master key, version 1";

/// The longest line: an id, a colon, 44 characters of base64, a newline.
const LINE: usize = 64 + 1 + 44 + 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: &str, byte: u8) -> String {
        format!("{id}:{}\n", STANDARD.encode([byte; 32]))
    }

    fn parse(text: &str) -> Result<Keyring, KeyringError> {
        Keyring::parse(&Secret::new(text))
    }

    #[test]
    fn the_first_line_seals_and_the_keys_print_as_they_were_read() {
        let text = format!("{}{}", line("new-1", 1), line("old_1.a", 2));
        let keyring = parse(&format!("\n{}\n", text.replace('\n', "\r\n"))).unwrap();
        assert_eq!(keyring.first_id(), "new-1");
        assert_eq!(keyring.ids().collect::<Vec<_>>(), ["new-1", "old_1.a"]);
        assert_eq!(keyring.to_text().expose(), text.as_bytes());
        assert_eq!(format!("{keyring:?}"), r#"Keyring(["new-1", "old_1.a"])"#);
    }

    #[test]
    fn what_is_no_keyring_is_refused_by_line_and_never_repeated() {
        let good = line("k1", 1);
        for (text, refusal) in [
            (String::new(), "no master key"),
            ("\n \n".into(), "no master key"),
            (STANDARD.encode([1; 32]), "line 1: a master key is"),
            (format!("{good}k2:{}", STANDARD.encode([1; 31])), "line 2: after the colon"),
            (format!("k2:{}", STANDARD.encode([1; 33])), "line 1: after the colon"),
            (format!("k2:{}", STANDARD.encode([1; 64])), "line 1: after the colon"),
            ("k2:c2VjcmV0!".into(), "line 1: after the colon"),
            (line("k 2", 1), "line 1: a master key's id"),
            (line("", 1), "line 1: a master key's id"),
            (line(&"k".repeat(65), 1), "line 1: a master key's id"),
            (format!("{good}\n{good}"), "line 3: another"),
        ] {
            let refused = parse(&text).unwrap_err().to_string();
            assert!(refused.contains(refusal), "{text}: {refused}");
            assert!(!refused.contains("c2Vj"), "{refused}");
        }
    }

    #[test]
    fn the_rest_of_other_keys_stands_behind() {
        let (file, in_use) = (line("k2", 2), line("k1", 1) + &line("k2", 2));
        let all = parse(&file).unwrap().with_rest_of(&parse(&in_use).unwrap()).unwrap();
        assert_eq!(all.ids().collect::<Vec<_>>(), ["k2", "k1"]);
    }

    #[test]
    fn a_key_under_anothers_id_is_not_that_key() {
        let in_use = parse(&line("k1", 1)).unwrap();
        for (text, has) in [(line("k1", 1), true), (line("k1", 2), false), (line("k2", 1), false)] {
            assert_eq!(parse(&text).unwrap().has_as("k1", &in_use), has, "{text}");
        }
        assert!(in_use.has_as("k1", &parse(&line("k2", 1)).unwrap()));
    }

    #[test]
    fn a_new_key_goes_before_the_old_ones() {
        let old = Keyring::generate().unwrap();
        let new = old.with_new_first().unwrap();
        assert_eq!(new.ids().nth(1), Some(old.first_id()));
        assert_eq!(new.first_alone().unwrap().ids().collect::<Vec<_>>(), [new.first_id()]);
        let read = Keyring::parse(&new.to_text()).unwrap();
        assert_eq!(read.ids().collect::<Vec<_>>(), new.ids().collect::<Vec<_>>());
    }
}
