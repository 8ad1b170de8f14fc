//! The state of one HTTP/2 conn as its frames show it. The conn's task and its requests update it;
//! choosing a conn and judging a failure read it.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rustls::AlertDescription;
use tokio::sync::{Notify, watch};

use super::frames::{self, FrameEvent};
use crate::clock::instant;

/// The state of a conn, derived from the frames in both directions.
#[derive(Debug)]
pub(in crate::upstream) struct ConnFacts {
    begun: Instant,
    /// The number of concurrent streams that the peer allows, up to our own limit; `None` before
    /// its SETTINGS.
    max_streams: watch::Sender<Option<usize>>,
    /// The number of open streams.
    streams: AtomicUsize,
    /// Notified whenever there may be room for another stream, or the conn is closed.
    freed: Arc<Notify>,
    /// Notified when the conn is to be aborted.
    aborted: Notify,
    /// The last stream that was canceled before its request was flushed; 0 for none.
    canceled_stream: AtomicU32,
    /// Notified when a stream is canceled.
    canceled: Notify,
    /// Set once `max_streams` is final for now: by SETTINGS, or by any other frame before them.
    settled: AtomicBool,
    /// The last stream that the peer may process, from its GOAWAY; `u32::MAX` before one.
    last_stream: AtomicU32,
    /// The last stream whose request was handed to TLS, at least in part.
    written_stream: AtomicU32,
    /// The last stream whose request was handed to the socket.
    flushed_stream: AtomicU32,
    /// The time at which a byte was last received, in microseconds since `begun`.
    heard_us: AtomicU64,
    /// The time at which a frame other than PING was last received, in the same unit.
    busy_us: AtomicU64,
    /// Set when a request was not answered in time and nothing was received since.
    suspect: AtomicBool,
    /// Set when no other request may be sent.
    closed: AtomicBool,
    /// Set when the peer has not answered a PING.
    lost: AtomicBool,
    /// The TLS alert with which the peer has ended the conn.
    alert: OnceLock<AlertDescription>,
}

impl ConnFacts {
    /// The state of a new conn. `freed` is notified whenever there may be room for a stream.
    pub(super) fn new(freed: Arc<Notify>) -> Self {
        Self {
            begun: instant(),
            max_streams: watch::Sender::new(None),
            streams: AtomicUsize::new(0),
            freed,
            aborted: Notify::new(),
            canceled_stream: AtomicU32::new(0),
            canceled: Notify::new(),
            settled: AtomicBool::new(false),
            last_stream: AtomicU32::new(u32::MAX),
            written_stream: AtomicU32::new(0),
            flushed_stream: AtomicU32::new(0),
            heard_us: AtomicU64::new(0),
            busy_us: AtomicU64::new(0),
            suspect: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            alert: OnceLock::new(),
        }
    }

    /// The number of concurrent streams allowed: one before the peer's SETTINGS.
    pub(super) fn max_streams(&self) -> usize {
        self.max_streams.borrow().unwrap_or(1)
    }

    pub(super) fn streams(&self) -> usize {
        self.streams.load(Relaxed)
    }

    pub(super) fn add_stream(&self) {
        self.streams.fetch_add(1, Relaxed);
    }

    /// Notes the end of a stream, which makes room for another.
    pub(super) fn end_stream(&self) {
        self.streams.fetch_sub(1, Relaxed);
        self.freed.notify_waiters();
    }

    /// Waits until the peer has sent its SETTINGS, or the conn has ended. Cancel-safe.
    pub(in crate::upstream) async fn settings_received(&self) {
        let mut changes = self.max_streams.subscribe();
        let _either_way = changes.wait_for(|max| max.is_some() || self.is_closed()).await;
    }

    /// Tells whether the peer has not processed this stream and never will: a GOAWAY excludes it,
    /// or it was not written.
    pub(super) fn is_unprocessed(&self, stream: u32) -> bool {
        stream > self.last_stream.load(Relaxed) || !self.is_written(stream)
    }

    /// Tells whether the stream's request was handed to TLS, at least in part, so that it may have
    /// been sent.
    pub(super) fn is_written(&self, stream: u32) -> bool {
        stream <= self.written_stream.load(Relaxed)
    }

    /// Tells whether the stream's request was handed to the socket.
    pub(super) fn is_flushed(&self, stream: u32) -> bool {
        stream <= self.flushed_stream.load(Relaxed)
    }

    /// Notes that everything written was handed to the socket.
    pub(super) fn note_flushed(&self) {
        self.flushed_stream.fetch_max(self.written_stream.load(Relaxed), Relaxed);
    }

    /// Tells whether this stream waits within the library for another one to end, because the peer
    /// has lowered its limit.
    pub(super) fn is_held_back(&self, stream: u32) -> bool {
        !self.is_written(stream) && self.may_leave(stream) && self.streams() > self.max_streams()
    }

    /// Tells whether this stream's request is not flushed and may be later.
    fn may_leave(&self, stream: u32) -> bool {
        stream <= self.last_stream.load(Relaxed) && !self.is_flushed(stream)
    }

