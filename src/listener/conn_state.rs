//! The state of one conn: its activity, its deadlines, and the signal to close it.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed};
use std::task::Context;

use futures_util::task::AtomicWaker;
use http::Response;
use parking_lot::Mutex;

use super::conn_tracker::{ConnLimitReached, ConnPermit};
use crate::model::token::{LastToken, TokenDigest};

/// A time in quarters of a second. Reading the coarse clock, which one task advances for all conns
/// of a worker, costs a load; a timer for each conn would cost a lock and a sort.
pub(super) type Tick = u32;

pub(super) const TICKS_PER_SECOND: u32 = 4;

/// The state of one conn, shared between its task, its requests and the worker's tracker.
#[derive(Debug)]
pub struct ConnState {
    peer: Option<IpAddr>,
    clock: Arc<AtomicU32>,
    since: AtomicU32,
    in_flight: AtomicU32,
    reading_head: AtomicBool,
    authenticated: AtomicBool,
    read_head: AtomicBool,
    upgraded: AtomicBool,
    stalled: AtomicU32,
    /// The number of answers that have data for the caller to read.
    offered: AtomicU32,
    /// The tick at which the caller last read of an answer, or was last offered one.
    taken: AtomicU32,
    /// The tick at which bytes of a request last arrived.
    received: AtomicU32,
    signaled: AtomicU8,
    waker: AtomicWaker,
    /// `None` once the conn has become a tunnel and passed its permit on.
    permit: Mutex<Option<ConnPermit>>,
    last_token: LastToken,
    /// Interim answers that the conn has yet to write; `None` where it can't.
    interim: Mutex<Option<Vec<Response<()>>>>,
}

/// A request in flight, from its complete head to the last byte of its answer.
#[derive(Debug)]
pub struct InFlight {
    state: Arc<ConnState>,
    offers: bool,
}

/// The signal that a conn was given last. A later one is never weaker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ConnSignal {
    Keep,
    /// Finish the requests in flight, then close.
    Drain,
    /// Close now.
    Close,
}

/// Deadlines in ticks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadlines {
    pub(super) head: Tick,
    pub(super) idle: Tick,
    pub(super) stalled: Tick,
}

const NOT_STALLED: u32 = u32::MAX;
/// A caller may leave all its answers unread for `stalled` times this. Over HTTP/2 it sends a
/// `WINDOW_UPDATE` only after it has read much, so a slow reader needs the time.
const UNREAD_ANSWER_FACTOR: u32 = 10;

impl ConnState {
    pub(super) fn new(clock: Arc<AtomicU32>, peer: Option<IpAddr>, permit: ConnPermit) -> Self {
        let now = clock.load(Relaxed);
        Self {
            peer,
            clock,
            since: AtomicU32::new(now),
            in_flight: AtomicU32::new(0),
            reading_head: AtomicBool::new(true),
            authenticated: AtomicBool::new(false),
            read_head: AtomicBool::new(false),
            upgraded: AtomicBool::new(false),
            stalled: AtomicU32::new(NOT_STALLED),
            offered: AtomicU32::new(0),
            taken: AtomicU32::new(now),
            received: AtomicU32::new(now),
            signaled: AtomicU8::new(0),
            waker: AtomicWaker::new(),
            permit: Mutex::new(Some(permit)),
            last_token: LastToken::default(),
            interim: Mutex::new(None),
        }
    }

    /// The token of the request before.
    pub fn last_token(&self) -> &LastToken {
        &self.last_token
    }

    /// Passes an interim answer (RFC 9110 §15.2) to the caller, before the answer of the request in
    /// flight. It is dropped where the caller's protocol has none, or our side of it.
    pub fn pass_interim(&self, interim: Response<()>) {
        if let Some(waiting) = &mut *self.interim.lock() {
            waiting.push(interim);
        }
    }

    /// Begins to take interim answers, if the caller `may` have them.
    pub(super) fn expect_interim(&self, may: bool) {
        *self.interim.lock() = may.then(Vec::new);
    }

