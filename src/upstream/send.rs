//! Sends departures and receives their replies.

mod dedicated;
mod over_http2;
mod waiting;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use parking_lot::Mutex;
use tokio::net::TcpStream;

pub use self::dedicated::DedicatedConn;
use self::waiting::await_response;
use super::UpstreamRules;
use super::conn_auth::is_bound_to_conn;
use super::departure::{Departure, FinalCheck};
use super::dial::{self, DialTimes, dial};
use super::error::{Error, ResponsePhase};
use super::gauges::{OpenConn, UpstreamGauges};
use super::http1::{ConnLease, Head, Http1Conn, drive};
use super::http2::{ConnId, Http2Conn};
use super::pool::{OpeningTurn, OriginPool, Pool, PoolKey, PooledConn, StreamUnavailable};
use super::replay::{ReplayBudget, resume};
use super::reply::{Reply, ReplyBody};
use super::tls::ConnPurpose;
use crate::model::name::IntegrationName;
use crate::model::origin::Origin;
use crate::tasks::Tasks;

/// Sends the requests of one worker.
#[derive(Debug)]
pub struct Upstream {
    pool: Pool,
    gauges: Arc<UpstreamGauges>,
    tasks: Tasks,
    workers: usize,
    replay_budget: ReplayBudget,
    dialed: Mutex<Option<DialTimes>>,
}

/// The result of an attempt on one conn.
enum Attempt {
    Answered(Reply),
    /// The origin has not processed the request, which can be sent again on another conn than this
    /// one. The error is the reason.
    Unprocessed(Departure, Error, Option<ConnId>),
}

/// The numbers of resends and of opened conns of one request.
#[derive(Debug, Default)]
struct AttemptCount {
    resends: usize,
    opened: usize,
}

impl AttemptCount {
    /// Tells whether a pooled conn may be used. The last attempt uses a new one.
    fn may_reuse(&self) -> bool {
        self.resends < MAX_RESENDS
    }

    /// Counts a resend. `false` when no more are allowed.
    fn count_resend(&mut self) -> bool {
        let may = self.resends < MAX_RESENDS && self.opened < MAX_OPENED;
        self.resends += usize::from(may);
        may
    }
}

impl Upstream {
    /// An upstream for one of `workers` workers.
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

    /// Opens a TCP conn to `origin` for a tunnel whose bytes are passed on unread. The look-up
    /// counts for `integration`. Cancel-safe.
    pub async fn connect_tcp(
        &self,
        rules: &UpstreamRules,
        integration: Option<&IntegrationName>,
        origin: &Origin,
    ) -> Result<TcpStream, Error> {
        let (io, _deadline) = dial::connect_tcp(rules, integration, origin).await?;
        Ok(io)
    }

    /// The time that opening the latest conn has taken; `None` when none was opened.
    pub fn last_dial_times(&self) -> Option<DialTimes> {
        *self.dialed.lock()
    }

