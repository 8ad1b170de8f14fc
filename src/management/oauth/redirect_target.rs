//! The targets to which a flow may redirect the browser at its end: only origins that the operator
//! allows, so that a flow is no open redirector (RFC 9700 §4.11).

use form_urlencoded::Serializer;

use crate::model::origin::{Authority, Host};
use crate::state::ManagementSettings;

/// Reads a URL that the browser is to be sent to.
///
/// # Errors
/// The rule that it breaks, in a sentence.
pub(super) fn parse(text: &str, settings: &ManagementSettings) -> Result<Box<str>, &'static str> {
    let origin = origin(text).ok_or("must be an http or https URL without user")?;
    let own = self::origin(&settings.public_url).is_some_and(|own| own == origin);
    let listed = settings.allowed_redirect_origins.iter();
    let listed = listed.filter_map(|allowed| self::origin(allowed)).any(|known| known == origin);
    if own || listed || origin.is_loopback() {
        Ok(text.into())
    } else {
        Err("is not at an origin that a flow may end at: the operator adds it to \
             oauth.allowed_redirect_origins")
    }
}

/// The URL with these parameters too.
pub(in crate::management) fn with(url: &str, parameters: &[(&str, &str)]) -> String {
    let mut query = Serializer::new(String::new());
    query.extend_pairs(parameters);
    // A fragment stays where it is: at the end (RFC 3986 §3.5).
    let (url, fragment) = url.find('#').map_or((url, ""), |at| url.split_at(at));
    let separator = match url.split_once('?') {
        None => "?",
        Some((_, "")) => "",
        Some((_, query)) if query.ends_with('&') => "",
        Some(_) => "&",
    };
    format!("{url}{separator}{}{fragment}", query.finish())
}

#[derive(Debug, Eq, PartialEq)]
struct RedirectOrigin {
    secure: bool,
    host: String,
    port: u16,
}

impl RedirectOrigin {
    fn is_loopback(&self) -> bool {
        ["localhost", "127.0.0.1", "[::1]"].contains(&self.host.as_str())
    }
}

/// The origin of a URL that every browser reads as we do.
fn origin(text: &str) -> Option<RedirectOrigin> {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"\\\"<>^`{|}".contains(&byte);
    if text.len() > MAX_URL_LEN || !text.bytes().all(plain) {
        return None;
    }
    let (scheme, rest) = text.split_once("://")?;
    let secure = match scheme.to_ascii_lowercase().as_str() {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    let authority = rest.split(['/', '?', '#']).next()?;
    let Authority { host, port } = Authority::parse(authority).ok()?;
    let host = match host {
        Host::Name(name) => name.as_str().to_owned(),
        // Of addresses only loopback ones can be meant, in the one spelling that we know.
        Host::Uncoverable(text) => text.to_string(),
    };
    Some(RedirectOrigin { secure, host, port: port.unwrap_or(if secure { 443 } else { 80 }) })
}

const MAX_URL_LEN: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn settings() -> ManagementSettings {
        ManagementSettings {
            public_url: "https://keyferry.example.com".to_owned(),
            allowed_redirect_origins: vec!["https://client.int".to_owned()],
            ..ManagementSettings::default()
        }
    }

    #[test]
    fn a_flow_ends_where_it_may() {
        for url in [
            "https://client.int/callback",
            "https://CLIENT.int:443/callback?x=1",
            "https://keyferry.example.com/done",
            "http://127.0.0.1:49152/",
            "http://localhost:8000/cb",
            "http://[::1]:1/",
            "https://client.int/#/done?x",
            "https://client.int#https://evil.com/",
        ] {
            assert_eq!(parse(url, &settings()).as_deref(), Ok(url));
        }
    }

    #[test]
    fn nothing_that_looks_like_it_is_taken_for_it() {
        for url in [
            "",
            "/callback",
            "//client.int/",
            "http://client.int/callback",
            "https://client.int:8443/",
            "https://client.int.evil.com/",
            "https://evil.com/?https://client.int/",
            "https://client.int@evil.com/",
            "https://evil.com\\@client.int/",
            "https://evil.com#https://client.int/",
            "https://client.int\t.evil.com/",
            "https://sub.client.int/",
            "javascript://client.int/%0aalert(1)",
            "data:text/html,x",
            "http://127.0.0.1.evil.com/",
            "http://127.1/",
            "http://0x7f000001/",
        ] {
            assert!(parse(url, &settings()).is_err(), "{url}");
        }
    }

    #[test]
    fn parameters_are_added_to_those_that_are_there() {
        for (url, with_more) in [
            ("https://c.int/cb", "https://c.int/cb?a=1+%26&b=2"),
            ("https://c.int/cb?", "https://c.int/cb?a=1+%26&b=2"),
            ("https://c.int/cb?x=y", "https://c.int/cb?x=y&a=1+%26&b=2"),
            ("https://c.int/cb#/a?b", "https://c.int/cb?a=1+%26&b=2#/a?b"),
            ("https://c.int/cb?x=y#", "https://c.int/cb?x=y&a=1+%26&b=2#"),
        ] {
            assert_eq!(with(url, &[("a", "1 &"), ("b", "2")]), with_more);
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_begins_with_an_allowed_origin(url in "https?://[a-z.@:/?#\\\\]{0,20}(client.int)?[a-z.@:/?#\\\\]{0,20}") {
            if parse(&url, &settings()).is_ok() {
                let host = url.split("://").nth(1).unwrap().split(['/', '?', '#', ':']).next().unwrap();
                prop_assert!(["client.int", "localhost"].contains(&host), "{url}");
            }
        }
    }
}
