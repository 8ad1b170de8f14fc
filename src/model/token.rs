//! Caller tokens, by which callers authenticate (contract §2).

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use parking_lot::Mutex;
use zeroize::Zeroizing;

use crate::random;
use crate::secret::Secret;

/// The prefix of every caller token, by which a leaked one is recognized.
pub const PREFIX: &str = "kf_";

/// The number of base64url characters after the prefix, which encode 32 random bytes.
pub const BODY_LENGTH: usize = 43;

/// The SHA-256 digest of a caller token. The token itself is never stored.
///
/// A token has 256 random bits, so its digest needs no salt, and the timing of a look-up in a hash
/// map reveals nothing of use.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct TokenDigest([u8; 32]);

/// The scopes of a caller token.
#[expect(clippy::struct_excessive_bools, reason = "a set of five independent scopes")]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Scopes {
    /// `GET` requests to the management API.
    pub read: bool,
    /// Requests to the management API that change something.
    pub write: bool,
    /// The data plane.
    pub proxy: bool,
    /// Everything, including tokens, the audit trail and keys.
    pub admin: bool,
    /// Reading the audit trail and events, and nothing else.
    pub audit: bool,
}

impl TokenDigest {
    /// The digest of `text`; `None` when it is not formed like a caller token.
    pub fn of(text: &[u8]) -> Option<Self> {
        let body = text.strip_prefix(PREFIX.as_bytes())?;
        if body.len() != BODY_LENGTH || !body.iter().all(|byte| is_base64url(*byte)) {
            return None;
        }
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, text).as_ref());
        Some(Self(bytes))
    }

    /// A digest that was stored.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest, to be stored.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The token that was read last on a conn, so that it is hashed again only when another comes.
///
/// A digest depends on the token alone, and is looked up among those in force each time: nothing
/// that changes there can make it wrong.
#[derive(Debug, Default)]
pub struct LastToken(Mutex<LastDigest>);

#[derive(Debug, Default)]
enum LastDigest {
    /// None was read.
    #[default]
    Nothing,
    /// It was read once. Most conns of one request keep no token this way.
    Once(TokenDigest),
    /// It was read more often.
    Repeated(Secret, TokenDigest),
}

impl LastToken {
    /// The digest of `text`, as [`TokenDigest::of`] gives it. The texts are compared in constant
    /// time.
    pub fn digest_of(&self, text: &[u8]) -> Option<TokenDigest> {
        let mut last = self.0.lock();
        if let LastDigest::Repeated(token, digest) = &*last
            && verify_slices_are_equal(token.expose(), text).is_ok()
        {
            return Some(*digest);
        }
        let digest = TokenDigest::of(text)?;
        *last = match *last {
            LastDigest::Once(before) if before == digest => {
                LastDigest::Repeated(Secret::new(text), digest)
            }
            _ => LastDigest::Once(digest),
        };
        Some(digest)
    }

    /// Forgets the token, which is not known any more.
    pub fn forget(&self) {
        *self.0.lock() = LastDigest::Nothing;
    }
}

/// The credentials of an `Authorization` or `Proxy-Authorization` field (RFC 9110 §11.4), by the
/// schemes that can carry an access token.
#[derive(Clone, Copy, Eq, PartialEq)]
pub enum FieldCredentials<'a> {
    /// The text after `Bearer` (RFC 6750 §2.1).
    Bearer(&'a [u8]),
    /// The text after `Basic` (RFC 7617 §2).
    Basic(&'a [u8]),
    /// The text after another scheme, or the whole value where it is one word.
    Other(&'a [u8]),
}

impl<'a> FieldCredentials<'a> {
    /// Reads a field's value.
    pub fn read(value: &'a [u8]) -> Self {
        let value = value.trim_ascii();
        let space = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
        let (scheme, rest) = value.split_at_checked(space).unwrap_or((value, b""));
        let rest = rest.trim_ascii();
        if scheme.eq_ignore_ascii_case(b"bearer") {
            Self::Bearer(rest)
        } else if scheme.eq_ignore_ascii_case(b"basic") {
            Self::Basic(rest)
        } else {
            Self::Other(if rest.is_empty() { scheme } else { rest })
        }
    }
}

/// Never shows the credentials.
impl fmt::Debug for FieldCredentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FieldCredentials(…)")
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(…)")
    }
}

impl Scopes {
    /// Adds the scope of this name. `zis:read` and `zis:write` are other names of the first two.
    /// `false` for an unknown name.
    #[must_use]
    pub fn grant(&mut self, name: &str) -> bool {
        match name {
            "read" | "zis:read" => self.read = true,
            "write" | "zis:write" => self.write = true,
            "proxy" => self.proxy = true,
            "admin" => self.admin = true,
            "audit" => self.audit = true,
            _ => return false,
        }
        true
    }

