//! Sends a departure and brings back the reply.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::net::TcpStream;

use super::Rules;
use super::body::Progress;
use super::departure::Departure;
use super::dial::{self, Dialed, dial};
use super::error::{Error, Phase};
use super::http1::{Conn, Head, Lease, drive};
use super::meter::{Gauges, OpenConn};
use super::pool::{Key, Pool, Pooled, Shared, Slot, Stream};
use super::reply::{Reply, ReplyBody};
use super::settings::Overheard;
use crate::model::name::IntegrationName;
use crate::model::origin::Origin;
use crate::tasks::Tasks;

/// The way out of one worker.
#[derive(Debug)]
pub struct Upstream {
    pool: Pool,
    gauges: Arc<Gauges>,
    tasks: Tasks,
    workers: usize,
    dialed: Mutex<Option<Dialed>>,
}

/// A conn of its own to a departure's origin, before a byte of the departure was written.
#[derive(Debug)]
pub struct Opened {
    conn: Box<Conn>,
    departure: Departure,
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
        Self {
            pool: Pool::new(Arc::clone(&gauges)),
            gauges,
            tasks,
            workers,
            dialed: Mutex::default(),
        }
    }

    /// Opens a conn to `origin` that carries what the caller sends, as it is, to one of the
    /// addresses that the guard lets pass, on behalf of `integration`. Cancel-safe.
    ///
    /// # Errors
    /// [`Error`] when there is no such conn.
    pub async fn reach(
        &self,
        rules: &Rules,
        integration: Option<&IntegrationName>,
        origin: &Origin,
    ) -> Result<TcpStream, Error> {
        let (io, _deadline) = dial::reach(rules, integration, origin).await?;
        Ok(io)
    }

    /// How long the newest conn took to open, for who sends a single request this way; `None` when
    /// none was opened.
    #[must_use]
    pub fn dialed(&self) -> Option<Dialed> {
        *self.dialed.lock()
    }

    /// Sends a departure to its origin, on a conn that is kept or a new one.
    ///
    /// A conn that was kept may have died meanwhile. If it did so before a byte of the response,
    /// and the request can be repeated, it is sent again on another.
    ///
    /// Not cancel-safe in the sense that the origin may have acted on the request; dropping the
    /// future closes the conn that was in use.
    ///
    /// # Errors
    /// [`Error`] when there is no response head.
    pub async fn send(&self, rules: &Rules, mut departure: Departure) -> Result<Reply, Error> {
        // What is rare stands in a box of its own, so that the usual request's future is small.
        if departure.is_alone() {
            let alone = async {
                let opened = self.open_alone(rules, departure).await?;
                self.send_opened(rules, opened).await
            };
            return Box::pin(alone).await;
        }
        let key = Key {
            generation: rules.generation,
            integration: departure.integration().clone(),
            origin: departure.origin().clone(),
        };
        let slot = self.pool.slot(&key, rules.settings.max_idle_per_origin.div_ceil(self.workers));
        let mut kept = MOST_KEPT_TRIED;
        loop {
            let pooled = if kept > 0 { slot.check_out() } else { None };
            kept = if pooled.is_some() { kept - 1 } else { 0 };
            let reused = pooled.is_some();
            let pooled = match pooled {
                Some(pooled) => pooled,
                None => Box::pin(self.open(rules, &key, &slot)).await?,
            };
            let attempt = match pooled {
                Pooled::Http1(conn) => {
                    self.try_http1(rules, conn, &slot, departure, reused).await?
                }
                Pooled::Http2(_) if departure.needs_http1() => {
                    return Box::pin(self.send_over_http1(rules, departure)).await;
                }
                Pooled::Http2(stream) => Box::pin(try_http2(rules, stream, departure)).await?,
            };
            departure = match attempt {
                Attempt::Answered(reply) => return Ok(reply),
                Attempt::Again(same) => same,
            };
        }
    }

    /// Sends what HTTP/2 can't carry over HTTP/1.1, on a conn of its own.
    async fn send_over_http1(&self, rules: &Rules, departure: Departure) -> Result<Reply, Error> {
        let opened = self.open_alone(rules, departure).await.map_err(|error| match error {
            Error::TlsFailed(why) => Error::TargetNotCarried(why),
            error => error,
        })?;
        self.send_opened(rules, opened).await
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

    /// A conn that is opened for a request, or room on one that was opened meanwhile.
    async fn open(&self, rules: &Rules, key: &Key, slot: &Slot) -> Result<Pooled, Error> {
        let turn = if slot.is_shared() {
            match slot.turn().await {
                Ok(turn) => turn,
                Err(stream) => return Ok(Pooled::Http2(stream)),
            }
        } else {
            None
        };
        let opened = self.open_conn(rules, key, slot).await;
        drop(turn);
        // To wait for a stream to end is better than to fail.
        opened.or_else(|error| slot.crowded().map(Pooled::Http2).ok_or(error))
    }

    /// Opens a conn and learns by ALPN which HTTP it speaks.
    async fn open_conn(&self, rules: &Rules, key: &Key, slot: &Slot) -> Result<Pooled, Error> {
        let asker = Some(&key.integration);
        let config = &rules.tls.requests;
        let (io, dialed) = dial(rules, &self.gauges, asker, &key.origin, config).await?;
        *self.dialed.lock() = Some(dialed);
        let open = OpenConn::new(&self.gauges);
        if io.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Ok(Pooled::Http1(Conn::new(io, open)));
        }
        let (io, most_streams) = Overheard::new(io);
        let (sender, conn) = http2::Builder::new(self.tasks.clone())
            .timer(TokioTimer::new())
            .keep_alive_interval(Duration::from_secs(30))
            .max_header_list_size(MOST_HEADERS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONN_WINDOW)
            .handshake(TokioIo::new(io))
            .await
            .map_err(Error::from_http2)?;
        self.tasks.spawn(async move {
            // Its own errors reach the requests that it carries; there is nobody else to tell.
            let _ended = conn.await;
            drop(open);
        });
        // Of many who come at once the first goes ahead. The others know soon how many fit on its
        // conn, and need not keep their own.
        if slot.is_shared() {
            let mut heard = most_streams.clone();
            let _either_way = tokio::time::timeout(HEARING, heard.changed()).await;
        }
        let stream = slot.share(Shared::new(sender, most_streams));
        stream.map(Pooled::Http2).ok_or_else(|| {
            Error::Closed(Phase::BeforeResponse, std::io::ErrorKind::ConnectionReset.into())
        })
    }

    async fn try_http1(
        &self,
        rules: &Rules,
        mut conn: Box<Conn>,
        slot: &Arc<Slot>,
        mut departure: Departure,
        reused: bool,
    ) -> Result<Attempt, Error> {
        let request = departure.as_http1();
        let progress = request.body().progress();
        let limit = rules.settings.response_timeout;
        let exchange = conn.exchange(request);
        match in_time(limit, progress.as_deref(), exchange).await? {
            Ok(head) => {
                let home = head.keeps_alive.then(|| Arc::clone(slot));
                Ok(Attempt::Answered(self.reply(conn, head, departure, home)))
            }
            Err(Error::Closed(Phase::BeforeResponse, _))
                if reused && departure.is_repeatable() && !conn.was_answered() =>
            {
                Ok(Attempt::Again(departure))
            }
            Err(error) => Err(error),
        }
    }

    /// The reply that begins with `head`.
    fn reply(
        &self,
        conn: Box<Conn>,
        head: Head,
        mut departure: Departure,
        home: Option<Arc<Slot>>,
    ) -> Reply {
        if head.response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return head.response.map(|()| ReplyBody::switched(conn));
        }
        // A body that the origin answers without having asked for it stays where it is.
        let goes_on = !conn.has_sent() && !departure.as_http1().body().is_held();
        let lease = Lease::new(conn, head.body, home);
        let body = if goes_on {
            ReplyBody::driven(drive(lease, departure.take_body(), &self.tasks))
        } else {
            ReplyBody::http1(lease)
        };
        head.response.map(|()| body)
    }

    /// Opens a conn for a departure alone, and writes nothing to it yet. Cancel-safe.
    ///
    /// # Errors
    /// [`Error`] when there is no such conn; the departure has not left.
    pub async fn open_alone(&self, rules: &Rules, departure: Departure) -> Result<Opened, Error> {
        let (asker, origin) = (Some(departure.integration()), departure.origin());
        let (io, _dialed) = dial(rules, &self.gauges, asker, origin, &rules.tls.upgrades).await?;
        Ok(Opened { conn: Conn::new(io, OpenConn::new(&self.gauges)), departure })
    }

    /// Sends a departure on the conn that was opened for it.
    ///
    /// # Errors
    /// [`Error`] when there is no response head.
    pub async fn send_opened(&self, rules: &Rules, opened: Opened) -> Result<Reply, Error> {
        let Opened { mut conn, mut departure } = opened;
        let exchange = conn.exchange(departure.as_http1());
        let head = in_time(rules.settings.response_timeout, None, exchange).await??;
        Ok(self.reply(conn, head, departure, None))
    }
}

