//! Requests of people at the console, carried as if their programs had sent them.

mod preview;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response, header};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use parking_lot::Mutex;

use self::preview::{BodyStart, is_ours, masked_fields};
use super::SharedParts;
use super::body::{AnswerBody, AnswerTimes, AnsweredRefusal};
use super::explain::{ExplainedBy, explain, explain_to_operator};
use super::request::{ProxyRequest, Tags};
use super::tunnel::{TunnelContext, TunnelHandler, TunnelScope};
use crate::clock::instant;
use crate::listener::{EarlyRefusal, Handler, InFlight, RequestBody};
use crate::management::{
    DataPlane, ProbeRefusal, ProbeRequest, ProbeResponse, ProbeTimes, Question,
};
use crate::model::caller::{Caller, UnusableToken};
use crate::model::connection::Connection;
use crate::model::origin::Origin;
use crate::tasks::Tasks;
use crate::wire::ExplainAnswer;

/// The data plane, as management and the console ask it.
#[derive(Debug)]
pub struct Probe(pub SharedParts);

impl DataPlane for Probe {
    fn explain(&self, caller: &Caller, question: &Question) -> ExplainAnswer {
        let at = (self.0.ledger.clock.now(), ExplainedBy::Server);
        explain_to_operator(&self.0.live.load(), caller, question, at)
    }

    fn probe(&self, request: ProbeRequest) -> BoxFuture<'static, Result<ProbeResponse, String>> {
        let shared = self.0.clone();
        Box::pin(async move {
            let sending = Box::pin(send(&shared, request));
            let sent = tokio::time::timeout(PROBE_TIMEOUT, sending).await;
            sent.unwrap_or_else(|_late| Err(format!("No answer came within {PROBE_TIMEOUT:?}.")))
        })
    }
}

/// A conn inside the process on which one request comes, and the times that its parts took.
#[derive(Debug)]
struct WatchedConn {
    inside: Arc<TunnelHandler>,
    answered: Mutex<(AnswerTimes, Option<AnsweredRefusal>)>,
}

impl Handler for WatchedConn {
    type Body = AnswerBody;

    async fn handle(
        self: Arc<Self>,
        in_flight: InFlight,
        request: Request<RequestBody>,
    ) -> Result<Response<AnswerBody>, Infallible> {
        let response = Arc::clone(&self.inside).handle(in_flight, request).await?;
        let body = response.body();
        *self.answered.lock() = (body.times(), body.refusal().cloned());
        Ok(response)
    }

    fn early_refusal(&self, reason: EarlyRefusal) -> Vec<u8> {
        self.inside.early_refusal(reason)
    }
}

async fn send(shared: &SharedParts, probe: ProbeRequest) -> Result<ProbeResponse, String> {
    // 1. The request is decided, and comes on a conn inside the process, as one inside a tunnel.
    let now = shared.ledger.clock.now();
    let DecidedProbe { tunnel, origin, connection } = decide(shared, &probe, now)?;
    let request = written(probe, &origin)?;
    let tasks = Tasks::default();
    let proxy = Arc::new(shared.proxy(tasks.clone(), tasks.clone(), 1));
    let conn = proxy.conn_tracker.admit_internal();
    let conn = conn.ok_or("The proxy has too many connections; try again.")?;
    let handler = Arc::new(WatchedConn {
        inside: Arc::new(TunnelHandler { proxy: Arc::clone(&proxy), tunnel: Arc::new(tunnel) }),
        answered: Mutex::default(),
    });
    let (ours, theirs) = tokio::io::duplex(CONN_BUFFER_LEN);
    tasks.spawn(conn.serve_internal(theirs, Arc::clone(&handler), tasks.clone()));
    let shaken = hyper::client::conn::http1::handshake(TokioIo::new(ours)).await;
    let (mut sender, client) = shaken.map_err(|error| error.to_string())?;
    tasks.spawn(async move {
        let _ended_with_its_request = client.await;
    });
    // 2. It is sent, and the beginning of its response is read.
    let begun = instant();
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let ((own, origin), refusal) = handler.answered.lock().clone();
    let used_first = current(shared, &connection);
    let (head, body) = response.into_parts();
    let body = BodyStart::read(body).await;
    // 3. The response is shown without the credentials that may have been sent: the connection's
    // tokens may be others than when it was decided.
    let used_last = current(shared, &connection);
    let used: Vec<_> = [Some(connection), used_first, used_last].into_iter().flatten().collect();
    let dialed = proxy.upstream.last_dial_times();
    let opening = dialed.map(|dialed| dialed.connect + dialed.tls).unwrap_or_default();
    Ok(ProbeResponse {
        status: head.status.as_u16(),
        is_the_origins: !is_ours(&head.headers),
        refusal: refusal.map(|AnsweredRefusal { code, rule, cause }| ProbeRefusal {
            code,
            rule,
            cause: cause.map(Into::into),
        }),
        fields: masked_fields(&head.headers, &used),
        body: body.preview(&head.headers, &used),
        times: ProbeTimes {
            total: milliseconds(begun.elapsed()),
            own: own.map(milliseconds),
            connect: dialed.map(|dialed| milliseconds(dialed.connect)),
            tls: dialed.map(|dialed| milliseconds(dialed.tls)),
            origin: origin.map(|origin| milliseconds(origin.saturating_sub(opening))),
        },
    })
}

