//! Requests, found by what they did (contract §8).

use std::cmp::Reverse;

use axum::Json;

use super::auth::AuthenticatedOperator;
use super::body::PathParam;
use super::error::Error;
use super::events::RawParameters;
use super::page::{NoQuery, Parameters, RequestParameters, read_filtered};
use crate::management::{AuditPage, RequestQuery};
use crate::wire::{AuditEntries, PageMeta, RequestAnswer};

/// Find requests
///
/// Lists entries of requests, newest first, as far as the token reaches, that all filters select. A
/// page may be empty, with more behind it, only where much was read in vain. A request is entered
/// within about a second of its end. Needs the scope `audit`.
#[utoipa::path(
    get,
    path = "/api/keyferry/v1/requests",
    operation_id = "list_requests",
    tag = "audit",
    params(Parameters, RequestParameters),
    responses((status = 200, description = "A page of entries", body = AuditEntries))
)]
pub(super) async fn list(
    operator: AuthenticatedOperator,
    RawParameters(query): RawParameters,
) -> Result<Json<AuditEntries>, Error> {
    let reader = operator.management.audit_reader(&operator.operator)?;
    // 1. The filters.
    let names = [
        "since",
        "until",
        "integration",
        "connection",
        "caller",
        "decision",
        "code",
        "status",
        "method",
        "path",
    ];
    let (window, filters) = read_filtered::<true, 10>(&query, names)?;
    let [since, until, integration, connection, caller, decision, code, status, method, path] =
        filters;
    let query = RequestQuery {
        since,
        until,
        integration,
        connection,
        caller,
        decision,
        code,
        status,
        method,
        path,
    };
    // 2. The page.
    Ok(Json(answer(reader.find(&query, &window).await?)))
}

/// Show a request
///
/// Its entry, with what went wrong, who must act, and what they do. Needs the scope `audit`.
#[utoipa::path(
    get,
    path = "/api/keyferry/v1/requests/{request_id}",
    operation_id = "show_request",
    tag = "audit",
    params(("request_id" = String, Path, description = "Id of the request, as its answer's X-Keyferry-Request-Id has it", example = "1f45d091-7")),
    responses((status = 200, description = "The request", body = RequestAnswer))
)]
pub(super) async fn show(
    operator: AuthenticatedOperator,
    PathParam(request_id): PathParam<String>,
    _none: NoQuery,
) -> Result<Json<RequestAnswer>, Error> {
    let reader = operator.management.audit_reader(&operator.operator)?;
    let request = reader.show(&request_id).await;
    let request = request.map_err(|refused| Error::refused(refused, "The request's entry"))?;
    Ok(Json(RequestAnswer { request }))
}

/// A page of entries, with the cursors of its ends.
pub(super) fn answer(page: AuditPage) -> AuditEntries {
    let AuditPage { listing, looked_until, .. } = page;
    let positions = listing.items.iter().map(|(position, _)| *position);
    // In the order of the list: where the search was broken off is its far end.
    let mut positions: Vec<_> = positions.chain(looked_until).collect();
    positions.sort_by_key(|position| Reverse(*position));
    let cursors: Vec<_> = positions.iter().map(ToString::to_string).collect();
    let meta = PageMeta::of(cursors.iter().map(String::as_str), listing.has_more);
    let entries = listing.items.into_iter().map(|(_, entry)| entry).collect();
    AuditEntries { entries, meta }
}
