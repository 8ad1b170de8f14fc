//! Parameters of a query whose values are secret, and the spellings in which a server may read
//! their names (contract §8).

use std::borrow::Cow;
use std::fmt;

/// The name of a parameter that carries a secret.
///
/// Two of them are equal where a server may take one for the other.
#[derive(Clone)]
pub struct ParameterName {
    /// The name as it is sent.
    text: Box<str>,
    folded: Box<str>,
}

/// A query in which a parameter is one for some servers only. The text says what to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "its query has a semicolon, which some servers take for a separator, beside a parameter that the \
     connection sets; the caller separates parameters by & alone"
)]
pub struct AmbiguousQuery;

impl ParameterName {
    /// Reads a name.
    ///
    /// # Errors
    /// The text states the rule.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~$".contains(&byte);
        let is_name = (1..=128).contains(&text.len())
            && text.bytes().all(fits)
            && text.bytes().any(|byte| byte.is_ascii_alphanumeric());
        if is_name {
            Ok(Self { text: text.into(), folded: fold(text).into() })
        } else {
            Err("must be 1 to 128 letters, digits, or characters out of - . _ ~ $")
        }
    }

    /// The name as it is sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Tells whether a server may take a name, as a query has it, for this one.
    fn is_meant_by(&self, written: &str) -> bool {
        // Most names share no letter with it, whatever their spelling.
        let decoded = decode(written);
        let parts = decoded.split(['&', ';']);
        parts.map(|part| part.split('=').next().unwrap_or_default()).any(|name| {
            let name = name.split('\0').next().unwrap_or_default();
            fold(name) == *self.folded
        })
    }
}

impl PartialEq for ParameterName {
    fn eq(&self, other: &Self) -> bool {
        self.folded == other.folded
    }
}

impl Eq for ParameterName {}

impl fmt::Debug for ParameterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

/// The query without every parameter that a server may take for one of `names`.
///
/// # Errors
/// [`AmbiguousQuery`] where such a parameter shares its part of the query with another one.
pub fn without_parameters<'a>(
    query: &'a str,
    names: &[ParameterName],
) -> Result<Cow<'a, str>, AmbiguousQuery> {
    let name_of = |part: &'a str| part.split('=').next().unwrap_or_default();
    let is_ours = |part: &'a str| names.iter().any(|name| name.is_meant_by(name_of(part)));
    // 1. A semicolon separates for some servers, and is part of a value for the others.
    let is_mixed = |part: &'a str| part.contains(';') && part.split(';').any(is_ours);
    if query.split('&').any(is_mixed) {
        return Err(AmbiguousQuery);
    }
    // 2. The others stay as they are written.
    if !query.split('&').any(is_ours) {
        return Ok(Cow::Borrowed(query));
    }
    let kept: Vec<_> = query.split('&').filter(|part| !is_ours(part)).collect();
    Ok(Cow::Owned(kept.join("&")))
}