    /// Takes the interim answers that have come.
    pub(super) fn take_interim(&self) -> Vec<Response<()>> {
        self.interim.lock().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The peer's address; `None` for a Unix socket or a conn from within the process.
    pub fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// Begins a request whose complete head has arrived.
    pub(super) fn begin_request(self: &Arc<Self>) -> InFlight {
        self.reading_head.store(false, Relaxed);
        self.read_head.store(true, Relaxed);
        self.in_flight.fetch_add(1, Relaxed);
        InFlight { state: Arc::clone(self), offers: false }
    }

    /// Notes that the caller has authenticated: the conn leaves the small number of unauthenticated
    /// ones, and counts for `caller`, if the caller has a token.
    ///
    /// # Errors
    /// [`ConnLimitReached::CallerFull`] when the caller has as many conns as it may. The conn is
    /// then closed once its requests in flight have ended.
    pub fn mark_authenticated(&self, caller: Option<TokenDigest>) -> Result<(), ConnLimitReached> {
        if let Some(caller) = caller
            && let Some(permit) = &mut *self.permit.lock()
        {
            permit.count_for(caller).inspect_err(|_full| self.signal(ConnSignal::Drain))?;
        }
        if !self.is_authenticated() {
            self.authenticated.store(true, Relaxed);
        }
        Ok(())
    }

    /// Takes the permit for the conn inside the tunnel that this conn has become.
    pub(super) fn take_permit(&self) -> Option<ConnPermit> {
        self.permit.lock().take()
    }

    /// Starts the deadline of a head, unless it runs already or a request is in flight.
    pub(super) fn expect_head(&self) {
        if !self.is_busy() && !self.reading_head.swap(true, Relaxed) {
            self.since.store(self.now(), Relaxed);
        }
    }

    /// Restarts the deadline of the first head, after a TLS handshake.
    pub(super) fn restart_head_deadline(&self) {
        self.since.store(self.now(), Relaxed);
    }

    /// Tells whether a complete head has ever arrived.
    pub(super) fn has_read_head(&self) -> bool {
        self.read_head.load(Relaxed)
    }

    pub(super) fn is_authenticated(&self) -> bool {
        self.authenticated.load(Relaxed)
    }

    pub(super) fn is_busy(&self) -> bool {
        self.in_flight.load(Relaxed) > 0
    }

    pub(super) fn is_upgraded(&self) -> bool {
        self.upgraded.load(Relaxed)
    }

    /// Notes that the conn no longer speaks HTTP: its bytes are passed on unread, and its deadlines
    /// end.
    pub fn upgrade(&self) {
        self.upgraded.store(true, Relaxed);
    }

    /// Notes whether the caller's socket refuses more bytes.
    pub(super) fn write_stalled(&self, stalled: bool) {
        if !stalled {
            if self.stalled.load(Relaxed) != NOT_STALLED {
                self.stalled.store(NOT_STALLED, Relaxed);
                // The conn is idle only from when the caller has read the rest of an answer.
                self.since.fetch_max(self.now(), Relaxed);
            }
        } else if self.stalled.load(Relaxed) == NOT_STALLED {
            self.stalled.store(self.now(), Relaxed);
        }
    }

    /// Notes that bytes of a request have arrived: a caller that sends is not idle, even if it
    /// reads nothing.
    pub fn note_received(&self) {
        self.received.store(self.now(), Relaxed);
    }

    pub(super) fn signal(&self, signal: ConnSignal) {
        self.signaled.fetch_max(signal as u8, Relaxed);
        self.waker.wake();
    }

    /// Gives the current signal, and has the task of `cx` woken when it differs from `known`.
    pub(super) fn watch(&self, cx: &Context<'_>, known: &mut Option<ConnSignal>) -> ConnSignal {
        // A task keeps its waker, so it is registered only after a signal has used it up.
        if *known != Some(self.current_signal()) {
            self.waker.register(cx.waker());
            *known = Some(self.current_signal());
        }
        self.current_signal()
    }

    /// Tells whether the conn is to close once its requests in flight have ended.
    pub(super) fn is_draining(&self) -> bool {
        self.current_signal() != ConnSignal::Keep
    }

    fn current_signal(&self) -> ConnSignal {
        match self.signaled.load(Relaxed) {
            0 => ConnSignal::Keep,
            1 => ConnSignal::Drain,
            _ => ConnSignal::Close,
        }
    }

    /// Tells whether the conn has passed one of its deadlines.
    pub(super) fn is_overdue(&self, deadlines: Deadlines) -> bool {
        let now = self.now();
        let past = |since: u32, allowed: Tick| now.saturating_sub(since) > allowed;
        if self.is_upgraded() {
            return false;
        }
        // 1. With a request in flight, only the caller's own pace counts, not the origin's.
        if self.is_busy() {
            let (since, received) = (self.stalled.load(Relaxed), self.received.load(Relaxed));
            let stalled = since != NOT_STALLED && past(since.max(received), deadlines.stalled);
            let moved = self.taken.load(Relaxed).max(received);
            return stalled
                || self.is_unread()
                    && past(moved, deadlines.stalled.saturating_mul(UNREAD_ANSWER_FACTOR));
        }
        // 2. The last bytes of an answer may still wait for the caller to read them.
        let stalled = self.stalled.load(Relaxed);
        if stalled != NOT_STALLED && !self.reading_head.load(Relaxed) {
            return past(stalled, deadlines.stalled);
        }
        // 3. Otherwise the conn reads a head, or is idle.
        let allowed = if self.reading_head.load(Relaxed) { deadlines.head } else { deadlines.idle };
        past(self.since.load(Relaxed), allowed)
    }

    /// Tells whether every request in flight waits for the caller to read its answer. Over HTTP/2 a
    /// caller can leave answers unread without stalling the conn (RFC 9113 §5.2).
    fn is_unread(&self) -> bool {
        self.offered.load(Relaxed) >= self.in_flight.load(Relaxed)
    }

    fn now(&self) -> Tick {
        self.clock.load(Relaxed)
    }
}

impl InFlight {
    /// The conn of the request.
    pub fn conn(&self) -> &Arc<ConnState> {
        &self.state
    }

