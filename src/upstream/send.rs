//! Sends a departure and brings back the reply.

mod dedicated;
mod waiting;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use parking_lot::Mutex;
use tokio::net::TcpStream;

pub use self::dedicated::DedicatedConn;
use self::waiting::{changed, in_time};
use super::UpstreamRules;
use super::conn_auth::is_bound_to_conn;
use super::departure::{Departure, FinalCheck};
use super::dial::{self, DialTimes, dial};
use super::error::{Error, ResponsePhase};
use super::gauges::{OpenConn, UpstreamGauges};
use super::http1::{ConnLease, Head, Http1Conn, drive};
use super::http2::{ConnId, Http2Conn, Http2Stream, SendFailure, StreamExchange};
use super::pool::{OpeningTurn, OriginPool, Pool, PoolKey, PooledConn, StreamUnavailable};
use super::replay::{ReplayBudget, resume};
use super::reply::{Reply, ReplyBody};
use super::tls::ConnPurpose;
use crate::clock::instant;
use crate::model::name::IntegrationName;
use crate::model::origin::Origin;
use crate::tasks::Tasks;

/// The way out of one worker.
#[derive(Debug)]
pub struct Upstream {
    pool: Pool,
    gauges: Arc<UpstreamGauges>,
    tasks: Tasks,
    workers: usize,
    replay_budget: ReplayBudget,
    dialed: Mutex<Option<DialTimes>>,
}

/// What became of an attempt on one conn.
enum Attempt {
    Answered(Reply),
    /// The origin has not processed the request, for this reason; it can be sent again, on another
    /// conn than this.
    Unprocessed(Departure, Error, Option<ConnId>),
}

/// The number of times that a request was tried so far.
#[derive(Debug, Default)]
struct AttemptCount {
    repeated: usize,
    opened: usize,
}

impl AttemptCount {
    /// The last attempt is made on a new conn, as long as one may be opened for it.
    fn may_use_kept(&self) -> bool {
        self.repeated < MAX_RESENDS
    }

    /// Tells whether there is to be another attempt, which is counted.
    fn may_repeat(&mut self) -> bool {
        let may = self.repeated < MAX_RESENDS && self.opened < MAX_OPENED;
        self.repeated += usize::from(may);
        may
    }
}

