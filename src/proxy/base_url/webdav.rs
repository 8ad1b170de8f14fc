//! The URLs that a request of RFC 4918 names beside its target: `Destination` and `If` (§10.3,
//! §10.4). The caller names them at the proxy; the origin must be told where they are.

use http::header::Entry;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::reference::split_absolute;
use super::{PREFIX, below, segment};
use crate::model::origin::Origin;
use crate::model::own_hosts::OwnHosts;
use crate::proxy::refusal::{Refusal, malformed};

/// The fields of a request that name URLs, split at those that are below its base URL.
#[derive(Clone, Debug, Default)]
pub(in crate::proxy) struct NamedUrls(Vec<(HeaderName, Vec<UrlPart>)>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum UrlPart {
    /// As it stands.
    Text(String),
    /// A URL below the base URL: its path at the origin, and its query.
    Below(String),
}

impl NamedUrls {
    /// Reads the fields of a request for `path`; `own` are the names of the proxy.
    ///
    /// # Errors
    /// A refusal when one leads to the proxy, and not below the same base URL.
    pub(in crate::proxy) fn read(
        headers: &HeaderMap,
        path: &str,
        own: &OwnHosts,
    ) -> Result<Self, Refusal> {
        let mut named = Vec::new();
        for name in [DESTINATION, IF] {
            for value in headers.get_all(&name) {
                let Ok(text) = value.to_str() else { return Err(malformed(NOT_READ)) };
                let pieces = pieces_of(&name, text, path, own)?;
                named.push((name.clone(), pieces));
            }
        }
        Ok(Self(named))
    }

    /// The URL of `Destination` as the origin reads it, without its host where that is the
    /// connection's; an empty text where there are several.
    pub(in crate::proxy) fn destination(&self) -> Option<String> {
        let mut named = self.0.iter().filter(|(name, _)| *name == DESTINATION);
        let (_, parts) = named.next()?;
        let url = match (parts.as_slice(), named.next()) {
            ([UrlPart::Text(url) | UrlPart::Below(url)], None) => url.clone(),
            _ => String::new(),
        };
        Some(url)
    }

    /// Writes the fields as the origin reads them.
    pub(in crate::proxy) fn write(&self, headers: &mut HeaderMap, origin: &Origin) {
        for (name, _) in &self.0 {
            if let Entry::Occupied(field) = headers.entry(name) {
                field.remove_entry_mult();
            }
        }
        for (name, pieces) in &self.0 {
            let text: String = pieces
                .iter()
                .map(|piece| match piece {
                    UrlPart::Text(text) => text.clone(),
                    UrlPart::Below(target) => format!("{origin}{target}"),
                })
                .collect();
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.append(name, value);
            }
        }
    }
}

/// Reads one field's value: `If` holds URLs among its conditions, `Destination` is one URL.
fn pieces_of(
    name: &HeaderName,
    text: &str,
    path: &str,
    own: &OwnHosts,
) -> Result<Vec<UrlPart>, Refusal> {
    if *name != IF {
        return Ok(vec![read(text.trim(), path, own)?]);
    }
    let parts = split_conditions(text).into_iter();
    let piece = |(is_url, part): (bool, &str)| {
        if is_url { read(part, path, own) } else { Ok(UrlPart::Text(part.to_owned())) }
    };
    parts.map(piece).collect()
}

/// A URL as the caller names it.
fn read(url: &str, path: &str, own: &OwnHosts) -> Result<UrlPart, Refusal> {
    let target = match split_absolute(url) {
        Some((host, target)) if own.may_include(&host) => target,
        // A path alone is one at the proxy, which is where the request was sent.
        None if url.starts_with('/') && !url.starts_with("//") => url,
        _ => return Ok(UrlPart::Text(url.to_owned())),
    };
    if target.starts_with(PREFIX) && segment(target) == segment(path) {
        return Ok(UrlPart::Below(below(target)));
    }
    Err(malformed(
        "The request names a URL of the proxy that is not below its own base URL; Destination and If stay within one connection.",
    ))
}

