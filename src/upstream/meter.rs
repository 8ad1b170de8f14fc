//! What the way out counts.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Counters shared by all workers.
#[derive(Debug, Default)]
pub struct Gauges {
    idle: AtomicI64,
    open: AtomicI64,
    handshakes: [AtomicU64; 3],
}

/// How a handshake ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Handshake {
    Completed = 0,
    Failed = 1,
    CertificateInvalid = 2,
}

/// What the gauges show at one moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Snapshot {
    /// Conns waiting for a request.
    pub idle: i64,
    /// All conns.
    pub open: i64,
    /// Handshakes that completed.
    pub completed: u64,
    /// Handshakes that failed.
    pub failed: u64,
    /// Handshakes in which the origin's certificate was not valid.
    pub certificate_invalid: u64,
}

impl Gauges {
    /// The figures now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let [completed, failed, certificate_invalid] =
            self.handshakes.each_ref().map(|counter| counter.load(Relaxed));
        Snapshot {
            idle: self.idle.load(Relaxed),
            open: self.open.load(Relaxed),
            completed,
            failed,
            certificate_invalid,
        }
    }

    pub(super) fn handshake(&self, ended: Handshake) {
        if let Some(counter) = self.handshakes.get(ended as usize) {
            counter.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn idle(&self, change: i64) {
        self.idle.fetch_add(change, Relaxed);
    }
}

/// One upstream conn, counted while it is open, that counts the bytes it receives: whether any came
/// back decides if a request may be sent again.
#[derive(Debug)]
pub(super) struct Metered<T> {
    io: T,
    meter: Arc<Meter>,
}

/// The count of one conn.
#[derive(Debug)]
pub(super) struct Meter {
    received: AtomicU64,
    gauges: Arc<Gauges>,
}

impl Meter {
    /// How many bytes have been received so far.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.gauges.open.fetch_sub(1, Relaxed);
    }
}

impl<T> Metered<T> {
    pub(super) fn new(io: T, gauges: &Arc<Gauges>) -> (Self, Arc<Meter>) {
        gauges.open.fetch_add(1, Relaxed);
        let meter = Arc::new(Meter { received: AtomicU64::new(0), gauges: Arc::clone(gauges) });
        (Self { io, meter: Arc::clone(&meter) }, meter)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Metered<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut this.io).poll_read(cx, buf);
        let count = u64::try_from(buf.filled().len() - before).unwrap_or(0);
        if count > 0 {
            // Only this conn's task writes the count, so a load and a store do.
            this.meter.received.store(this.meter.received() + count, Relaxed);
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Metered<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
