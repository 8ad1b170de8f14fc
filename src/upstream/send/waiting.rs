//! The waits of a request that was handed to a conn.

use std::future::pending;
use std::pin::pin;
use std::time::Duration;

use crate::upstream::body::Progress;
use crate::upstream::departure::{CheckedDeparture, Departure, DepartureWithdrawn, FinalCheck};
use crate::upstream::error::Error;
use crate::upstream::http2::{WRITE_TIMEOUT, WriteProgress};

/// Waits until a departure that was not written yet must be taken back from its conn, because its
/// credential has changed. The departure then carries the new one. Never ready for a departure that
/// was sent. Cancel-safe.
pub(super) async fn wait_for_recheck(
    check: &dyn FinalCheck,
    departure: &mut Departure,
    written: impl Fn() -> WriteProgress,
) -> Result<(), DepartureWithdrawn> {
    let (mut changes, mut is_renewed) = (check.changes(), false);
    loop {
        changes.mark_unchanged();
        // 1. A request that was sent is not taken back.
        let progress = written();
        if progress == WriteProgress::Sent {
            return pending().await;
        }
        // 2. Check it. A request that was partly written is not taken back for a new credential,
        // since it would be sent twice.
        let is_whole = progress != WriteProgress::Buffered;
        is_renewed |= check.check(departure)? == CheckedDeparture::Renewed && is_whole;
        if is_renewed && progress == WriteProgress::HeldBack {
            return Ok(());
        }
        // 3. Taking a request back costs its conn, so give it a moment to be written.
        tokio::select! {
            told = changes.changed() => if told.is_err() {
                return pending().await;
            },
            // The token's expiry may have changed, so it is looked at again.
            () = sleep_or_forever(check.ends_in().map(|left| left.max(RECHECK_INTERVAL))) => {}
            () = sleep_or_forever(is_renewed.then_some(WRITE_TIMEOUT)) => {
                if matches!(written(), WriteProgress::HeldBack | WriteProgress::NotYet) {
                    return Ok(());
                }
                is_renewed = false;
            }
        }
    }
}

/// The shortest time between two checks of a request that was not sent.
const RECHECK_INTERVAL: Duration = Duration::from_millis(50);

async fn sleep_or_forever(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => pending().await,
    }
}

/// Waits for a response's head for `limit`, counted from the last progress of the request's body.
/// The time does not run while the body waits for the caller. Cancel-safe if `response` is.
pub(super) async fn await_response<T>(
    limit: Duration,
    progress: Option<&Progress>,
    response: impl Future<Output = T>,
) -> Result<T, Error> {
    let mut response = pin!(response);
    let mut left = limit;
    loop {
        if let Ok(answer) = tokio::time::timeout(left, response.as_mut()).await {
            return Ok(answer);
        }
        let Some(progress) = progress else { return Err(Error::ResponseTimeout) };
        left = if progress.waits_for_caller() {
            limit
        } else {
            limit.saturating_sub(progress.idle_time())
        };
        if left.is_zero() {
            return Err(Error::ResponseTimeout);
        }
    }
}
