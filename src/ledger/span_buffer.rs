//! Spans that wait to be sent to a collector.

use std::collections::VecDeque;

use opentelemetry_proto::tonic::trace::v1::Span;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::metrics::SpanCounters;
use crate::model::trace::{ParentSpan, SampleRatio, SpanContext};
use crate::random;
use crate::rate_limit::RateLimiter;

/// The spans of requests that have ended, until they are sent. Adding one never waits.
#[derive(Debug)]
pub struct SpanBuffer {
    ratio: SampleRatio,
    spans: Mutex<VecDeque<Span>>,
    has_batch: Notify,
    counters: SpanCounters,
    /// The rate of spans without a caller: unauthenticated requests must not fill the buffer.
    anonymous: Option<RateLimiter>,
}

impl SpanBuffer {
    /// A buffer for the share `ratio` of the traces that begin here.
    pub fn new(ratio: SampleRatio, counters: SpanCounters) -> Self {
        Self {
            ratio,
            spans: Mutex::default(),
            has_batch: Notify::new(),
            counters,
            anonymous: RateLimiter::per_minute(MAX_ANONYMOUS_PER_MINUTE),
        }
    }

    /// The place in a trace of a request that arrives, below its caller's span where it has named
    /// one; `None` without randomness.
    pub fn place_of(&self, parent: Option<ParentSpan>) -> Option<SpanContext> {
        let span_id = random::bytes().ok()?;
        Some(match parent {
            Some(parent) => SpanContext::below(parent, span_id),
            None => SpanContext::beginning(self.ratio, random::bytes().ok()?, span_id),
        })
    }

    /// Adds the span that `make` makes. It is dropped and counted when the buffer is full, or when
    /// too many anonymous requests have come.
    pub(super) fn push(&self, is_anonymous: bool, make: impl FnOnce() -> Span) {
        // 1. It is not made where there is no room.
        let limit = self.anonymous.as_ref().filter(|_| is_anonymous);
        let is_over = limit.is_some_and(|limit| limit.take().is_err());
        if is_over || self.spans.lock().len() >= MAX_SPANS {
            self.counters.count_dropped(1);
            return;
        }
        // 2. It is made without the lock.
        let span = make();
        let mut spans = self.spans.lock();
        spans.push_back(span);
        let has_batch = spans.len() == BATCH_LEN;
        drop(spans);
        if has_batch {
            self.has_batch.notify_one();
        }
    }

    /// Waits until there may be a whole batch.
    pub async fn has_batch(&self) {
        self.has_batch.notified().await;
    }

    /// Removes and gives the oldest spans, no more than a batch.
    pub fn take_batch(&self) -> Vec<Span> {
        let mut spans = self.spans.lock();
        let count = spans.len().min(BATCH_LEN);
        spans.drain(..count).collect()
    }

    /// The counters of what becomes of spans.
    pub fn counters(&self) -> &SpanCounters {
        &self.counters
    }
}

/// The number of spans that wait at most, beside one for each thread.
const MAX_SPANS: usize = 4096;

/// The number of spans that are sent at once.
const BATCH_LEN: usize = 512;

/// The rate of anonymous spans: 100 a second, of which a minute's worth may come at once.
const MAX_ANONYMOUS_PER_MINUTE: u32 = 6000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Metrics;

    fn buffer() -> SpanBuffer {
        SpanBuffer::new(SampleRatio::default(), Metrics::new().span_counters())
    }

    #[test]
    fn a_full_buffer_drops_spans_and_counts_them() {
        let buffer = buffer();
        for _ in 0..MAX_SPANS + 3 {
            buffer.push(false, Span::default);
        }
        assert_eq!(buffer.counters.dropped(), 3);
        let batches = std::iter::repeat_with(|| buffer.take_batch().len());
        let sent: Vec<_> = batches.take_while(|count| *count > 0).collect();
        assert_eq!(sent, [BATCH_LEN; MAX_SPANS / BATCH_LEN]);
    }

    #[test]
    fn anonymous_requests_can_not_fill_the_buffer_for_long() {
        let buffer = buffer();
        for _ in 0..2 * MAX_ANONYMOUS_PER_MINUTE {
            buffer.push(true, Span::default);
            buffer.spans.lock().clear();
        }
        let dropped = buffer.counters.dropped();
        assert!(dropped > 0 && dropped <= u64::from(MAX_ANONYMOUS_PER_MINUTE), "{dropped}");
        buffer.push(false, Span::default);
        assert_eq!((buffer.counters.dropped(), buffer.take_batch().len()), (dropped, 1));
    }

    #[tokio::test]
    async fn a_whole_batch_is_told_of() {
        let buffer = buffer();
        for _ in 0..BATCH_LEN {
            buffer.push(false, Span::default);
        }
        buffer.has_batch().await;
        assert_eq!(buffer.take_batch().len(), BATCH_LEN);
    }
}
