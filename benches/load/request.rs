//! The bytes that the generator sends.

use std::{io, str::FromStr};

use crate::{
    identity::HOST,
    load::{BULK, Load},
    origin::CREDENTIAL,
};

/// How many connections there are to choose from: `conn00` to `conn99`.
pub(crate) const CONNECTIONS: usize = 100;

/// The caller's access token: `kf_` and thirty-two bytes that say what they are for.
pub(crate) const TOKEN: &str = "kf_bG9hZC1iZW5jaC1jYWxsZXItdG9rZW4tMzItYnl0ZXM";

/// What opens a tunnel to the origin.
pub(crate) fn connect(port: u16) -> String {
    format!(
        "CONNECT {HOST}:{port} HTTP/1.1\r\nHost: {HOST}:{port}\r\nProxy-Authorization: Bearer {TOKEN}\r\n\r\n"
    )
}

/// How a contender wants to be asked. Whatever differs here is the protocol that it speaks; the
/// fields of an ordinary client are the same for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A forward proxy that knows its caller by a token.
    Absolute,
    /// The origin itself: the caller holds the credential.
    Direct,
    /// A pipe that sets one credential, whatever connection is named.
    Fixed,
    /// A reverse proxy that takes the credential from the connection's name alone.
    Reverse,
}

impl Form {
    /// The name by which the command line knows it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Absolute => "absolute",
            Self::Direct => "direct",
            Self::Fixed => "fixed",
            Self::Reverse => "reverse",
        }
    }

    /// A request for this kind of load that uses connection `number`, to an origin at `port`.
    pub(crate) fn request(self, load: Load, number: usize, port: u16) -> Vec<u8> {
        let host = if port == 443 { HOST.to_owned() } else { format!("{HOST}:{port}") };
        let (method, path, extra) = match load {
            Load::Churn(_) | Load::TunnelChurn(_) => {
                ("GET", ITEMS.to_owned(), "Connection: close\r\n".to_owned())
            }
            Load::Download => ("GET", format!("/bytes/{BULK}"), String::new()),
            Load::KeepAlive(_) | Load::Tunnel(_) => ("GET", ITEMS.to_owned(), String::new()),
            Load::Upload => ("POST", ITEMS.to_owned(), format!("Content-Length: {BULK}\r\n")),
        };
        let (connection, own) = (connection(number), digits(number));
        let expected = if self == Self::Fixed { digits(0) } else { digits(number) };
        let before = if self == Self::Absolute { format!("https://{HOST}") } else { String::new() };
        let caller = match self {
            Self::Absolute => format!("Proxy-Authorization: Bearer {TOKEN}\r\n"),
            Self::Direct => format!("Authorization: {CREDENTIAL}{own}\r\n"),
            Self::Fixed | Self::Reverse => String::new(),
        };
        let request = format!(
            "{method} {before}{path} HTTP/1.1\r\nHost: {host}\r\n{caller}X-Zis-Connection: \
             {connection}\r\nUser-Agent: load/1.0\r\nAccept: application/json\r\n\
             Accept-Encoding: gzip\r\nContent-Type: application/json\r\n{extra}X-Expect: \
             {expected}\r\n\r\n"
        );
        request.into_bytes()
    }
}

impl FromStr for Form {
    type Err = io::Error;

    fn from_str(name: &str) -> io::Result<Self> {
        [Self::Absolute, Self::Direct, Self::Fixed, Self::Reverse]
            .into_iter()
            .find(|form| form.name() == name)
            .ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }
}

/// The connection's name.
pub(crate) fn connection(number: usize) -> String {
    format!("conn{}", digits(number))
}

/// The connection's secret, which the origin expects after `Bearer`.
pub(crate) fn secret(number: usize) -> String {
    format!("secret-{}", digits(number))
}

fn digits(number: usize) -> String {
    format!("{number:02}")
}

const ITEMS: &str = "/v1/items";
