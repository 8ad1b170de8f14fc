//! Counts of requests, and the health of connections (contract §8).

use axum::Json;

use super::auth::AuthenticatedOperator;
use super::error::Error;
use super::events::RawParameters;
use super::page::{HealthParameters, Parameters, StatsParameters, read_filtered};
use crate::management::{HealthQuery, StatsQuery};
use crate::wire::{HealthPage, PageMeta, StatsAnswer};

/// Count requests
///
/// Gives the counts of each minute, which are kept for 25 hours, or of each hour, which are kept as
/// long as entries: by status class and code, with the times until answers began. The counts are
/// those of all instances, each within about a second. Needs the scope `audit`, and a token that
/// reaches all that is counted.
#[utoipa::path(
    get,
    path = "/api/keyferry/v1/stats",
    operation_id = "request_stats",
    tag = "audit",
    params(StatsParameters),
    responses((status = 200, description = "The counts", body = StatsAnswer))
)]
pub(super) async fn list(
    operator: AuthenticatedOperator,
    RawParameters(query): RawParameters,
) -> Result<Json<StatsAnswer>, Error> {
    let reader = operator.management.audit_reader(&operator.operator)?;
    let names = ["since", "until", "integration", "connection", "caller", "by", "per"];
    let filters = super::page::read_filters(&query, names)?;
    let [since, until, integration, connection, caller, by, per] = filters;
    let query = StatsQuery { integration, connection, caller, since, until, by, per };
    Ok(Json(reader.history(&query).await?.answer()))
}

/// Show the health of connections
///
/// In the order of their full names, each with its state, and with the share of requests that fail
/// and why, over the latest quarters of an hour in which it was used, at all instances.
/// `state=attention` selects those for which somebody must act. Needs the scope `read` or `audit`.
#[utoipa::path(
    get,
    path = "/api/keyferry/v1/health",
    operation_id = "list_health",
    tag = "connections",
    params(Parameters, HealthParameters),
    responses((status = 200, description = "A page of connections", body = HealthPage))
)]
pub(super) async fn health(
    operator: AuthenticatedOperator,
    RawParameters(query): RawParameters,
) -> Result<Json<HealthPage>, Error> {
    let names = ["integration", "connection", "state"];
    let (window, filters) = read_filtered::<true, 3>(&query, names)?;
    let [integration, connection, state] = filters;
    let query = HealthQuery { integration, connection, state };
    let page = operator.management.health(&operator.operator, &query, &window).await?;
    let meta = PageMeta::of(page.items.iter().map(|(key, _)| key.as_str()), page.has_more);
    let connections = page.items.into_iter().map(|(_, view)| view).collect();
    Ok(Json(HealthPage { connections, meta }))
}
