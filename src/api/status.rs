//! `/healthz`, `/readyz`, `/metrics`: no token, and nothing that needs one.

use std::sync::atomic::Ordering::Relaxed;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};

use super::Rooms;
use crate::ledger::Vitals;

/// Whether the process lives
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

/// Whether requests are welcome
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "ready",
    tag = "server",
    responses(
        (status = 200, description = "They are", body = String, content_type = "text/plain", example = "ready"),
        (status = 503, description = "They are not", body = String, content_type = "text/plain", example = "shutting down"),
    )
)]
pub(super) async fn ready(State(rooms): State<Rooms>) -> Response {
    let staleness = rooms.metrics.store_staleness();
    if rooms.draining.load(Relaxed) {
        (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n").into_response()
    } else if !staleness.is_zero() {
        let said = format!("the store has not answered for {} s\n", staleness.as_secs());
        (StatusCode::SERVICE_UNAVAILABLE, said).into_response()
    } else {
        "ready\n".into_response()
    }
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
pub(super) async fn metrics(State(rooms): State<Rooms>) -> Response {
    let vitals = Vitals {
        caller_conns: rooms.doorkeeper.conns(),
        upstream: rooms.gauges.snapshot(),
        log_lines_dropped: rooms.sink.dropped(),
        leaves: rooms.leaves.len(),
    };
    rooms.desk.note_tokens(&rooms.metrics);
    let text = rooms.metrics.render(&vitals);
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
        .into_response()
}
