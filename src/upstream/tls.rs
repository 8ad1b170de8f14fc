//! TLS to the origin: always verified. There is no switch to turn that off.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};

use super::Settings;

/// TLS client configurations, by what they offer in ALPN.
#[derive(Clone, Debug)]
pub struct TlsClients {
    /// For requests.
    pub(super) requests: Arc<ClientConfig>,
    /// For upgrades, which only HTTP/1.1 has (RFC 9113 §8.6).
    pub(super) upgrades: Arc<ClientConfig>,
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
            upgrades: client(&roots, http1)?,
        })
    }
}

fn client(roots: &Arc<RootCertStore>, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, RootsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(RootsError::Tls)?
        .with_root_certificates(Arc::clone(roots))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.resumption = Resumption::in_memory_sessions(256);
    // A request in early data could be replayed by anyone who saw it.
    config.enable_early_data = false;
    Ok(Arc::new(config))
}
