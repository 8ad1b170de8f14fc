//! Origins: real servers in the test's own process, which remember what they were sent.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use rustls::ServerConfig;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::raw::Raw;
use super::{soon, tls};

/// An origin; it is gone when this is dropped.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    memory: Arc<Memory>,
    accepting: JoinHandle<()>,
}

/// What an origin remembers.
pub(crate) struct Memory {
    conns: AtomicUsize,
    seen: Mutex<Vec<Seen>>,
    changes: watch::Sender<usize>,
}

/// A request as the origin saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Which of the origin's conns it came on.
    pub(crate) conn: usize,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: HeaderMap,
}

/// One conn of a scripted origin.
pub(crate) struct Conn {
    pub(crate) number: usize,
    pub(crate) raw: Raw,
    pub(crate) memory: Arc<Memory>,
}

impl Origin {
    /// Answers everything with 200 and `ok`, over HTTP/1.1.
    pub(crate) async fn start() -> Self {
        Self::answering(&["http/1.1"], |_seen| ok("ok")).await
    }

    /// Answers with what `answer` says.
    pub(crate) async fn answering<F>(alpn: &[&str], answer: F) -> Self
    where
        F: Fn(&Seen) -> Response<Full<Bytes>> + Send + Sync + 'static,
    {
        Self::gated(alpn, watch::channel(true).1, answer).await
    }

    /// The same with a TLS of its own.
    pub(crate) async fn answering_as<F>(config: Arc<ServerConfig>, answer: F) -> Self
    where
        F: Fn(&Seen) -> Response<Full<Bytes>> + Send + Sync + 'static,
    {
        Self::gated_as(config, watch::channel(true).1, answer).await
    }

    /// The same, which takes no part in TLS until the gate is open.
    pub(crate) async fn gated<F>(alpn: &[&str], gate: watch::Receiver<bool>, answer: F) -> Self
    where
        F: Fn(&Seen) -> Response<Full<Bytes>> + Send + Sync + 'static,
    {
        Self::gated_as(tls::origin(alpn), gate, answer).await
    }

    async fn gated_as<F>(config: Arc<ServerConfig>, gate: watch::Receiver<bool>, answer: F) -> Self
    where
        F: Fn(&Seen) -> Response<Full<Bytes>> + Send + Sync + 'static,
    {
        let (acceptor, answer) = (TlsAcceptor::from(config), Arc::new(answer));
        Self::on(listen(), move |io, number, memory| {
            let (acceptor, answer, mut gate) =
                (acceptor.clone(), Arc::clone(&answer), gate.clone());
            async move {
                drop(gate.wait_for(|open| *open).await);
                let Ok(io) = acceptor.accept(io).await else { return };
                let service = service_fn(move |request| {
                    hear(request, number, Arc::clone(&memory), Arc::clone(&answer))
                });
                let builder = Builder { http2: io.get_ref().1.alpn_protocol() == Some(b"h2") };
                builder.serve(io, service).await;
            }
        })
        .await
    }

    /// Does on each conn, once TLS stands, what `script` says.
    pub(crate) async fn scripted<F, R>(script: F) -> Self
    where
        F: Fn(Conn) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        Self::scripted_with(tls::origin(&["http/1.1"]), script).await
    }

    /// The same with a TLS of its own.
    pub(crate) async fn scripted_with<F, R>(config: Arc<ServerConfig>, script: F) -> Self
    where
        F: Fn(Conn) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let (acceptor, script) = (TlsAcceptor::from(config), Arc::new(script));
        Self::on(listen(), move |io, number, memory| {
            let (acceptor, script) = (acceptor.clone(), Arc::clone(&script));
            async move {
                let Ok(io) = acceptor.accept(io).await else { return };
                script(Conn { number, raw: Raw::over(io), memory }).await;
            }
        })
        .await
    }

    /// Answers each request's head with these bytes, and closes when `closes`.
    pub(crate) async fn saying(bytes: impl Into<Vec<u8>>, closes: bool) -> Self {
        let bytes: Arc<[u8]> = bytes.into().into();
        Self::scripted(move |mut conn| {
            let bytes = Arc::clone(&bytes);
            async move {
                while conn.head().await.is_some() {
                    conn.raw.write(&bytes).await;
                    if closes {
                        conn.raw.close_write().await;
                        return;
                    }
                }
            }
        })
        .await
    }

    /// Does on each conn, before TLS, what `serve` says.
    pub(crate) async fn on<F, R>(listener: impl Future<Output = TcpListener>, serve: F) -> Self
    where
        F: Fn(TcpStream, usize, Arc<Memory>) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let listener = listener.await;
        let address = listener.local_addr().unwrap();
        let memory = Arc::new(Memory {
            conns: AtomicUsize::new(0),
            seen: Mutex::default(),
            changes: watch::Sender::new(0),
        });
        let kept = Arc::clone(&memory);
        let accepting = tokio::spawn(async move {
            let mut conns = tokio::task::JoinSet::new();
            while let Ok((io, _caller)) = listener.accept().await {
                let number = kept.conns.fetch_add(1, SeqCst);
                kept.changes.send_modify(|count| *count += 1);
                conns.spawn(serve(io, number, Arc::clone(&kept)));
            }
        });
        Self { address, memory, accepting }
    }

    /// Ends it and every conn of it, and waits until its port is free.
    pub(crate) async fn kill(&mut self) {
        self.accepting.abort();
        let _aborted = (&mut self.accepting).await;
    }

    /// How many conns there have been.
    pub(crate) fn conns(&self) -> usize {
        self.memory.conns.load(SeqCst)
    }

    /// Waits until there have been so many conns.
    pub(crate) async fn has_conns(&self, count: usize) {
        let mut changes = self.memory.changes.subscribe();
        soon(changes.wait_for(|_| self.conns() >= count)).await.unwrap();
    }

    /// The requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.memory.seen.lock().clone()
    }

    /// The only request so far.
    pub(crate) fn only(&self) -> Seen {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.into_iter().next().unwrap()
    }

    /// The latest request.
    pub(crate) fn last(&self) -> Seen {
        self.seen().pop().expect("the origin was sent nothing")
    }

    /// Forgets the requests so far.
    pub(crate) fn forget(&self) {
        self.memory.seen.lock().clear();
    }

    /// Waits until so many requests have come.
    pub(crate) async fn has_seen(&self, count: usize) {
        let mut changes = self.memory.changes.subscribe();
        soon(changes.wait_for(|_| self.memory.seen.lock().len() >= count)).await.unwrap();
    }
}

