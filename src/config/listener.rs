//! Where the proxy listens: an address and port, or a unix socket.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// A listening socket of the proxy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Listener {
    /// `127.0.0.1:8080`
    Tcp(SocketAddr),
    /// `unix:/run/keyferry/proxy.sock`
    Unix(PathBuf),
}

impl Listener {
    /// Reads `ADDRESS:PORT` or `unix:PATH`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("unix:") {
            Some("") => None,
            Some(path) => Some(Self::Unix(PathBuf::from(path))),
            None => text.parse().ok().map(Self::Tcp),
        }
    }

    /// Whether only this machine can reach it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    /// Whether both would bind the same socket; port 0 is a new one each time.
    pub(super) fn collides_with(&self, other: &Self) -> bool {
        match self {
            Self::Tcp(address) => address.port() != 0 && self == other,
            Self::Unix(_) => self == other,
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_prints_as_it_reads() {
        for text in ["127.0.0.1:8080", "[::1]:0", "unix:/run/keyferry/proxy.sock"] {
            assert_eq!(Listener::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "8080", ":8080", "localhost:8080", "127.0.0.1", "::1:80", "unix:"] {
            assert_eq!(Listener::parse(text), None, "{text}");
        }
    }

    #[test]
    fn loopback_and_unix_sockets_are_local_and_nothing_else_is() {
        let local = |text| Listener::parse(text).unwrap().is_local();
        for text in ["127.0.0.1:1", "127.8.9.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "unix:/s"] {
            assert!(local(text), "{text}");
        }
        for text in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[fe80::1]:1"] {
            assert!(!local(text), "{text}");
        }
    }
}
