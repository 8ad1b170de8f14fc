//! The API's description, and a page to read it; both out of the program itself.

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header;

use super::{ApiState, openapi};
use crate::model::content_policy::ContentPolicy;

/// Describe the API
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "describe",
    tag = "server",
    responses((status = 200, description = "This document", body = serde_json::Value))
)]
pub(super) async fn description() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], openapi::document()).into_response()
}

/// Read the API's description
#[utoipa::path(
    get,
    path = "/docs",
    operation_id = "read_description",
    tag = "server",
    responses((status = 200, description = "A page", body = String, content_type = "text/html"))
)]
pub(super) async fn page() -> Response {
    asset("text/html; charset=utf-8", include_str!("docs/page.html"))
}

/// The script and the style of the page.
pub(super) fn assets() -> Router<ApiState> {
    let script = || async { asset("text/javascript; charset=utf-8", include_str!("docs/page.js")) };
    let style = || async { asset("text/css; charset=utf-8", include_str!("docs/page.css")) };
    Router::new().route("/docs/page.js", get(script)).route("/docs/page.css", get(style))
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, ContentPolicy::ApiDescription.as_str()),
        (header::REFERRER_POLICY, ContentPolicy::ApiDescription.referrer()),
    ];
    (headers, text).into_response()
}
