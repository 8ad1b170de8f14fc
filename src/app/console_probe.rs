//! Requests of people at the console, carried by the data plane as if their programs had sent them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use parking_lot::Mutex;

use super::worker::Shared;
use crate::clock::instant;
use crate::console::{Courier, Delivered, Errand, Preview, Times};
use crate::listener::{ConnTracker, EarlyRefusal, Handler, InFlight};
use crate::model::connection::Connection;
use crate::model::credential::masked;
use crate::model::origin::Origin;
use crate::proxy::{self, AnswerBody, ProxyRequest, Tags, TunnelContext, TunnelHandler};
use crate::tasks::Tasks;
use crate::upstream::Upstream;

/// The data plane, for one request at a time.
#[derive(Debug)]
pub(super) struct ConsoleProbe(pub(super) Shared);

/// A conn inside the process on which one request comes, and how long its parts took.
#[derive(Debug)]
struct Watched {
    inside: Arc<TunnelHandler>,
    times: Mutex<(Option<Duration>, Option<Duration>)>,
}

impl Courier for ConsoleProbe {
    fn send(&self, errand: Errand) -> BoxFuture<'static, Result<Delivered, String>> {
        let shared = self.0.clone();
        Box::pin(async move {
            let sending = Box::pin(send(&shared, errand));
            let sent = tokio::time::timeout(PATIENCE, sending).await;
            sent.unwrap_or_else(|_late| Err(format!("No answer came within {PATIENCE:?}.")))
        })
    }
}

impl Handler for Watched {
    type Body = AnswerBody;

    async fn handle(
        self: Arc<Self>,
        in_flight: InFlight,
        request: Request<Incoming>,
    ) -> Result<Response<AnswerBody>, Infallible> {
        let response = Arc::clone(&self.inside).handle(in_flight, request).await?;
        *self.times.lock() = response.body().times();
        Ok(response)
    }

    fn early_refusal(&self, reason: EarlyRefusal) -> Vec<u8> {
        self.inside.early_refusal(reason)
    }
}

async fn send(shared: &Shared, errand: Errand) -> Result<Delivered, String> {
    let Decided { tunnel, origin, connection } =
        decide(shared, &errand, shared.ledger.clock.now())?;
    let request = written(errand, &origin)?;
    let (ours, theirs) = tokio::io::duplex(BUFFER);
    let tasks = Tasks::default();
    let conn_tracker = Arc::new(ConnTracker::new(Arc::clone(&shared.conn_limit), shared.limits, 1));
    let inner =
        conn_tracker.admit_internal().ok_or("The proxy has too many connections; try again.")?;
    // Its conns end with it.
    let upstream = Upstream::new(Arc::clone(&shared.gauges), tasks.clone(), 1);
    let proxy = Arc::new(shared.proxy(upstream, tasks.clone(), Arc::clone(&conn_tracker)));
    let handler = Arc::new(Watched {
        inside: Arc::new(TunnelHandler { proxy: Arc::clone(&proxy), tunnel: Arc::new(tunnel) }),
        times: Mutex::default(),
    });
    tasks.spawn(inner.serve_internal(theirs, Arc::clone(&handler), tasks.clone()));
    let shaken = hyper::client::conn::http1::handshake(TokioIo::new(ours)).await;
    let (mut sender, conn) = shaken.map_err(|error| error.to_string())?;
    tasks.spawn(async move {
        let _ended_with_its_request = conn.await;
    });
    let begun = instant();
    let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let (own, origin) = *handler.times.lock();
    let used_first = current(shared, &connection);
    let (head, body) = answer.into_parts();
    let body = Beginning::read(body).await;
    let total = milliseconds(begun.elapsed());
    let dialed = proxy.upstream.last_dial_times();
    let opening = dialed.map(|dialed| dialed.connect + dialed.tls).unwrap_or_default();
    let times = Times {
        total,
        own: own.map(milliseconds),
        connect: dialed.map(|dialed| milliseconds(dialed.connect)),
        tls: dialed.map(|dialed| milliseconds(dialed.tls)),
        origin: origin.map(|origin| milliseconds(origin.saturating_sub(opening))),
    };
    // Tokens may be others than when it was decided.
    let used_last = current(shared, &connection);
    let used: Vec<_> = [Some(connection), used_first, used_last].into_iter().flatten().collect();
    Ok(Delivered {
        status: head.status.as_u16(),
        is_the_origins: !is_ours(&head.headers),
        fields: fields(&head.headers, &used),
        body: body.preview(&head.headers, &used),
        times,
    })
}

/// Whether an answer is the proxy's own: an origin's carries no member of that name.
fn is_ours(headers: &HeaderMap) -> bool {
    headers.get_all("proxy-status").iter().any(|value| value.as_bytes().starts_with(b"keyferry"))
}

/// The connection as it is now: its tokens may be others than they were.
fn current(shared: &Shared, connection: &Connection) -> Option<Arc<Connection>> {
    let (integration, name) = (connection.integration().as_str(), connection.name().as_str());
    let in_force = shared.live.load();
    in_force.registry.lookup(integration, name).map(|listing| Arc::clone(&listing.connection))
}

