//! TLS to callers: on listeners for which the operator configures it, and inside tunnels.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

/// Callers may speak HTTP/2 or HTTP/1.1 (by ALPN), over TLS 1.2 or 1.3.
pub fn server_config(key: CertifiedKey) -> Result<Arc<ServerConfig>, rustls::Error> {
    Ok(Arc::new(base_config(Arc::new(SingleCertAndKey::from(key)))?))
}

/// The same inside tunnels, where `leaves` has a certificate for each name. Sessions are not
/// resumed: a session would outlive the CA that has signed its certificate.
pub fn tunnel_config(
    leaves: Arc<dyn ResolvesServerCert>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = base_config(leaves)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

fn base_config(certificates: Arc<dyn ResolvesServerCert>) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
