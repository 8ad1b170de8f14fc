//! The texts by which a credential is known where an origin repeats it.
//!
//! A secret is looked for as it is, as base64, also within a longer text that was encoded, and in
//! hexadecimal digits. Each letter of all these may be escaped as in JSON, URLs or HTML.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use http::{HeaderName, HeaderValue, header};
use memchr::memmem;
use zeroize::Zeroizing;

use super::letters::{Alphabet, LetterMatch, begins_escape, hex_digit};
use super::prefilter::Prefilter;
use super::{Credential, TargetValues};

/// The patterns of one or more credentials. They are wiped when they are dropped.
pub struct CredentialPatterns {
    /// The long ones first.
    patterns: Vec<SecretPattern>,
    /// The number of patterns that are long enough to be looked for in an origin's answer.
    searched: usize,
    pub(super) prefilter: Prefilter,
}

/// A text to look for.
pub(super) struct SecretPattern {
    letters: Zeroizing<Vec<u8>>,
    alphabet: Alphabet,
    /// Set where the last letter depends on the text that follows the secret.
    may_lack_last: bool,
}

/// The progress of one comparison.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct PatternMatch {
    /// The number of the pattern's letters that were found, and of the text's bytes that they have.
    pub(super) letters: usize,
    pub(super) bytes: usize,
    /// The bytes of a whole match; 0 without one.
    pub(super) whole: usize,
    /// Tells whether the text ends within the pattern.
    pub(super) is_cut: bool,
}

impl CredentialPatterns {
    /// The patterns of these credentials.
    pub fn of<'a>(credentials: impl IntoIterator<Item = &'a Credential>) -> Self {
        let mut patterns: Vec<_> = credentials.into_iter().flat_map(patterns_of).collect();
        patterns.sort_unstable_by(|one, other| one.key().cmp(&other.key()));
        patterns.dedup_by(|one, other| one.key() == other.key());
        patterns.sort_by_key(|pattern| pattern.required() < MIN_SEARCHED_LEN);
        let searched = patterns.partition_point(|it| it.required() >= MIN_SEARCHED_LEN);
        let prefilter = Prefilter::of(patterns.get(..searched).unwrap_or_default());
        Self { patterns, searched, prefilter }
    }

    /// All patterns.
    pub(super) fn all(&self) -> &[SecretPattern] {
        &self.patterns
    }

    /// The patterns that are looked for in an origin's answer: short ones would be found in
    /// innocent texts.
    pub(super) fn searched(&self) -> &[SecretPattern] {
        self.patterns.get(..self.searched).unwrap_or_default()
    }
}

impl fmt::Debug for CredentialPatterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialPatterns(*****)")
    }
}

impl SecretPattern {
    fn new(letters: &[u8], alphabet: Alphabet, may_lack_last: bool) -> Option<Self> {
        // Padding is not secret.
        let padding = letters.iter().rev().take_while(|byte| **byte == b'=').count();
        let letters = letters.get(..letters.len() - padding).filter(|it| !it.is_empty())?;
        Some(Self { letters: Zeroizing::new(letters.to_vec()), alphabet, may_lack_last })
    }

    fn key(&self) -> (&[u8], Alphabet, bool) {
        (&self.letters, self.alphabet, self.may_lack_last)
    }

    /// The letters as one alphabet spells them, as many as every match has.
    pub(super) fn folded(&self) -> impl Iterator<Item = u8> {
        self.letters.iter().take(self.required()).map(|letter| self.alphabet.fold(*letter))
    }

    pub(super) fn alphabet(&self) -> Alphabet {
        self.alphabet
    }

    pub(super) fn has_space(&self) -> bool {
        self.letters.contains(&b' ')
    }

    /// The number of letters that every match has.
    pub(super) fn required(&self) -> usize {
        self.letters.len() - usize::from(self.may_lack_last)
    }

    /// Compares the beginning of a text with the pattern.
    pub(super) fn match_text(&self, text: &[u8]) -> PatternMatch {
        // 1. Letter by letter as it is: a secret may have what looks like an escape.
        let fold = |byte: &u8| self.alphabet.fold(*byte);
        let pairs = self.letters.iter().zip(text);
        let same = pairs.take_while(|(one, other)| fold(one) == fold(other)).count();
        let plain = self.judge(same, same, text.len() == same);
        let looked_at = text.get(..=same).unwrap_or(text);
        if plain.whole > 0 || !looked_at.iter().any(|byte| begins_escape(*byte)) {
            return plain;
        }
        // 2. With escapes.
        let (mut letters, mut bytes) = (0, 0);
        let is_cut = loop {
            let (wanted, rest) = (self.letters.get(letters..), text.get(bytes..));
            match self.alphabet.match_letter(wanted.unwrap_or_default(), rest.unwrap_or_default()) {
                LetterMatch::Yes(of_secret, of_text) => {
                    letters += of_secret;
                    bytes += of_text;
                }
                found => break found == LetterMatch::Cut,
            }
        };
        let escaped = self.judge(letters, bytes, is_cut);
        let is_cut = plain.is_cut || escaped.is_cut;
        if escaped.letters >= plain.letters {
            PatternMatch { is_cut, ..escaped }
        } else {
            PatternMatch { is_cut, ..plain }
        }
    }

