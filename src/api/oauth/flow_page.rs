//! The pages that people see at the end of a flow. Nothing can be done on them.

use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};
use maud::{DOCTYPE, html};

use crate::model::content_policy::ContentPolicy;

/// The page of a flow that has made a connection, however often it is loaded.
pub(super) fn connected(name: &str) -> Response {
    let body = format!("The connection {name} is there. You can close this window.");
    page(StatusCode::OK, "Connected", &body)
}

/// The page of a flow that has failed, for this reason.
pub(super) fn failed(words: &str) -> Response {
    page(StatusCode::OK, NOT_CONNECTED, &format!("{words} Start the flow again."))
}

/// The page of a flow whose provider was not reached: its code is unspent.
pub(super) fn not_yet(words: &str) -> Response {
    let body = format!(
        "{words} Your sign-in still counts: load this page again in a moment. If that does not \
         help within ten minutes, start the flow again."
    );
    page(StatusCode::SERVICE_UNAVAILABLE, "Not connected yet", &body)
}

/// The page for a browser that has not begun the flow.
pub(super) fn begun_elsewhere() -> Response {
    let body = "This sign-in was started in another browser or program. Go back there and finish \
        it: it still works.";
    page(StatusCode::BAD_REQUEST, NOT_CONNECTED, body)
}

/// The page in the place of an error of this status.
pub(super) fn of_error(status: StatusCode) -> Response {
    match status {
        StatusCode::BAD_REQUEST => page(status, "Nothing left to do", USED),
        StatusCode::SERVICE_UNAVAILABLE => page(status, NOT_CONNECTED, UNAVAILABLE),
        _ => page(status, NOT_CONNECTED, BROKEN),
    }
}

fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let html = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                title { (title) " – Keyferry" }
            }
            body { main { h1 { (title) } p { (body) } } }
        }
    };
    let fields = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(ContentPolicy::Inert.as_str())),
        (header::REFERRER_POLICY, HeaderValue::from_static(ContentPolicy::Inert.referrer())),
    ];
    (status, fields, html.into_string()).into_response()
}

const NOT_CONNECTED: &str = "Not connected";
const USED: &str = "This link was used already, or is older than ten minutes. If the connection \
    was made, it stays, and you can close this window. If not, start the flow again.";
const UNAVAILABLE: &str = "The server can't reach its store. Load this page again in a moment; if \
    it says that the link was used, start the flow again.";
const BROKEN: &str = "The server failed; its log says why. Tell your administrator, and start the \
    flow again.";
