//! The end of idle exchanges: neither of its directions has moved for the idle time.
//!
//! Each body that is waited for has one timer, made when it is first waited for and moved only when
//! it fires, so that a busy body pays for none.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::listener::ConnState;
use crate::upstream;

/// Both directions of an exchange whose request has a body.
#[derive(Debug)]
pub(super) struct ExchangeActivity {
    begun: Instant,
    idle_timeout: Duration,
    /// Milliseconds from the beginning to the last movement of either direction.
    moved: AtomicU64,
    /// The origin's answer has begun.
    answered: AtomicBool,
    /// The next piece of the request's body is the caller's to send.
    awaits_caller: AtomicBool,
    request_ended: AtomicBool,
    /// The reason for which the request's body failed, for the operator.
    request_failure: OnceLock<Box<str>>,
    /// The caller's conn.
    conn: OnceLock<Arc<ConnState>>,
}

/// Waits for one direction, for as long as either moves.
#[derive(Debug)]
pub(super) struct IdleTimer {
    idle_timeout: Duration,
    exchange: Option<Arc<ExchangeActivity>>,
    /// Set while the direction is waited for.
    waits_since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

/// An exchange that was cut because neither direction moved.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Idle {
    /// The request had not ended, and nothing had come of an answer.
    #[error("the request's body has stopped coming for {0:?} (proxy.idle_timeout)")]
    Caller(Duration),
    /// The request had ended, or was there for the origin to read.
    #[error("the origin sent nothing for {0:?} (proxy.idle_timeout)")]
    Origin(Duration),
    /// The request had not ended, and the answer had begun.
    #[error("neither the caller nor the origin sent anything for {0:?} (proxy.idle_timeout)")]
    Both(Duration),
}

impl Idle {
    /// The idle time that has ended, if that is what made a request's body fail.
    pub(super) fn in_chain(error: &upstream::Error) -> Option<Self> {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(error) = cause {
            if let Some(idle) = error.downcast_ref::<Self>() {
                return Some(*idle);
            }
            cause = error.source();
        }
        None
    }
}

impl ExchangeActivity {
    pub(super) fn new(idle_timeout: Duration) -> Self {
        Self {
            begun: Instant::now(),
            idle_timeout,
            moved: AtomicU64::new(0),
            answered: AtomicBool::new(false),
            awaits_caller: AtomicBool::new(false),
            request_ended: AtomicBool::new(false),
            request_failure: OnceLock::new(),
            conn: OnceLock::new(),
        }
    }

    /// Tells the caller's conn of what comes of the request.
    pub(super) fn attach(&self, conn: &Arc<ConnState>) {
        let _only_once = self.conn.set(Arc::clone(conn));
    }

    /// Notes that the origin's answer has begun.
    pub(super) fn note_answer(&self) {
        self.answered.store(true, Relaxed);
        self.note_movement();
    }

    /// Notes that a piece of the request has come.
    pub(super) fn note_received(&self) {
        self.awaits_caller.store(false, Relaxed);
        if let Some(conn) = self.conn.get() {
            conn.note_received();
        }
        self.note_movement();
    }

    /// Notes that the next piece is the caller's to send.
    pub(super) fn note_awaited(&self) {
        self.awaits_caller.store(true, Relaxed);
    }

    /// Notes that the whole request has come.
    pub(super) fn note_request_end(&self) {
        self.request_ended.store(true, Relaxed);
        self.note_movement();
    }

    /// Notes the reason for which the request's body failed; the first one counts.
    pub(super) fn note_request_failure(&self, reason: String) {
        let _only_once = self.request_failure.set(reason.into());
    }

    /// The reason for which the request's body failed, if it did.
    pub(super) fn request_failure(&self) -> Option<&str> {
        self.request_failure.get().map(AsRef::as_ref)
    }

    fn note_movement(&self) {
        let since = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(since, Relaxed);
    }

    fn last_movement(&self) -> Instant {
        self.begun + Duration::from_millis(self.moved.load(Relaxed))
    }

    fn blame(&self) -> Idle {
        let callers_turn = self.awaits_caller.load(Relaxed) && !self.request_ended.load(Relaxed);
        match (callers_turn, self.answered.load(Relaxed)) {
            (false, _) => Idle::Origin(self.idle_timeout),
            (true, false) => Idle::Caller(self.idle_timeout),
            (true, true) => Idle::Both(self.idle_timeout),
        }
    }
}

impl IdleTimer {
    /// A timer for a direction of `exchange`; without one, of an exchange whose request has no
    /// body.
    pub(super) fn new(idle_timeout: Duration, exchange: Option<Arc<ExchangeActivity>>) -> Self {
        Self { idle_timeout, exchange, waits_since: None, timer: None }
    }

    pub(super) fn exchange(&self) -> Option<&ExchangeActivity> {
        self.exchange.as_deref()
    }

    /// Notes that the direction has moved.
    pub(super) fn stop(&mut self) {
        self.waits_since = None;
    }

    /// Waits until the exchange is idle, and says who was silent.
    pub(super) fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Idle> {
        let since = *self.waits_since.get_or_insert_with(Instant::now);
        loop {
            let moved = self.exchange.as_ref().map_or(since, |exchange| exchange.last_movement());
            let end = since.max(moved) + self.idle_timeout;
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(end)));
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= end {
                let unshared = Idle::Origin(self.idle_timeout);
                return Poll::Ready(self.exchange.as_ref().map_or(unshared, |it| it.blame()));
            }
            timer.as_mut().reset(end);
        }
    }
}
