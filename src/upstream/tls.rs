//! TLS to origins. Certificates are always verified; no setting turns that off.

use std::cell::Cell;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, SignatureScheme};

use super::Settings;
use crate::model::client_identity::{ClientIdentity, IdentityId};
use crate::model::name::IntegrationName;

/// TLS client configurations.
///
/// Each integration has one of its own, and one for each client certificate of its connections, with
/// its own sessions: a resumed session tells the origin that two conns are of one client, and may
/// carry that client's authentication.
#[derive(Clone, Debug)]
pub struct TlsClients {
    /// For requests: offers HTTP/2 in ALPN if the operator allows it.
    requests: Arc<ClientConfig>,
    /// For upgrades, which only HTTP/1.1 has (RFC 9113 §8.6), and for origins that require
    /// HTTP/1.1.
    http1: Arc<ClientConfig>,
    of_integrations: Arc<Mutex<ConfigCache>>,
}

/// The most recently used configurations.
type ConfigCache = LruCache<(IntegrationName, ConnPurpose, Option<IdentityId>), Arc<ClientConfig>>;

/// The purpose of a conn, which decides the protocols offered in ALPN.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum ConnPurpose {
    /// HTTP/1.1, or HTTP/2 where the operator allows it.
    AnyHttp,
    Http1Only,
}

/// The reason why TLS can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// A certificate of `extra_roots` is not one of a CA.
    #[error("a certificate of upstream.extra_roots can't be used as a root")]
    Root(#[source] rustls::Error),
    /// The cryptography library refuses to be set up.
    #[error("TLS can't be set up: {0}")]
    Tls(#[source] rustls::Error),
}

impl TlsClients {
    /// Trusts Mozilla's roots, which are compiled in, and `extra_roots`. The system's own roots are
    /// not read, so that the same CAs are trusted wherever the program runs.
    pub fn new(settings: &Settings) -> Result<Self, RootsError> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        for certificate in &settings.extra_roots {
            roots.add(certificate.clone()).map_err(RootsError::Root)?;
        }
        let roots = Arc::new(roots);
        let http1: &[&[u8]] = &[b"http/1.1"];
        let both: &[&[u8]] = &[b"h2", b"http/1.1"];
        Ok(Self {
            requests: client_config(&roots, if settings.http2 { both } else { http1 })?,
            http1: client_config(&roots, http1)?,
            of_integrations: Arc::new(Mutex::new(LruCache::new(MAX_CONFIGS))),
        })
    }

    /// The configuration for a conn of no integration, which speaks HTTP/1.1 and keeps no session.
    pub(super) fn of_nobody(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.http1)
    }

    /// The configuration for a conn of this integration, which presents `identity`.
    pub(super) fn config(
        &self,
        of: &IntegrationName,
        purpose: ConnPurpose,
        identity: Option<&ClientIdentity>,
    ) -> Arc<ClientConfig> {
        let mut known = self.of_integrations.lock();
        let fresh = || {
            let config = match purpose {
                ConnPurpose::AnyHttp => &self.requests,
                ConnPurpose::Http1Only => &self.http1,
            };
            let mut config = ClientConfig::clone(config);
            config.resumption = Resumption::in_memory_sessions(MAX_SESSIONS);
            if let Some(identity) = identity {
                let certified = Arc::clone(identity.certified_key());
                config.client_auth_cert_resolver = Arc::new(PresentedCertificate(certified));
            }
            Arc::new(config)
        };
        let key = (of.clone(), purpose, identity.map(ClientIdentity::id));
        Arc::clone(known.get_or_insert(key, fresh))
    }
}

fn client_config(
    roots: &Arc<RootCertStore>,
    alpn: &[&[u8]],
) -> Result<Arc<ClientConfig>, RootsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(RootsError::Tls)?
        .with_root_certificates(Arc::clone(roots))
        .with_client_cert_resolver(Arc::new(NoCertificate));
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.resumption = Resumption::disabled();
    // Early data can be replayed by anyone who has recorded it (RFC 8446 §8).
    config.enable_early_data = false;
    Ok(Arc::new(config))
}

/// Presents no certificate, and notes that one was demanded.
#[derive(Debug)]
struct NoCertificate;

impl ResolvesClientCert for NoCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        // Outside of a watched handshake the task-local is not set, and nothing is noted.
        let _watched = DEMANDED.try_with(|demanded| demanded.set(true));
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// Presents the certificate of a connection wherever one is demanded, and notes that it was. The
/// origin alone knows which CAs it trusts: its hints leave some out.
struct PresentedCertificate(Arc<CertifiedKey>);

impl fmt::Debug for PresentedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresentedCertificate(*****)")
    }
}

impl ResolvesClientCert for PresentedCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let _watched = DEMANDED.try_with(|demanded| demanded.set(true));
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Runs a handshake. Tells whether the origin has demanded a certificate in it.
pub(super) async fn watching_for_demands<F: Future>(handshake: F) -> (F::Output, bool) {
    let watched = async {
        let shaken = handshake.await;
        (shaken, DEMANDED.with(Cell::get))
    };
    DEMANDED.scope(Cell::new(false), watched).await
}

tokio::task_local! {
    /// Set when the origin demands a certificate in the task's current handshake.
    static DEMANDED: Cell<bool>;
}

/// The number of configurations whose sessions are kept, the most recently used.
const MAX_CONFIGS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);
/// The number of sessions for one of them.
const MAX_SESSIONS: usize = 64;
