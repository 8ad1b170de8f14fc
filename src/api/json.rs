//! A JSON object as a form. Its texts may be secrets: each is copied once, into memory that is
//! wiped.

use std::fmt;

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use crate::management::{Entry, Form};
use crate::secret::Secret;

/// The bytes are no JSON object; the sentence says where that shows.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Malformed(String);

/// Reads the members of a JSON object; nothing is guessed and nothing is left out.
///
/// # Errors
/// [`Malformed`] when it is no JSON, or no object. The sentence quotes nothing of it.
pub(super) fn read(bytes: &[u8]) -> Result<Form, Malformed> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_position| Malformed("the body is not UTF-8".to_owned()))?;
    if !text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') {
        return Err(Malformed("the body must be a JSON object".to_owned()));
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let members = deserializer
        .deserialize_map(Members)
        .and_then(|members| deserializer.end().map(|()| members))
        .map_err(|error| {
            let (line, column) = (error.line(), error.column());
            Malformed(format!("the body is no JSON, as shows at line {line}, column {column}"))
        })?;
    let entries: Option<Vec<_>> =
        members.into_iter().map(|(name, value)| Some((name, entry(value.get())?))).collect();
    let entries = entries.ok_or_else(|| {
        Malformed("a text of the body has half of a surrogate pair in it".to_owned())
    })?;
    Ok(Form::new(entries))
}

/// Collects members as they were written; whoever cares finds those that are there twice.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}

/// `None` when a text can't be UTF-8. The grammar has been checked.
fn entry(raw: &str) -> Option<Entry> {
    Some(match raw.as_bytes().first() {
        Some(b'"') => Entry::Text(unescape(raw)?),
        Some(b'[') => match serde_json::from_str(raw) {
            Ok(texts) => Entry::List(texts),
            Err(_) => Entry::Other("a list of anything else"),
        },
        Some(b'{') => Entry::Other("an object"),
        Some(b'n') => Entry::Blank,
        Some(first @ (b't' | b'f')) => Entry::Flag(*first == b't'),
        _ => Entry::Other("a number"),
    })
}

/// The text that a JSON string stands for (RFC 8259 §7). The library's own buffer for this is not
/// wiped.
fn unescape(raw: &str) -> Option<Secret> {
    let quoted = raw.strip_prefix('"')?.strip_suffix('"')?;
    // A text is never longer than what stands for it, so that it does not move as it grows.
    let mut text = Zeroizing::new(String::with_capacity(quoted.len()));
    let mut letters = quoted.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            text.push(letter);
            continue;
        }
        text.push(match letters.next()? {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => code_point(&mut letters)?,
            itself => itself,
        });
    }
    Some(Secret::new(text.as_bytes()))
}

/// What follows `\u`; a pair of surrogates is one letter.
fn code_point(letters: &mut std::str::Chars<'_>) -> Option<char> {
    let first = unit(letters)?;
    if !(0xd800..0xe000).contains(&first) {
        return char::from_u32(first.into());
    }
    let low = letters.as_str().starts_with("\\u").then(|| {
        letters.next();
        letters.next();
        unit(letters)
    });
    let mut pair = char::decode_utf16([first, low??]);
    let letter = pair.next()?.ok()?;
    pair.next().is_none().then_some(letter)
}

fn unit(letters: &mut std::str::Chars<'_>) -> Option<u16> {
    let mut unit = 0;
    for _digit in 0..4 {
        let digit = letters.next()?.to_digit(16)?;
        unit = unit << 4 | u16::try_from(digit).ok()?;
    }
    Some(unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text_of(json: &str) -> Option<String> {
        match entry(json)? {
            Entry::Text(text) => Some(String::from_utf8(text.expose().to_vec()).unwrap()),
            _ => None,
        }
    }

    #[test]
    fn every_escape_is_read() {
        let text = text_of(r#""a\"\\\/\b\f\n\r\té\uD83D\uDE00é""#);
        assert_eq!(text.as_deref(), Some("a\"\\/\u{8}\u{c}\n\r\té😀é"));
    }

    #[test]
    fn half_a_surrogate_pair_is_no_text() {
        for json in [r#""\ud800""#, r#""\udc00""#, r#""\ud800x""#, r#""\ud800A""#] {
            assert_eq!(text_of(json), None, "{json}");
            assert!(read(format!("{{\"a\":{json}}}").as_bytes()).is_err(), "{json}");
        }
    }

    #[test]
    fn what_is_no_object_is_refused_and_not_quoted() {
        for json in [
            "",
            "[]",
            "\"hunter2\"",
            "{\"hunter2\"}",
            "{\"a\":hunter2}",
            "{} hunter2",
            "{\"a\":1,}",
        ] {
            let refused = read(json.as_bytes()).unwrap_err();
            assert!(!refused.to_string().contains("hunter"), "{refused}");
        }
        assert!(read(b"{\"a\":\"\xff\"}").is_err());
        let deep = format!("{{\"a\":{}", "[".repeat(60_000));
        assert!(read(deep.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn a_text_is_read_as_it_was_meant(text in any::<String>()) {
            let json = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(text_of(&json), Some(text));
        }

        #[test]
        fn anything_at_all_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _either = read(&bytes);
        }
    }
}
