//! One small request, with a deadline. It is not worth a runtime.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};

use super::target::{Target, Verification};
use crate::clock;

/// The status with which the server answers `GET /readyz`.
pub(super) fn status(target: &Target, deadline: Instant) -> io::Result<u16> {
    let conn = connect(target, deadline)?;
    match &target.tls {
        None => exchange(conn, target, deadline),
        Some(verification) => {
            let session = session(verification)?;
            exchange(StreamOwned::new(session, conn), target, deadline)
        }
    }
}

/// A transport whose reads and writes end at the deadline.
trait Conn: Read + Write {
    fn allow(&mut self, time: Duration) -> io::Result<()>;
}

impl Conn for TcpStream {
    fn allow(&mut self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time))?;
        self.set_write_timeout(Some(time))
    }
}

impl Conn for StreamOwned<ClientConnection, TcpStream> {
    fn allow(&mut self, time: Duration) -> io::Result<()> {
        self.sock.allow(time)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "asks the operator's own server for no data and carries no secret"
)]
fn connect(target: &Target, deadline: Instant) -> io::Result<TcpStream> {
    let mut failure = io::Error::from(io::ErrorKind::NotFound);
    for address in (target.host.as_str(), target.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, remaining(deadline)?) {
            Ok(conn) => return Ok(conn),
            Err(why) => failure = why,
        }
    }
    Err(failure)
}

fn exchange(mut conn: impl Conn, target: &Target, deadline: Instant) -> io::Result<u16> {
    conn.allow(remaining(deadline)?)?;
    let Target { base, authority, .. } = target;
    let request =
        format!("GET {base}/readyz HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    conn.write_all(request.as_bytes())?;
    conn.flush()?;
    let mut head = Vec::with_capacity(STATUS_LINE);
    while head.len() < STATUS_LINE {
        conn.allow(remaining(deadline)?)?;
        let mut byte = [0];
        match conn.read(&mut byte) {
            Ok(0) => break,
            Ok(_) => head.extend_from_slice(&byte),
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            // What a time-out looks like on a socket.
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => return Err(too_late()),
            Err(why) => return Err(why),
        }
    }
    parse(&head).ok_or_else(|| io::Error::other("it does not answer in HTTP/1.1"))
}

/// `HTTP/1.1 200`, of which the three digits are the status (RFC 9112 §4).
fn parse(status_line: &[u8]) -> Option<u16> {
    let rest = std::str::from_utf8(status_line).ok()?.strip_prefix("HTTP/1.")?;
    let digits = rest.get(2..STATUS_LINE - 7)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Verified as any client would, and by the certificate that the server is configured to show.
fn session(verification: &Verification) -> io::Result<ClientConnection> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(file) = &verification.extra {
        let pem = std::fs::read(file)?;
        let own = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok);
        roots.add_parsable_certificates(own);
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(verification.name.clone()).map_err(io::Error::other)?;
    ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)
}

fn remaining(deadline: Instant) -> io::Result<Duration> {
    let time = deadline.saturating_duration_since(clock::instant());
    if time.is_zero() { Err(too_late()) } else { Ok(time) }
}

fn too_late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it did not answer in time")
}

/// `HTTP/1.1 200`
const STATUS_LINE: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_status_line_has_a_status() {
        assert_eq!(parse(b"HTTP/1.1 200"), Some(200));
        assert_eq!(parse(b"HTTP/1.0 503"), Some(503));
        for line in ["", "HTTP/1.1 20", "HTTP/2 200 O", "SSH-2.0-Open", "HTTP/1.1 +20"] {
            assert_eq!(parse(line.as_bytes()), None, "{line}");
        }
    }
}
