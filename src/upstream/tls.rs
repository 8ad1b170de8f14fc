//! TLS to the origin: always verified. There is no switch to turn that off.

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, SignatureScheme};

use super::Settings;
use crate::model::name::IntegrationName;

/// TLS client configurations.
///
/// Each integration has its own, and with it its own sessions to resume: a session tells the origin
/// that two conns are of one client, and may carry what the client has authenticated as.
#[derive(Clone, Debug)]
pub struct TlsClients {
    /// For requests: what is offered in ALPN is the operator's choice.
    requests: Arc<ClientConfig>,
    /// For upgrades, which only HTTP/1.1 has (RFC 9113 §8.6), and for origins that require it.
    http1: Arc<ClientConfig>,
    of_integrations: Arc<Mutex<ConfigCache>>,
}

/// The configurations of the integrations that were used last.
type ConfigCache = LruCache<(IntegrationName, ConnPurpose), Arc<ClientConfig>>;

/// The use of a conn, which decides what is offered in ALPN.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum ConnPurpose {
    /// HTTP/1.1, or HTTP/2 where the operator allows it.
    AnyHttp,
    Http1Only,
}

/// Why TLS can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// A certificate of `extra_roots` is not one of an authority.
    #[error("a certificate of upstream.extra_roots can't be used as a root")]
    Root(#[source] rustls::Error),
    /// The cryptography library refuses to be set up.
    #[error("TLS can't be set up: {0}")]
    Tls(#[source] rustls::Error),
}

impl TlsClients {
    /// Mozilla's roots, compiled in, and `extra_roots`. No file, directory or environment
    /// variable of the system counts, so that what is trusted is the same wherever this runs.
    ///
    /// # Errors
    /// [`RootsError`] says why.
    pub fn new(settings: &Settings) -> Result<Self, RootsError> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        for certificate in &settings.extra_roots {
            roots.add(certificate.clone()).map_err(RootsError::Root)?;
        }
        let roots = Arc::new(roots);
        let http1: &[&[u8]] = &[b"http/1.1"];
        let both: &[&[u8]] = &[b"h2", b"http/1.1"];
        Ok(Self {
            requests: client(&roots, if settings.http2 { both } else { http1 })?,
            http1: client(&roots, http1)?,
            of_integrations: Arc::new(Mutex::new(LruCache::new(MAX_INTEGRATIONS))),
        })
    }

    /// The configuration for a conn of this integration.
    pub(super) fn config(&self, of: &IntegrationName, purpose: ConnPurpose) -> Arc<ClientConfig> {
        let mut known = self.of_integrations.lock();
        let fresh = || {
            let config = match purpose {
                ConnPurpose::AnyHttp => &self.requests,
                ConnPurpose::Http1Only => &self.http1,
            };
            let mut config = ClientConfig::clone(config);
            config.resumption = Resumption::in_memory_sessions(MAX_SESSIONS);
            Arc::new(config)
        };
        Arc::clone(known.get_or_insert((of.clone(), purpose), fresh))
    }
}

fn client(roots: &Arc<RootCertStore>, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, RootsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(RootsError::Tls)?
        .with_root_certificates(Arc::clone(roots))
        .with_client_cert_resolver(Arc::new(NoCertificate));
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.resumption = Resumption::disabled();
    // A request in early data could be replayed by anyone who saw it.
    config.enable_early_data = false;
    Ok(Arc::new(config))
}

/// Shows no certificate, and notes that one was demanded.
#[derive(Debug)]
struct NoCertificate;

impl ResolvesClientCert for NoCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        // Outside of a handshake that is watched, nobody asks.
        let _watched = DEMANDED.try_with(|demanded| demanded.set(true));
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// Runs a handshake, and tells whether the origin demanded a certificate in it.
pub(super) async fn watching_for_demands<F: Future>(handshake: F) -> (F::Output, bool) {
    let watched = async {
        let shaken = handshake.await;
        (shaken, DEMANDED.with(Cell::get))
    };
    DEMANDED.scope(Cell::new(false), watched).await
}

tokio::task_local! {
    /// Tells whether the origin has demanded a certificate in the handshake that is being made.
    static DEMANDED: Cell<bool>;
}

/// The number of integrations whose sessions are kept, the latest used.
const MAX_INTEGRATIONS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);
/// The number of sessions that are kept for one integration.
const MAX_SESSIONS: usize = 64;