    /// Tells whether no other request may be sent on the conn.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    /// Lets no other request be sent on the conn. Requests under way go on.
    pub(in crate::upstream) fn close(&self) {
        self.closed.store(true, Relaxed);
        self.max_streams.send_modify(|_same| {});
        self.freed.notify_waiters();
    }

    /// Aborts the conn and its requests. Nothing more is written on it.
    pub(super) fn abort(&self) {
        self.close();
        self.aborted.notify_one();
    }

    /// Waits until the conn is to be aborted. Cancel-safe.
    pub(super) async fn aborted(&self) {
        tokio::select! {
            () = self.aborted.notified() => {}
            () = self.wait_until_stuck() => self.close(),
        }
    }

    /// Cancels a stream: its request is not checked any more, so it must not be sent later. The
    /// conn is aborted at once where the request is held back, else when it can't be flushed in
    /// time.
    pub(super) fn cancel(&self, stream: u32) {
        if self.is_held_back(stream) {
            self.abort();
        } else if self.may_leave(stream) {
            self.canceled_stream.fetch_max(stream, Relaxed);
            self.canceled.notify_one();
        }
    }

    /// Waits until a canceled request could not be flushed for [`WRITE_TIMEOUT`]: it would be sent
    /// whenever the peer reads again.
    async fn wait_until_stuck(&self) {
        loop {
            self.canceled.notified().await;
            // Streams are written in order. One that is canceled meanwhile gets its own time.
            let last = self.canceled_stream.load(Relaxed);
            tokio::time::sleep(WRITE_TIMEOUT).await;
            if self.may_leave(last.min(self.last_stream.load(Relaxed))) {
                return;
            }
        }
    }

    pub(super) fn is_suspect(&self) -> bool {
        self.suspect.load(Relaxed)
    }

    /// Notes that a request sent at `since` was not answered in time. If nothing was received
    /// since, the conn is suspected to be dead.
    pub(super) fn note_timeout(&self, since: Instant) {
        if self.last_received() < since {
            self.suspect.store(true, Relaxed);
        }
    }

    pub(super) fn mark_suspect(&self) {
        self.suspect.store(true, Relaxed);
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Relaxed)
    }

    /// Notes that a PING was not answered, and aborts the conn.
    pub(super) fn mark_lost(&self) {
        self.lost.store(true, Relaxed);
        self.abort();
    }

    pub(super) fn tls_alert(&self) -> Option<AlertDescription> {
        self.alert.get().copied()
    }

    /// The time at which a byte was last received.
    pub(super) fn last_received(&self) -> Instant {
        self.begun + Duration::from_micros(self.heard_us.load(Relaxed))
    }

    /// The time at which a frame other than PING was last received.
    pub(super) fn last_active(&self) -> Instant {
        self.begun + Duration::from_micros(self.busy_us.load(Relaxed))
    }

    /// Notes that bytes were received.
    pub(super) fn note_received(&self) {
        self.heard_us.store(self.now_us(), Relaxed);
        if self.suspect.swap(false, Relaxed) {
            self.freed.notify_waiters();
        }
    }

    /// Notes that reading has failed, and the TLS alert that explains it.
    pub(super) fn note_read_error(&self, error: &io::Error) {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        if let Some(rustls::Error::AlertReceived(alert)) = inner {
            let _first = self.alert.set(*alert);
        }
        self.close();
    }

    /// Updates the state by an event of the received frames.
    pub(super) fn note_received_frame(&self, event: FrameEvent) {
        match event {
            FrameEvent::Begun { kind, stream } => {
                if kind != frames::PING {
                    self.busy_us.store(self.heard_us.load(Relaxed), Relaxed);
                }
                if kind != frames::SETTINGS {
                    self.settle_max_streams();
                }
                // An answer shows that its request was sent, and all that were written before it.
                if kind == frames::HEADERS {
                    self.flushed_stream.fetch_max(stream, Relaxed);
                }
            }
            FrameEvent::Setting { id: MAX_CONCURRENT_STREAMS, value } => {
                let max = usize::try_from(value).unwrap_or(usize::MAX).min(MAX_STREAMS);
                self.max_streams.send_replace(Some(max));
                self.freed.notify_waiters();
            }
            FrameEvent::Setting { .. } => {}
            FrameEvent::SettingsEnd => self.settle_max_streams(),
            FrameEvent::LastStream(stream) => {
                self.last_stream.fetch_min(stream, Relaxed);
                self.close();
            }
        }
    }

    /// Updates the state by an event of the sent frames.
    pub(super) fn note_sent_frame(&self, event: FrameEvent) {
        if let FrameEvent::Begun { kind: frames::HEADERS, stream } = event {
            self.written_stream.fetch_max(stream, Relaxed);
        }
    }

    /// Ends the wait for SETTINGS. Without a stated limit, the peer allows any number of streams
    /// (RFC 9113 §6.5.2).
    fn settle_max_streams(&self) {
        if self.settled.swap(true, Relaxed) {
            return;
        }
        self.max_streams.send_if_modified(|max| {
            let unsaid = max.is_none();
            *max = max.or(Some(MAX_STREAMS));
            unsaid
        });
        self.freed.notify_waiters();
    }

    fn now_us(&self) -> u64 {
        let passed = instant().saturating_duration_since(self.begun).as_micros();
        u64::try_from(passed).unwrap_or(u64::MAX)
    }
}