/// A text without escapes, however often they were escaped, with a space for each `+`.
pub(super) fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    // A byte may be the end of an escape that it completes. No two escapes overlap, so that what is
    // left does not depend on their order.
    let mut bytes: Vec<u8> = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        bytes.push(if byte == b'+' { b' ' } else { byte });
        loop {
            if let Some(byte) = escaped_byte(&bytes) {
                bytes.truncate(bytes.len() - 3);
                bytes.push(byte);
            } else if let Some(letter) = escaped_letter(&bytes) {
                bytes.truncate(bytes.len() - 6);
                bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                break;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

/// The byte of an escape at the end, as `%41` (RFC 3986 §2.1).
fn escaped_byte(bytes: &[u8]) -> Option<u8> {
    let [.., b'%', high, low] = bytes else { return None };
    u8::try_from(number([*high, *low])?).ok()
}

/// The letter of an escape at the end that some servers know, as `%u0041`.
fn escaped_letter(bytes: &[u8]) -> Option<char> {
    let [.., b'%', b'u' | b'U', a, b, c, d] = bytes else { return None };
    char::from_u32(number([*a, *b, *c, *d])?)
}

fn number<const N: usize>(digits: [u8; N]) -> Option<u32> {
    let mut digits = digits.iter().map(|digit| char::from(*digit).to_digit(16));
    digits.try_fold(0, |number, digit| Some(number << 4 | digit?))
}

/// A name as servers may read it: in lower case, with one mark for all punctuation, without spaces
/// around it, and without the brackets that make it a list.
fn fold(name: &str) -> String {
    let name = name.trim_matches(|letter: char| letter.is_whitespace() || letter.is_control());
    let name = name.trim_start_matches('?');
    let letters = name.chars().map(plain_letter).take_while(|letter| *letter != '[');
    letters
        .map(|letter| match letter.to_ascii_lowercase() {
            letter if letter.is_ascii_alphanumeric() || !letter.is_ascii() => letter,
            _ => '_',
        })
        .collect()
}

/// The letter that a change of case, or a conversion to a smaller character set, makes of one.
fn plain_letter(letter: char) -> char {
    match letter {
        // The Kelvin sign, the long s, and the letters i of Turkish.
        '\u{212a}' => 'k',
        '\u{17f}' => 's',
        '\u{130}' | '\u{131}' => 'i',
        // The full-width forms of ASCII.
        '\u{ff01}'..='\u{ff5e}' => {
            char::from_u32(u32::from(letter) - 0xff01 + 0x21).unwrap_or(letter)
        }
        // The characters of punctuation that the HTTP library does not parse.
        '\u{e000}'..='\u{e07f}' => '_',
        letter => letter,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(texts: &[&str]) -> Vec<ParameterName> {
        texts.iter().map(|text| ParameterName::parse(text).unwrap()).collect()
    }

    fn without<'a>(query: &'a str, of: &[&str]) -> Result<Cow<'a, str>, AmbiguousQuery> {
        without_parameters(query, &names(of))
    }

    #[test]
    fn every_spelling_of_a_name_goes_and_all_else_stays_as_it_is() {
        for name in [
            "api_key",
            "API_KEY",
            "api-key",
            "api.key",
            "api key",
            "api+key",
            "%61pi_key",
            "api%5Fkey",
            "api%255fkey",
            "api%25255Fkey",
            "%2561pi_key",
            "%%361pi_key",
            "api_key%00x",
            "%20api_key",
            "api_key[]",
            "api_key[a][b]",
            "api_key%5B0%5D",
            "?api_key",
            "api%u005fkey",
            "api_%u212aey",
            "api_%E2%84%AAey",
            "%EF%BD%81pi_key",
            "api_key%3D1",
            "x%26api_key",
            "api%09key",
        ] {
            let query = format!("a=1&{name}=x&b=%20&&c");
            assert_eq!(without(&query, &["api_key"]).unwrap(), "a=1&b=%20&&c", "{name}");
            assert_eq!(without(name, &["Api-Key"]).unwrap(), "", "{name}");
        }
        for query in ["apikey=1", "api_keys=1", "x=api_key", "x[api_key]=1", "a;b=c", "", "&", "="]
        {
            assert_eq!(without(query, &["api_key"]), Ok(Cow::Borrowed(query)));
        }
    }

    #[test]
    fn a_parameter_behind_a_semicolon_is_not_guessed_at() {
        for query in ["a=1;key=x", "key=x;a=1", "a;KEY", "a=1&b;%6bey=", ";key"] {
            assert_eq!(without(query, &["key"]), Err(AmbiguousQuery), "{query}");
        }
        assert_eq!(without("a=1;b=key", &["key"]).unwrap(), "a=1;b=key");
    }

    #[test]
    fn names_follow_the_rule() {
        for name in ["key", "api_key", "$token", "x.y-z~", &"a".repeat(128)] {
            assert_eq!(ParameterName::parse(name).unwrap().as_str(), name);
        }
        for name in ["", "a b", "a=b", "a&b", "a[b]", "a%20", "é", "-_", &"a".repeat(129)] {
            assert!(ParameterName::parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_name_of_escapes_alone_takes_no_long() {
        let name = format!("%{}", "25".repeat(30_000));
        assert_eq!(decode(&name), "%");
    }

    /// Draws one thing after another out of a number, so that a million cases take no long.
    struct Draw(u64);

    impl Draw {
        fn below(&mut self, count: usize) -> usize {
            // splitmix64
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            usize::try_from((mixed >> 33) % count as u64).unwrap()
        }

        fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
            of[self.below(of.len())]
        }

        fn text(&mut self, letters: &[u8], most: usize) -> String {
            let length = self.below(most + 1);
            (0..length).map(|_| char::from(letters[self.below(letters.len())])).collect()
        }

        /// A letter in one of its spellings.
        fn letter(&mut self, letter: char) -> String {
            let other = if letter == '_' { '-' } else { letter.to_ascii_uppercase() };
            let escape = |byte: char| format!("%{:02x}", u32::from(byte));
            let twice = escape(letter).replace('%', "%25");
            match self.below(7) {
                0 => letter.to_string(),
                1 => other.to_string(),
                2 => escape(letter),
                3 => escape(other).to_uppercase(),
                4 => twice.replace('2', "%32"),
                5 => twice,
                _ => format!("%u00{:02X}", u32::from(letter)),
            }
        }

        /// A query with a spelling of the name in it.
        fn query(&mut self, name: &str) -> String {
            let mut query = self.text(b"abz=&;%+.?_-", 6);
            if !query.is_empty() {
                query.push('&');
            }
            for letter in name.chars() {
                query.push_str(&self.letter(letter));
            }
            query.push_str(self.one(&["", "", "%00a", "[]", "[a]", "%5B0%5D", "%20", "+", "%3D"]));
            if self.below(4) > 0 {
                query.push('=');
                query.push_str(&self.text(b"abz0%9", 4));
            }
            if self.below(2) > 0 {
                query.push('&');
                query.push_str(&self.text(b"abz=&;%_-", 8));
            }
            query
        }
    }

    proptest! {
        /// `PROPTEST_CASES=1000000` tries as many.
        #[test]
        fn no_copy_of_an_injected_parameter_passes(seed: u64) {
            let query = Draw(seed).query("api_key");
            if let Ok(left) = without(&query, &["api_key"]) {
                for reader in [read_strictly, read_loosely] {
                    prop_assert!(!reader(&left).iter().any(|name| name == "api_key"), "{} of {}", left, query);
                }
                prop_assert!(left.len() < query.len(), "{}", query);
            }
        }
    }

    /// The names of a query, as the URL standard has them.
    fn read_strictly(query: &str) -> Vec<String> {
        form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name.to_lowercase()).collect()
    }

    /// The names of a query, as a reader has them that decodes twice and takes hyphens, dots and
    /// spaces for underscores, as PHP does.
    fn read_loosely(query: &str) -> Vec<String> {
        let parts = query.split(['&', ';']).map(|part| part.split('=').next().unwrap());
        let decoded = |text: &str| {
            let text = text.replace('+', " ");
            let bytes = percent_encoding::percent_decode_str(&text).collect::<Vec<_>>();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        parts
            .map(|name| {
                let name = decoded(&decoded(name));
                let name = name.split(['[', '\0']).next().unwrap().trim().to_lowercase();
                name.replace(['-', '.', ' '], "_")
            })
            .collect()
    }
}
