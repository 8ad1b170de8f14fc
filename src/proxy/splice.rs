//! Conns that have switched: bytes pass both ways as they are (RFC 9110 §7.8).

mod frames;

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use futures_util::future::select;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::timeout;

use self::frames::{Frames, close_to_caller, close_to_origin};
use crate::ledger::Entry;
use crate::listener::PendingSwitch;
use crate::random;

/// Both ends of a WebSocket, or of a tunnel that is not looked into.
pub(super) struct Splice<O> {
    /// The caller's end, once its conn has been switched.
    pub(super) caller: PendingSwitch,
    /// The origin's end.
    pub(super) origin: Option<O>,
    /// The time that it may go on.
    pub(super) terms: SpliceTerms,
    /// Turns true when the server goes down; only of a WebSocket, which can be told.
    pub(super) stop: Option<watch::Receiver<bool>>,
}

/// The time that a splice may go on.
pub(super) struct SpliceTerms {
    /// The time that there may be nothing at all at first.
    pub(super) first_byte: Duration,
    /// The time that neither end may say anything.
    pub(super) idle_timeout: Duration,
    /// The time when the caller's token ends, if it does.
    pub(super) ends_in: Option<Duration>,
    /// Changes when another set of connections and callers is in force.
    pub(super) changes: watch::Receiver<u64>,
}

/// The end of a splice.
#[derive(Debug, Default)]
pub(super) struct Spliced {
    pub(super) from_caller: u64,
    pub(super) from_origin: u64,
    pub(super) cause: Option<&'static str>,
}

impl<O: AsyncRead + AsyncWrite + Send> Splice<O> {
    /// Passes bytes both ways until both ends have ended, one of them has failed and the other has
    /// what it was sent, both are silent for too long, or `still_allowed` no longer holds. When the
    /// server goes down, both ends of a WebSocket are told.
    pub(super) async fn run(self, still_allowed: impl Fn() -> bool) -> Spliced {
        let (Ok(caller), Some(origin)) = (self.caller.await, self.origin) else {
            let cause = Some("the conn ended before it was switched");
            return Spliced { cause, ..Spliced::default() };
        };
        let (caller_reads, caller_writes) = tokio::io::split(caller);
        let (origin_reads, origin_writes) = tokio::io::split(origin);
        let (up, down) = (AtomicU64::new(0), AtomicU64::new(0));
        let (broken, farewells) = (Notify::new(), Semaphore::new(0));
        let close_notice = |frame| {
            let (stop, frames) = (self.stop.clone()?, Frames::default());
            Some(CloseNotice { frame, stop, frames, said: &farewells })
        };
        let upwards = HalfSplice {
            from: caller_reads,
            to: origin_writes,
            moved: &up,
            broken: &broken,
            // That a mask can't be guessed protects caches between a browser and a server it is
            // talked into attacking (RFC 6455 §10.3); the content here is fixed.
            close_notice: close_notice(close_to_origin(random::bytes().unwrap_or_default())),
        };
        let downwards = HalfSplice {
            from: origin_reads,
            to: caller_writes,
            moved: &down,
            broken: &broken,
            close_notice: close_notice(close_to_caller()),
        };
        // Both run in one future that is never dropped half-way: a write that waits for one end
        // must not be lost because the other end had something to say.
        let upwards = pin!(upwards.run());
        let downwards = pin!(downwards.run());
        let both = pin!(both_ways(upwards, downwards, &broken));
        let moved = || (up.load(Relaxed), down.load(Relaxed));
        let stopped = pin!(async {
            let _never_closed = farewells.acquire_many(2).await;
            tokio::time::sleep(LINGER_TIMEOUT).await;
        });
        let cause = self.terms.watch(both, stopped, moved, still_allowed).await;
        let was_stopped = self.stop.is_some_and(|stop| *stop.borrow());
        let (from_caller, from_origin) = moved();
        let cause = if was_stopped { Some("the server was shutting down") } else { cause };
        Spliced { from_caller, from_origin, cause }
    }
}

impl SpliceTerms {
    /// Waits until `both` directions have ended, or it is `stopped`, or may not go on; gives the
    /// cause, where that is no ordinary end.
    async fn watch(
        mut self,
        mut both: Pin<&mut impl Future<Output = io::Result<()>>>,
        mut stopped: Pin<&mut impl Future<Output = ()>>,
        moved: impl Fn() -> (u64, u64),
        still_allowed: impl Fn() -> bool,
    ) -> Option<&'static str> {
        let mut token_ends = pin!(async {
            match self.ends_in {
                Some(left) => tokio::time::sleep(left).await,
                None => std::future::pending().await,
            }
        });
        let mut silent = pin!(tokio::time::sleep(self.first_byte));
        let mut before = moved();
        // Until one end closes, nothing moves for too long, or the caller may not have it any more.
        loop {
            tokio::select! {
                () = &mut silent => {
                    if moved() == before {
                        return Some("neither end said anything for too long");
                    }
                    before = moved();
                    silent.as_mut().reset(tokio::time::Instant::now() + self.idle_timeout);
                }
                () = &mut token_ends => return Some("the token has ended"),
                ended = &mut both => return ended.err().map(|_error| "one end failed"),
                () = &mut stopped => return None,
                changed = self.changes.changed() => {
                    if changed.is_err() || !still_allowed() {
                        return Some("the token or the connection is no longer in force");
                    }
                }
            }
        }
    }
}

