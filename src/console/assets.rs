//! The style sheet of the pages and their few lines of script, out of the program itself.

use axum::response::{IntoResponse as _, Response};
use http::header;

pub(super) async fn style() -> Response {
    asset("text/css; charset=utf-8", include_str!("console.css"))
}

pub(super) async fn script() -> Response {
    asset("text/javascript; charset=utf-8", include_str!("console.js"))
}

pub(super) async fn icon() -> Response {
    asset("image/svg+xml", include_str!("icon.svg"))
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}
