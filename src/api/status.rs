//! The state of the server: `/healthz`, `/readyz` and `/metrics` without a token, the rest with any
//! one.

use std::sync::atomic::Ordering::Relaxed;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};

use super::ApiState;
use super::auth::AuthenticatedOperator;
use super::page::NoQuery;
use crate::ledger::ProcessStats;
use crate::wire::{ReadyAnswer, ServerAnswer, ServerInfo, StoreReadiness};

/// Show the server
///
/// Tells any holder of a token where the server is reached.
#[utoipa::path(
    get,
    path = "/api/keyferry/v1/server",
    operation_id = "show_server",
    tag = "server",
    responses((status = 200, description = "The server", body = ServerAnswer))
)]
pub(super) async fn server(
    operator: AuthenticatedOperator,
    _none: NoQuery,
    State(state): State<ApiState>,
) -> Json<ServerAnswer> {
    let server = ServerInfo {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        proxy: state.proxies.to_vec(),
        public_url: operator.management.public_url(),
    };
    Json(ServerAnswer { server })
}

/// Tell whether the process lives
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "health",
    tag = "server",
    responses((status = 200, description = "It lives", body = String, content_type = "text/plain", example = "ok"))
)]
pub(super) async fn health() -> &'static str {
    "ok\n"
}

/// Tell whether requests are welcome
///
/// Also says whether the store can be written: that alone does not make requests unwelcome.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "ready",
    tag = "server",
    responses(
        (status = 200, description = "They are", body = ReadyAnswer),
        (status = 503, description = "They are not", body = ReadyAnswer),
    )
)]
pub(super) async fn ready(State(state): State<ApiState>) -> Response {
    let staleness = state.metrics.store_staleness();
    let reason = if state.draining.load(Relaxed) {
        Some("shutting down".to_owned())
    } else if staleness.is_zero() {
        None
    } else {
        Some(format!("the store has not answered for {} s", staleness.as_secs()))
    };
    let unwritable = state.metrics.store_unwritable();
    let store = StoreReadiness {
        readable: staleness.is_zero(),
        writable: unwritable.is_none(),
        reason: unwritable.map(str::to_owned),
    };
    let ready = reason.is_none();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let told = serde_json::to_string(&ReadyAnswer { ready, reason, store }).unwrap_or_default();
    // People read it by curl, whose prompt would stand behind the last brace.
    (status, [(header::CONTENT_TYPE, "application/json")], told + "\n").into_response()
}

/// The figures, as Prometheus reads them
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    tag = "server",
    responses((
        status = 200,
        description = "The figures",
        body = String,
        content_type = "application/openmetrics-text",
        example = "# TYPE keyferry_build_info gauge"
    ))
)]
pub(super) async fn metrics(State(state): State<ApiState>) -> Response {
    let process = ProcessStats {
        caller_conns: state.conn_limit.conns(),
        upstream: state.gauges.snapshot(),
        log_lines_dropped: state.sink.dropped(),
        leaves: state.leaves.len(),
    };
    state.management.note_tokens(&state.metrics);
    let text = state.metrics.render(&process);
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
        .into_response()
}