/// The connection as it is now: its tokens may be others than they were.
fn current(shared: &SharedParts, connection: &Connection) -> Option<Arc<Connection>> {
    let (integration, name) = (connection.integration().as_str(), connection.name().as_str());
    let in_force = shared.live.load();
    in_force.registry.lookup(integration, name).map(|listing| Arc::clone(&listing.connection))
}

/// A probe that may be sent.
struct DecidedProbe {
    /// The tunnel that it comes through, to its origin.
    tunnel: TunnelContext,
    origin: Origin,
    /// The connection whose credential it is sent with.
    connection: Arc<Connection>,
}

/// Decides whether the request may go where it is for. Its journey decides again.
fn decide(
    shared: &SharedParts,
    probe: &ProbeRequest,
    now: Timestamp,
) -> Result<DecidedProbe, String> {
    let tags = Tags {
        integrations: [None, Some(probe.integration.clone()), None],
        connections: [None, probe.connection.clone(), None],
    };
    let in_force = shared.live.load();
    // Where the proxy needs no token, this still does.
    let holder = in_force.registry.holder(&probe.caller);
    let holder = holder.ok_or(EXPIRED)?;
    holder.caller.check_proxy_use(now).map_err(|defect| match defect {
        UnusableToken::Expired => EXPIRED,
        UnusableToken::LacksScope => "The token lacks the scope proxy.",
    })?;
    let request = ProxyRequest::for_url(probe.method.clone(), &probe.url, tags);
    let at = (now, ExplainedBy::Server);
    let told = explain(&in_force, &holder.caller, true, request, at);
    if let Some(refusal) = told.refusal {
        return Err(refusal.title().to_owned());
    }
    let (Some(origin), Some(connection)) = (told.origin, told.connection) else {
        return Err("The request leads nowhere.".to_owned());
    };
    let scope = TunnelScope {
        origin: origin.clone(),
        integration: Some(probe.integration.clone()),
        connection: probe.connection.clone(),
    };
    let tunnel = TunnelContext { scope, digest: Some(probe.caller) };
    Ok(DecidedProbe { tunnel, origin, connection })
}

const EXPIRED: &str = "The token has expired.";

/// The request as it is written inside a tunnel to `origin`.
fn written(probe: ProbeRequest, origin: &Origin) -> Result<Request<Full<Bytes>>, String> {
    let uri: http::Uri = probe.url.parse().map_err(|_how| "The URL can't be read.".to_owned())?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::builder()
        .method(probe.method)
        .uri(path)
        .header(header::HOST, origin.authority())
        .header(header::USER_AGENT, concat!("keyferry-console/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT, "*/*")
        .header(header::ACCEPT_ENCODING, "identity");
    let body = match probe.body {
        Some((kind, body)) => {
            request = request.header(header::CONTENT_TYPE, kind);
            Full::new(Bytes::from(body))
        }
        None => Full::default(),
    };
    request.body(body).map_err(|error| error.to_string())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

const PROBE_TIMEOUT: Duration = Duration::from_secs(30);

const CONN_BUFFER_LEN: usize = 64 << 10;
