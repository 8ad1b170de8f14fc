//! The audit trail (contract §5, §7).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::PageMeta;

/// A page of the audit trail, newest first.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[schema(as = Trail)]
pub struct AuditEntries {
    #[expect(missing_docs, reason = "the type says it")]
    pub entries: Vec<AuditEntry>,
    #[expect(missing_docs, reason = "the type says it")]
    pub meta: PageMeta,
}

/// The entry of one request. No secret, query, body or header is in it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct AuditEntry {
    /// The time at which it arrived (RFC 3339).
    #[schema(example = "2026-11-24T06:00:00.123456Z")]
    pub time: String,
    /// Its id.
    #[schema(example = "1f45d091-7")]
    pub request_id: String,
    /// The caller's name; empty when it was not known.
    #[schema(example = "ci")]
    pub caller: String,
    /// The integration; empty when it was not known.
    #[schema(example = "my_integration")]
    pub integration: String,
    /// The connection; empty when none was chosen.
    #[schema(example = "example")]
    pub connection: String,
    /// The method.
    #[schema(example = "GET")]
    pub method: String,
    /// The origin that it was for, whether it was allowed to go there or not; empty when that was
    /// not known.
    #[schema(example = "https://api.example.com")]
    pub origin: String,
    /// The path, without a query.
    #[schema(example = "/v1")]
    pub path: String,
    /// The request's form.
    #[schema(example = "absolute")]
    pub form: String,
    /// `allow` or `refuse`.
    #[schema(example = "allow")]
    pub decision: String,
    /// The refusal's code; empty when it was allowed.
    #[schema(example = "")]
    pub code: String,
    /// The rule that decided.
    #[schema(example = "covers")]
    pub rule: String,
    /// The answer's status; 0 when the caller went away before there was one.
    #[schema(example = 200)]
    pub status: u16,
    /// Bytes of the request's body.
    #[schema(example = 0)]
    pub request_bytes: u64,
    /// Bytes of the response's body.
    #[schema(example = 512)]
    pub response_bytes: u64,
    /// The time that it took, in milliseconds.
    #[schema(example = 12.3)]
    pub total_ms: f64,
    /// The origin's part of that time, in milliseconds.
    #[schema(example = 12.1)]
    pub upstream_ms: f64,
    /// The process that answered it.
    #[schema(example = "1f45d091")]
    pub instance: String,
    /// The reason why it failed, for the operator; empty when nothing did.
    #[serde(default)]
    #[schema(required = true, example = "")]
    pub cause: String,
    /// The one who must act: `caller`, `operator`, `caller_or_operator`; `api`, which is the operator
    /// of the API; `user`, who has an account at the provider of tokens; or `retry`, where it is
    /// tried again by itself. Empty when nobody must.
    #[serde(default)]
    #[schema(required = true, example = "")]
    pub who: String,
    /// The id of its trace; absent where traces are not sent to a collector.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(required = false, example = "0af7651916cd43dd8448eb211c80319c")]
    pub trace_id: String,
}

/// The entry of one request, with its way out.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize, ToSchema)]
#[schema(as = RequestEntry)]
pub struct RequestView {
    #[expect(missing_docs, reason = "the type says it")]
    #[serde(flatten)]
    pub entry: AuditEntry,
    /// The fault in a few words; empty when nothing did.
    #[schema(example = "the API refuses the key")]
    pub reason: String,
    /// The way to act; empty when nobody must.
    #[schema(
        example = "Replace the secret, or authorize again: the API says that it is not good."
    )]
    pub advice: String,
    /// The section of the documentation about the refusal's code; empty when it was allowed.
    #[schema(example = "docs/reference/errors.md#domainnotallowed")]
    pub docs: String,
}

/// One request.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
pub struct RequestAnswer {
    #[expect(missing_docs, reason = "the type says it")]
    pub request: RequestView,
}