    /// The scopes of these names; `None` when one is unknown, or without any.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let mut scopes = Self::default();
        let all = names.into_iter().all(|name| scopes.grant(name));
        (all && scopes != Self::default()).then_some(scopes)
    }

    /// These scopes and those.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self {
            read: self.read || other.read,
            write: self.write || other.write,
            proxy: self.proxy || other.proxy,
            admin: self.admin || other.admin,
            audit: self.audit || other.audit,
        }
    }

    /// The names of the scopes, in a fixed order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let scopes = [
            (self.read, "read"),
            (self.write, "write"),
            (self.proxy, "proxy"),
            (self.admin, "admin"),
            (self.audit, "audit"),
        ];
        scopes.into_iter().filter_map(|(granted, name)| granted.then_some(name))
    }

    /// Tells whether the token may use the data plane, which `admin` includes.
    pub fn allows_proxy(self) -> bool {
        self.proxy || self.admin
    }
}

/// Checks the name of a caller token.
pub fn check_name(text: &str) -> Result<(), &'static str> {
    if (1..=64).contains(&text.chars().count()) && !text.chars().any(char::is_control) {
        Ok(())
    } else {
        Err("a token's name is 1 to 64 characters, none of them a control character")
    }
}

/// Reads the time at which a token expires.
pub fn parse_expiry(text: &str) -> Result<Timestamp, &'static str> {
    text.parse().map_err(|_wordy| "must be a time such as 2030-01-31T12:00:00Z (RFC 3339)")
}

/// The rule of a list of scopes.
pub const SCOPES_RULE: &str = "must be one or more of read, write, proxy, admin, audit";

/// Generates a caller token.
pub fn generate() -> Result<Secret, random::RandomError> {
    let bytes = Zeroizing::new(random::bytes::<32>()?);
    let mut text = String::with_capacity(PREFIX.len() + BODY_LENGTH);
    text.push_str(PREFIX);
    URL_SAFE_NO_PAD.encode_string(*bytes, &mut text);
    Ok(Secret::new(text))
}

/// Tells whether `text` contains a caller token, plain or with some or all of its characters
/// percent-encoded, up to `MAX_ENCODINGS` times.
pub fn occurs_in(text: &[u8]) -> bool {
    // Most texts are too short for one, and escapes only make it longer.
    if text.len() < PREFIX.len() + BODY_LENGTH {
        return false;
    }
    if contains_token(text) {
        return true;
    }
    let mut decoded: Option<Zeroizing<Vec<u8>>> = None;
    for _ in 0..MAX_ENCODINGS {
        let encoded = decoded.as_ref().map_or(text, |decoded| decoded.as_slice());
        let Some(next) = percent_decoded(encoded) else { return false };
        if contains_token(&next) {
            return true;
        }
        decoded = Some(next);
    }
    false
}

/// Decodes the percent-encoded characters; `None` where there are none.
fn percent_decoded(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    let mut escapes = memchr::memchr_iter(b'%', text).peekable();
    escapes.peek()?;
    let (mut decoded, mut copied) = (Zeroizing::new(Vec::with_capacity(text.len())), 0);
    for at in escapes {
        let value = digit(text.get(at + 1)).zip(digit(text.get(at + 2)));
        let Some(value) = value.and_then(|(high, low)| u8::try_from(high * 16 + low).ok()) else {
            continue;
        };
        decoded.extend_from_slice(text.get(copied..at).unwrap_or_default());
        decoded.push(value);
        copied = at + 3;
    }
    decoded.extend_from_slice(text.get(copied..).unwrap_or_default());
    (copied > 0).then_some(decoded)
}

fn contains_token(text: &[u8]) -> bool {
    memchr::memmem::find_iter(text, PREFIX).any(|at| {
        let body = text.get(at + PREFIX.len()..).unwrap_or_default();
        body.iter().take_while(|byte| is_base64url(**byte)).count() >= BODY_LENGTH
    })
}

fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// The number of times that percent-encoding is undone, which is more than servers do.
const MAX_ENCODINGS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_last_token_has_the_digest_of_each_text() {
        let (one, other) = (generate().unwrap(), generate().unwrap());
        let last = LastToken::default();
        for text in [&one, &one, &one, &other, &one, &other, &other, &other, &one] {
            assert_eq!(last.digest_of(text.expose()), TokenDigest::of(text.expose()));
            assert_eq!(last.digest_of(b"kf_short"), None);
            assert_eq!(last.digest_of(text.expose()), TokenDigest::of(text.expose()));
        }
        let LastDigest::Repeated(kept, _) = &*last.0.lock() else { panic!("it is not kept") };
        assert_eq!(kept.expose(), one.expose());
    }

    #[test]
    fn a_generated_token_has_the_shape_of_one_and_is_new_each_time() {
        let (one, two) = (generate().unwrap(), generate().unwrap());
        assert_eq!(one.len(), 46);
        assert!(TokenDigest::of(one.expose()).is_some());
        assert_ne!(TokenDigest::of(one.expose()), TokenDigest::of(two.expose()));
    }

    #[test]
    fn what_is_not_shaped_like_a_token_has_no_digest() {
        let token = format!("kf_{}", "a".repeat(43));
        assert!(TokenDigest::of(token.as_bytes()).is_some());
        for text in [
            "",
            "kf_",
            token.trim_start_matches('k'),
            &format!("{token}a"),
            &format!("kf_{}.", "a".repeat(42)),
        ] {
            assert!(TokenDigest::of(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn a_stray_token_is_found_wherever_it_stands() {
        let token = format!("kf_{}", "a".repeat(43));
        assert!(occurs_in(token.as_bytes()));
        assert!(occurs_in(format!("session=kf_x; t={token}; y").as_bytes()));
        assert!(!occurs_in(b"kf_short kf_"));
    }

    #[test]
    fn a_stray_token_is_found_in_every_spelling_of_its_escapes() {
        let body = "a".repeat(43);
        for prefix in ["kf%5f", "kf%5F", "%6bf_", "%6B%66%5F", "%25%36%42f_", "%%6bf_", "k%2566_"] {
            assert!(occurs_in(format!("/v1/{prefix}{body}?x").as_bytes()), "{prefix}");
        }
        let escaped = "%61".repeat(43);
        assert!(occurs_in(format!("?key=kf_{escaped}").as_bytes()));
        assert!(!occurs_in(format!("kf%5{body}").as_bytes()));
        assert!(!occurs_in(b"%"));
    }

    /// The text decoded once, escape by escape.
    fn decoded_once(text: &[u8]) -> Vec<u8> {
        let (mut decoded, mut rest) = (Vec::new(), text);
        while let Some((first, after)) = rest.split_first() {
            let escaped = (*first == b'%').then(|| after.get(..2)).flatten();
            let escaped = escaped.and_then(|digits| std::str::from_utf8(digits).ok());
            let escaped = escaped.filter(|digits| !digits.starts_with('+'));
            let byte = escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok());
            decoded.push(byte.unwrap_or(*first));
            rest = if byte.is_some() { after.get(2..).unwrap() } else { after };
        }
        decoded
    }

    proptest! {
        #[test]
        fn a_token_is_found_whichever_of_its_bytes_are_escaped_however_often(
            body in "[A-Za-z0-9_-]{43}",
            escaped in prop::collection::vec(0_usize..4, 46),
            (before, after) in ("[a-z/?=]{0,8}", "[/&#]?[a-z]{0,8}"),
        ) {
            let mut text = before;
            for (byte, times) in format!("kf_{body}").bytes().zip(escaped) {
                let mut spelled = char::from(byte).to_string();
                for time in 0..times {
                    spelled = match time {
                        0 => format!("%{byte:02x}"),
                        _ => spelled.replace('%', "%25"),
                    };
                }
                text.push_str(&spelled);
            }
            text.push_str(&after);
            prop_assert!(occurs_in(text.as_bytes()), "{}", text);
        }

        #[test]
        fn a_token_is_found_exactly_where_one_stands(
            pieces in prop::collection::vec("kf_|%|%25|%5[fF]|[A-Za-z0-9_-]{40,50}|[ -~]{0,3}", 0..8),
        ) {
            let mut text = pieces.concat().into_bytes();
            let mut stands = false;
            for _ in 0..=MAX_ENCODINGS {
                stands |= text.windows(46).any(|window| {
                    window.starts_with(b"kf_") && window[3..].iter().copied().all(is_base64url)
                });
                text = decoded_once(&text);
            }
            prop_assert_eq!(occurs_in(pieces.concat().as_bytes()), stands);
        }
    }

    #[test]
    fn the_zis_names_of_scopes_are_accepted() {
        let mut scopes = Scopes::default();
        assert!(scopes.grant("zis:read") && scopes.grant("zis:write") && !scopes.grant("root"));
        assert!(scopes.read && scopes.write && !scopes.allows_proxy());
    }

    #[test]
    fn every_set_of_scopes_is_read_as_it_is_named() {
        for bits in 1..32_u8 {
            let bit = |place: u8| bits & (1 << place) != 0;
            let scopes =
                Scopes { read: bit(0), write: bit(1), proxy: bit(2), admin: bit(3), audit: bit(4) };
            assert_eq!(Scopes::parse(scopes.names()), Some(scopes));
        }
        assert_eq!(Scopes::parse([]), None);
        assert_eq!(Scopes::parse(["read", "root"]), None);
    }
}