impl Upstream {
    /// The way out of one of `workers` workers.
    #[must_use]
    pub fn new(gauges: Arc<UpstreamGauges>, tasks: Tasks, workers: usize) -> Self {
        Self {
            pool: Pool::new(Arc::clone(&gauges)),
            gauges,
            tasks,
            workers,
            replay_budget: ReplayBudget::for_worker_of(workers),
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
        rules: &UpstreamRules,
        integration: Option<&IntegrationName>,
        origin: &Origin,
    ) -> Result<TcpStream, Error> {
        let (io, _deadline) = dial::reach(rules, integration, origin).await?;
        Ok(io)
    }

    /// How long the newest conn took to open, for who sends a single request this way; `None` when
    /// none was opened.
    #[must_use]
    pub fn dialed(&self) -> Option<DialTimes> {
        *self.dialed.lock()
    }

    /// Sends a departure to its origin, on a conn that is kept or a new one.
    ///
    /// What the origin says it has not processed, and what was never written, is sent again, twice
    /// at most, if all of its body is still there. So is a request without a body that can be
    /// repeated, where a kept conn of HTTP/1.1 has died before a byte of the response.
    ///
    /// Whenever there is a conn, `check` looks at the departure before a byte of it is written.
    ///
    /// Not cancel-safe in the sense that the origin may have acted on the request; dropping the
    /// future closes the conn that was in use.
    ///
    /// # Errors
    /// [`Error`] when there is no response head.
    pub async fn send(
        &self,
        rules: &UpstreamRules,
        mut departure: Departure,
        check: &dyn FinalCheck,
    ) -> Result<Reply, Error> {
        // What is rare stands in a box of its own, so that the usual request's future is small.
        if departure.is_alone() {
            return Box::pin(self.send_alone(rules, departure, check)).await;
        }
        let key = PoolKey {
            generation: rules.generation,
            integration: departure.integration().clone(),
            origin: departure.origin().clone(),
        };
        let slot = self.pool.slot(&key, rules.settings.max_idle_per_origin.div_ceil(self.workers));
        let (mut tries, mut avoid) = (AttemptCount::default(), None);
        loop {
            let conn = self.conn(rules, &key, &slot, &mut tries, avoid.as_ref());
            let (pooled, reused) = conn.await?;
            if let Err(withdrawn) = check.check(&mut departure) {
                if let PooledConn::Http1(conn) = pooled {
                    slot.check_in(conn);
                }
                return Err(Error::Withdrawn(withdrawn));
            }
            let attempt = match pooled {
                PooledConn::Http1(conn) => {
                    self.try_http1(rules, conn, &slot, departure, reused).await?
                }
                PooledConn::Http2(unused) if departure.needs_http1() => {
                    drop(unused);
                    return Box::pin(self.send_over_http1(rules, departure, check)).await;
                }
                PooledConn::Http2(stream) => {
                    Box::pin(self.try_http2(rules, stream, &slot, departure, check)).await?
                }
            };
            departure = match attempt {
                Attempt::Answered(reply) => return Ok(reply),
                Attempt::Unprocessed(same, error, conn) => {
                    if !tries.may_repeat() {
                        return Err(error);
                    }
                    avoid = conn;
                    same
                }
            };
        }
    }

    /// Closes idle conns that are due, once a second, for as long as it is polled.
    pub async fn sweep(&self, rules: impl Fn() -> Arc<UpstreamRules>) {
        let mut interval = tokio::time::interval(Duration::from_secs(1));
        loop {
            interval.tick().await;
            let rules = rules();
            self.pool.sweep(rules.settings.idle_timeout, rules.generation);
        }
    }

    /// A conn for a request, and whether it was kept.
    async fn conn(
        &self,
        rules: &UpstreamRules,
        key: &PoolKey,
        slot: &OriginPool,
        tries: &mut AttemptCount,
        avoid: Option<&ConnId>,
    ) -> Result<(PooledConn, bool), Error> {
        loop {
            let kept = if tries.may_use_kept() { slot.check_out(avoid) } else { None };
            if let Some(kept) = kept {
                return Ok((kept, true));
            }
            if let Some(opened) = Box::pin(self.open(rules, key, slot, tries, avoid)).await? {
                return Ok((opened, false));
            }
            // The conns that it waited for have closed, and nothing was written on them.
            if !tries.may_repeat() {
                return Err(Error::ConnectRefused(io::ErrorKind::NotConnected.into()));
            }
        }
    }

    /// A conn that is opened for a request, or room on one that was opened meanwhile; `None` when
    /// those that had no room have closed.
    async fn open(
        &self,
        rules: &UpstreamRules,
        key: &PoolKey,
        slot: &OriginPool,
        tries: &mut AttemptCount,
        avoid: Option<&ConnId>,
    ) -> Result<Option<PooledConn>, Error> {
        let limit = rules.settings.response_timeout;
        let turn = if slot.is_shared() {
            match slot.turn(avoid, limit).await {
                Some(OpeningTurn::Open(turn)) => turn,
                Some(OpeningTurn::Stream(stream)) => return Ok(Some(PooledConn::Http2(stream))),
                None => return Err(Error::ResponseTimeout),
            }
        } else {
            None
        };
        tries.opened += 1;
        let opened = self.open_conn(rules, key, slot, avoid).await;
        drop(turn);
        if let Ok(Some(pooled)) = opened {
            return Ok(Some(pooled));
        }
        // To wait for room is better than to fail.
        let room = slot.room(limit).await;
        match (room, opened) {
            (Ok(stream), _) => Ok(Some(PooledConn::Http2(stream))),
            (Err(_), Err(error)) => Err(error),
            (Err(StreamUnavailable::Late), Ok(_)) => Err(Error::ResponseTimeout),
            (Err(StreamUnavailable::Closed), Ok(_)) => Ok(None),
        }
    }

    /// Opens a conn and learns by ALPN which HTTP it speaks; `None` when it is HTTP/2 and has no
    /// room for a request.
    async fn open_conn(
        &self,
        rules: &UpstreamRules,
        key: &PoolKey,
        slot: &OriginPool,
        avoid: Option<&ConnId>,
    ) -> Result<Option<PooledConn>, Error> {
        let purpose =
            if slot.requires_http1() { ConnPurpose::Http1Only } else { ConnPurpose::AnyHttp };
        let tls = rules.tls.config(&key.integration, purpose);
        let asker = Some(&key.integration);
        let (io, dialed) = dial(rules, &self.gauges, asker, &key.origin, &tls).await?;
        *self.dialed.lock() = Some(dialed);
        let open = OpenConn::new(&self.gauges);
        if io.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Ok(Some(PooledConn::Http1(Http1Conn::new(io, open))));
        }
        let shared = Http2Conn::open(io, open, &self.tasks, slot.freed()).await?;
        // Of many who come at once the first goes ahead. The others know soon how many fit on its
        // conn, and need not keep their own.
        if slot.is_shared() {
            let facts = shared.facts();
            let _either_way = tokio::time::timeout(SETTINGS_TIMEOUT, facts.settings()).await;
        }
        Ok(slot.share(shared, avoid).map(PooledConn::Http2))
    }

