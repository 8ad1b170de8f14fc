//! Tunnels, as a caller with an `https_proxy` opens them.

use std::io;

use rustls_pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::ask::{Ask, ask};
use super::http2::Http2;
use super::raw::Raw;
use super::world::Running;
use super::{soon, tls};

/// `api.example.test`, where the tests' connection leads.
pub(crate) const API: &str = "api.example.test";

impl Running {
    /// The certificates that callers are told to trust.
    pub(crate) async fn ca(&self) -> String {
        let answer = self.api("/ca.pem").await;
        assert_eq!((answer.status, answer.field("content-type")), (200, "application/x-pem-file"));
        answer.text()
    }

    /// An open tunnel; nothing has been said inside.
    pub(crate) async fn connect(&self, connect: &Ask) -> Raw {
        let mut raw = self.raw().await;
        raw.write(connect.bytes()).await;
        let answer = raw.head().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        for field in ["content-length", "transfer-encoding", "content-type", "connection"] {
            assert!(!answer.headers.contains_key(field), "{answer:?}");
        }
        raw
    }

    /// The same with TLS inside, for `name`, as a caller that trusts the CA.
    pub(crate) async fn shake(&self, tunnel: Raw, name: &str, alpn: &[&str]) -> io::Result<Raw> {
        let config = tls::trusting(&self.ca().await, alpn);
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connected = soon(TlsConnector::from(config).connect(name, tunnel.io)).await?;
        let expected = alpn.first().map(|name| name.as_bytes());
        assert_eq!(connected.get_ref().1.alpn_protocol(), expected);
        Ok(Raw::over(connected))
    }

    /// A tunnel to [`API`] by the token `runner`, with HTTP/1.1 inside.
    pub(crate) async fn tunnel(&self) -> Raw {
        let tunnel = self.connect(&ask(&format!("CONNECT {API}:443"))).await;
        self.shake(tunnel, API, &["http/1.1"]).await.unwrap()
    }

    /// The same with HTTP/2 inside.
    pub(crate) async fn http2_tunnel(&self) -> Http2 {
        let tunnel = self.connect(&ask(&format!("CONNECT {API}:443"))).await;
        Http2::over(self.shake(tunnel, API, &["h2"]).await.unwrap()).await
    }
}
