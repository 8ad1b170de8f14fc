//! Sends a departure and brings back the reply.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};

use super::Rules;
use super::body::{Outgoing, Progress};
use super::departure::Departure;
use super::dial::dial;
use super::error::Error;
use super::meter::{Gauges, Metered};
use super::pool::{Http1, Key, Pool, Pooled, Slot};
use crate::model::origin::Origin;
use crate::tasks::Tasks;

/// The way out of one worker.
#[derive(Debug)]
pub struct Upstream {
    pool: Pool,
    gauges: Arc<Gauges>,
    tasks: Tasks,
    workers: usize,
}

/// The origin's answer.
pub type Reply = Response<ReplyBody>;

/// An answer's body; when it has been read to its end, the conn goes back to the pool.
#[derive(Debug)]
pub struct ReplyBody {
    incoming: Incoming,
    lease: Option<Lease>,
}

/// An HTTP/1.1 conn in use.
#[derive(Debug)]
struct Lease {
    conn: Http1,
    slot: Arc<Slot>,
    max_idle: usize,
    progress: Option<Arc<Progress>>,
}

/// What became of an attempt on one conn.
enum Attempt {
    Answered(Reply),
    /// The conn was dead; the request can be sent again.
    Again(Departure),
}

impl Upstream {
    /// The way out of one of `workers` workers.
    #[must_use]
    pub fn new(gauges: Arc<Gauges>, tasks: Tasks, workers: usize) -> Self {
        Self { pool: Pool::new(Arc::clone(&gauges)), gauges, tasks, workers }
    }

    /// Sends a departure to its origin, on a conn that is kept or a new one.
    ///
    /// A conn that was kept may have died meanwhile. If it did so before a byte of the response,
    /// and the request was never written or can be repeated, it is sent again on another.
    ///
    /// Not cancel-safe in the sense that the origin may have acted on the request; dropping the
    /// future closes the conn that was in use.
    ///
    /// # Errors
    /// [`Error`] when there is no response head.
    pub async fn send(&self, rules: &Rules, mut departure: Departure) -> Result<Reply, Error> {
        departure.state_empty_body();
        // What is rare stands in a box of its own, so that the usual request's future is small.
        if departure.is_upgrade() {
            return Box::pin(self.send_upgrade(rules, departure)).await;
        }
        let key = Key {
            generation: rules.generation,
            integration: departure.integration().clone(),
            origin: departure.origin().clone(),
        };
        let slot = self.pool.slot(&key);
        let mut kept = MOST_KEPT_TRIED;
        loop {
            let pooled = if kept > 0 { slot.check_out() } else { None };
            kept = if pooled.is_some() { kept - 1 } else { 0 };
            let reused = pooled.is_some();
            let pooled = match pooled {
                Some(pooled) => pooled,
                None => Box::pin(self.open(rules, &key.origin, &slot)).await?,
            };
            let attempt = match pooled {
                Pooled::Http1(conn) => {
                    self.try_http1(rules, conn, &slot, departure, reused).await?
                }
                Pooled::Http2(sender) => Box::pin(try_http2(rules, sender, departure)).await?,
            };
            departure = match attempt {
                Attempt::Answered(reply) => return Ok(reply),
                Attempt::Again(same) if reused => same,
                Attempt::Again(_) => return Err(Error::closed_at_once()),
            };
        }
    }

    /// Closes idle conns that are due, once a second, for as long as it is polled.
    pub async fn sweep(&self, rules: impl Fn() -> Arc<Rules>) {
        let mut interval = tokio::time::interval(Duration::from_secs(1));
        loop {
            interval.tick().await;
            let rules = rules();
            self.pool.sweep(rules.settings.idle_timeout, rules.generation);
        }
    }

    /// Opens a conn and learns by ALPN which HTTP it speaks.
    async fn open(&self, rules: &Rules, origin: &Origin, slot: &Slot) -> Result<Pooled, Error> {
        let io = dial(rules, &self.gauges, origin, &rules.tls.requests).await?;
        let speaks_http2 = io.get_ref().1.alpn_protocol() == Some(b"h2");
        let (io, meter) = Metered::new(io, &self.gauges);
        if !speaks_http2 {
            let (sender, conn) =
                http1::handshake(TokioIo::new(io)).await.map_err(|e| Error::from_http(e, false))?;
            self.tasks.spawn(run_to_its_end(conn));
            return Ok(Pooled::Http1(Http1 { sender, meter }));
        }
        let (sender, conn) = http2::Builder::new(self.tasks.clone())
            .timer(TokioTimer::new())
            .keep_alive_interval(Duration::from_secs(30))
            .max_header_list_size(MOST_HEADERS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONN_WINDOW)
            .handshake(TokioIo::new(io))
            .await
            .map_err(|error| Error::from_http(error, false))?;
        self.tasks.spawn(async move {
            run_to_its_end(conn).await;
            drop(meter);
        });
        Ok(Pooled::Http2(slot.share(sender)))
    }

