//! The canonical request: the one text that the signer and the verifier make of a request ("Create
//! a signed AWS API request" in AWS's documentation).

use http::{HeaderMap, HeaderName};
use zeroize::Zeroizing;

use super::query::split_params;
use crate::model::target::push_escaped;

/// The encoding of a path in the canonical request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum PathRule {
    /// S3 and its kin: each byte is encoded once, and the path is not normalized.
    Once,
    /// All other services: the path is normalized, and encoded once more than it is sent.
    Twice,
}

/// The parts of a request that are signed.
#[derive(Clone, Copy, Debug)]
pub(super) struct SignedParts<'a> {
    pub(super) method: &'a str,
    /// The path and query as they are sent.
    pub(super) target: &'a str,
    pub(super) headers: &'a HeaderMap,
    /// The hash of the body, or the text that is sent in its place.
    pub(super) payload: &'a str,
}

/// The canonical request, which may have a session token in it.
pub(super) struct CanonicalRequest {
    pub(super) text: Zeroizing<Vec<u8>>,
    /// The names of the signed fields, in lower case and in order, separated by semicolons.
    pub(super) signed_headers: String,
}

impl CanonicalRequest {
    /// Makes the text of a request, with those fields that `is_signed` names.
    pub(super) fn of(
        parts: &SignedParts<'_>,
        rule: PathRule,
        is_signed: impl Fn(&HeaderName) -> bool,
    ) -> Self {
        // 1. Method, path and query.
        let (path, query) = parts.target.split_once('?').unwrap_or((parts.target, ""));
        let mut text = Zeroizing::new(Vec::with_capacity(INITIAL_CAPACITY));
        for line in [parts.method, &path_text(path, rule), &query_text(query)] {
            text.extend_from_slice(line.as_bytes());
            text.push(b'\n');
        }
        // 2. The signed fields, by their names in lower case.
        let mut names: Vec<_> = parts.headers.keys().filter(|name| is_signed(name)).collect();
        names.sort_unstable_by_key(|name| name.as_str());
        for name in &names {
            text.extend_from_slice(name.as_str().as_bytes());
            text.push(b':');
            for (index, value) in parts.headers.get_all(*name).iter().enumerate() {
                if index > 0 {
                    text.push(b',');
                }
                push_collapsed(&mut text, value.as_bytes());
            }
            text.push(b'\n');
        }
        // 3. Their names, and the body.
        let names: Vec<_> = names.iter().map(|name| name.as_str()).collect();
        let signed_headers = names.join(";");
        for line in ["\n", &signed_headers, "\n", parts.payload] {
            text.extend_from_slice(line.as_bytes());
        }
        Self { text, signed_headers }
    }
}

/// The path of the canonical request.
fn path_text(path: &str, rule: PathRule) -> String {
    let encoded = match rule {
        PathRule::Once => encode_path(&decode(path.as_bytes(), Plus::Plus)),
        PathRule::Twice => encode_path(normalized(path).as_bytes()),
    };
    if encoded.is_empty() { "/".to_owned() } else { encoded }
}

/// The path without dot segments and without empty ones (RFC 3986 §5.2.4).
fn normalized(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    let end = if path.ends_with('/') && !kept.is_empty() { "/" } else { "" };
    format!("/{}{end}", kept.join("/"))
}

/// The query of the canonical request: names and values are encoded in one way, and sorted.
fn query_text(query: &str) -> String {
    let mut params: Vec<_> = split_params(query)
        .map(|(name, value)| {
            let encoded = |text: &str| encode(&decode(text.as_bytes(), Plus::Space));
            (encoded(name), encoded(value))
        })
        .collect();
    params.sort_unstable();
    let params: Vec<_> = params.iter().map(|(name, value)| format!("{name}={value}")).collect();
    params.join("&")
}

/// Appends a field's value without outer white space, and with one space where there are several.
fn push_collapsed(text: &mut Vec<u8>, value: &[u8]) {
    let mut words = value.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    text.extend_from_slice(words.next().unwrap_or_default());
    for word in words {
        text.push(b' ');
        text.extend_from_slice(word);
    }
}

/// The meaning of a plus sign in a text that is decoded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Plus {
    /// The sign itself, as in a path.
    Plus,
    /// A space, as in a query.
    Space,
}

