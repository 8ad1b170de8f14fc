//! Counts of requests, and the health of connections (contract §8).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::PageMeta;

/// Counts of requests over some time, from the oldest to the newest.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
pub struct StatsAnswer {
    /// `minute` or `hour`: the length of each part.
    #[schema(example = "minute")]
    pub by: String,
    /// The parts, without a gap.
    pub stats: Vec<StatsPart>,
    /// The counts of each caller in all of that time, the most requests first; only where they were
    /// asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub callers: Option<Vec<CallerStats>>,
}

/// The counts of a caller.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
pub struct CallerStats {
    /// The name of its token; empty for requests whose caller is not known, or not told apart.
    #[schema(example = "ci")]
    pub caller: String,
    /// The number of requests, sent or refused.
    #[schema(example = 12)]
    pub requests: u64,
    /// Those that were sent, by the class of the answer's status.
    #[schema(example = json!({"2xx": 9, "4xx": 1}))]
    pub answered: BTreeMap<String, u64>,
    /// Those that were refused, or failed, by code.
    #[schema(example = json!({"CertificateInvalid": 2}))]
    pub refused: BTreeMap<String, u64>,
}

/// The counts of a minute or an hour.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
pub struct StatsPart {
    /// Its start (RFC 3339, UTC).
    #[schema(example = "2026-11-30T12:00:00.000000Z", format = DateTime)]
    pub time: String,
    /// The number of requests, sent or refused.
    #[schema(example = 12)]
    pub requests: u64,
    /// Those that were sent, by the class of the answer's status; `other` are those whose caller had
    /// gone.
    #[schema(example = json!({"2xx": 9, "4xx": 1}))]
    pub answered: BTreeMap<String, u64>,
    /// Those that were refused, or failed, by code.
    #[schema(example = json!({"CertificateInvalid": 2}))]
    pub refused: BTreeMap<String, u64>,
    /// The times until answers began; null without answers.
    #[schema(nullable = true)]
    pub latency_ms: Option<LatencyView>,
    /// Refreshes that brought tokens.
    #[schema(example = 0)]
    pub refreshed: u64,
    /// Refreshes that did not.
    #[schema(example = 0)]
    pub not_refreshed: u64,
}

/// Times in milliseconds within which a part of the answers began, each an upper bound.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, ToSchema)]
#[schema(as = Latency)]
pub struct LatencyView {
    /// Half of them.
    #[schema(example = 20.0)]
    pub p50: f64,
    /// 95 of 100.
    #[schema(example = 75.0)]
    pub p95: f64,
    /// 99 of 100.
    #[schema(example = 150.0)]
    pub p99: f64,
}

/// A page of connections, each with its health.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
pub struct HealthPage {
    #[expect(missing_docs, reason = "the type says it")]
    pub connections: Vec<HealthView>,
    #[expect(missing_docs, reason = "the type says it")]
    pub meta: PageMeta,
}

/// The health of a connection, over the latest quarters of an hour in which it was used.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[schema(as = ConnectionHealth)]
pub struct HealthView {
    /// Its integration.
    #[schema(example = "my_integration")]
    pub integration: String,
    /// Its name.
    #[schema(example = "example")]
    pub name: String,
    /// `works`, `unused`, `failing`, `authorize`, `broken` or `off`.
    #[schema(example = "failing")]
    pub state: String,
    /// Its state in a sentence.
    #[schema(
        example = "failing since 2026-11-30 14:02 UTC: 37 % of 120 requests, mostly 401: the API refuses the key"
    )]
    pub summary: String,
    /// The one who must act, as in the entries of requests; empty when nobody must.
    #[schema(example = "operator")]
    pub who: String,
    /// The way to act; empty when nobody must.
    #[schema(
        example = "Replace the secret, or authorize again: the API says that it is not good."
    )]
    pub advice: String,
    /// Only there when its requests fail: the time of the first of these failures (RFC 3339, UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    pub failing_since: Option<String>,
    /// The number of requests in that time.
    #[schema(example = 120)]
    pub requests: u64,
    /// The number of those that failed.
    #[schema(example = 44)]
    pub failed: u64,
    /// The number of requests since midnight UTC.
    #[schema(example = 120)]
    pub requests_today: u64,
    /// The time of its last use (RFC 3339, UTC); null before the first.
    #[schema(nullable = true, format = DateTime)]
    pub last_used_at: Option<String>,
    /// Its last failure; null without one.
    #[schema(nullable = true)]
    pub last_failure: Option<FailureView>,
    /// The number of refusals of late that their callers must act upon, and that say nothing of the
    /// connection: in this quarter of an hour and in the one before.
    #[serde(default)]
    #[schema(example = 0)]
    pub refusals: u64,
    /// The last of these; null without one.
    #[serde(default)]
    #[schema(nullable = true)]
    pub last_refusal: Option<FailureView>,
}

/// A failure of a connection.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[schema(as = ConnectionFailure)]
pub struct FailureView {
    /// The time (RFC 3339, UTC).
    #[schema(example = "2026-11-30T14:31:07.000000Z", format = DateTime)]
    pub at: String,
    /// The status of the API's answer, or the code of the refusal.
    #[schema(example = "401")]
    pub cause: String,
    /// The fault in a few words.
    #[schema(example = "the API refuses the key")]
    pub reason: String,
    /// The id of the request.
    #[schema(example = "1f45d091-7")]
    pub request_id: String,
}
