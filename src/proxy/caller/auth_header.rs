//! Tokens in fields, and other text where a token is looked for.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::{HeaderName, HeaderValue, header};
use zeroize::Zeroizing;

use crate::model::token::{FieldCredentials, LastToken, PREFIX, TokenDigest, occurs_in};

/// The token and the user that `Proxy-Authorization` shows.
pub(super) struct AuthHeader {
    pub(super) digest: Option<TokenDigest>,
    pub(super) user: Option<Box<str>>,
    pub(super) instead: NotAToken,
}

/// Something in the place of a token.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) enum NotAToken {
    #[default]
    Nothing,
    /// Something that begins like a token.
    Part,
    /// Another text in this field, as the key of somebody else.
    Other(HeaderName),
}

impl AuthHeader {
    /// Reads the field's value; `last` is the token of the request before.
    pub(super) fn parse(value: &HeaderValue, last: &LastToken) -> Self {
        let Ok(text) = value.to_str() else { return Self::none(b"another") };
        let pair = match FieldCredentials::read(text.as_bytes()) {
            FieldCredentials::Bearer(token) => return Self::of(token, None, last),
            // Of another scheme, or of none, nothing is taken for a token.
            FieldCredentials::Other(text) => return Self::none(text),
            FieldCredentials::Basic(pair) => pair,
        };
        let Some(pair) = decode_pair(pair) else { return Self::none(pair) };
        let Some(colon) = memchr::memchr(b':', &pair) else { return Self::none(&pair) };
        let (user, password) = pair.split_at(colon);
        let password = password.get(1..).unwrap_or_default();
        // Tools that know a user name only put the token there.
        if password.is_empty() && last.digest_of(user).is_some() {
            return Self::of(user, None, last);
        }
        let user = (!user.is_empty()).then(|| String::from_utf8_lossy(user).into());
        Self::of(password, user, last)
    }

    /// The token, where the text is one.
    fn of(text: &[u8], user: Option<Box<str>>, last: &LastToken) -> Self {
        let digest = last.digest_of(text);
        let shown = Self::none(text);
        let instead = if digest.is_some() { NotAToken::Nothing } else { shown.instead };
        Self { digest, user, instead }
    }

    /// No token.
    fn none(text: &[u8]) -> Self {
        let instead = match text {
            [] => NotAToken::Nothing,
            text if text.starts_with(PREFIX.as_bytes()) => NotAToken::Part,
            _ => NotAToken::Other(header::PROXY_AUTHORIZATION),
        };
        Self { digest: None, user: None, instead }
    }
}

/// The one token of an `Authorization` field, under any scheme or none: as `token kf_…`, `kf_…`, or
/// `key="kf_…"`, or as one half of Basic's pair, of which some SDKs make up the other.
pub(super) fn in_any_scheme(value: &HeaderValue, last: &LastToken) -> Option<TokenDigest> {
    let digest_of = |text: &[u8]| last.digest_of(text);
    let text = value.to_str().ok()?;
    if let FieldCredentials::Basic(pair) = FieldCredentials::read(text.as_bytes())
        && let Some(pair) = decode_pair(pair)
    {
        let mut halves = pair.splitn(2, |byte| *byte == b':').filter_map(digest_of);
        return halves.next().filter(|_only| halves.next().is_none());
    }
    let is_inside = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let words = text.split(|c| !is_inside(c)).map(str::as_bytes);
    let mut tokens = words.filter_map(digest_of);
    tokens.next().filter(|_only| tokens.next().is_none())
}

/// Tells whether a field's value, or what follows a scheme in it, begins as a token does. So does
/// the password of Basic's pair.
pub(super) fn begins_like_one(field: &HeaderValue) -> bool {
    let value = field.as_bytes().trim_ascii();
    let rest = value.split(|byte| *byte == b' ').next_back().unwrap_or_default();
    let parsed = || AuthHeader::parse(field, &LastToken::default());
    rest.starts_with(PREFIX.as_bytes()) || parsed().instead == NotAToken::Part
}

/// Tells whether SDKs put an API key into this field.
pub(super) fn is_key_slot(name: &HeaderName) -> bool {
    *name == header::AUTHORIZATION || name.as_str().ends_with("api-key")
}

/// Returns whether a token is in a field, as it is, escaped as in a URL, or within Basic's pair.
pub(in crate::proxy) fn carries_token(value: &HeaderValue) -> bool {
    if value.len() < SHORTEST_WITH_TOKEN {
        return false;
    }
    if occurs_in(value.as_bytes()) {
        return true;
    }
    // A lenient reader takes a tab for the space behind the scheme too.
    let (scheme, rest) = value.as_bytes().split_at_checked(5).unwrap_or_default();
    scheme.eq_ignore_ascii_case(b"basic")
        && matches!(rest.first(), Some(b' ' | b'\t'))
        && decode_pair(rest).is_some_and(|pair| occurs_in(&pair))
}

/// Basic's pair as bytes, of whatever charset, padded or not, and between spaces of any kind: a
/// token is looked for in it that some reader may find.
fn decode_pair(encoded: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    let start = encoded.iter().position(is_base64)?;
    let end = encoded.iter().rposition(is_base64)?;
    LENIENT.decode(encoded.get(start..=end)?).ok().map(Zeroizing::new)
}

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A prefix and 43 characters.
const SHORTEST_WITH_TOKEN: usize = 46;
