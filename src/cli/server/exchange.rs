//! One request and its whole answer, over HTTP/1.1, with a deadline.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
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

use super::answer::Answer;
use super::target::{Target, Verification};
use super::token::AccessToken;
use crate::secret::Secret;

/// What to ask.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    /// The path with its query, after the URL's own.
    pub(super) path: &'a str,
    pub(super) token: Option<&'a AccessToken>,
    /// A JSON document.
    pub(super) body: Option<Secret>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum Error {
    /// It is not there, or the conn failed.
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

/// Asks, and waits for the whole answer; redirects are answers like any other.
pub(super) fn exchange(target: &Target, ask: Ask<'_>, patience: Duration) -> Result<Answer, Error> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().map_err(Error::Conn)?;
    let outcome =
        runtime.block_on(async { tokio::time::timeout(patience, talk(target, ask)).await });
    // A resolver that hangs holds a thread, which nobody waits for.
    runtime.shutdown_background();
    outcome.unwrap_or(Err(Error::Late))
}

async fn talk(target: &Target, ask: Ask<'_>) -> Result<Answer, Error> {
    let request = request(target, ask).map_err(|why| Error::Conn(io::Error::other(why)))?;
    let conn = connect(target).await.map_err(Error::Conn)?;
    let Some(verification) = &target.tls else { return over(conn, request).await };
    let connector = connector(verification)?;
    let name = ServerName::try_from(verification.name.clone());
    let name = name.map_err(|why| Error::Conn(io::Error::other(why)))?;
    over(connector.connect(name, conn).await.map_err(Error::Conn)?, request).await
}

#[expect(
    clippy::disallowed_methods,
    reason = "the operator's own server, which the operator has named; not an origin"
)]
async fn connect(target: &Target) -> io::Result<TcpStream> {
    TcpStream::connect((target.host.as_str(), target.port)).await
}

fn request(target: &Target, ask: Ask<'_>) -> http::Result<Request<Full<Bytes>>> {
    let mut request = Request::builder()
        .method(ask.method)
        .uri(format!("{}{}", target.base, ask.path))
        .header(header::HOST, &target.authority)
        .header(header::ACCEPT, JSON)
        .header(header::CONNECTION, HeaderValue::from_static("close"));
    if let Some(token) = ask.token {
        request = request.header(header::AUTHORIZATION, token.field());
    }
    match ask.body {
        Some(body) => {
            request.header(header::CONTENT_TYPE, JSON).body(Full::new(body.into_shared()))
        }
        None => request.body(Full::default()),
    }
}

async fn over<I>(io: I, request: Request<Full<Bytes>>) -> Result<Answer, Error>
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
) -> Result<Answer, Error> {
    let (head, body) = sender.send_request(request).await.map_err(of_http)?.into_parts();
    let retry_after = head.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = retry_after.map(str::to_owned);
    Ok(Answer { status: head.status, retry_after, body: whole(body).await? })
}

async fn whole(mut body: Incoming) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut bytes = Zeroizing::new(Vec::new());
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(of_http)?.into_data() else { continue };
        if bytes.len() + data.len() > LONGEST {
            return Err(Error::TooLong);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// Verified as any client would, and by the certificate that the server is configured to show.
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

/// The library's words for a failure are not for operators, but its cause's are.
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

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// No page of the API is as long.
const LONGEST: usize = 16 << 20;
