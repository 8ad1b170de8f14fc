//! TLS to the origin: always verified. There is no switch to turn that off.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::Settings;

/// TLS client configurations, by what they offer in ALPN.
#[derive(Clone, Debug)]
pub struct TlsClients {
    /// For requests.
    pub(super) requests: Arc<ClientConfig>,
    /// For upgrades, which only HTTP/1.1 has (RFC 9113 §8.6).
    pub(super) upgrades: Arc<ClientConfig>,
}

/// Why the certificate authorities can't be loaded.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// A file of `extra_roots` can't be read or holds no usable certificate.
    #[error("{}: no certificate in PEM form can be read from it", .0.display())]
    File(PathBuf),
    /// The cryptography library refuses to be set up.
    #[error("TLS can't be set up: {0}")]
    Tls(#[source] rustls::Error),
}

impl TlsClients {
    /// Mozilla's roots, compiled in, and `extra_roots`. No file, directory or environment
    /// variable of the system counts, so that what is trusted is the same wherever this runs.
    ///
    /// # Errors
    /// [`RootsError`] names the file at fault.
    pub fn new(settings: &Settings) -> Result<Self, RootsError> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        for file in &settings.extra_roots {
            let unreadable = || RootsError::File(file.clone());
            let certs = CertificateDer::pem_file_iter(file)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|_named| unreadable())?;
            if roots.add_parsable_certificates(certs).0 == 0 {
                return Err(unreadable());
            }
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
