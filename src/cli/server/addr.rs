//! The server to ask, and the name by which it knows itself.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use http::Uri;

use crate::config::ApiConfig;

/// The address at which a server is asked.
pub(super) struct ServerAddr {
    /// Host and port to connect to.
    pub(super) host: String,
    pub(super) port: u16,
    /// The value of `Host`.
    pub(super) authority: String,
    /// The prefix of every path.
    pub(super) base: String,
    /// Present for `https`.
    pub(super) tls: Option<Verification>,
}

/// The rules by which the server's certificate is judged.
pub(super) struct Verification {
    /// The name that it must be for.
    pub(super) name: String,
    /// A file with certificates to trust beside the public roots: the server's own.
    pub(super) extra: Option<PathBuf>,
}

impl ServerAddr {
    /// The server that a URL names.
    pub(super) fn of_url(url: &Uri) -> Self {
        let is_tls = url.scheme_str() == Some("https");
        let host = url.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = url.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let tls = is_tls.then(|| Verification { name: host.clone(), extra: None });
        let authority = url.authority().map(ToString::to_string).unwrap_or_default();
        let base = url.path().trim_end_matches('/').to_owned();
        Self { host, port, authority, base, tls }
    }

    /// The server of this configuration, on this machine. It is called localhost, a name that
    /// it always answers to.
    pub(super) fn of_api(api: &ApiConfig) -> Self {
        let address = reachable(api.listen);
        let public =
            api.public_url.parse().ok().filter(|url: &Uri| url.scheme_str() == Some("https"));
        let name = public.as_ref().and_then(Uri::host).map(str::to_owned);
        let tls = api.tls.as_ref().map(|tls| Verification {
            name: name.unwrap_or_else(|| address.ip().to_string()),
            extra: Some(tls.cert.clone()),
        });
        Self {
            host: address.ip().to_string(),
            port: address.port(),
            authority: format!("localhost:{}", address.port()),
            base: String::new(),
            tls,
        }
    }

    /// Tells whether a secret may be sent there: nobody can read along.
    pub(super) fn keeps_secrets(&self) -> bool {
        let is_loopback = |address: IpAddr| address.to_canonical().is_loopback();
        self.tls.is_some()
            || self.host.eq_ignore_ascii_case("localhost")
            || self.host.parse().is_ok_and(is_loopback)
    }
}

impl fmt::Display for ServerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}://{open}{}{close}:{}{}", self.host, self.port, self.base)
    }
}

/// Reads a URL for `--url` and `KEYFERRY_URL`.
pub(super) fn parse(text: &str) -> Result<Uri, &'static str> {
    let rule = "must be a URL such as http://127.0.0.1:8081";
    let url: Uri = text.parse().map_err(|_vague| rule)?;
    let known = matches!(url.scheme_str(), Some("http" | "https"));
    let plain = url.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    if known && plain && url.query().is_none() { Ok(url) } else { Err(rule) }
}

/// A server that listens on every address is reached at loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    match listen {
        SocketAddr::V4(address) if address.ip().is_unspecified() => {
            SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()))
        }
        SocketAddr::V6(address) if address.ip().is_unspecified() => {
            SocketAddr::from((Ipv6Addr::LOCALHOST, address.port()))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Options, whereabouts};

    #[test]
    fn a_url_prints_as_it_was_read() {
        for (text, printed) in [
            ("http://127.0.0.1:8081", "http://127.0.0.1:8081"),
            ("http://localhost/", "http://localhost:80"),
            ("https://[::1]/base/", "https://[::1]:443/base"),
        ] {
            assert_eq!(ServerAddr::of_url(&parse(text).unwrap()).to_string(), printed);
        }
        for text in ["", "127.0.0.1:8081", "ftp://a", "http://u:p@a", "http://a?q", "/x"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn secrets_go_to_loopback_or_over_tls_only() {
        for (url, kept) in [
            ("http://127.0.0.1:8081", true),
            ("http://127.8.9.1", true),
            ("http://[::1]:1", true),
            ("http://LocalHost:1", true),
            ("https://keyferry.example.com", true),
            ("http://keyferry.example.com", false),
            ("http://localhost.example.com", false),
            ("http://127.0.0.1.example.com", false),
            ("http://10.1.2.3", false),
            ("http://[::2]", false),
            ("http://0.0.0.0", false),
        ] {
            assert_eq!(ServerAddr::of_url(&parse(url).unwrap()).keeps_secrets(), kept, "{url}");
        }
    }

    #[test]
    fn a_server_on_every_address_is_asked_at_loopback() {
        let ask = |listen: &str| {
            let environment = Environment::from_iter([("KEYFERRY_API__LISTEN", listen)]);
            let found = whereabouts(&Options::default(), &environment).unwrap();
            ServerAddr::of_api(&found.api).to_string()
        };
        assert_eq!(ask("0.0.0.0:1"), "http://127.0.0.1:1");
        assert_eq!(ask("[::]:1"), "http://[::1]:1");
        assert_eq!(ask("10.1.2.3:1"), "http://10.1.2.3:1");
    }
}