    /// Sends a departure to its origin, on a pooled conn or a new one, and waits for the reply's
    /// head.
    ///
    /// A request that the origin has not processed, or that was not written, is sent again up to
    /// `MAX_RESENDS` times, if all of its body was kept. So is an idempotent request without a
    /// body when a reused HTTP/1.1 conn ends before the first byte of the response (RFC 9110
    /// §9.2.2).
    ///
    /// On every conn, `check` is asked right before the first byte is written.
    ///
    /// Not cancel-safe: dropping the future closes the conn in use or resets its stream, and the
    /// origin may have processed the request.
    pub async fn send(
        &self,
        rules: &UpstreamRules,
        mut departure: Departure,
        check: &dyn FinalCheck,
    ) -> Result<Reply, Error> {
        // Rare futures are boxed, so that the usual request's future stays small.
        if departure.needs_dedicated_conn() {
            return Box::pin(self.send_dedicated(rules, departure, check)).await;
        }
        let key = PoolKey {
            generation: rules.generation,
            integration: departure.integration().clone(),
            origin: departure.origin().clone(),
            identity: departure.identity().cloned(),
        };
        let origin_pool =
            self.pool.origin(&key, rules.settings.max_idle_per_origin.div_ceil(self.workers));
        let (mut attempts, mut avoid) = (AttemptCount::default(), None);
        loop {
            // 1. Get a conn, which may take long.
            let conn = self.acquire(rules, &key, &origin_pool, &mut attempts, avoid.as_ref());
            let (pooled, reused) = conn.await.map_err(|error| key.explain(error))?;
            // 2. Check the departure once more, now that it can be sent.
            if let Err(withdrawn) = check.check(&mut departure) {
                if let PooledConn::Http1(conn) = pooled {
                    origin_pool.check_in(conn);
                }
                return Err(Error::Withdrawn(withdrawn));
            }
            // 3. Send it.
            let attempt = match pooled {
                PooledConn::Http1(conn) => {
                    let on = (conn, &origin_pool, reused);
                    self.try_http1(rules, on, departure, check).await
                }
                PooledConn::Http2(unused) if departure.needs_http1() => {
                    drop(unused);
                    return Box::pin(self.send_over_http1(rules, departure, check)).await;
                }
                PooledConn::Http2(stream) => {
                    Box::pin(self.try_http2(rules, stream, &origin_pool, departure, check)).await
                }
            };
            // 4. Send it again where the origin has not processed it.
            departure = match attempt.map_err(|error| key.explain(error))? {
                Attempt::Answered(reply) => return Ok(reply),
                Attempt::Unprocessed(same, error, conn) => {
                    if !attempts.count_resend() {
                        return Err(key.explain(error));
                    }
                    avoid = conn;
                    same
                }
            };
        }
    }

    /// Closes idle conns that are due, once a second, until the future is dropped.
    pub async fn sweep(&self, rules: impl Fn() -> Arc<UpstreamRules>) {
        let mut interval = tokio::time::interval(Duration::from_secs(1));
        loop {
            interval.tick().await;
            let rules = rules();
            self.pool.sweep(rules.settings.idle_timeout, rules.generation);
        }
    }

    /// A conn for a request, and whether it was pooled.
    async fn acquire(
        &self,
        rules: &UpstreamRules,
        key: &PoolKey,
        origin_pool: &OriginPool,
        attempts: &mut AttemptCount,
        avoid: Option<&ConnId>,
    ) -> Result<(PooledConn, bool), Error> {
        loop {
            let kept = if attempts.may_reuse() { origin_pool.check_out(avoid) } else { None };
            if let Some(kept) = kept {
                return Ok((kept, true));
            }
            if let Some(opened) =
                Box::pin(self.open_or_join(rules, key, origin_pool, attempts, avoid)).await?
            {
                return Ok((opened, false));
            }
            // The conns on which the request waited for a stream have closed; nothing was written.
            if !attempts.count_resend() {
                return Err(Error::ConnectRefused(io::ErrorKind::NotConnected.into()));
            }
        }
    }

    /// Opens a conn for a request, or joins one that was opened meanwhile; `None` when the conns on
    /// which the request waited for a stream have closed.
    async fn open_or_join(
        &self,
        rules: &UpstreamRules,
        key: &PoolKey,
        origin_pool: &OriginPool,
        attempts: &mut AttemptCount,
        avoid: Option<&ConnId>,
    ) -> Result<Option<PooledConn>, Error> {
        // 1. Where the origin speaks HTTP/2, few conns are opened at once.
        let limit = rules.settings.response_timeout;
        let turn = if origin_pool.has_http2() {
            match origin_pool.wait_for_opening(avoid, limit).await {
                Some(OpeningTurn::Open(turn)) => turn,
                Some(OpeningTurn::Stream(stream)) => return Ok(Some(PooledConn::Http2(stream))),
                None => return Err(Error::ResponseTimeout),
            }
        } else {
            None
        };
        // 2. Open a conn.
        attempts.opened += 1;
        let opened = self.open_conn(rules, key, origin_pool, avoid).await;
        drop(turn);
        if let Ok(Some(pooled)) = opened {
            return Ok(Some(pooled));
        }
        // 3. Without one, wait for a stream on another conn rather than fail.
        let room = origin_pool.wait_for_stream(limit).await;
        match (room, opened) {
            (Ok(stream), _) => Ok(Some(PooledConn::Http2(stream))),
            (Err(_), Err(error)) => Err(error),
            (Err(StreamUnavailable::Late), Ok(_)) => Err(Error::ResponseTimeout),
            (Err(StreamUnavailable::Closed), Ok(_)) => Ok(None),
        }
    }