/// The longest time to write a request before its conn counts as stuck.
pub(in crate::upstream) const WRITE_TIMEOUT: Duration = Duration::from_secs(1);
/// Our own limit of concurrent streams on one conn.
const MAX_STREAMS: usize = 1000;
/// `SETTINGS_MAX_CONCURRENT_STREAMS` (RFC 9113 §6.5.2).
const MAX_CONCURRENT_STREAMS: u16 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn after(said: &[FrameEvent]) -> ConnFacts {
        let facts = ConnFacts::new(Arc::default());
        for seen in said {
            facts.note_received_frame(*seen);
        }
        facts
    }

    #[test]
    fn the_peers_settings_say_how_many_streams_there_may_be() {
        let begun = FrameEvent::Begun { kind: frames::SETTINGS, stream: 0 };
        let max = |value| FrameEvent::Setting { id: MAX_CONCURRENT_STREAMS, value };
        let other = FrameEvent::Setting { id: 4, value: 1 };
        for (said, expected) in [
            (vec![], 1),
            (vec![begun], 1),
            (vec![begun, other, FrameEvent::SettingsEnd], MAX_STREAMS),
            (vec![begun, max(7), FrameEvent::SettingsEnd], 7),
            (
                vec![begun, max(7), FrameEvent::SettingsEnd, begun, other, FrameEvent::SettingsEnd],
                7,
            ),
            (
                vec![
                    begun,
                    max(7),
                    FrameEvent::SettingsEnd,
                    begun,
                    max(3),
                    FrameEvent::SettingsEnd,
                ],
                3,
            ),
            (vec![begun, max(0), FrameEvent::SettingsEnd], 0),
            (
                vec![
                    begun,
                    max(0),
                    FrameEvent::SettingsEnd,
                    begun,
                    max(2),
                    FrameEvent::SettingsEnd,
                ],
                2,
            ),
            (vec![begun, max(u32::MAX), FrameEvent::SettingsEnd], MAX_STREAMS),
            (vec![FrameEvent::Begun { kind: 0, stream: 1 }], MAX_STREAMS),
        ] {
            assert_eq!(after(&said).max_streams(), expected, "{said:?}");
        }
    }

    #[test]
    fn a_stream_is_unprocessed_beyond_the_peers_last_or_when_it_was_never_written() {
        let facts = ConnFacts::new(Arc::default());
        assert!(facts.is_unprocessed(1), "nothing was written");
        facts.note_sent_frame(FrameEvent::Begun { kind: frames::HEADERS, stream: 7 });
        assert!(!facts.is_unprocessed(7) && facts.is_unprocessed(9));
        facts.note_received_frame(FrameEvent::LastStream(u32::MAX >> 1));
        assert!(!facts.is_unprocessed(7) && facts.is_closed());
        facts.note_received_frame(FrameEvent::LastStream(3));
        assert!(!facts.is_unprocessed(3) && facts.is_unprocessed(5));
        facts.note_received_frame(FrameEvent::LastStream(7));
        assert!(facts.is_unprocessed(5), "what was given up is not taken back");
    }

    #[tokio::test(start_paused = true)]
    async fn a_conn_ends_that_can_not_send_what_was_given_up() {
        let answer = FrameEvent::Begun { kind: frames::HEADERS, stream: 1 };
        for (is_flushed, is_cut) in [(false, true), (true, false)] {
            let facts = ConnFacts::new(Arc::default());
            facts.note_sent_frame(answer);
            facts.cancel(1);
            let ends = tokio::time::timeout(2 * WRITE_TIMEOUT, facts.aborted());
            let flushed = async {
                if is_flushed {
                    facts.note_flushed();
                }
            };
            let (ends, ()) = tokio::join!(ends, flushed);
            assert_eq!((ends.is_ok(), facts.is_closed()), (is_cut, is_cut));
        }
        let facts = ConnFacts::new(Arc::default());
        facts.note_sent_frame(answer);
        facts.note_received_frame(answer);
        assert!(facts.is_flushed(1), "what was answered has left");
    }

    #[test]
    fn a_stream_is_held_back_while_there_are_more_than_the_peer_allows() {
        let facts = ConnFacts::new(Arc::default());
        facts.add_stream();
        assert!(!facts.is_held_back(1), "it is about to be written");
        facts.note_received_frame(FrameEvent::Setting { id: MAX_CONCURRENT_STREAMS, value: 0 });
        assert!(facts.is_held_back(1));
        facts.note_sent_frame(FrameEvent::Begun { kind: frames::HEADERS, stream: 1 });
        assert!(!facts.is_held_back(1), "it has left");
        facts.add_stream();
        assert!(facts.is_held_back(3));
        facts.note_received_frame(FrameEvent::LastStream(1));
        assert!(!facts.is_held_back(3), "it will never leave");
    }
}
