//! The way to a collector of telemetry, which the configuration names. It is sent nothing secret, so
//! that it may be reached without TLS and at any address but the proxy's own.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::UpstreamRules;
use super::dial::connect;
use super::error::Error;
use super::guard::Prohibited;
use crate::model::collector::CollectorUrl;
use crate::tasks::Tasks;

/// Posts to a collector, on a conn that is kept.
#[derive(Debug)]
pub struct CollectorClient {
    url: CollectorUrl,
    tasks: Tasks,
    kept: Option<SendRequest<Full<Bytes>>>,
}

/// The answer of a collector.
#[derive(Clone, Debug)]
pub struct CollectorAnswer {
    /// Its status.
    pub status: StatusCode,
    /// The time after which it wants to be asked again.
    pub retry_after: Option<Duration>,
    /// Its body.
    pub body: Bytes,
}

/// The reason why there is no answer.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the text of each variant says it")]
pub enum CollectorError {
    #[error("its name does not resolve")]
    Name(#[source] Error),
    #[error("its address can't be used")]
    Address(#[source] Prohibited),
    #[error("it can't be connected to")]
    Connect(#[source] io::Error),
    #[error("TLS with it failed")]
    Tls(#[source] io::Error),
    #[error("the exchange with it failed")]
    Http(#[source] hyper::Error),
    #[error("its answer can't be read")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("it did not answer within 10 s")]
    Timeout,
}

impl CollectorClient {
    /// A client whose conns are among `tasks`.
    pub fn new(url: CollectorUrl, tasks: Tasks) -> Self {
        Self { url, tasks, kept: None }
    }

    /// The URL that is posted to.
    pub fn url(&self) -> &CollectorUrl {
        &self.url
    }

    /// Posts a protobuf message, and gives whatever is answered. No redirect is followed.
    ///
    /// Cancel-safe: a conn whose exchange was not finished is not used again.
    ///
    /// # Errors
    /// [`CollectorError`] says why there is no answer.
    pub async fn post(
        &mut self,
        rules: &UpstreamRules,
        body: Bytes,
    ) -> Result<CollectorAnswer, CollectorError> {
        let exchange = Box::pin(self.exchange(rules, body));
        let answer = tokio::time::timeout(POST_TIMEOUT, exchange).await;
        answer.unwrap_or(Err(CollectorError::Timeout))
    }

    async fn exchange(
        &mut self,
        rules: &UpstreamRules,
        body: Bytes,
    ) -> Result<CollectorAnswer, CollectorError> {
        // 1. A conn: the kept one, if it is still open.
        let kept = match self.kept.take() {
            Some(mut kept) => kept.ready().await.is_ok().then_some(kept),
            None => None,
        };
        let mut conn = match kept {
            Some(kept) => kept,
            None => self.open(rules).await?,
        };
        // 2. The exchange.
        let answer = conn.send_request(self.request(body)).await.map_err(CollectorError::Http)?;
        let (head, body) = answer.into_parts();
        let retry_after = head.headers.get(header::RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        let body = Limited::new(body, MAX_ANSWER_LEN).collect().await;
        let body = body.map_err(CollectorError::Answer)?.to_bytes();
        // 3. The conn is kept for the next.
        self.kept = Some(conn);
        let retry_after = retry_after.map(Duration::from_secs);
        Ok(CollectorAnswer { status: head.status, retry_after, body })
    }

    fn request(&self, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.path().clone().into();
        let headers = request.headers_mut();
        if let Ok(host) = HeaderValue::try_from(self.url.authority()) {
            headers.insert(header::HOST, host);
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(AGENT));
        request
    }

    /// Opens a conn to a judged address.
    async fn open(
        &self,
        rules: &UpstreamRules,
    ) -> Result<SendRequest<Full<Bytes>>, CollectorError> {
        // 1. The addresses, of which none is the proxy's own.
        let (host, port) = self.url.host_and_port();
        let pin = self.url.host_name();
        let pin = pin.and_then(|name| rules.settings.pins.get(&(name, port)));
        let addresses = if let Some(address) = pin {
            vec![*address]
        } else {
            let found = rules.names.lookup(None, (host, port), rules.settings.resolve_timeout);
            found.await.map_err(|error| CollectorError::Name(error.into()))?.to_vec()
        };
        let judged = rules.guard.for_collectors().judge(addresses);
        let judged = judged.map_err(CollectorError::Address)?;
        // 2. TCP, and TLS where the URL says so, verified for its host.
        let io = tokio::time::timeout(rules.settings.connect_timeout, connect(&judged)).await;
        let io = io.map_err(|_elapsed| CollectorError::Connect(io::ErrorKind::TimedOut.into()))?;
        let io = io.map_err(CollectorError::Connect)?;
        if !self.url.is_https() {
            return self.drive(io).await;
        }
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|error| CollectorError::Tls(io::Error::other(error)))?;
        let connector = TlsConnector::from(rules.tls.of_nobody());
        let io = connector.connect(name, io).await.map_err(CollectorError::Tls)?;
        self.drive(io).await
    }

    async fn drive<I>(&self, io: I) -> Result<SendRequest<Full<Bytes>>, CollectorError>
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (conn, driver) = handshake(TokioIo::new(io)).await.map_err(CollectorError::Http)?;
        // Its failure is the exchange's, which says so.
        self.tasks.spawn(driver);
        Ok(conn)
    }
}

const AGENT: &str = concat!("keyferry/", env!("CARGO_PKG_VERSION"));

/// The longest time of an exchange, as OpenTelemetry's exporters have it.
const POST_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest answer, in bytes.
const MAX_ANSWER_LEN: usize = 64 << 10;