    /// Opens a conn, whose HTTP version ALPN decides; `None` when it is HTTP/2 and allows no
    /// stream.
    async fn open_conn(
        &self,
        rules: &UpstreamRules,
        key: &PoolKey,
        origin_pool: &OriginPool,
        avoid: Option<&ConnId>,
    ) -> Result<Option<PooledConn>, Error> {
        let purpose = if origin_pool.requires_http1() {
            ConnPurpose::Http1Only
        } else {
            ConnPurpose::AnyHttp
        };
        let tls = rules.tls.config(&key.integration, purpose, key.identity.as_deref());
        let asker = Some(&key.integration);
        let (io, dialed) = dial(rules, &self.gauges, asker, &key.origin, &tls).await?;
        *self.dialed.lock() = Some(dialed);
        let open = OpenConn::new(&self.gauges);
        if io.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Ok(Some(PooledConn::Http1(Http1Conn::new(io, open))));
        }
        let shared = Http2Conn::open(io, open, &self.tasks, origin_pool.stream_freed()).await?;
        // Of many requests that come at once, the first need not wait. The others learn from the
        // peer's SETTINGS how many streams fit on its conn, and drop their own.
        if origin_pool.has_http2() {
            let facts = shared.facts();
            let _either_way =
                tokio::time::timeout(SETTINGS_TIMEOUT, facts.settings_received()).await;
        }
        Ok(origin_pool.add_http2(shared, avoid).map(PooledConn::Http2))
    }

    async fn try_http1(
        &self,
        rules: &UpstreamRules,
        (mut conn, origin_pool, reused): (Box<Http1Conn>, &Arc<OriginPool>, bool),
        mut departure: Departure,
        check: &dyn FinalCheck,
    ) -> Result<Attempt, Error> {
        let request = departure.as_http1();
        let progress = request.body().progress();
        let limit = rules.settings.response_timeout;
        let exchange = conn.exchange(request, Some(check));
        match await_response(limit, progress.as_deref(), exchange).await? {
            Ok(head) => {
                let is_shareable =
                    head.keeps_alive && !is_bound_to_conn(departure.headers(), &head.response);
                let home = is_shareable.then(|| Arc::clone(origin_pool));
                Ok(Attempt::Answered(self.make_reply(conn, head, departure, home)))
            }
            // Closed before a byte of the response: send again what was not written at all, and
            // what is idempotent where the conn may have been dead before.
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

    /// Makes the reply of a head, whose body is read from the conn on demand.
    fn make_reply(
        &self,
        conn: Box<Http1Conn>,
        head: Head,
        mut departure: Departure,
        home: Option<Arc<OriginPool>>,
    ) -> Reply {
        if head.response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return head.response.map(|()| ReplyBody::switched(conn));
        }
        // A request's body that still waits for 100 (Continue) is not sent any more.
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

/// The number of times that a request is sent again.
const MAX_RESENDS: usize = 2;
/// The number of conns opened for one request.
const MAX_OPENED: usize = 2;
/// The longest wait for a peer's SETTINGS, which it sends unasked.
const SETTINGS_TIMEOUT: Duration = Duration::from_secs(1);