/// What it takes to send a request.
struct Decided {
    /// To the origin that it is for.
    tunnel: TunnelContext,
    origin: Origin,
    /// What it is sent by.
    connection: Arc<Connection>,
}

/// Decides whether the request may go where it is for. Its journey decides again.
fn decide(shared: &Shared, errand: &Errand, now: Timestamp) -> Result<Decided, String> {
    let tags = Tags {
        integrations: [None, Some(errand.integration.clone()), None],
        connections: [None, errand.connection.clone(), None],
    };
    let in_force = shared.live.load();
    // Where the proxy asks nobody for a token, this still does.
    let holder = in_force.registry.holder(&errand.caller);
    let holder = holder.filter(|holder| !holder.caller.has_expired(now));
    let holder = holder.ok_or("The token has ended.")?;
    if !holder.caller.scopes.allows_proxy() {
        return Err("The token lacks the scope proxy.".to_owned());
    }
    let ask = ProxyRequest::for_url(errand.method.clone(), &errand.url, tags);
    let told = proxy::explain(&in_force, &holder.caller, ask.clone(), now);
    if let Some(refusal) = told.refusal {
        return Err(refusal.title().to_owned());
    }
    let (Some(origin), Some(connection)) = (told.origin, told.connection) else {
        return Err("The request leads nowhere.".to_owned());
    };
    let ask = ask.map_err(|refusal| refusal.title().to_owned())?;
    let tunnel = TunnelContext::new(origin.clone(), &ask, Some(errand.caller));
    let tunnel = tunnel.map_err(|refusal| refusal.title().to_owned())?;
    Ok(Decided { tunnel, origin, connection })
}

/// The request as it stands inside a tunnel to `origin`.
fn written(errand: Errand, origin: &Origin) -> Result<Request<Full<Bytes>>, String> {
    let uri: http::Uri = errand.url.parse().map_err(|_how| "The URL can't be read.".to_owned())?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::builder()
        .method(errand.method)
        .uri(path)
        .header(header::HOST, origin.authority())
        .header(header::USER_AGENT, concat!("keyferry-console/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT, "*/*")
        .header(header::ACCEPT_ENCODING, "identity");
    let body = match errand.body {
        Some((kind, body)) => {
            request = request.header(header::CONTENT_TYPE, kind);
            Full::new(Bytes::from(body))
        }
        None => Full::default(),
    };
    request.body(body).map_err(|error| error.to_string())
}

/// The beginning of a body.
#[derive(Default)]
struct Beginning {
    bytes: Vec<u8>,
    /// Whether there is more.
    is_cut: bool,
}

impl Beginning {
    async fn read(mut body: Incoming) -> Self {
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            // What was broken off is not all of it either.
            let Ok(frame) = frame else { return Self { bytes, is_cut: true } };
            if let Ok(data) = frame.into_data() {
                bytes.extend_from_slice(&data);
            }
            if bytes.len() > MOST_READ {
                bytes.truncate(MOST_READ);
                return Self { bytes, is_cut: true };
            }
        }
        Self { bytes, is_cut: false }
    }

    /// What can be shown. Masked before it is cut, or the beginning of a secret could stay at the
    /// end.
    fn preview(&self, headers: &HeaderMap, used: &[Arc<Connection>]) -> Preview {
        let mut text = hidden(&self.bytes, used, self.is_cut);
        let is_cut = self.is_cut || text.len() > MOST_SHOWN;
        text.truncate(MOST_SHOWN);
        let valid = match std::str::from_utf8(&text) {
            Ok(_) => text.len(),
            // A letter may be cut in two at the end.
            Err(error) if is_cut && text.len() - error.valid_up_to() < 4 => error.valid_up_to(),
            Err(_) => 0,
        };
        let is_plain = !headers.contains_key(header::CONTENT_ENCODING);
        // UTF-16 would hide a secret from whoever looks for its letters.
        let is_text = is_plain && !text.contains(&0) && (valid > 0 || text.is_empty());
        text.truncate(valid);
        let text = if is_text { String::from_utf8(text).ok() } else { None };
        Preview { text, bytes: self.bytes.len(), is_cut }
    }
}

fn fields(headers: &HeaderMap, used: &[Arc<Connection>]) -> Vec<(String, String)> {
    let shown = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        let value = if *name == header::SET_COOKIE {
            "*****".to_owned()
        } else {
            String::from_utf8_lossy(&hidden(value.as_bytes(), used, false)).into_owned()
        };
        (name.to_string(), value)
    };
    headers.iter().take(MOST_FIELDS).map(shown).collect()
}

fn hidden(text: &[u8], used: &[Arc<Connection>], is_cut: bool) -> Vec<u8> {
    masked(used.iter().filter_map(|connection| connection.credential()), text, is_cut)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

const PATIENCE: Duration = Duration::from_secs(30);
const BUFFER: usize = 64 << 10;
/// More than is shown: what is masked is shorter.
const MOST_READ: usize = 96 << 10;
const MOST_SHOWN: usize = 32 << 10;
const MOST_FIELDS: usize = 40;