    async fn try_http1(
        &self,
        rules: &Rules,
        mut conn: Http1,
        slot: &Arc<Slot>,
        departure: Departure,
        reused: bool,
    ) -> Result<Attempt, Error> {
        if conn.sender.ready().await.is_err() {
            return Ok(Attempt::Again(departure));
        }
        let spare = if reused { departure.spare() } else { None };
        let permit = departure.permit().clone();
        let mut request = departure.into_http1();
        if let Some(go) = request.body().go() {
            // Whatever the origin says before its final word, it is there and listening.
            hyper::ext::on_informational(&mut request, move |_response| go.say());
        }
        let progress = request.body().progress();
        let before = conn.meter.received();
        let sent = pin!(conn.sender.try_send_request(request));
        match in_time(rules.settings.response_timeout, progress.as_deref(), sent).await? {
            Ok(response) => {
                let max_idle = rules.settings.max_idle_per_origin.div_ceil(self.workers);
                // A conn that claims to have switched protocols carries no further request.
                let lease = (response.status() != StatusCode::SWITCHING_PROTOCOLS).then(|| Lease {
                    conn,
                    slot: Arc::clone(slot),
                    max_idle,
                    progress,
                });
                Ok(Attempt::Answered(response.map(|body| ReplyBody::new(body, lease))))
            }
            Err(failed) => {
                let answered = conn.meter.received() != before;
                retry_or_fail(failed, answered, spare, |request| {
                    Departure::restore(permit, request, false)
                })
            }
        }
    }

    /// Sends a request for another protocol on a conn of its own.
    async fn send_upgrade(&self, rules: &Rules, departure: Departure) -> Result<Reply, Error> {
        let io = dial(rules, &self.gauges, departure.origin(), &rules.tls.upgrades).await?;
        let (io, meter) = Metered::new(io, &self.gauges);
        let (mut sender, conn) =
            http1::handshake(TokioIo::new(io)).await.map_err(|e| Error::from_http(e, false))?;
        let kept = Arc::clone(&meter);
        self.tasks.spawn(async move {
            run_to_its_end(conn.with_upgrades()).await;
            drop(kept);
        });
        let request = departure.into_http1();
        let sent = pin!(sender.send_request(request));
        match in_time(rules.settings.response_timeout, None, sent).await? {
            Ok(response) => Ok(response.map(|incoming| ReplyBody { incoming, lease: None })),
            Err(error) => Err(Error::from_http(error, meter.received() > 0)),
        }
    }
}

async fn try_http2(
    rules: &Rules,
    mut sender: http2::SendRequest<Outgoing>,
    departure: Departure,
) -> Result<Attempt, Error> {
    if sender.ready().await.is_err() {
        return Ok(Attempt::Again(departure));
    }
    let permit = departure.permit().clone();
    let mut request = departure.into_http2().map_err(|_never| Error::ResponseMalformed(None))?;
    // The library does not tell of a 100 over HTTP/2, so there is nothing to wait for.
    request.body_mut().release();
    let progress = request.body().progress();
    let sent = pin!(sender.try_send_request(request));
    match in_time(rules.settings.response_timeout, progress.as_deref(), sent).await? {
        Ok(response) => {
            Ok(Attempt::Answered(response.map(|incoming| ReplyBody { incoming, lease: None })))
        }
        Err(failed) => {
            retry_or_fail(failed, false, None, |request| Departure::restore(permit, request, false))
        }
    }
}

/// After a failure: the request itself if it was never written, else its spare copy if nothing
/// had come back; else the failure stands.
fn retry_or_fail(
    mut failed: TrySendError<Request<Outgoing>>,
    answered: bool,
    spare: Option<Departure>,
    restore: impl FnOnce(Request<Outgoing>) -> Departure,
) -> Result<Attempt, Error> {
    if let Some(request) = failed.take_message() {
        return Ok(Attempt::Again(restore(request)));
    }
    let error = Error::from_http(failed.into_error(), answered);
    match (error, spare) {
        (Error::Closed(super::error::Phase::BeforeResponse, _), Some(spare)) => {
            Ok(Attempt::Again(spare))
        }
        (error, _) => Err(error),
    }
}

/// Waits for a response head; the time runs from the last sign of progress of the request's body.
async fn in_time<T>(
    limit: Duration,
    progress: Option<&Progress>,
    mut response: Pin<&mut impl Future<Output = T>>,
) -> Result<T, Error> {
    let mut seen = progress.map(Progress::frames);
    loop {
        if let Ok(answer) = tokio::time::timeout(limit, response.as_mut()).await {
            return Ok(answer);
        }
        let now = progress.map(Progress::frames);
        let callers_turn = progress.is_some_and(Progress::is_awaited);
        if now == seen && !callers_turn {
            return Err(Error::ResponseTimeout);
        }
        seen = now;
    }
}

/// A conn's own errors reach the request that it carries; there is nobody else to tell.
async fn run_to_its_end<C: Future>(conn: C) {
    let _ended = conn.await;
}

impl ReplyBody {
    fn new(incoming: Incoming, lease: Option<Lease>) -> Self {
        let mut body = Self { incoming, lease };
        if body.incoming.is_end_stream() {
            body.end_lease();
        }
        body
    }

    fn end_lease(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.end();
        }
    }
}

impl Lease {
    /// A conn on which the request's body is still under way can't be used again.
    fn end(self) {
        if self.progress.is_none_or(|progress| progress.has_ended()) {
            self.slot.check_in(self.conn, self.max_idle);
        }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.incoming).poll_frame(cx));
        match &frame {
            None => this.end_lease(),
            Some(Ok(_)) if this.incoming.is_end_stream() => this.end_lease(),
            Some(Ok(_)) => {}
            Some(Err(_)) => this.lease = None,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// How many kept conns may turn out to be dead before a new one is opened.
const MOST_KEPT_TRIED: usize = 64;
/// The largest head of a response over HTTP/2, in bytes; as large as over HTTP/1.1, nearly.
const MOST_HEADERS: u32 = 256 << 10;
const STREAM_WINDOW: u32 = 1 << 20;
const CONN_WINDOW: u32 = 4 << 20;
