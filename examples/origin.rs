//! A TLS origin to try Keyferry against: it keeps what it receives and answers with a receipt.
//!
//! `origin DIRECTORY NAME…` makes a certificate authority of its own and a certificate for the
//! names, listens on a free port of 127.0.0.1 and says on standard output where. `DIRECTORY` gets
//!
//! * `ca.pem`, the authority's certificate, for `upstream.extra_roots`;
//! * `leaf.pem` and `leaf.key`, for a proxy that is to speak TLS to its callers;
//! * one file for each request, `1`, `2`, …, with all that was received.
//!
//! The answer to any request is `{"received": NUMBER}`; to one below `/echo` it is that file; to
//! one of `/moved/PATH` it leads to `/PATH`. It runs until it is killed.

use std::error::Error;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use keyferry::tasks::Tasks;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

type Failure = Box<dyn Error + Send + Sync>;

const USAGE: &str = "usage: origin DIRECTORY NAME…: listens on a free port of 127.0.0.1 with a \
                     certificate for each NAME, and keeps in DIRECTORY the CA and every request";

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next().ok_or(USAGE)?;
    if ["--help", "-h"].contains(&first.as_str()) {
        return Ok(announce(&format!("{USAGE}\n"))?);
    }
    if first.starts_with('-') {
        return Err(USAGE.into());
    }
    let directory = PathBuf::from(first);
    let names: Vec<String> = arguments.collect();
    fs::create_dir_all(&directory)?;
    let acceptor = TlsAcceptor::from(Arc::new(certify(&directory, names)?));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(Arc::new(Origin { directory, count: AtomicU64::new(0) }), acceptor))
}

/// What the origin has received so far.
struct Origin {
    directory: PathBuf,
    count: AtomicU64,
}

async fn serve(origin: Arc<Origin>, acceptor: TlsAcceptor) -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    announce(&format!(
        "address {}\nca {}\n",
        listener.local_addr()?,
        origin.directory.join("ca.pem").display()
    ))?;
    let tasks = Tasks::default();
    loop {
        let (conn, _caller) = listener.accept().await?;
        let (origin, acceptor) = (Arc::clone(&origin), acceptor.clone());
        let executor = tasks.clone();
        tasks.spawn(async move {
            // A caller that breaks off has its own reasons.
            let _broken_off = converse(origin, acceptor, conn, executor).await;
        });
    }
}

/// Speaks the version of HTTP that the handshake has settled on.
async fn converse(
    origin: Arc<Origin>,
    acceptor: TlsAcceptor,
    conn: TcpStream,
    executor: Tasks,
) -> io::Result<()> {
    let conn = acceptor.accept(conn).await?;
    let is_http2 = conn.get_ref().1.alpn_protocol() == Some(b"h2");
    let conn = TokioIo::new(conn);
    let service = service_fn(move |request| {
        let origin = Arc::clone(&origin);
        async move { origin.answer(request).await }
    });
    let conversed = if is_http2 {
        hyper::server::conn::http2::Builder::new(executor).serve_connection(conn, service).await
    } else {
        hyper::server::conn::http1::Builder::new().serve_connection(conn, service).await
    };
    conversed.map_err(io::Error::other)
}

impl Origin {
    async fn answer(&self, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
        let (head, body) = request.into_parts();
        let (method, version) = (&head.method, head.version);
        let mut received = format!("{method} {} {version:?}\n", target(&head.uri)).into_bytes();
        if let Some(authority) = head.uri.authority() {
            received.extend(format!("host: {authority}\n").into_bytes());
        }
        for (name, value) in &head.headers {
            received.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\n"].concat());
        }
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        received.push(b'\n');
        received.extend(&body);
        let number = self.count.fetch_add(1, Relaxed) + 1;
        fs::write(self.directory.join(number.to_string()), &received)?;

        let path = head.uri.path();
        if let Some(elsewhere) = path.strip_prefix("/moved/") {
            let response = Response::builder()
                .status(StatusCode::TEMPORARY_REDIRECT)
                .header(header::LOCATION, format!("/{elsewhere}"));
            return response.body(Full::default()).map_err(io::Error::other);
        }
        let (kind, content) = if path.starts_with("/echo") {
            ("text/plain; charset=utf-8", received)
        } else {
            ("application/json", format!("{{\"received\": {number}}}\n").into_bytes())
        };
        let response = Response::builder().header(header::CONTENT_TYPE, kind);
        response.body(Full::from(content)).map_err(io::Error::other)
    }
}

/// What stands in the request line of HTTP/1.1, whichever version was spoken.
fn target(uri: &Uri) -> &str {
    uri.path_and_query().map_or("*", http::uri::PathAndQuery::as_str)
}

/// Makes the authority and the certificate, and keeps what others need of them.
fn certify(directory: &Path, names: Vec<String>) -> Result<ServerConfig, Failure> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "An authority for trying Keyferry");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names)?;
    params.use_authority_key_identifier_extension = true;
    let leaf = params.signed_by(&key, &authority)?;
    fs::write(directory.join("ca.pem"), authority.pem())?;
    fs::write(directory.join("leaf.pem"), leaf.pem())?;
    let mut secret = fs::OpenOptions::new();
    secret
        .mode(0o600)
        .write(true)
        .create(true)
        .truncate(true)
        .open(directory.join("leaf.key"))?
        .write_all(key.serialize_pem().as_bytes())?;

    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn announce(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
