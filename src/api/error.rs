//! Errors of the management plane: ZIS family A (`{"errors":[{"code","title"}]}`).

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use crate::door::{Fault, TurnedAway};

/// One error of family A.
#[derive(Clone, Debug)]
pub(super) struct Error {
    status: StatusCode,
    code: &'static str,
    title: String,
}

impl Error {
    fn new(status: StatusCode, code: &'static str, title: impl Into<String>) -> Self {
        Self { status, code, title: title.into() }
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", "There is nothing at this path.")
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "MethodNotAllowed",
            "This path is not for that method; Allow names those it is for.",
        )
    }

    pub(super) fn misdirected() -> Self {
        Self::new(
            StatusCode::MISDIRECTED_REQUEST,
            "MisdirectedRequest",
            "The Host field is none of the API's names; the operator can add it to api.allowed_hosts.",
        )
    }

    pub(super) fn turned_away(reason: TurnedAway) -> Self {
        match reason {
            TurnedAway::Fault(Fault::TooLarge) => Self::new(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "HeadTooLarge",
                "The request's head is too large.",
            ),
            TurnedAway::Fault(fault) => Self::new(
                StatusCode::BAD_REQUEST,
                "MalformedRequest",
                format!("Malformed: {fault}."),
            ),
            TurnedAway::Full => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "Overloaded",
                "The server has too many connections; try again.",
            ),
        }
    }

    /// The whole HTTP/1.1 message, for a conn on which no request was read.
    pub(super) fn into_message(self) -> Vec<u8> {
        let body = self.body();
        let retry = if self.status == StatusCode::SERVICE_UNAVAILABLE { RETRY } else { "" };
        format!(
            "HTTP/1.1 {}\r\ncontent-type: application/json\r\nconnection: close\r\n{retry}content-length: {}\r\n\r\n{body}",
            self.status,
            body.len()
        )
        .into_bytes()
    }

    fn body(&self) -> String {
        json!({"errors": [{"code": self.code, "title": self.title}]}).to_string()
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let json = HeaderValue::from_static("application/json");
        (self.status, [(header::CONTENT_TYPE, json)], self.body()).into_response()
    }
}

const RETRY: &str = "retry-after: 1\r\n";
