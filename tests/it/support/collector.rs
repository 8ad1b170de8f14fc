//! A collector of telemetry: it speaks OTLP over HTTP, and remembers the spans that it was sent.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::soon;

/// A collector; it is gone when this is dropped.
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    memory: Arc<Memory>,
    accepting: JoinHandle<()>,
}

/// The requests that a collector has got, and the status that it answers.
struct Memory {
    status: Mutex<u16>,
    /// The bodies, whatever was answered.
    bodies: Mutex<Vec<Bytes>>,
    lines: Mutex<Vec<String>>,
    changes: watch::Sender<usize>,
}

impl Collector {
    /// Answers everything with this status.
    pub(crate) async fn answering(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let memory = Arc::new(Memory {
            status: Mutex::new(status),
            bodies: Mutex::default(),
            lines: Mutex::default(),
            changes: watch::Sender::new(0),
        });
        let kept = Arc::clone(&memory);
        let accepting = tokio::spawn(async move {
            let mut conns = tokio::task::JoinSet::new();
            while let Ok((io, _from)) = listener.accept().await {
                let memory = Arc::clone(&kept);
                let service = service_fn(move |request| hear(request, Arc::clone(&memory)));
                let builder = hyper::server::conn::http1::Builder::new();
                let conn = builder.serve_connection(TokioIo::new(io), service);
                conns.spawn(async move { conn.await.is_ok() });
            }
        });
        Self { address, memory, accepting }
    }

    /// Takes everything.
    pub(crate) async fn start() -> Self {
        Self::answering(200).await
    }

    /// The setting that leads to it, in TOML.
    pub(crate) fn url(&self) -> String {
        format!("\"http://{}\"", self.address)
    }

    /// Answers with this status from now on.
    pub(crate) fn answer(&self, status: u16) {
        *self.memory.status.lock() = status;
    }

    /// Waits until so many requests have come.
    pub(crate) async fn has_seen(&self, count: usize) {
        let mut changes = self.memory.changes.subscribe();
        soon(changes.wait_for(|seen| *seen >= count)).await.unwrap();
    }

    /// All bytes that it was sent.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.memory.bodies.lock().concat()
    }

    /// The request lines so far, each with its content type.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.memory.lines.lock().clone()
    }

    /// The messages that it was sent.
    pub(crate) fn messages(&self) -> Vec<ExportTraceServiceRequest> {
        let bodies = self.memory.bodies.lock();
        let decode = |body: &Bytes| ExportTraceServiceRequest::decode(body.clone()).unwrap();
        bodies.iter().map(decode).collect()
    }

    /// The spans that it was sent.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let resources = self.messages().into_iter().flat_map(|message| message.resource_spans);
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }

    /// The span of the request with this path.
    pub(crate) fn span_of(&self, path: &str) -> Span {
        let spans = self.spans();
        let has_path =
            |span: &&Span| facts(&span.attributes).get("url.path").is_some_and(|its| its == path);
        spans.iter().find(has_path).unwrap_or_else(|| panic!("no span of {path}")).clone()
    }
}

/// Attributes as texts.
pub(crate) fn facts(attributes: &[KeyValue]) -> BTreeMap<&str, String> {
    let text = |value: &Option<AnyValue>| match value.as_ref().unwrap().value.as_ref().unwrap() {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        Value::DoubleValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    let pairs: Vec<_> =
        attributes.iter().map(|pair| (pair.key.as_str(), text(&pair.value))).collect();
    let facts: BTreeMap<_, _> = pairs.iter().cloned().collect();
    assert_eq!(facts.len(), pairs.len(), "a key stands twice: {pairs:?}");
    facts
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

async fn hear(
    request: Request<Incoming>,
    memory: Arc<Memory>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let kind = request.headers()["content-type"].to_str().unwrap().to_owned();
    let line = format!("{} {} {kind}", request.method(), request.uri());
    let body = request.into_body().collect().await.unwrap().to_bytes();
    memory.lines.lock().push(line);
    memory.bodies.lock().push(body);
    let status = *memory.status.lock();
    memory.changes.send_modify(|count| *count += 1);
    Ok(Response::builder().status(status).body(Full::default()).unwrap())
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