impl Spliced {
    /// Notes in its entry what has passed, and the cause of an end that is no ordinary one.
    pub(super) fn note_in(self, entry: &mut Entry) {
        entry.request_count = Some(Arc::new(self.from_caller.into()));
        entry.response_bytes = self.from_origin;
        if let Some(cause) = self.cause {
            entry.set_cause(cause);
        }
    }
}

type Direction<'a> = Pin<&'a mut (dyn Future<Output = io::Result<()>> + Send)>;

/// Waits for both directions. An end that has failed has nothing more to say; the other one gets
/// all that was on its way, and a little time to close.
async fn both_ways(up: Direction<'_>, down: Direction<'_>, broken: &Notify) -> io::Result<()> {
    let (first, mut last) = select(up, down).await.factor_first();
    if first.is_ok() {
        tokio::select! {
            ended = &mut last => return ended,
            () = broken.notified() => {}
        }
    }
    match timeout(LINGER_TIMEOUT, last).await {
        Ok(ended) => first.and(ended),
        Err(_elapsed) => first,
    }
}

/// One direction of what passes.
struct HalfSplice<'a, R, W> {
    from: R,
    to: W,
    moved: &'a AtomicU64,
    /// Told when the writing end takes no more.
    broken: &'a Notify,
    /// Told to the writing end of a WebSocket when the server goes down.
    close_notice: Option<CloseNotice<'a>>,
}

/// A close frame, and when it is to be sent.
struct CloseNotice<'a> {
    frame: Vec<u8>,
    stop: watch::Receiver<bool>,
    frames: Frames,
    /// Told when it has been sent.
    said: &'a Semaphore,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> HalfSplice<'_, R, W> {
    /// Passes everything on until the reading end has ended, which the writing end is told.
    ///
    /// When the writing end takes no more, what still comes is read and thrown away: a conn that is
    /// closed with unread bytes is reset, and what was sent on it may be lost (RFC 9112 §9.6).
    async fn run(mut self) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER];
        let (mut takes_more, mut stopping) = (true, false);
        loop {
            // 1. Between two frames, a WebSocket can be told that the server goes down.
            if stopping
                && takes_more
                && let Some(close_notice) = &self.close_notice
                && close_notice.frames.is_between()
            {
                let _gone_already = write(&mut self.to, &close_notice.frame).await;
                close_notice.said.add_permits(1);
                takes_more = false;
            }
            // 2. Something comes, or it is time to say goodbye.
            let read = tokio::select! {
                read = self.from.read(&mut buffer) => read,
                () = stopped(self.close_notice.as_mut()), if !stopping => {
                    stopping = true;
                    continue;
                }
            };
            let count = match read {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) => {
                    let _tell_what_has_come = self.to.shutdown().await;
                    return Err(error);
                }
            };
            // 3. It goes on, or is thrown away.
            let piece = buffer.get(..count).unwrap_or_default();
            if takes_more {
                takes_more = self.pass(piece).await;
            }
            if let Some(close_notice) = &mut self.close_notice {
                close_notice.frames.follow(piece);
                if stopping && close_notice.frames.has_closed() {
                    break;
                }
            }
        }
        // An end that has closed both ways can't be told.
        let _closed_already = self.to.shutdown().await;
        Ok(())
    }

    /// Passes a piece on; `false` when the writing end takes no more.
    async fn pass(&mut self, piece: &[u8]) -> bool {
        let passed = write(&mut self.to, piece).await.is_ok();
        if passed {
            self.moved.fetch_add(u64::try_from(piece.len()).unwrap_or(0), Relaxed);
        } else {
            self.broken.notify_one();
        }
        passed
    }
}

async fn write(to: &mut (impl AsyncWrite + Unpin), piece: &[u8]) -> io::Result<()> {
    to.write_all(piece).await?;
    to.flush().await
}

/// Waits until the server goes down, where that is to be said.
async fn stopped(close_notice: Option<&mut CloseNotice<'_>>) {
    let stops = match close_notice {
        Some(close_notice) => close_notice.stop.wait_for(|stop| *stop).await.is_ok(),
        None => false,
    };
    if !stops {
        std::future::pending::<()>().await;
    }
}

const BUFFER: usize = 16 * 1024;
/// The time that an end has to close when the other one has failed or takes no more, and both when
/// the server goes down.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