/// Decodes percent-encoded bytes (RFC 3986 §2.1). A `%` that begins no escape stands for itself.
pub(super) fn decode(text: &[u8], plus: Plus) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let escaped = match rest {
            [b'%', high, low, ..] => digit(*high).zip(digit(*low)),
            _ => None,
        };
        (decoded, rest) = match escaped {
            Some((high, low)) => (pushed(decoded, high << 4 | low), after.get(2..).unwrap_or(&[])),
            None if *first == b'+' && plus == Plus::Space => (pushed(decoded, b' '), after),
            None => (pushed(decoded, *first), after),
        };
    }
    decoded
}

fn pushed(mut bytes: Vec<u8>, byte: u8) -> Vec<u8> {
    bytes.push(byte);
    bytes
}

/// Encodes every byte but the unreserved ones (RFC 3986 §2.3).
fn encode(bytes: &[u8]) -> String {
    encode_but(bytes, |_byte| false)
}

/// Encodes every byte but the unreserved ones and `/`.
fn encode_path(bytes: &[u8]) -> String {
    encode_but(bytes, |byte| byte == b'/')
}

fn encode_but(bytes: &[u8], is_kept: impl Fn(u8) -> bool) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) || is_kept(*byte) {
            text.push(char::from(*byte));
        } else {
            push_escaped(&mut text, *byte);
        }
    }
    text
}

/// Most canonical requests are shorter. A buffer that grows would leave copies in freed memory.
const INITIAL_CAPACITY: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_path_is_encoded_once_for_s3_and_once_more_elsewhere() {
        for (path, once, twice) in [
            ("", "/", "/"),
            ("/", "/", "/"),
            ("/a/b/", "/a/b/", "/a/b/"),
            ("/a%20b", "/a%20b", "/a%2520b"),
            ("/a+b", "/a%2Bb", "/a%2Bb"),
            ("/a%2bb", "/a%2Bb", "/a%252bb"),
            ("/%7ea~", "/~a~", "/%257ea~"),
            ("/a=b:c@d", "/a%3Db%3Ac%40d", "/a%3Db%3Ac%40d"),
            ("/a//b", "/a//b", "/a/b"),
            ("/a/./b/../c", "/a/./b/../c", "/a/c"),
            ("/../..", "/../..", "/"),
            ("/a/..", "/a/..", "/"),
            ("/100%", "/100%25", "/100%25"),
            ("/ሴ", "/%E1%88%B4", "/%E1%88%B4"),
        ] {
            assert_eq!(path_text(path, PathRule::Once), once, "{path} once");
            assert_eq!(path_text(path, PathRule::Twice), twice, "{path} twice");
        }
    }

    #[test]
    fn a_query_is_sorted_by_its_encoded_names_and_then_values() {
        for (query, text) in [
            ("", ""),
            ("acl", "acl="),
            ("b=2&a=1", "a=1&b=2"),
            ("a=2&a=1&A=3", "A=3&a=1&a=2"),
            ("a=1&&b=", "a=1&b="),
            ("a=b=c", "a=b%3Dc"),
            ("a=x+y&b=x%20y&c=x%2By", "a=x%20y&b=x%20y&c=x%2By"),
            ("prefix=a/b&marker=%2f", "marker=%2F&prefix=a%2Fb"),
            ("a-=1&a=2", "a=2&a-=1"),
        ] {
            assert_eq!(query_text(query), text, "{query}");
        }
    }

    proptest! {
        #[test]
        fn a_path_has_one_text_however_it_is_escaped(bytes in prop::collection::vec(1_u8.., 0..30)) {
            let mut escaped = String::new();
            for byte in &bytes {
                push_escaped(&mut escaped, *byte);
            }
            let usual = encode_path(&bytes);
            let text = path_text(&usual, PathRule::Once);
            prop_assert_eq!(path_text(&escaped.to_ascii_lowercase(), PathRule::Once), text);
        }

        #[test]
        fn a_normalized_path_stays_as_it_is(path in "(/[a.]{0,3}){0,6}/?") {
            let once = normalized(&path);
            prop_assert!(once.starts_with('/') && !once.contains("//") && !once.contains("/../"));
            prop_assert_eq!(normalized(&once), once);
        }
    }
}
