//! Opens a conn: resolves the name, judges its addresses, connects to one and verifies TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::UpstreamRules;
use super::error::Error;
use super::gauges::{HandshakeOutcome, UpstreamGauges};
use super::guard::Judged;
use super::tls::watching_for_demands;
use crate::model::name::IntegrationName;
use crate::model::origin::Origin;
use crate::tasks::keepalive;

/// The time that opening a conn has taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DialTimes {
    /// For the name look-up and TCP.
    pub connect: Duration,
    /// For TLS.
    pub tls: Duration,
}

/// Opens a conn to `origin`. The look-up counts for the integration `asker`. Cancel-safe: only a
/// look-up that has started goes on.
pub(super) async fn dial(
    rules: &UpstreamRules,
    gauges: &UpstreamGauges,
    asker: Option<&IntegrationName>,
    origin: &Origin,
    config: &Arc<ClientConfig>,
) -> Result<(TlsStream<TcpStream>, DialTimes), Error> {
    // 1. Connect to a judged address.
    let begun = Instant::now();
    let (io, deadline) = connect_tcp(rules, asker, origin).await?;
    let connected = Instant::now();
    // 2. Verify TLS for the origin's name, within the same deadline.
    let name = ServerName::try_from(origin.host().to_owned())
        .map_err(|error| Error::TlsFailed(io::Error::other(error)))?;
    let handshake = TlsConnector::from(Arc::clone(config)).connect(name, io);
    let (shaken, is_demanded) = watching_for_demands(timeout_at(deadline, handshake)).await;
    let shaken = match shaken {
        Ok(shaken) => shaken.map_err(|error| match Error::from_tls(error) {
            Error::TlsFailed(error) if is_demanded => Error::CertificateDemanded(error),
            other => other,
        }),
        Err(_elapsed) => Err(Error::ConnectTimeout),
    };
    // 3. Count the outcome.
    gauges.count_handshake(match &shaken {
        Ok(_) => HandshakeOutcome::Completed,
        Err(Error::CertificateInvalid(_)) => HandshakeOutcome::CertificateInvalid,
        Err(_) => HandshakeOutcome::Failed,
    });
    let connect = connected.duration_since(begun);
    shaken.map(|io| (io, DialTimes { connect, tls: connected.elapsed() }))
}

/// Opens a TCP conn to `origin`. Gives the deadline for TLS too.
pub(super) async fn connect_tcp(
    rules: &UpstreamRules,
    asker: Option<&IntegrationName>,
    origin: &Origin,
) -> Result<(TcpStream, Instant), Error> {
    let judged = resolve(rules, asker, origin).await?;
    let deadline = Instant::now() + rules.settings.connect_timeout;
    let connected = timeout_at(deadline, connect(&judged)).await;
    let io = connected.map_err(|_elapsed| Error::ConnectTimeout)?.map_err(Error::ConnectRefused)?;
    Ok((io, deadline))
}

/// Resolves the origin, or takes its pinned address, and judges the result.
async fn resolve(
    rules: &UpstreamRules,
    asker: Option<&IntegrationName>,
    origin: &Origin,
) -> Result<Judged, Error> {
    let pin = rules.settings.pins.get(&(origin.host_name(), origin.port()));
    let addresses = if let Some(address) = pin {
        vec![*address]
    } else {
        let (limit, name) = (rules.settings.resolve_timeout, (origin.host(), origin.port()));
        rules.names.lookup(asker, name, limit).await?.to_vec()
    };
    if addresses.is_empty() {
        let nothing = io::Error::from(io::ErrorKind::NotFound);
        return Err(Error::NameUnresolved(Arc::new(nothing)));
    }
    rules.guard.judge(addresses).map_err(Error::Prohibited)
}

/// Tries the addresses in order, each a moment after the last, and takes the first that answers
/// (RFC 8305).
pub(super) async fn connect(judged: &Judged) -> io::Result<TcpStream> {
    let mut waiting = judged.addresses().iter();
    let mut attempts = FuturesUnordered::new();
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        match waiting.next() {
            Some(address) => attempts.push(connect_to(*address)),
            None if attempts.is_empty() => return Err(failure),
            None => {}
        }
        let head_start = if waiting.len() == 0 { Duration::MAX } else { HAPPY_EYEBALLS_DELAY };
        match timeout(head_start, attempts.next()).await {
            Ok(Some(Ok(io))) => return Ok(io),
            Ok(Some(Err(error))) => failure = error,
            Ok(None) | Err(_) => {}
        }
    }
}

async fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that dials, judged addresses only"
    )]
    let io = TcpStream::connect(address).await?;
    io.set_nodelay(true)?;
    SockRef::from(&io).set_tcp_keepalive(&keepalive())?;
    Ok(io)
}

/// The time before the next address is tried, as RFC 8305 §5 recommends.
const HAPPY_EYEBALLS_DELAY: Duration = Duration::from_millis(250);
