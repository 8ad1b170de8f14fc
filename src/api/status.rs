//! What the server tells of itself: `/healthz`, `/readyz` and `/metrics` without a token, where it is
//! reached with any.

use std::sync::atomic::Ordering::Relaxed;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};

use serde::Serialize;
use utoipa::ToSchema;

use super::ApiState;
use super::auth::AuthenticatedOperator;
use super::page::NoQuery;
use crate::ledger::ProcessStats;

/// What a server tells of itself.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Server {
    /// Its version.
    #[schema(example = "0.1.0")]
    version: &'static str,
    /// Where callers reach the proxy: `http://`, `https://` or `unix:`.
    #[schema(example = json!(["http://127.0.0.1:8080"]))]
    proxy: Vec<String>,
    /// Where browsers reach the API and the console.
    #[schema(example = "http://127.0.0.1:8081")]
    public_url: String,
}

/// Tells whether requests are welcome.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Readiness {
    /// Tells whether they are.
    ready: bool,
    /// The reason why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    store: StoreReadiness,
}

/// The state of the store: whether it can be read and written.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StoreReadiness {
    /// Tells whether it answers. Where it does not, requests go on with what is known.
    readable: bool,
    /// Tells whether it can be written. Where it can't, requests go on, but nothing is changed and
    /// no tokens are refreshed.
    writable: bool,
    /// The reason why it can't be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

/// A server.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ServerAnswer {
    server: Server,
}

/// Show the server
///
/// Where it is reached, for whoever has a token.
#[utoipa::path(
    get,
    path = "/api/keyferry/v1/server",
    operation_id = "show_server",
    tag = "server",
    responses((status = 200, description = "The server", body = ServerAnswer))
)]
pub(super) async fn server(
    seat: AuthenticatedOperator,
    _none: NoQuery,
    State(state): State<ApiState>,
) -> Json<ServerAnswer> {
    let server = Server {
        version: env!("CARGO_PKG_VERSION"),
        proxy: state.proxies.to_vec(),
        public_url: seat.management.public_url(),
    };
    Json(ServerAnswer { server })
}

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
///
/// Also says whether the store can be written: that alone does not make requests unwelcome.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "ready",
    tag = "server",
    responses(
        (status = 200, description = "They are", body = Readiness),
        (status = 503, description = "They are not", body = Readiness),
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
        reason: unwritable,
    };
    let ready = reason.is_none();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let told = serde_json::to_string(&Readiness { ready, reason, store }).unwrap_or_default();
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
    let stats = ProcessStats {
        caller_conns: state.conn_limit.conns(),
        upstream: state.gauges.snapshot(),
        log_lines_dropped: state.sink.dropped(),
        leaves: state.leaves.len(),
    };
    state.management.note_tokens(&state.metrics);
    let text = state.metrics.render(&stats);
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
        .into_response()
}
