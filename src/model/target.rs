//! Bytes of a request's target that clients send unescaped and the HTTP library does not parse.
//!
//! The listener replaces each of these bytes with a character of Unicode's private use area, and the
//! encoder puts the byte back when the request leaves. Targets that are not ASCII are refused, so
//! no caller can send such a character itself.

use std::borrow::Cow;

/// Replaces each unparsable byte of the path and query; `None` where there is none.
pub fn encode_unparsable(target: &str) -> Option<String> {
    if memchr::memchr3(b'"', b'<', b'>', target.as_bytes()).is_none() && !target.contains('`') {
        return None;
    }
    // The scheme and the authority stay as they are, to be parsed or refused.
    let start = match target.split_once("://") {
        Some((scheme, rest)) if !target.starts_with('/') => {
            scheme.len() + 3 + rest.find(['/', '?'])?
        }
        _ => target.find('/').filter(|start| *start == 0)?,
    };
    let (before, rest) = target.split_at_checked(start)?;
    let mut text = before.to_owned();
    text.extend(
        rest.chars().map(|letter| if is_unparsable(letter) { encode(letter) } else { letter }),
    );
    Some(text)
}

/// Puts the replaced bytes back: the target as the caller has sent it.
pub fn decode_unparsable(target: &str) -> Cow<'_, str> {
    if !has_unparsable(target) {
        return Cow::Borrowed(target);
    }
    Cow::Owned(target.chars().map(decode).collect())
}

/// Tells whether a byte of the target was replaced.
pub fn has_unparsable(target: &str) -> bool {
    // All other characters of a target are ASCII.
    !target.is_ascii()
}

/// Appends a percent-encoded byte (RFC 3986 §2.1).
pub fn push_escaped(text: &mut String, byte: u8) {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    text.push('%');
    text.push(digit(byte >> 4).to_ascii_uppercase());
    text.push(digit(byte & 0xf).to_ascii_uppercase());
}

fn is_unparsable(letter: char) -> bool {
    matches!(letter, '"' | '<' | '>' | '`')
}

fn encode(letter: char) -> char {
    char::from_u32(PRIVATE_USE + u32::from(letter)).unwrap_or(letter)
}

fn decode(letter: char) -> char {
    let byte = u32::from(letter).checked_sub(PRIVATE_USE).and_then(|byte| u8::try_from(byte).ok());
    byte.map_or(letter, char::from)
}

/// The first character of the private use area.
const PRIVATE_USE: u32 = 0xe000;

#[cfg(test)]
mod tests {
    use super::*;
    use http::Uri;
    use proptest::prelude::*;

    #[test]
    fn what_the_library_reads_and_what_names_a_host_is_left_alone() {
        for target in ["/v1?x=a|b^c{d}", "*", "a\"b:443", "https://a\"b", "a>b"] {
            assert_eq!(encode_unparsable(target), None, "{target}");
        }
        assert_eq!(encode_unparsable("https://a\"b/\"").unwrap(), "https://a\"b/\u{e022}");
        assert_eq!(encode_unparsable("https://a?\"").unwrap(), "https://a?\u{e022}");
        assert_eq!(encode_unparsable("/a<://b").unwrap(), "/a\u{e03c}://b");
    }

    proptest! {
        #[test]
        fn every_target_of_the_gate_can_be_read_and_comes_out_as_it_was(
            authority in "|https://api\\.example\\.com|http://a:8080",
            rest in "/[!-~&&[^#?]]{0,20}(\\?[!-~&&[^#]]{0,30})?",
        ) {
            let target = format!("{authority}{rest}");
            let text = encode_unparsable(&target).unwrap_or_else(|| target.clone());
            let uri: Uri = text.parse().unwrap();
            prop_assert_eq!(Some(uri.path_and_query().unwrap().as_str()), text.strip_prefix(&authority));
            prop_assert_eq!(decode_unparsable(&text), target.as_str());
            prop_assert_eq!(has_unparsable(&text), text != target);
        }
    }
}