    /// Notes that the answer has data for the caller to read.
    pub fn mark_offered(&mut self) {
        if !self.offers {
            self.offers = true;
            self.state.taken.store(self.state.now(), Relaxed);
            self.state.offered.fetch_add(1, Relaxed);
        }
    }

    /// Notes that the caller has read it and can read more.
    pub fn mark_taken(&mut self) {
        if self.offers {
            self.offers = false;
            self.state.taken.store(self.state.now(), Relaxed);
            self.state.offered.fetch_sub(1, Relaxed);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.mark_taken();
        self.state.since.store(self.state.now(), Relaxed);
        self.state.in_flight.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::super::ConnLimits;
    use super::super::conn_tracker::ConnTracker;
    use super::*;
    use crate::http1::HeadLimits;

    /// The state of a conn by this clock.
    pub(in crate::listener) fn state(clock: &Arc<AtomicU32>) -> Arc<ConnState> {
        let limits = ConnLimits {
            head: HeadLimits { max_bytes: 1, max_fields: 1 },
            head_timeout: Duration::ZERO,
            idle_conn_timeout: Duration::ZERO,
            stalled_write_timeout: Duration::ZERO,
            max_conns: 1,
            max_conns_per_caller: 1,
            max_unauthenticated_conns: 1,
        };
        let permit = ConnTracker::new(Arc::default(), limits, 1).permit().unwrap();
        Arc::new(ConnState::new(Arc::clone(clock), None, permit))
    }

    const DEADLINES: Deadlines = Deadlines { head: 40, idle: 240, stalled: 240 };

    fn at(clock: &AtomicU32, state: &ConnState, tick: Tick) -> bool {
        clock.store(tick, Relaxed);
        state.is_overdue(DEADLINES)
    }

    #[test]
    fn answers_that_nobody_takes_use_up_their_time() {
        let clock = Arc::new(AtomicU32::new(0));
        let state = state(&clock);
        let (mut slow, mut quick) = (state.begin_request(), state.begin_request());
        slow.mark_offered();
        assert!(!at(&clock, &state, 10_000), "the other one is still at its origin");
        quick.mark_offered();
        assert!(!at(&clock, &state, 12_400));
        assert!(at(&clock, &state, 12_401));
        quick.mark_taken();
        assert!(!at(&clock, &state, 20_000), "the caller waits for more");
        quick.mark_offered();
        drop(quick);
        assert!(!at(&clock, &state, 22_400));
        assert!(at(&clock, &state, 22_401));
        slow.mark_taken();
        assert!(!at(&clock, &state, 30_000));
    }

    #[test]
    fn a_caller_that_sends_has_time_to_take_its_answer() {
        let clock = Arc::new(AtomicU32::new(0));
        let state = state(&clock);
        let mut in_flight = state.begin_request();
        in_flight.mark_offered();
        state.write_stalled(true);
        assert!(!at(&clock, &state, 240));
        state.note_received();
        assert!(!at(&clock, &state, 480));
        assert!(at(&clock, &state, 481));
        state.write_stalled(false);
        assert!(!at(&clock, &state, 2640), "over HTTP/2 it has ten times as long");
        assert!(at(&clock, &state, 2641));
    }

    #[test]
    fn the_tail_of_an_answer_has_as_long_as_the_caller_takes_some_of_it() {
        let clock = Arc::new(AtomicU32::new(0));
        let state = state(&clock);
        drop(state.begin_request());
        state.write_stalled(true);
        assert!(!at(&clock, &state, 240));
        state.write_stalled(false);
        state.write_stalled(true);
        assert!(!at(&clock, &state, 480), "it takes some");
        state.write_stalled(false);
        assert!(!at(&clock, &state, 720), "it rests since it took the last");
        assert!(at(&clock, &state, 721));
    }

    #[test]
    fn a_head_an_idle_conn_and_a_stalled_answer_each_have_their_own_time() {
        let clock = Arc::new(AtomicU32::new(0));
        let state = state(&clock);
        assert!(!at(&clock, &state, 40));
        assert!(at(&clock, &state, 41));

        let in_flight = state.begin_request();
        assert!(!at(&clock, &state, 10_000), "the origin may take its time");
        state.write_stalled(true);
        assert!(!at(&clock, &state, 10_240));
        assert!(at(&clock, &state, 10_241));
        state.write_stalled(false);
        drop(in_flight);

        assert!(!at(&clock, &state, 10_481), "idle since the visit ended");
        assert!(at(&clock, &state, 10_482));
        state.expect_head();
        assert!(!at(&clock, &state, 10_522), "the next head has its own time");
        assert!(at(&clock, &state, 10_523));
    }
}
