//! Origins (RFC 9110 §4.3.1). Policy, DNS, SNI, the certificate check and the outgoing `Host` all
//! derive from one origin.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use bytes::Bytes;
use http::HeaderValue;

use super::domain::ends_in_a_number;

/// A DNS name in lower-case ASCII, without a trailing dot, and not an IP address in any spelling.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct HostName(Box<str>);

/// The host of an authority.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Host {
    /// A name that an allowed domain may cover.
    Name(HostName),
    /// An IP address or a name with a trailing dot: well-formed, but no allowed domain covers it.
    Uncoverable(Box<str>),
}

/// The origin `https://host:port`. The type has no form for cleartext.
///
/// Cloning counts a reference. Port 443 is left out of the text.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct Origin {
    authority: Bytes,
    host_length: usize,
    port: u16,
}

/// The host and port that a request names, before any rule was applied.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Authority {
    /// The host.
    pub host: Host,
    /// The port, when one is written.
    pub port: Option<u16>,
}

/// An authority that was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AuthorityError {
    /// User information before the host, an error by RFC 9110 §4.2.4.
    #[error("the authority carries user information")]
    UserInfo,
    /// The host is neither a name nor an IP address.
    #[error("the authority is not a host name")]
    Host,
    /// The port is not a number between 1 and 65535.
    #[error("the port is not a number between 1 and 65535")]
    Port,
}

impl HostName {
    /// Reads a DNS name of letters, digits, hyphens, underscores and dots, in ASCII.
    ///
    /// # Errors
    /// [`AuthorityError::Host`] when it is anything else: an address, a trailing dot, an empty
    /// or overlong label.
    pub fn parse(text: &str) -> Result<Self, AuthorityError> {
        if is_name(text) {
            let name = text.to_ascii_lowercase();
            if !ends_in_a_number(&name) {
                return Ok(Self(name.into()));
            }
        }
        Err(AuthorityError::Host)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Authority {
    /// Reads `host[:port]`.
    pub fn parse(text: &str) -> Result<Self, AuthorityError> {
        if text.contains('@') {
            return Err(AuthorityError::UserInfo);
        }
        let (host, port) = split_port(text)?;
        let port = port.map(parse_port).transpose()?;
        Ok(Self { host: parse_host(host)?, port })
    }
}

impl Origin {
    /// The origin `https://host:port`.
    pub fn new(host: &HostName, port: u16) -> Self {
        let text = if port == 443 {
            host.as_str().to_owned()
        } else {
            format!("{}:{port}", host.as_str())
        };
        // `from_owner` shares the text from the start, so that cloning never allocates.
        let authority = Bytes::from_owner(text);
        Self { authority, host_length: host.as_str().len(), port }
    }

    /// The host, for DNS, SNI and the certificate check.
    pub fn host(&self) -> &str {
        self.authority().get(..self.host_length).unwrap_or_default()
    }

    /// The host as a name.
    pub fn host_name(&self) -> HostName {
        HostName(self.host().into())
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `host`, or `host:port` for another port than 443.
    pub fn authority(&self) -> &str {
        std::str::from_utf8(&self.authority).unwrap_or_default()
    }

    /// The value of the outgoing `Host` field.
    pub fn host_field(&self) -> HeaderValue {
        HeaderValue::from_maybe_shared(self.authority.clone())
            .unwrap_or_else(|_never| HeaderValue::from_static(""))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}", self.authority())
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name.as_str()),
            Self::Uncoverable(text) => f.write_str(text),
        }
    }
}

fn split_port(text: &str) -> Result<(&str, Option<&str>), AuthorityError> {
    if text.starts_with('[') {
        let end = text.find(']').ok_or(AuthorityError::Host)?;
        let (host, rest) = text.split_at_checked(end + 1).ok_or(AuthorityError::Host)?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(AuthorityError::Host),
        };
    }
    Ok(match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    })
}