async fn try_http2(rules: &Rules, stream: Stream, departure: Departure) -> Result<Attempt, Error> {
    let Stream { mut sender, place } = stream;
    if sender.ready().await.is_err() {
        return Ok(Attempt::Again(departure));
    }
    let warrant = departure.warrant().clone();
    let mut request = departure.into_http2().map_err(|never| Error::RequestBody(never.into()))?;
    // The library does not tell of a 100 over HTTP/2, so there is nothing to wait for.
    request.body_mut().release();
    let progress = request.body().progress();
    let sent = sender.try_send_request(request);
    match in_time(rules.settings.response_timeout, progress.as_deref(), sent).await? {
        Ok(response) => Ok(Attempt::Answered(response.map(|body| ReplyBody::http2(body, place)))),
        Err(mut failed) => match failed.take_message() {
            // It was never written.
            Some(request) => Ok(Attempt::Again(Departure::restore(warrant, request))),
            None => Err(Error::from_http2(failed.into_error())),
        },
    }
}

/// Waits for a response head; the time runs from the last sign of progress of the request's body.
async fn in_time<T>(
    limit: Duration,
    progress: Option<&Progress>,
    response: impl Future<Output = T>,
) -> Result<T, Error> {
    let mut response = pin!(response);
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

/// How many kept conns may turn out to be dead before a new one is opened.
const MOST_KEPT_TRIED: usize = 64;
/// The largest head of a response over HTTP/2, in bytes; as large as over HTTP/1.1, nearly.
const MOST_HEADERS: u32 = 256 << 10;
/// How long a peer's settings are waited for, which it sends by itself.
const HEARING: Duration = Duration::from_secs(1);
const STREAM_WINDOW: u32 = 1 << 20;
const CONN_WINDOW: u32 = 4 << 20;
