//! Facts about one conn, written by its task and by the requests on it, and read by whoever chooses
//! a conn or judges a failure.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rustls::AlertDescription;
use tokio::sync::{Notify, watch};

use super::frames::{self, FrameEvent};
use crate::clock::instant;

/// What the frames on a conn have said so far.
#[derive(Debug)]
pub(in crate::upstream) struct ConnFacts {
    begun: Instant,
    /// The number of streams that the peer allows at once, as far as we would use them; `None`
    /// until it has said.
    max_streams: watch::Sender<Option<usize>>,
    /// The number of streams that there are.
    streams: AtomicUsize,
    /// Told whenever there may be room for another stream, or the conn is closed.
    freed: Arc<Notify>,
    /// Told when the conn is to be ended with all that it carries.
    cut: Notify,
    /// The last stream that was given up before its request had left; 0 when there is none.
    given_up: AtomicU32,
    /// Told when there is one.
    gave_up: Notify,
    /// Tells whether the peer has said how many, or that it won't.
    settled: AtomicBool,
    /// The last stream that the peer may have processed, once it has sent GOAWAY.
    last_stream: AtomicU32,
    /// The last stream whose request was handed to TLS, in part at least.
    written_stream: AtomicU32,
    /// The last stream whose request was handed to the socket, with all that was written then.
    flushed_stream: AtomicU32,
    /// The time when a byte was last received, in microseconds since the beginning.
    heard_us: AtomicU64,
    /// The time when a frame other than PING was last received.
    busy_us: AtomicU64,
    /// The peer has not answered in time, and nothing was received since.
    suspect: AtomicBool,
    /// Another request is not to be sent.
    closed: AtomicBool,
    /// The peer has not answered a PING.
    lost: AtomicBool,
    /// The TLS alert with which the peer has ended the conn.
    alert: OnceLock<AlertDescription>,
}