    fn judge(&self, letters: usize, bytes: usize, text_ends: bool) -> PatternMatch {
        let is_whole = letters >= self.required();
        let is_cut = text_ends && letters < self.letters.len();
        PatternMatch { letters, bytes, whole: if is_whole { bytes } else { 0 }, is_cut }
    }
}

/// The patterns of one credential.
fn patterns_of(credential: &Credential) -> Vec<SecretPattern> {
    let texts = secret_texts(credential);
    let encoded = texts.iter().flat_map(|text| {
        // What holds another secret is found by that one, however it is encoded.
        let holds_another = texts.iter().any(|other| {
            other.len() < text.len()
                && other.len() >= MIN_SEARCHED_LEN
                && memmem::find(text, other).is_some()
        });
        let encodings = if holds_another { Vec::new() } else { encodings(text) };
        SecretPattern::new(text, Alphabet::Text, false).into_iter().chain(encodings)
    });
    encoded.collect()
}

/// The texts of a credential that are secret: the values of its fields, the secret parts of these,
/// the values in its target, and the secrets within all of them.
fn secret_texts(credential: &Credential) -> Vec<Zeroizing<Vec<u8>>> {
    // A constant beside the token is not secret, and may be a word of any text.
    let secret = credential.fields().filter(|(_, value)| value.is_sensitive());
    let parts = secret.flat_map(|(field, value)| secret_parts(field, value));
    let inner = credential.secrets.iter();
    let inner = inner.map(|secret| Zeroizing::new(secret.expose().to_vec()));
    let target = credential.target().into_iter().flat_map(TargetValues::secrets);
    parts.chain(target).chain(inner).collect()
}

fn secret_parts(field: &HeaderName, value: &HeaderValue) -> Vec<Zeroizing<Vec<u8>>> {
    let value = value.as_bytes();
    let mut parts = vec![Zeroizing::new(value.to_vec())];
    // The scheme is not secret.
    let space = value.iter().position(|byte| *byte == b' ');
    let Some((scheme, rest)) = space.and_then(|at| value.split_at_checked(at)) else {
        return parts;
    };
    let rest = rest.trim_ascii();
    parts.push(Zeroizing::new(rest.to_vec()));
    if *field == header::AUTHORIZATION
        && scheme == b"Basic"
        && let Ok(pair) = STANDARD.decode(rest).map(Zeroizing::new)
    {
        let colon = pair.iter().position(|byte| *byte == b':');
        let password = colon.and_then(|at| pair.get(at + 1..)).unwrap_or_default().to_vec();
        parts.extend([pair, Zeroizing::new(password)]);
    }
    parts
}

/// The encodings of a secret. A short one is encoded alone, a longer one also within a text.
fn encodings(secret: &[u8]) -> Vec<SecretPattern> {
    if secret.len() < MIN_SEARCHED_LEN {
        let encoded = Zeroizing::new(STANDARD_NO_PAD.encode(secret));
        return SecretPattern::new(encoded.as_bytes(), Alphabet::Base64, false)
            .into_iter()
            .collect();
    }
    let base64 = (0..3).filter_map(|before| base64_within(secret, before));
    let mut digits = Zeroizing::new(Vec::with_capacity(secret.len() * 2));
    digits.extend(secret.iter().flat_map(|byte| [byte >> 4, byte & 0xf].map(hex_digit)));
    base64.chain(SecretPattern::new(&digits, Alphabet::Text, false)).collect()
}

/// The base64 of a secret that `before` bytes, or three times any number more, precede in the
/// encoded text. The first letters depend on those bytes and are left out; the last letter may
/// depend on the bytes that follow.
fn base64_within(secret: &[u8], before: usize) -> Option<SecretPattern> {
    let mut text = Zeroizing::new(Vec::with_capacity(before + secret.len()));
    text.resize(before, 0);
    text.extend_from_slice(secret);
    let encoded = Zeroizing::new(STANDARD_NO_PAD.encode(&text));
    let letters = encoded.as_bytes().get((before * 8).div_ceil(6)..)?;
    SecretPattern::new(letters, Alphabet::Base64, !text.len().is_multiple_of(3))
}

/// The fewest letters of a pattern that is looked for in an origin's answer.
pub(super) const MIN_SEARCHED_LEN: usize = 8;
