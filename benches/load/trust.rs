//! TLS toward the origin, verified against the run's own authority.

use std::{io, net::SocketAddr, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::identity;

/// Dials one origin over verified TLS; sessions are resumed, as every contender does.
#[derive(Clone)]
pub(crate) struct Dialer {
    connector: TlsConnector,
    address: SocketAddr,
    name: ServerName<'static>,
}

impl Dialer {
    /// # Errors
    /// When the authority's certificate can't be read.
    pub(crate) fn new(address: SocketAddr, authority: &Path) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_file(authority).map_err(io::Error::other)?;
        roots.add(authority).map_err(io::Error::other)?;
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from(identity::HOST).map_err(io::Error::other)?;
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), address, name })
    }

    /// The same for a caller that has never been here: no session is resumed.
    pub(crate) fn stranger(address: SocketAddr, authority: &Path) -> io::Result<Self> {
        let mut dialer = Self::new(address, authority)?;
        let mut config = ClientConfig::clone(dialer.connector.config());
        config.resumption = Resumption::disabled();
        dialer.connector = TlsConnector::from(Arc::new(config));
        Ok(dialer)
    }

    /// Speaks TLS with the origin, or who stands in for it, on a conn that is open.
    ///
    /// # Errors
    /// When the other end is not who it should be.
    pub(crate) async fn shake(&self, tcp: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.connector.connect(self.name.clone(), tcp).await
    }

    /// Opens a conn to the origin.
    ///
    /// # Errors
    /// When the origin can't be reached or is not who it should be.
    pub(crate) async fn dial(&self) -> io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        self.shake(tcp).await
    }
}