    async fn try_http1(
        &self,
        rules: &UpstreamRules,
        mut conn: Box<Http1Conn>,
        slot: &Arc<OriginPool>,
        mut departure: Departure,
        reused: bool,
    ) -> Result<Attempt, Error> {
        let request = departure.as_http1();
        let progress = request.body().progress();
        let limit = rules.settings.response_timeout;
        let exchange = conn.exchange(request);
        match in_time(limit, progress.as_deref(), exchange).await? {
            Ok(head) => {
                let is_shareable =
                    head.keeps_alive && !is_bound_to_conn(departure.headers(), &head.response);
                let home = is_shareable.then(|| Arc::clone(slot));
                Ok(Attempt::Answered(self.reply(conn, head, departure, home)))
            }
            Err(Error::Closed(ResponsePhase::BeforeResponse, cause)) => {
                let error = Error::Closed(ResponsePhase::BeforeResponse, cause);
                if let Some(taken) = conn.take_unwritten() {
                    let rest = departure.take_body();
                    departure.put_body(resume(taken, rest));
                } else if !reused || !departure.is_repeatable() {
                    return Err(error);
                }
                Ok(Attempt::Unprocessed(departure, error, None))
            }
            Err(error) => Err(error),
        }
    }

    async fn try_http2(
        &self,
        rules: &UpstreamRules,
        stream: Http2Stream,
        slot: &OriginPool,
        mut departure: Departure,
        check: &dyn FinalCheck,
    ) -> Result<Attempt, Error> {
        let head = departure.http2_head();
        let head = head.map_err(|unwritable| Error::RequestBody(unwritable.into()))?;
        let mut body = departure.take_body();
        // There is no telling how long the origin would take to say 100; most never do.
        body.release();
        let (progress, begun) = (body.progress(), instant());
        let conn = stream.conn();
        let failed = match StreamExchange::begin(stream, head, body, &self.replay_budget) {
            Err(unanswered) => unanswered,
            Ok(mut exchange) => {
                let limit = rules.settings.response_timeout;
                let written = exchange.progress();
                let answered = tokio::select! {
                    biased;
                    answered = in_time(limit, progress.as_deref(), exchange.answer()) => answered,
                    checked = changed(check, &mut departure, written) => {
                        let body = exchange.withdraw();
                        checked.map_err(Error::Withdrawn)?;
                        let error = replaced();
                        let Some(body) = body else { return Err(error) };
                        departure.put_body(body);
                        return Ok(Attempt::Unprocessed(departure, error, Some(conn)));
                    }
                };
                match answered {
                    Ok(Ok(response)) => {
                        if is_bound_to_conn(departure.headers(), &response) {
                            exchange.close_conn();
                        }
                        let reply = exchange.reply(response, &self.tasks);
                        return Ok(Attempt::Answered(reply.map(ReplyBody::http2)));
                    }
                    Ok(Err(fault)) => exchange.into_failure(fault),
                    Err(late) => {
                        exchange.note_timeout(begun);
                        return Err(late);
                    }
                }
            }
        };
        let SendFailure { error, unprocessed, needs_http1 } = failed;
        if needs_http1 {
            slot.require_http1();
        }
        let Some(body) = unprocessed else { return Err(error) };
        departure.put_body(body);
        Ok(Attempt::Unprocessed(departure, error, Some(conn)))
    }

    /// The reply that begins with `head`.
    fn reply(
        &self,
        conn: Box<Http1Conn>,
        head: Head,
        mut departure: Departure,
        home: Option<Arc<OriginPool>>,
    ) -> Reply {
        if head.response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return head.response.map(|()| ReplyBody::switched(conn));
        }
        // A body that the origin answers without having asked for it stays where it is.
        let goes_on = !conn.has_sent() && !departure.as_http1().body().is_held();
        let lease = ConnLease::new(conn, head.body, home);
        let body = if goes_on {
            ReplyBody::driven(drive(lease, departure.take_body(), &self.tasks))
        } else {
            ReplyBody::http1(lease)
        };
        head.response.map(|()| body)
    }
}

/// The request was taken back from its conn, and could not be given to another.
fn replaced() -> Error {
    let cause = io::Error::other("the connection's credential was replaced meanwhile");
    Error::closed(ResponsePhase::BeforeResponse, cause)
}

/// The number of times that a request that was not processed is sent again.
const MAX_RESENDS: usize = 2;
/// The number of conns that are opened for one request, at most.
const MAX_OPENED: usize = 2;
/// How long a peer's settings are waited for, which it sends by itself.
const SETTINGS_TIMEOUT: Duration = Duration::from_secs(1);
