//! Bytes of a request's target that clients send as they are and the HTTP library does not read.
//!
//! The strict gate passes no byte outside of ASCII in a target. That leaves room: each byte that
//! the library would refuse stands, from the gate to the conn on which the request leaves, as one
//! character of Unicode's private use area. So it takes the whole journey, and comes out as it was.

use std::borrow::Cow;

/// The target with each unreadable byte of its path and query hidden; `None` where it has none.
#[must_use]
pub fn hidden(target: &str) -> Option<String> {
    if memchr::memchr3(b'"', b'<', b'>', target.as_bytes()).is_none() && !target.contains('`') {
        return None;
    }
    // What names the host is read, or refused, as it is.
    let start = match target.split_once("://") {
        Some((scheme, rest)) if !target.starts_with('/') => {
            scheme.len() + 3 + rest.find(['/', '?'])?
        }
        _ => target.find('/').filter(|start| *start == 0)?,
    };
    let (before, rest) = target.split_at_checked(start)?;
    let mut text = before.to_owned();
    text.extend(
        rest.chars().map(|letter| if is_unreadable(letter) { hide(letter) } else { letter }),
    );
    Some(text)
}

/// The target as the caller wrote it.
#[must_use]
pub fn revealed(target: &str) -> Cow<'_, str> {
    if !has_hidden(target) {
        return Cow::Borrowed(target);
    }
    Cow::Owned(target.chars().map(reveal).collect())
}

/// Tells whether a byte of the target is hidden.
#[must_use]
pub fn has_hidden(target: &str) -> bool {
    // All others are ASCII.
    !target.is_ascii()
}

/// Appends a byte as URLs escape it (RFC 3986 §2.1).
pub fn push_escaped(text: &mut String, byte: u8) {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    text.push('%');
    text.push(digit(byte >> 4).to_ascii_uppercase());
    text.push(digit(byte & 0xf).to_ascii_uppercase());
}

fn is_unreadable(letter: char) -> bool {
    matches!(letter, '"' | '<' | '>' | '`')
}

fn hide(letter: char) -> char {
    char::from_u32(PRIVATE_USE + u32::from(letter)).unwrap_or(letter)
}

fn reveal(letter: char) -> char {
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
            assert_eq!(hidden(target), None, "{target}");
        }
        assert_eq!(hidden("https://a\"b/\"").unwrap(), "https://a\"b/\u{e022}");
        assert_eq!(hidden("https://a?\"").unwrap(), "https://a?\u{e022}");
        assert_eq!(hidden("/a<://b").unwrap(), "/a\u{e03c}://b");
    }

    proptest! {
        #[test]
        fn every_target_of_the_gate_can_be_read_and_comes_out_as_it_was(
            authority in "|https://api\\.example\\.com|http://a:8080",
            rest in "/[!-~&&[^#?]]{0,20}(\\?[!-~&&[^#]]{0,30})?",
        ) {
            let target = format!("{authority}{rest}");
            let text = hidden(&target).unwrap_or_else(|| target.clone());
            let uri: Uri = text.parse().unwrap();
            prop_assert_eq!(Some(uri.path_and_query().unwrap().as_str()), text.strip_prefix(&authority));
            prop_assert_eq!(revealed(&text), target.as_str());
            prop_assert_eq!(has_hidden(&text), text != target);
        }
    }
}
