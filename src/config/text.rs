//! Readers of single texts: each gives the typed value or the rule that the text breaks.

use std::net::SocketAddr;

use http::{Method, Uri};
use ipnet::IpNet;

use super::listener::Listener;
use crate::model::origin::{Authority, Host, HostName};
use crate::model::permit::is_never_passed_on;

/// `ADDRESS:PORT` or `unix:PATH`.
pub(super) fn listener(text: &str) -> Result<Listener, &'static str> {
    Listener::parse(text)
        .ok_or("must be an address and port such as \"127.0.0.1:8080\", or \"unix:PATH\"")
}

/// `ADDRESS:PORT`.
pub(super) fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_vague| "must be an address and port such as \"127.0.0.1:9443\"")
}

/// Permission bits in octal.
pub(super) fn mode(text: &str) -> Result<u32, &'static str> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 && text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(mode),
        _ => Err("must be permission bits in octal such as \"0600\""),
    }
}

/// A network in CIDR form.
pub(super) fn network(text: &str) -> Result<IpNet, &'static str> {
    text.parse().map_err(|_vague| "must be a network such as \"10.0.0.0/8\"")
}

/// `NAME:PORT`.
pub(super) fn name_and_port(text: &str) -> Result<(HostName, u16), &'static str> {
    match Authority::parse(text) {
        Ok(Authority { host: Host::Name(name), port: Some(port) }) => Ok((name, port)),
        _ => Err("a pinned name is written with its port, such as \"api.example.test:443\""),
    }
}

/// The name of a host without a port, lower-case; an address is one as well.
pub(super) fn host(text: &str) -> Result<String, &'static str> {
    match Authority::parse(text) {
        Ok(Authority { host, port: None }) => Ok(host.to_string()),
        _ => Err("must be a host name or an address, without scheme and port"),
    }
}

/// A method that may reach an origin.
pub(super) fn method(text: &str) -> Result<Method, &'static str> {
    let method = Method::from_bytes(text.as_bytes()).map_err(|_vague| "is not an HTTP method")?;
    if is_never_passed_on(text) {
        return Err("CONNECT, TRACE, TRACK and DEBUG never reach an origin");
    }
    Ok(method)
}

/// An `http` or `https` URL without user, query and trailing slash.
pub(super) fn public_url(text: &str) -> Result<String, &'static str> {
    let rule = "must be a URL such as \"https://keyferry.example.com\", without user or query";
    let url = web_url(text).filter(|url| url.query().is_none() && !text.contains('#'));
    url.map(|_valid| text.trim_end_matches('/').to_owned()).ok_or(rule)
}

/// `scheme://host[:port]` and nothing more.
pub(super) fn origin(text: &str) -> Result<String, &'static str> {
    let rule = "must be an origin such as \"https://app.example.com\", without a path";
    let url = web_url(text).ok_or(rule)?;
    let (scheme, authority) = url.scheme_str().zip(url.authority()).ok_or(rule)?;
    let origin = format!("{scheme}://{authority}");
    if text.eq_ignore_ascii_case(&origin) { Ok(origin.to_ascii_lowercase()) } else { Err(rule) }
}

/// One label of a host name.
pub(super) fn label(text: &str) -> Result<String, &'static str> {
    let allowed = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if allowed && text.len() <= 63 && !text.starts_with('-') && !text.ends_with('-') {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("must be one label of a host name, such as \"acme\" of acme.zendesk.com")
    }
}

/// Reads what may be left empty.
pub(super) fn unless_empty<T, E>(
    text: &str,
    read: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, E> {
    if text.is_empty() { Ok(None) } else { read(text).map(Some) }
}

fn web_url(text: &str) -> Option<Uri> {
    let url: Uri = text.parse().ok()?;
    let known = matches!(url.scheme_str(), Some("http" | "https"));
    let authority = Authority::parse(url.authority()?.as_str());
    (known && authority.is_ok()).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_by_their_rules() {
        assert_eq!(mode("0660"), Ok(0o660));
        assert_eq!(host("LocalHost").unwrap(), "localhost");
        assert_eq!(host("[::1]").unwrap(), "[::1]");
        assert_eq!(
            public_url("https://k.example.com/base/").unwrap(),
            "https://k.example.com/base"
        );
        assert_eq!(origin("https://App.example.com:8443").unwrap(), "https://app.example.com:8443");
        assert_eq!(label("Acme").unwrap(), "acme");
        assert_eq!(method("REPORT").unwrap().as_str(), "REPORT");
        let (name, port) = name_and_port("api.example.test:443").unwrap();
        assert_eq!((name.as_str(), port), ("api.example.test", 443));
    }

    #[test]
    fn texts_that_break_a_rule_are_refused() {
        for text in ["", "8", "+600", "07777", "rw", "600 "] {
            assert!(mode(text).is_err(), "{text}");
        }
        for text in ["", "a:80", "https://a", "a/b", "*.a.com", "u@a"] {
            assert!(host(text).is_err(), "{text}");
        }
        for text in ["", "a.com", "ftp://a.com", "https://u:p@a.com", "https://a.com?q", "/a"] {
            assert!(public_url(text).is_err(), "{text}");
        }
        for text in ["https://a.com/", "https://a.com/x", "a.com", "https://u@a.com"] {
            assert!(origin(text).is_err(), "{text}");
        }
        for text in ["a.b", "-a", "a-", "a_b", "é"] {
            assert!(label(text).is_err(), "{text}");
        }
        for text in ["", "GET POST", "trace", "TRACK", "Debug", "CONNECT"] {
            assert!(method(text).is_err(), "{text}");
        }
        for text in ["api.example.test", "1.2.3.4:443", "a:0", ":443", "https://a:443"] {
            assert!(name_and_port(text).is_err(), "{text}");
        }
    }
}
