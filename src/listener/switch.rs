//! Conns that switch from HTTP to another protocol, or become a tunnel (RFC 9110 §7.8, §9.3.6).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

/// A caller's conn that may switch. It resolves once the answer that makes it switch is written.
/// Each request that may lead to that carries it in its extensions.
#[derive(Clone, Debug)]
pub struct PendingSwitch(Arc<Mutex<SwitchSource>>);

#[derive(Debug)]
enum SwitchSource {
    Http1(oneshot::Receiver<SwitchedConn>),
    Http2(OnUpgrade),
}

/// The conn has ended, or went on as HTTP.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the conn has not switched")]
pub struct NotSwitched;

/// A caller's conn, or one stream of it, that no longer speaks HTTP.
pub struct SwitchedConn {
    /// Bytes that arrived behind the request.
    unread: Bytes,
    io: Box<dyn SwitchedIo>,
}

trait SwitchedIo: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> SwitchedIo for T {}

impl PendingSwitch {
    /// The switch of an HTTP/1.1 conn, and the place to which the conn is then sent.
    pub(super) fn of_http1() -> (Self, oneshot::Sender<SwitchedConn>) {
        let (switched, pending) = oneshot::channel();
        (Self(Arc::new(Mutex::new(SwitchSource::Http1(pending)))), switched)
    }

    /// The switch of a stream of HTTP/2.
    pub(super) fn of_http2(upgrade: OnUpgrade) -> Self {
        Self(Arc::new(Mutex::new(SwitchSource::Http2(upgrade))))
    }
}

impl Future for PendingSwitch {
    type Output = Result<SwitchedConn, NotSwitched>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match &mut *self.0.lock() {
            SwitchSource::Http1(pending) => {
                ready!(Pin::new(pending).poll(cx)).map_err(|_ended| NotSwitched)
            }
            SwitchSource::Http2(upgrade) => {
                let upgraded = ready!(Pin::new(upgrade).poll(cx)).map_err(|_ended| NotSwitched);
                upgraded.map(|stream| SwitchedConn::new(TokioIo::new(stream), Bytes::new()))
            }
        })
    }
}

impl SwitchedConn {
    pub(super) fn new(
        io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        unread: Bytes,
    ) -> Self {
        Self { unread, io: Box::new(io) }
    }
}

impl std::fmt::Debug for SwitchedConn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SwitchedConn").field("unread", &self.unread.len()).finish_non_exhaustive()
    }
}

impl AsyncRead for SwitchedConn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let length = self.unread.len().min(buf.remaining());
        buf.put_slice(self.unread.get(..length).unwrap_or_default());
        self.unread.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SwitchedConn {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
