//! TLS to the caller, where the operator configures it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Why the certificate or key can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate file can't be read, or holds no certificate.
    #[error("{}: no certificate in PEM form can be read from it", .0.display())]
    Certificate(PathBuf),
    /// The key file can't be read, or holds no private key.
    #[error("{}: no private key in PEM form can be read from it", .0.display())]
    Key(PathBuf),
    /// The key does not belong to the certificate, or is of a kind that is not supported.
    #[error("the certificate and the key do not go together")]
    Pair(#[source] rustls::Error),
}

/// Reads a certificate chain and its key; callers may speak HTTP/2 or HTTP/1.1 (by ALPN).
///
/// # Errors
/// [`TlsError`] names the file that is at fault.
pub fn server_config(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .ok()
        .filter(|chain| !chain.is_empty())
        .ok_or_else(|| TlsError::Certificate(cert.into()))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|_named| TlsError::Key(key.into()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Pair)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(TlsError::Pair)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