/// Reads a request to its end, remembers and answers it; one whose body is cut is neither.
async fn hear<F>(
    request: Request<Incoming>,
    conn: usize,
    memory: Arc<Memory>,
    answer: Arc<F>,
) -> Result<Response<Full<Bytes>>, &'static str>
where
    F: Fn(&Seen) -> Response<Full<Bytes>>,
{
    let seen = Seen::read(request, conn).await.ok_or("the request's body was cut")?;
    let response = answer(&seen);
    memory.remember(seen);
    Ok(response)
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Memory {
    pub(crate) fn remember(&self, seen: Seen) {
        self.seen.lock().push(seen);
        self.changes.send_modify(|count| *count += 1);
    }
}

impl Seen {
    async fn read(request: Request<Incoming>, conn: usize) -> Option<Self> {
        let (head, body) = request.into_parts();
        let collected = body.collect().await.ok()?;
        Some(Self {
            conn,
            method: head.method.to_string(),
            target: head.uri.to_string(),
            version: head.version,
            headers: head.headers,
            trailers: collected.trailers().cloned().unwrap_or_default(),
            body: collected.to_bytes(),
        })
    }

    /// All values of a field, as one text.
    pub(crate) fn field(&self, name: &str) -> String {
        let values = self.headers.get_all(name).iter();
        values
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect::<Vec<_>>()
            .join(" | ")
    }

    /// The fields of the form in the body, and the name of one that is there twice.
    pub(crate) fn form(&self) -> (BTreeMap<String, String>, Option<String>) {
        let (mut form, mut twice) = (BTreeMap::new(), None);
        for (name, value) in form_urlencoded::parse(&self.body).into_owned() {
            if form.insert(name.clone(), value).is_some() {
                twice = Some(name);
            }
        }
        (form, twice)
    }

    /// The names of the fields, sorted.
    pub(crate) fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.headers.keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }
}

impl Conn {
    pub(crate) fn new(number: usize, raw: Raw, memory: Arc<Memory>) -> Self {
        Self { number, raw, memory }
    }

    /// Reads the next request's head and remembers it; `None` when the conn ends before.
    pub(crate) async fn head(&mut self) -> Option<String> {
        let head = self.raw.until(b"\r\n\r\n").await.ok()?;
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.split("\r\n");
        let line: Vec<&str> = lines.next().unwrap().split(' ').collect();
        let mut headers = HeaderMap::new();
        for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
            let name = http::HeaderName::try_from(name).unwrap();
            headers.append(name, value.parse().unwrap());
        }
        self.memory.remember(Seen {
            conn: self.number,
            method: line[0].to_owned(),
            target: line[1].to_owned(),
            version: Version::HTTP_11,
            headers,
            body: Bytes::new(),
            trailers: HeaderMap::new(),
        });
        Some(head)
    }
}

struct Builder {
    http2: bool,
}

impl Builder {
    async fn serve<I, S, E>(self, io: I, service: S)
    where
        I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
        S: hyper::service::Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = E>,
        S::Future: Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let io = TokioIo::new(io);
        let _ended = if self.http2 {
            hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .max_header_list_size(256 << 10)
                .serve_connection(io, service)
                .await
        } else {
            hyper::server::conn::http1::Builder::new().serve_connection(io, service).await
        };
    }
}

/// 200 with this text.
pub(crate) fn ok(text: &str) -> Response<Full<Bytes>> {
    Response::new(Full::new(Bytes::copy_from_slice(text.as_bytes())))
}

/// An answer in JSON.
pub(crate) fn json_answer(status: u16, body: &Value) -> Response<Full<Bytes>> {
    let head = Response::builder().status(status).header("content-type", "application/json");
    head.body(Full::from(body.to_string())).unwrap()
}

/// A free port, taken.
pub(crate) async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}
