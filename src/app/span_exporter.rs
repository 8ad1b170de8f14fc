//! Sends the spans of requests to the collector, off the path of any request.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::sync::watch;

use super::log_pace::LogPace;
use crate::clock::instant;
use crate::config::TelemetryConfig;
use crate::error::chain;
use crate::ledger::{Ledger, SpanBatch, SpanBuffer, rejected_spans};
use crate::state::Live;
use crate::tasks::Tasks;
use crate::upstream::{CollectorAnswer, CollectorClient};

/// The sending of spans while the server runs; it does nothing without a collector.
#[derive(Debug, Default)]
pub(super) struct SpanExport {
    exporter: Option<SpanExporter>,
    task: Tasks,
    end: watch::Sender<bool>,
}

/// Sends spans to a collector.
#[derive(Debug)]
struct SpanExporter {
    spans: Arc<SpanBuffer>,
    client: CollectorClient,
    live: Arc<Live>,
    instance: Box<str>,
    /// The pace at which the log is told of failures.
    said: LogPace,
    is_failing: bool,
}

/// The reason why a batch was not taken.
#[derive(Debug, Eq, PartialEq)]
struct NotTaken {
    why: String,
    /// Tells whether the same batch may be taken later.
    may_retry: bool,
    /// The pause that the collector asks for.
    retry_after: Option<Duration>,
}

/// The buffer that requests add their spans to; `None` without a collector.
pub(super) fn span_buffer(config: &TelemetryConfig, ledger: &Ledger) -> Option<Arc<SpanBuffer>> {
    let counters = ledger.metrics.span_counters();
    config.otlp_endpoint.is_some().then(|| Arc::new(SpanBuffer::new(config.sample, counters)))
}

impl SpanExport {
    pub(super) fn new(config: &TelemetryConfig, ledger: &Ledger, live: &Arc<Live>) -> Self {
        let wanted = config.otlp_endpoint.clone().zip(ledger.spans.clone());
        let exporter = wanted.map(|(url, spans)| SpanExporter {
            spans,
            client: CollectorClient::new(url, Tasks::default()),
            live: Arc::clone(live),
            instance: ledger.instance.clone(),
            said: LogPace::default(),
            is_failing: false,
        });
        Self { exporter, ..Self::default() }
    }

    /// Starts to send, on the current runtime.
    pub(super) fn start(&mut self) {
        if let Some(exporter) = self.exporter.take() {
            self.task.spawn(exporter.run(self.end.subscribe()));
        }
    }

    /// Sends what is left, for no longer than a bound, nor than `grace`.
    pub(super) async fn finish(&self, grace: Duration) {
        let _nobody_listens = self.end.send(true);
        let limit = grace.min(LAST_SPANS_TIMEOUT);
        if tokio::time::timeout(limit, self.task.finished()).await.is_err() {
            tracing::warn!(
                ?limit,
                "the last spans are lost: the collector did not take them in time; see that it \
                 answers"
            );
        }
    }
}

impl SpanExporter {
    /// Goes on until `end` says so; then what is left is sent once.
    async fn run(mut self, mut end: watch::Receiver<bool>) {
        loop {
            let is_end = tokio::select! {
                () = tokio::time::sleep(EXPORT_INTERVAL) => false,
                () = self.spans.has_batch() => false,
                _ended = end.wait_for(|ended| *ended) => true,
            };
            loop {
                let spans = self.spans.take_batch();
                if spans.is_empty() {
                    break;
                }
                let batch = SpanBatch::new(spans, &self.instance);
                self.send(&batch, &mut end).await;
            }
            if is_end {
                return;
            }
        }
    }

    /// Sends a batch, again after a pause while that may help, and gives it up in the end.
    async fn send(&mut self, batch: &SpanBatch, end: &mut watch::Receiver<bool>) {
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            // 1. An attempt.
            let NotTaken { why, may_retry, retry_after } = match self.try_send(batch).await {
                Ok(()) => return self.note_taken(),
                Err(not_taken) => not_taken,
            };
            let is_last = !may_retry || attempt >= MAX_ATTEMPTS || *end.borrow();
            self.note_failure(&why, is_last.then_some(batch.count));
            if is_last {
                return self.spans.counters().count_dropped(batch.count);
            }
            // 2. A pause. At the end of the server there is none.
            let wait = retry_after.unwrap_or(pause).min(MAX_PAUSE);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ended = end.wait_for(|ended| *ended) => {}
            }
            pause *= 2;
        }
    }

    async fn try_send(&mut self, batch: &SpanBatch) -> Result<(), NotTaken> {
        let rules = Arc::clone(&self.live.load().rules);
        let answer = self.client.post(&rules, batch.body.clone()).await.map_err(|error| {
            let why = chain(&error).to_string();
            NotTaken { why, may_retry: true, retry_after: None }
        })?;
        judge(&answer)?;
        // The collector may have refused some of them, which it must not be sent again.
        let (rejected, why) = rejected_spans(&answer.body);
        let rejected = rejected.min(batch.count);
        let counters = self.spans.counters();
        counters.count_exported(batch.count - rejected);
        counters.count_dropped(rejected);
        if rejected > 0 {
            self.note_failure(&format!("it has rejected them: {why}"), Some(rejected));
        }
        Ok(())
    }

    fn note_taken(&mut self) {
        if std::mem::take(&mut self.is_failing) {
            tracing::info!("spans are sent to the collector again");
        }
    }

    /// Tells the log of a failure, once a minute.
    fn note_failure(&mut self, why: &str, dropped: Option<u64>) {
        self.is_failing = true;
        if !self.said.is_due(instant()) {
            return;
        }
        let url = self.client.url();
        let dropped = dropped.unwrap_or_default();
        tracing::warn!(
            %url,
            why,
            dropped,
            "spans were not sent to the collector: see that it runs, and that \
             telemetry.otlp_endpoint leads to it; requests are answered all the same"
        );
    }
}

/// Tells whether a collector has taken a batch (OTLP, "Failures").
fn judge(answer: &CollectorAnswer) -> Result<(), NotTaken> {
    if answer.status.is_success() {
        return Ok(());
    }
    let may_retry = matches!(
        answer.status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    );
    let why = format!("it answered {}", answer.status);
    Err(NotTaken { why, may_retry, retry_after: answer.retry_after })
}

/// The longest time that a span waits while there are few, as OpenTelemetry's batches have it.
const EXPORT_INTERVAL: Duration = Duration::from_secs(5);

/// The number of times that a batch is sent at most.
const MAX_ATTEMPTS: u32 = 5;

/// The pause after the first attempt; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause between two attempts.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// The time that the last spans may take once all requests have ended.
const LAST_SPANS_TIMEOUT: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_sent_again() {
        let judged = |status: u16| {
            let status = StatusCode::from_u16(status).unwrap();
            let body = bytes::Bytes::new();
            judge(&CollectorAnswer { status, retry_after: None, body }).map_err(|no| no.may_retry)
        };
        for status in [200, 202, 204] {
            assert_eq!(judged(status), Ok(()));
        }
        for status in [429, 502, 503, 504] {
            assert_eq!(judged(status), Err(true), "{status}");
        }
        for status in [301, 307, 400, 401, 404, 500] {
            assert_eq!(judged(status), Err(false), "{status}");
        }
    }
}