impl ConnFacts {
    /// Facts about a new conn, which tell `freed` of every change that may make room.
    pub(super) fn new(freed: Arc<Notify>) -> Self {
        Self {
            begun: instant(),
            max_streams: watch::Sender::new(None),
            streams: AtomicUsize::new(0),
            freed,
            cut: Notify::new(),
            given_up: AtomicU32::new(0),
            gave_up: Notify::new(),
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

    /// The number of streams that there may be at once: one until the peer has said it.
    pub(super) fn max_streams(&self) -> usize {
        self.max_streams.borrow().unwrap_or(1)
    }

    /// The number of streams that there are.
    pub(super) fn streams(&self) -> usize {
        self.streams.load(Relaxed)
    }

    /// There is one more stream.
    pub(super) fn add_stream(&self) {
        self.streams.fetch_add(1, Relaxed);
    }

    /// A stream is over.
    pub(super) fn end_stream(&self) {
        self.streams.fetch_sub(1, Relaxed);
        self.freed.notify_waiters();
    }

    /// Waits until the peer has sent its settings, or the conn has ended.
    pub(in crate::upstream) async fn settings(&self) {
        let mut changes = self.max_streams.subscribe();
        let _either_way = changes.wait_for(|max| max.is_some() || self.is_closed()).await;
    }

    /// Tells whether the peer has said that it will not process this stream, or it was never
    /// written.
    pub(super) fn is_unprocessed(&self, stream: u32) -> bool {
        stream > self.last_stream.load(Relaxed) || !self.is_written(stream)
    }

    /// Tells whether the request of this stream was handed to TLS, in part at least: then it may
    /// have left.
    pub(super) fn is_written(&self, stream: u32) -> bool {
        stream <= self.written_stream.load(Relaxed)
    }

    /// Tells whether the request of this stream was handed to the socket: then it has left.
    pub(super) fn is_flushed(&self, stream: u32) -> bool {
        stream <= self.flushed_stream.load(Relaxed)
    }

    /// All that was written is with the socket.
    pub(super) fn flushed(&self) {
        self.flushed_stream.fetch_max(self.written_stream.load(Relaxed), Relaxed);
    }

    /// Tells whether this stream waits within the library for others to end, because the peer
    /// allows fewer than there are.
    pub(super) fn is_held_back(&self, stream: u32) -> bool {
        !self.is_written(stream) && self.may_leave(stream) && self.streams() > self.max_streams()
    }

    /// Tells whether this stream's request has not left, and may later.
    fn may_leave(&self, stream: u32) -> bool {
        stream <= self.last_stream.load(Relaxed) && !self.is_flushed(stream)
    }

    /// Tells whether no other request is to be sent on the conn.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    /// Takes the conn out of use; what is under way goes on.
    pub(in crate::upstream) fn close(&self) {
        self.closed.store(true, Relaxed);
        self.max_streams.send_modify(|_same| {});
        self.freed.notify_waiters();
    }

    /// Ends the conn with all that it carries: what was not written by now never is.
    pub(super) fn cut(&self) {
        self.close();
        self.cut.notify_one();
    }

    /// Waits until the conn is to be ended. Cancel-safe.
    pub(super) async fn is_cut(&self) {
        tokio::select! {
            () = self.cut.notified() => {}
            () = self.is_stuck() => self.close(),
        }
    }

    /// Notes that nobody waits for this stream any more, nor looks whether its request still may
    /// leave.
    pub(super) fn give_up(&self, stream: u32) {
        if self.is_held_back(stream) {
            self.cut();
        } else if self.may_leave(stream) {
            self.given_up.fetch_max(stream, Relaxed);
            self.gave_up.notify_one();
        }
    }

    /// Waits until a request that was given up could not leave for some time: then it would
    /// whenever the peer takes more.
    async fn is_stuck(&self) {
        loop {
            self.gave_up.notified().await;
            // Streams leave in their order. One that is given up meanwhile has a time of its own.
            let last = self.given_up.load(Relaxed);
            tokio::time::sleep(WRITE_TIMEOUT).await;
            if self.may_leave(last.min(self.last_stream.load(Relaxed))) {
                return;
            }
        }
    }

    pub(super) fn is_suspect(&self) -> bool {
        self.suspect.load(Relaxed)
    }

    /// A request that was sent at `since` was not answered in time: where nothing at all was
    /// received meanwhile, the conn is suspected to be dead.
    pub(super) fn note_timeout(&self, since: Instant) {
        if self.heard() < since {
            self.suspect.store(true, Relaxed);
        }
    }

    pub(super) fn suspect(&self) {
        self.suspect.store(true, Relaxed);
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Relaxed)
    }

    pub(super) fn lose(&self) {
        self.lost.store(true, Relaxed);
        self.cut();
    }

    pub(super) fn alert(&self) -> Option<AlertDescription> {
        self.alert.get().copied()
    }

    /// The time when a byte was last received.
    pub(super) fn heard(&self) -> Instant {
        self.begun + Duration::from_micros(self.heard_us.load(Relaxed))
    }

    /// The time when a frame other than PING was last received.
    pub(super) fn busy(&self) -> Instant {
        self.begun + Duration::from_micros(self.busy_us.load(Relaxed))
    }

    /// Bytes have been received.
    pub(super) fn hear(&self) {
        self.heard_us.store(self.now_us(), Relaxed);
        if self.suspect.swap(false, Relaxed) {
            self.freed.notify_waiters();
        }
    }

    /// Reading has failed.
    pub(super) fn fail(&self, error: &io::Error) {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        if let Some(rustls::Error::AlertReceived(alert)) = inner {
            let _first = self.alert.set(*alert);
        }
        self.close();
    }

    pub(super) fn received(&self, seen: FrameEvent) {
        match seen {
            FrameEvent::Begun { kind, stream } => {
                if kind != frames::PING {
                    self.busy_us.store(self.heard_us.load(Relaxed), Relaxed);
                }
                if kind != frames::SETTINGS {
                    self.settle();
                }
                // What is answered has left, and all that was written before.
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
            FrameEvent::SettingsEnd => self.settle(),
            FrameEvent::LastStream(stream) => {
                self.last_stream.fetch_min(stream, Relaxed);
                self.close();
            }
        }
    }

    pub(super) fn sent(&self, seen: FrameEvent) {
        if let FrameEvent::Begun { kind: frames::HEADERS, stream } = seen {
            self.written_stream.fetch_max(stream, Relaxed);
        }
    }

    /// A peer that has not said how many streams it allows has no limit (RFC 9113 §6.5.2).
    fn settle(&self) {
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

/// The time that the writing of a request may take before its conn counts as stuck.
pub(in crate::upstream) const WRITE_TIMEOUT: Duration = Duration::from_secs(1);
/// As many streams as are opened on one conn at once, whatever more its peer allows.
const MAX_STREAMS: usize = 1000;
const MAX_CONCURRENT_STREAMS: u16 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn after(said: &[FrameEvent]) -> ConnFacts {
        let facts = ConnFacts::new(Arc::default());
        for seen in said {
            facts.received(*seen);
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
        facts.sent(FrameEvent::Begun { kind: frames::HEADERS, stream: 7 });
        assert!(!facts.is_unprocessed(7) && facts.is_unprocessed(9));
        facts.received(FrameEvent::LastStream(u32::MAX >> 1));
        assert!(!facts.is_unprocessed(7) && facts.is_closed());
        facts.received(FrameEvent::LastStream(3));
        assert!(!facts.is_unprocessed(3) && facts.is_unprocessed(5));
        facts.received(FrameEvent::LastStream(7));
        assert!(facts.is_unprocessed(5), "what was given up is not taken back");
    }

    #[tokio::test(start_paused = true)]
    async fn a_conn_ends_that_can_not_send_what_was_given_up() {
        let answer = FrameEvent::Begun { kind: frames::HEADERS, stream: 1 };
        for (is_flushed, is_cut) in [(false, true), (true, false)] {
            let facts = ConnFacts::new(Arc::default());
            facts.sent(answer);
            facts.give_up(1);
            let ends = tokio::time::timeout(2 * WRITE_TIMEOUT, facts.is_cut());
            let flushed = async {
                if is_flushed {
                    facts.flushed();
                }
            };
            let (ends, ()) = tokio::join!(ends, flushed);
            assert_eq!((ends.is_ok(), facts.is_closed()), (is_cut, is_cut));
        }
        let facts = ConnFacts::new(Arc::default());
        facts.sent(answer);
        facts.received(answer);
        assert!(facts.is_flushed(1), "what was answered has left");
    }

    #[test]
    fn a_stream_is_held_back_while_there_are_more_than_the_peer_allows() {
        let facts = ConnFacts::new(Arc::default());
        facts.add_stream();
        assert!(!facts.is_held_back(1), "it is about to be written");
        facts.received(FrameEvent::Setting { id: MAX_CONCURRENT_STREAMS, value: 0 });
        assert!(facts.is_held_back(1));
        facts.sent(FrameEvent::Begun { kind: frames::HEADERS, stream: 1 });
        assert!(!facts.is_held_back(1), "it has left");
        facts.add_stream();
        assert!(facts.is_held_back(3));
        facts.received(FrameEvent::LastStream(1));
        assert!(!facts.is_held_back(3), "it will never leave");
    }
}
