//! The waits of a request that was given to a conn.

use std::future::pending;
use std::pin::pin;
use std::time::Duration;

use crate::upstream::body::Progress;
use crate::upstream::departure::{CheckedDeparture, Departure, DepartureWithdrawn, FinalCheck};
use crate::upstream::error::Error;
use crate::upstream::http2::{WRITE_TIMEOUT, WriteProgress};

/// Waits until a departure is not to leave as it was given to its conn, of which nothing may be
/// written until then. Afterwards it is as it is now to be. Cancel-safe.
///
/// # Errors
/// [`DepartureWithdrawn`] when it is not to leave at all.
pub(super) async fn changed(
    check: &dyn FinalCheck,
    departure: &mut Departure,
    written: impl Fn() -> WriteProgress,
) -> Result<(), DepartureWithdrawn> {
    let (mut changes, mut is_renewed) = (check.changes(), false);
    loop {
        changes.mark_unchanged();
        // 1. What has left is not taken back.
        let progress = written();
        if progress == WriteProgress::Sent {
            return pending().await;
        }
        // 2. What may not leave does not. What is whole leaves with the credential of then; what may
        // have left in part is not sent twice for that.
        let is_whole = progress != WriteProgress::Buffered;
        is_renewed |= check.check(departure)? == CheckedDeparture::Renewed && is_whole;
        if is_renewed && progress == WriteProgress::HeldBack {
            return Ok(());
        }
        // 3. To take a request back costs its conn, and it may be written in a moment.
        tokio::select! {
            told = changes.changed() => if told.is_err() {
                return pending().await;
            },
            // The end that was known may have been put off since.
            () = passed(check.ends_in().map(|left| left.max(RECHECK_INTERVAL))) => {}
            () = passed(is_renewed.then_some(WRITE_TIMEOUT)) => {
                if matches!(written(), WriteProgress::HeldBack | WriteProgress::NotYet) {
                    return Ok(());
                }
                is_renewed = false;
            }
        }
    }
}

/// The least time between two looks at a request that has not left.
const RECHECK_INTERVAL: Duration = Duration::from_millis(50);

/// Waits for so long, or for ever.
async fn passed(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => pending().await,
    }
}

/// Waits for a response head. The time runs from the last byte of the request that left, and does
/// not run while the caller keeps us waiting.
pub(super) async fn in_time<T>(
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
        left = if progress.is_awaited() { limit } else { limit.saturating_sub(progress.still()) };
        if left.is_zero() {
            return Err(Error::ResponseTimeout);
        }
    }
}
