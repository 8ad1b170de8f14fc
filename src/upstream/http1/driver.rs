//! Drives an exchange whose response has begun before its request has ended (RFC 9110 §7.5). A task
//! of its own polls both, so that neither waits for the other.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;

use super::reply::{BodyFailure, BodyRead, ConnLease, DrivenBody};
use crate::tasks::Tasks;
use crate::upstream::body::{BodyError, Outgoing, SendError};

/// Spawns a task that sends the rest of a request and reads its response. The conn is returned to
/// the pool when both have ended well.
pub(in crate::upstream) fn drive(lease: ConnLease, body: Outgoing, tasks: &Tasks) -> DrivenBody {
    let (frames, taken) = mpsc::channel(1);
    let length = lease.left();
    tasks.spawn(drive_to_end(lease, body, frames));
    DrivenBody { frames: taken, length }
}

async fn drive_to_end(
    mut lease: ConnLease,
    mut body: Outgoing,
    frames: mpsc::Sender<Result<Frame<Bytes>, BodyError>>,
) {
    loop {
        // 1. Wait until the caller reads, and keep sending meanwhile.
        let room = match send_until(&mut lease, &mut body, frames.reserve()).await {
            Ok(Ok(room)) => room,
            Ok(Err(_nobody_reads)) => return,
            // Without the error, a response that is cut would look whole.
            Err(error) => {
                drop(lease);
                if let Ok(room) = frames.reserve().await {
                    room.send(Err(BodyFailure::RequestBody(error).into()));
                }
                return;
            }
        };
        // 2. Read the next frame, and keep sending meanwhile.
        let next = poll_fn(|cx| {
            if let Poll::Ready(Err(SendError::Body(error))) = lease.conn().poll_send(cx, &mut body)
            {
                return Poll::Ready(Err(BodyFailure::RequestBody(error).into()));
            }
            lease.poll_next(cx)
        });
        // 3. Pass it on.
        match next.await {
            Ok(BodyRead::Frame(frame)) => room.send(Ok(frame)),
            Ok(BodyRead::Last(frame)) => {
                if let Some(frame) = frame {
                    room.send(Ok(frame));
                }
                lease.end();
                break;
            }
            Err(error) => return room.send(Err(error)),
        }
    }
    // 4. Discard the rest of the request, so that the caller's conn reaches its next one.
    drop(frames);
    while let Some(Ok(_unwanted)) = body.frame().await {}
}

/// Waits for `until` and sends the request meanwhile. An error is the request's body's.
async fn send_until<F: Future>(
    lease: &mut ConnLease,
    body: &mut Outgoing,
    until: F,
) -> Result<F::Output, BodyError> {
    let mut until = pin!(until);
    poll_fn(|cx| {
        if let Poll::Ready(Err(SendError::Body(error))) = lease.conn().poll_send(cx, body) {
            return Poll::Ready(Err(error));
        }
        until.as_mut().poll(cx).map(Ok)
    })
    .await
}
