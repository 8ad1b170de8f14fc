//! The audit trail (contract §5, §7).

use std::cmp::Reverse;

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::AuthenticatedOperator;
use super::error::Error;
use super::page::{Meta, Parameters, StrictPageQuery};
use crate::management::{AuditPage, Audited, Refused};

/// A page of the audit trail, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Trail {
    entries: Vec<AuditEntry>,
    meta: Meta,
}

/// The entry of one request. No secret, query, body or header is in it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditEntry {
    /// When it arrived (RFC 3339).
    #[schema(example = "2026-11-24T06:00:00.123456Z")]
    time: String,
    /// Its id.
    #[schema(example = "1f45d091-7")]
    request_id: String,
    /// The caller's name; empty when it was not known.
    #[schema(example = "ci")]
    caller: String,
    /// The integration; empty when it was not known.
    #[schema(example = "my_integration")]
    integration: String,
    /// The connection; empty when none was chosen.
    #[schema(example = "example")]
    connection: String,
    /// The method.
    #[schema(example = "GET")]
    method: String,
    /// Where it was to go, whether it was allowed to or not; empty when that was not known.
    #[schema(example = "https://api.example.com")]
    origin: String,
    /// The path, without a query.
    #[schema(example = "/v1")]
    path: String,
    /// The request's form.
    #[schema(example = "absolute")]
    form: String,
    /// `allow` or `refuse`.
    #[schema(example = "allow")]
    decision: String,
    /// The refusal's code; empty when it was allowed.
    #[schema(example = "")]
    code: String,
    /// The rule that decided.
    #[schema(example = "covers")]
    rule: String,
    /// The answer's status; 0 when the caller went away before there was one.
    #[schema(example = 200)]
    status: u16,
    /// Bytes of the request's body.
    #[schema(example = 0)]
    request_bytes: u64,
    /// Bytes of the response's body.
    #[schema(example = 512)]
    response_bytes: u64,
    /// How long it took, in milliseconds.
    #[schema(example = 12.3)]
    total_ms: f64,
    /// How long of that the origin took, in milliseconds.
    #[schema(example = 12.1)]
    upstream_ms: f64,
    /// Which process answered it.
    #[schema(example = "1f45d091")]
    instance: String,
    /// The reason why it failed, for the operator; empty when nothing did.
    #[schema(example = "")]
    cause: String,
}

/// Read the audit trail
///
/// One entry for each request of the data plane, newest first, of the integrations that the token
/// reaches. A request is entered within about a second of its end.
#[utoipa::path(
    get,
    path = "/api/keyferry/v1/audit",
    operation_id = "read_audit",
    tag = "audit",
    params(Parameters),
    responses((status = 200, description = "A page of entries", body = Trail))
)]
pub(super) async fn list(
    seat: AuthenticatedOperator,
    asked: StrictPageQuery,
) -> Result<Json<Trail>, Error> {
    let auditing = seat.management.audit_reader(&seat.operator).map_err(refused)?;
    let StrictPageQuery(window) = asked;
    let AuditPage { listing, looked_until, .. } = auditing.list(&window).await.map_err(refused)?;
    let positions = listing.items.iter().map(|(position, _)| *position);
    // In the order of the list: where the search was broken off is its far end.
    let mut positions: Vec<_> = positions.chain(looked_until).collect();
    positions.sort_by_key(|position| Reverse(*position));
    let cursors: Vec<_> = positions.iter().map(ToString::to_string).collect();
    let meta = Meta::of(cursors.iter().map(String::as_str), listing.has_more);
    let entries = listing.items.into_iter().map(|(_, entry)| entry.into()).collect();
    Ok(Json(Trail { entries, meta }))
}

impl From<Audited> for AuditEntry {
    fn from(entry: Audited) -> Self {
        let Audited {
            time,
            request_id,
            caller,
            integration,
            connection,
            method,
            origin,
            path,
            form,
            decision,
            code,
            rule,
            status,
            request_bytes,
            response_bytes,
            total_ms,
            upstream_ms,
            instance,
            cause,
        } = entry;
        Self {
            time,
            request_id,
            caller,
            integration,
            connection,
            method,
            origin,
            path,
            form,
            decision,
            code,
            rule,
            status,
            request_bytes,
            response_bytes,
            total_ms,
            upstream_ms,
            instance,
            cause,
        }
    }
}

fn refused(refused: Refused) -> Error {
    Error::refused(refused, "Entry")
}
