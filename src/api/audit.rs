//! The audit trail (contract §5, §7).

use axum::Json;

use super::auth::AuthenticatedOperator;
use super::error::Error;
use super::page::{PageQuery, Parameters};
use super::requests::answer;
use crate::wire::AuditEntries;

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
    Ok(Json(answer(reader.list(&window).await?)))
}
