//! The waits of a request that was given to a conn.

use std::pin::pin;
use std::time::Duration;

use crate::upstream::body::Progress;
use crate::upstream::departure::{Checked, Departure, FinalCheck, Withdrawn};
use crate::upstream::error::Error;

/// Waits until a departure is not to leave as it was given to its conn, of which nothing may be
/// written until then. Afterwards it is as it is now to be. Cancel-safe.
///
/// # Errors
/// [`Withdrawn`] when it is not to leave at all.
pub(super) async fn changed(
    check: &dyn FinalCheck,
    departure: &mut Departure,
    is_written: impl Fn() -> bool,
) -> Result<(), Withdrawn> {
    let mut changes = check.changes();
    loop {
        changes.mark_unchanged();
        if is_written() {
            return std::future::pending().await;
        }
        match check.check(departure) {
            Ok(Checked::AsItWas) => {}
            Ok(Checked::Renewed) => return Ok(()),
            Err(withdrawn) => return Err(withdrawn),
        }
        if changes.changed().await.is_err() {
            return std::future::pending().await;
        }
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
