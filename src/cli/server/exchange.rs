//! One request and its whole answer, over HTTP/1.1, with a deadline.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::addr::{ServerAddr, Verification};
use super::answer::ApiAnswer;
use super::token::AccessToken;
use crate::secret::Secret;
use crate::wire::REDACT_TOKENS_FIELD;

pub(super) struct ApiRequest<'a> {
    pub(super) method: Method,
    /// The path with its query, after the URL's own.
    pub(super) path: &'a str,
    pub(super) token: Option<&'a AccessToken>,
    /// Tells whether the answer may have provider tokens in clear.
    pub(super) reveals_tokens: bool,
    /// A JSON document.
    pub(super) body: Option<Secret>,
}

/// The reason why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum Error {
    /// The server is not there, or the conn failed.
    #[error("{0}")]
    Conn(#[source] io::Error),
    /// It took too long.
    #[error("it did not answer in time")]
    Late,
    /// It speaks something else.
    #[error("it does not answer in HTTP/1.1")]
    NotHttp,
    /// The answer did not end.
    #[error("its answer is too long")]
    TooLong,
    /// A certificate that it should be judged by can't be read.
    #[error("the certificate {path} can't be read ({why})", path = .0.display(), why = .1)]
    Trust(PathBuf, #[source] io::Error),
}

/// Sends a request and waits for the whole answer; redirects are answers like any other.
pub(super) fn exchange(
    addr: &ServerAddr,
    asked: ApiRequest<'_>,
    limit: Duration,
) -> Result<ApiAnswer, Error> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().map_err(Error::Conn)?;
    let outcome = runtime.block_on(async { tokio::time::timeout(limit, talk(addr, asked)).await });
    // A resolver that hangs holds a thread, which nobody waits for.
    runtime.shutdown_background();
    outcome.unwrap_or(Err(Error::Late))
}

async fn talk(addr: &ServerAddr, asked: ApiRequest<'_>) -> Result<ApiAnswer, Error> {
    let request = request(addr, asked).map_err(|why| Error::Conn(io::Error::other(why)))?;
    let conn = connect(addr).await.map_err(Error::Conn)?;
    let Some(verification) = &addr.tls else { return over(conn, request).await };
    let connector = connector(verification)?;
    let name = ServerName::try_from(verification.name.clone());
    let name = name.map_err(|why| Error::Conn(io::Error::other(why)))?;
    over(connector.connect(name, conn).await.map_err(Error::Conn)?, request).await
}

#[expect(
    clippy::disallowed_methods,
    reason = "the operator's own server, which the operator has named; not an origin"
)]
async fn connect(addr: &ServerAddr) -> io::Result<TcpStream> {
    TcpStream::connect((addr.host.as_str(), addr.port)).await
}

fn request(addr: &ServerAddr, asked: ApiRequest<'_>) -> http::Result<Request<Full<Bytes>>> {
    let mut request = Request::builder()
        .method(asked.method)
        .uri(format!("{}{}", addr.base, asked.path))
        .header(header::HOST, &addr.authority)
        .header(header::ACCEPT, JSON)
        .header(header::CONNECTION, HeaderValue::from_static("close"));
    if let Some(token) = asked.token {
        request = request.header(header::AUTHORIZATION, token.field());
    }
    if !asked.reveals_tokens {
        request = request.header(REDACT_TOKENS_FIELD, "true");
    }
    match asked.body {
        Some(body) => {
            request.header(header::CONTENT_TYPE, JSON).body(Full::new(body.into_shared()))
        }
        None => request.body(Full::default()),
    }
}

async fn over<I>(io: I, request: Request<Full<Bytes>>) -> Result<ApiAnswer, Error>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let (sender, conn) = handshake(TokioIo::new(io)).await.map_err(of_http)?;
    let answer = answer(sender, request);
    tokio::pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        // The conn may end first, with all that it brought still to be read.
        _ended = conn => answer.await,
    }
}

async fn answer(
    mut sender: SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<ApiAnswer, Error> {
    let (head, body) = sender.send_request(request).await.map_err(of_http)?.into_parts();
    let field = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
    let retry_after = field(header::RETRY_AFTER).map(str::to_owned);
    // The proxy alone gives itself as the source of an answer (RFC 9209), and the API never does.
    let is_of_proxy = field(PROXY_STATUS).is_some_and(|value| value.starts_with("keyferry"));
    Ok(ApiAnswer { status: head.status, retry_after, is_of_proxy, body: whole(body).await? })
}

async fn whole(mut body: Incoming) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut bytes = Zeroizing::new(Vec::new());
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(of_http)?.into_data() else { continue };
        if bytes.len() + data.len() > MAX_ANSWER_BYTES {
            return Err(Error::TooLong);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// Verifies as any client would, and by the certificate that the server is configured to show.
fn connector(verification: &Verification) -> Result<TlsConnector, Error> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(file) = &verification.extra {
        let pem = std::fs::read(file).map_err(|why| Error::Trust(file.clone(), why))?;
        let own = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok);
        roots.add_parsable_certificates(own);
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|why| Error::Conn(io::Error::other(why)))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Puts an error of the library into words for operators: its cause has them, it has not.
fn of_http(error: hyper::Error) -> Error {
    if error.is_parse() || error.is_incomplete_message() {
        return Error::NotHttp;
    }
    let cause =
        std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<io::Error>());
    match cause {
        Some(cause) => Error::Conn(io::Error::new(cause.kind(), cause.to_string())),
        None => Error::Conn(io::Error::other(error)),
    }
}

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// More than any page of the API has.
const MAX_ANSWER_BYTES: usize = 16 << 20;
