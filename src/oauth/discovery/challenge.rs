//! The challenge by which a protected resource names its metadata (RFC 9728 §5.1, RFC 6750 §3).

use http::{HeaderMap, header};

use super::metadata::scopes;

/// The parameters of a challenge that are used.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Challenge {
    /// The URL of the resource's metadata.
    pub(super) resource_metadata: Option<String>,
    /// The scopes that the request needs, separated by spaces.
    pub(super) scopes: Box<str>,
}

impl Challenge {
    /// Reads every `WWW-Authenticate` field; of each parameter, the first counts.
    pub(super) fn read(headers: &HeaderMap) -> Self {
        let mut challenge = Self::default();
        for line in headers.get_all(header::WWW_AUTHENTICATE) {
            let Ok(line) = line.to_str() else { continue };
            for (name, value) in parameters(line) {
                match name.to_ascii_lowercase().as_str() {
                    "resource_metadata" if challenge.resource_metadata.is_none() => {
                        challenge.resource_metadata = Some(value);
                    }
                    "scope" if challenge.scopes.is_empty() => {
                        challenge.scopes = scopes(value.split(' '));
                    }
                    _ => {}
                }
            }
        }
        challenge
    }
}

/// The parameters of all challenges of a line (RFC 9110 §11.6.1), whatever their scheme.
fn parameters(line: &str) -> Vec<(&str, String)> {
    let mut found = Vec::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('=') {
        // The name is the last word before the sign: a scheme may stand before it.
        let name = before.trim_end().rsplit([' ', ',', '\t']).next().unwrap_or_default();
        let after = after.trim_start();
        let (value, end) = if let Some(quoted) = after.strip_prefix('"') {
            unquoted(quoted)
        } else {
            let end = after.find([',', ' ', '\t']).unwrap_or(after.len());
            let (value, end) = after.split_at(end);
            (value.to_owned(), end)
        };
        if !name.is_empty() {
            found.push((name, value));
        }
        rest = end;
    }
    found
}

/// The text of a quoted string, and what follows it.
fn unquoted(quoted: &str) -> (String, &str) {
    let mut text = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (text, quoted.get(at + 1..).unwrap_or_default()),
            '\\' => text.extend(letters.next().map(|(_, escaped)| escaped)),
            letter => text.push(letter),
        }
    }
    (text, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(lines: &[&str]) -> (Option<String>, String) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::WWW_AUTHENTICATE, line.parse().unwrap());
        }
        let Challenge { resource_metadata, scopes } = Challenge::read(&headers);
        (resource_metadata, scopes.into())
    }

    #[test]
    fn the_metadatas_place_is_found_in_any_challenge() {
        let url = "https://mcp.example.com/.well-known/oauth-protected-resource";
        let named = format!("resource_metadata=\"{url}\"");
        let found = Some(url.to_owned());
        for line in [
            format!("Bearer {named}"),
            format!("Bearer realm=\"a, b=c\", error=\"invalid_token\", {named}"),
            format!("Bearer realm=x , Resource_Metadata = \"{url}\""),
            format!("Basic realm=\"\\\"resource_metadata=x\\\"\", Bearer {named}"),
            format!("Bearer resource_metadata={url}"),
            format!("Negotiate YWJj==, Bearer {named}"),
        ] {
            assert_eq!(read(&[&line]).0, found, "{line}");
        }
        assert_eq!(read(&["Basic realm=\"x\"", &format!("Bearer {named}")]).0, found);
        let both = format!("Bearer scope=\"a  b\", {named}, {named}x");
        assert_eq!(read(&[&both]), (found, "a b".to_owned()));
        assert_eq!(read(&["Bearer", "Bearer realm=\"resource_metadata=x"]).0, None);
        assert_eq!(read(&[]).0, None);
    }

    proptest! {
        #[test]
        fn anything_at_all_is_read(line in "[ -~]{0,60}|[Bb=,\" \\\\]{0,20}") {
            let _read = read(&[&line]);
        }
    }
}