fn parse_port(text: &str) -> Result<u16, AuthorityError> {
    let plain = (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(port) if plain && port != 0 => Ok(port),
        _ => Err(AuthorityError::Port),
    }
}

fn parse_host(text: &str) -> Result<Host, AuthorityError> {
    if let Ok(name) = HostName::parse(text) {
        return Ok(Host::Name(name));
    }
    let literal = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_address = literal.map_or_else(
        || text.parse::<Ipv4Addr>().is_ok(),
        |inner| inner.parse::<Ipv6Addr>().is_ok(),
    );
    let rooted = text.strip_suffix('.').unwrap_or(text);
    if is_address || is_name(rooted) {
        Ok(Host::Uncoverable(text.to_ascii_lowercase().into()))
    } else {
        Err(AuthorityError::Host)
    }
}

/// Tells whether a text is labels of 1 to 63 letters, digits, hyphens and underscores, separated by
/// dots.
fn is_name(text: &str) -> bool {
    let mut length = 0;
    let mut fits = !text.is_empty() && text.len() <= 253;
    for byte in text.bytes() {
        let allowed = byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        fits &= if byte == b'.' { (1..=63).contains(&length) } else { allowed };
        length = if byte == b'.' { 0 } else { length + 1 };
    }
    fits && (1..=63).contains(&length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> Host {
        Host::Name(HostName::parse(text).unwrap())
    }

    #[test]
    fn an_authority_is_read_once_into_lower_case() {
        let read = Authority::parse("API.Example.com:8443").unwrap();
        assert_eq!(read, Authority { host: name("api.example.com"), port: Some(8443) });
        assert_eq!(Authority::parse("a.com").unwrap().port, None);
    }

    #[test]
    fn addresses_and_rooted_names_are_well_formed_but_uncoverable() {
        for text in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f.1",
            "0x7f000001",
            "[::1]",
            "[::1]:443",
            "[::ffff:10.0.0.1]",
            "example.com.",
        ] {
            let host = Authority::parse(text).unwrap().host;
            assert!(matches!(host, Host::Uncoverable(_)), "{text} {host:?}");
        }
    }

    #[test]
    fn bad_authorities_are_refused() {
        use AuthorityError::*;
        for (text, why) in [
            ("", Host),
            ("user@a.com", UserInfo),
            ("a.com@evil.com", UserInfo),
            ("a..com", Host),
            (".a.com", Host),
            ("a.com..", Host),
            ("a com", Host),
            ("a.com:", Port),
            ("a.com:0", Port),
            ("a.com:65536", Port),
            ("a.com:+80", Port),
            ("a.com:8 0", Port),
            ("a.com:443:443", Port),
            ("[::1", Host),
            ("[::1]x", Host),
            ("[zz]", Host),
            ("::1", Port),
            ("bücher.example", Host),
            ("[example.com]", Host),
            ("a%2ecom", Host),
            ("*.a.com", Host),
        ] {
            assert_eq!(Authority::parse(text), Err(why), "{text:?}");
        }
    }

    #[test]
    fn an_origin_leaves_out_the_usual_port() {
        let host = HostName::parse("api.example.com").unwrap();
        assert_eq!(Origin::new(&host, 443).to_string(), "https://api.example.com");
        let other = Origin::new(&host, 8443);
        assert_eq!(
            (other.authority(), other.host(), other.port()),
            ("api.example.com:8443", "api.example.com", 8443)
        );
        assert_eq!(other.host_field(), "api.example.com:8443");
    }

    proptest! {
        #[test]
        fn reading_is_idempotent(text in "[A-Za-z0-9._:\\[\\]@-]{0,40}|\\PC{0,80}") {
            if let Ok(read) = Authority::parse(&text) {
                let printed = match read.port {
                    Some(port) => format!("{}:{port}", read.host),
                    None => read.host.to_string(),
                };
                prop_assert_eq!(Authority::parse(&printed), Ok(read));
            }
        }
    }
}