/// The parts of an `If` field, each with whether it is the URL of a resource tag: the text in angle
/// brackets outside of lists and entity tags.
fn split_conditions(text: &str) -> Vec<(bool, &str)> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut in_list, mut in_string, mut in_tag) = (false, false, false);
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    // A tag stands between `<` and `>`, but not within a list, where it is a state token, nor within
    // a quoted entity tag (RFC 4918 §10.4).
    for (at, letter) in text.char_indices() {
        match letter {
            '>' if in_tag => {
                in_tag = false;
                parts.push((true, part(start, at)));
                start = at;
            }
            _ if in_tag => {}
            '"' => in_string = !in_string,
            _ if in_string => {}
            '(' => in_list = true,
            ')' => in_list = false,
            '<' if !in_list => {
                in_tag = true;
                parts.push((false, part(start, at + 1)));
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push((in_tag, part(start, text.len())));
    parts
}

const DESTINATION: HeaderName = HeaderName::from_static("destination");
const IF: HeaderName = HeaderName::from_static("if");
const NOT_READ: &str = "The fields Destination and If must be plain text.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::origin::HostName;
    use proptest::prelude::*;

    fn mapped(name: HeaderName, value: &str) -> Option<String> {
        let own = ["localhost", "127.0.0.1"].into_iter().collect();
        let mut headers = HeaderMap::new();
        headers.insert(&name, value.parse().unwrap());
        let named = NamedUrls::read(&headers, "/~/files/a.txt", &own).ok()?;
        let origin = Origin::new(&HostName::parse("dav.example.com").unwrap(), 443);
        named.write(&mut headers, &origin);
        Some(headers[name].to_str().unwrap().to_owned())
    }

    #[test]
    fn a_destination_below_the_base_url_is_told_as_the_origin_knows_it() {
        for (destination, told) in [
            ("http://localhost:8080/~/files/b.txt", Some("https://dav.example.com/b.txt")),
            ("HTTPS://LOCALHOST/~/files/b%20c?d", Some("https://dav.example.com/b%20c?d")),
            ("/~/files/b.txt", Some("https://dav.example.com/b.txt")),
            ("/~/files", Some("https://dav.example.com/")),
            ("/~/files/../other/b", Some("https://dav.example.com/../other/b")),
            ("https://dav.example.com/b.txt", Some("https://dav.example.com/b.txt")),
            (
                "https://elsewhere.example.com/~/files/b",
                Some("https://elsewhere.example.com/~/files/b"),
            ),
            ("http://localhost:8080/~/other/b.txt", None),
            ("http://[::ffff:127.0.0.1]/~/other/b.txt", None),
            ("http://127.1/b.txt", None),
            ("/~/filesystem/b.txt", None),
            ("/b.txt", None),
        ] {
            assert_eq!(mapped(DESTINATION, destination).as_deref(), told, "{destination}");
        }
    }

    #[test]
    fn resource_tags_of_conditions_are_told_alike_and_tokens_stay() {
        let condition = "<http://localhost/~/files/b> (<urn:uuid:1> [\"<x>)\"]) (Not <DAV:no-lock>) \
                         </~/files/c>(<urn:uuid:2>)";
        let told = "<https://dav.example.com/b> (<urn:uuid:1> [\"<x>)\"]) (Not <DAV:no-lock>) \
                    <https://dav.example.com/c>(<urn:uuid:2>)";
        assert_eq!(mapped(IF, condition).as_deref(), Some(told));
        assert_eq!(mapped(IF, "(<urn:uuid:1>)").as_deref(), Some("(<urn:uuid:1>)"));
        assert_eq!(mapped(IF, "<http://localhost/~/other/b> (<urn:uuid:1>)"), None);
    }

    proptest! {
        #[test]
        fn conditions_are_split_without_loss(text in "[<>()\\[\\]\"a/~é ]{0,40}") {
            let whole: String = split_conditions(&text).into_iter().map(|(_, part)| part).collect();
            prop_assert_eq!(whole, text);
        }
    }
}
