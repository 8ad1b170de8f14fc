//! Our own names: whether a request, or a reference in an answer, means this program.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use http::{HeaderMap, Uri, header};
use url::Host;

/// The names by which the data plane, or the management API, may be called.
///
/// Two questions are asked of them, and doubt is answered the safe way in each: a request must use
/// one of the names as it is written, while a reference counts as ours in any spelling.
#[derive(Clone, Debug, Default)]
pub struct OwnHosts(Arc<[Box<str>]>);

impl OwnHosts {
    /// Returns whether `authority`, by which a request was sent here, is one of the names. Its port
    /// says nothing: callers may reach a listener through another one.
    pub fn contains(&self, authority: &str) -> bool {
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => authority,
        };
        self.0.iter().any(|own| own.eq_ignore_ascii_case(host))
    }

    /// Returns whether a URL's host is one of the names to any client, in whatever spelling.
    pub fn may_include(&self, host: &Host) -> bool {
        let names = self.0.iter().filter_map(|name| Host::parse(name).ok()).map(one_spelling);
        let host = one_spelling(host.clone());
        names.into_iter().any(|own| own == host || (is_local(&own) && is_local(&host)))
    }
}

impl<'a> FromIterator<&'a str> for OwnHosts {
    fn from_iter<T: IntoIterator<Item = &'a str>>(names: T) -> Self {
        Self(names.into_iter().map(Box::from).collect())
    }
}

/// The authority to which a request was sent: its target's, or its `Host`.
pub fn addressee<'a>(target: &'a Uri, headers: &'a HeaderMap) -> &'a str {
    let authority = target.authority().map(http::uri::Authority::as_str);
    let host = || headers.get(header::HOST).and_then(|value| value.to_str().ok());
    authority.or_else(host).unwrap_or_default()
}

/// The host with one spelling: no dots at its end, no IPv4 address within an IPv6 one.
pub fn one_spelling(host: Host) -> Host {
    match host {
        Host::Domain(name) => Host::Domain(name.trim_end_matches('.').to_owned()),
        Host::Ipv6(address) => address.to_ipv4_mapped().map_or(Host::Ipv6(address), Host::Ipv4),
        Host::Ipv4(_) => host,
    }
}

/// Returns whether a host is this machine wherever it is named.
fn is_local(host: &Host) -> bool {
    match host {
        Host::Domain(name) => name == "localhost" || name.ends_with(".localhost"),
        Host::Ipv4(address) => address.is_loopback() || *address == Ipv4Addr::UNSPECIFIED,
        Host::Ipv6(address) => address.is_loopback() || *address == Ipv6Addr::UNSPECIFIED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_must_spell_a_name_and_a_reference_need_not() {
        let own: OwnHosts = ["proxy.test", "127.0.0.1", "[::1]"].into_iter().collect();
        for (authority, is_named, may_be) in [
            ("proxy.test", true, true),
            ("PROXY.test:8080", true, true),
            ("proxy.test.", false, true),
            ("LOCALHOST.\u{ff0e}\u{ff0e}", false, true),
            ("[::1]:8080", true, true),
            ("[::1]", true, true),
            ("127.1", false, true),
            ("localhost", false, true),
            ("[::ffff:127.0.0.1]", false, true),
            ("proxy.test:x", false, false),
            ("test", false, false),
            ("", false, false),
        ] {
            assert_eq!(own.contains(authority), is_named, "{authority}");
            let host = authority.split(":8080").next().and_then(|host| Host::parse(host).ok());
            assert_eq!(host.is_some_and(|host| own.may_include(&host)), may_be, "{authority}");
        }
    }
}
