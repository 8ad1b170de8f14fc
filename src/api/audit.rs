//! The audit trail (contract §5, §7).

use std::cmp::Reverse;

use axum::Json;

use super::auth::AuthenticatedOperator;
use super::error::Error;
use super::page::{PageQuery, Parameters};
use crate::management::AuditPage;
use crate::wire::{AuditEntries, PageMeta};

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
    responses((status = 200, description = "A page of entries", body = AuditEntries))
)]
pub(super) async fn list(
    operator: AuthenticatedOperator,
    PageQuery(window): PageQuery<true>,
) -> Result<Json<AuditEntries>, Error> {
    let reader = operator.management.audit_reader(&operator.operator)?;
    let AuditPage { listing, looked_until, .. } = reader.list(&window).await?;
    let positions = listing.items.iter().map(|(position, _)| *position);
    // In the order of the list: where the search was broken off is its far end.
    let mut positions: Vec<_> = positions.chain(looked_until).collect();
    positions.sort_by_key(|position| Reverse(*position));
    let cursors: Vec<_> = positions.iter().map(ToString::to_string).collect();
    let meta = PageMeta::of(cursors.iter().map(String::as_str), listing.has_more);
    let entries = listing.items.into_iter().map(|(_, entry)| entry).collect();
    Ok(Json(AuditEntries { entries, meta }))
}
