//! Errors of the management plane, in the two families of ZIS (spec §3).

mod numbered;

use axum::response::{IntoResponse, Response};
use http::StatusCode;

use crate::error::capitalized;
use crate::http1::FramingFault;
use crate::listener::EarlyRefusal;
use crate::management::{About, Refused, RequestFault};
use crate::model::sealed::KeyId;
use crate::oauth::TokenFailure;
use crate::rate_limit::RateExceeded;
use crate::wire::{ErrorBody, ErrorItem};

use self::numbered::answer;
pub(super) use self::numbered::{INVALID, Numbered};

/// An answer of family A: words, an array of them, each with a title.
#[derive(Clone, Debug)]
pub(super) struct Error {
    status: StatusCode,
    errors: Vec<ErrorItem>,
    /// In seconds.
    retry_after: Option<u64>,
}

impl Error {
    pub(super) fn new(status: StatusCode, code: &'static str, title: impl Into<String>) -> Self {
        Self {
            status,
            errors: vec![ErrorItem { code: code.into(), title: title.into() }],
            retry_after: None,
        }
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", "There is nothing at this path")
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "MethodNotAllowed",
            "This path is not for that method; Allow names those it is for",
        )
    }

    pub(super) fn misdirected() -> Self {
        Self::new(
            StatusCode::MISDIRECTED_REQUEST,
            "MisdirectedRequest",
            "The Host field is none of the API's names; the operator can add it to api.allowed_hosts",
        )
    }

    /// Something is wrong with the request itself.
    pub(super) fn invalid(title: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidRequest", title)
    }

    pub(super) fn body_too_large() -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "BodyTooLarge",
            "A request body is at most 65536 bytes",
        )
    }

    pub(super) fn body_too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "BodyTimeout", "The request body took too long")
    }

    pub(super) fn not_json() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            "The request body must be JSON: Content-Type: application/json",
        )
    }

    pub(super) fn not_form() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            "The request body must be a form: Content-Type: application/x-www-form-urlencoded",
        )
    }

    /// Nobody knows who asks.
    pub(super) fn unauthorized(title: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "InvalidCredentials", title)
    }

    pub(super) fn too_many(exceeded: RateExceeded) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", "Too many requests")
            .after(exceeded.0.as_secs() + 1)
    }

    /// The caller has as many conns as one may have; this one ends with the answer.
    pub(super) fn overloaded() -> Self {
        let title = "This token has too many connections to the API; close some";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "Overloaded", title).after(1)
    }

    /// Management has refused; `what` does not exist, where that is why.
    pub(super) fn refused(refused: Refused, what: &str) -> Self {
        // Each refusal has its status, its code and its words here, and nowhere else.
        let conflict = |title| Self::new(StatusCode::CONFLICT, "Conflict", title);
        let forbidden = |title: String| Self::new(StatusCode::FORBIDDEN, "Forbidden", title);
        let internal = |code, title| Self::new(StatusCode::INTERNAL_SERVER_ERROR, code, title);
        match refused {
            Refused::AuthorityConfigured => conflict(AUTHORITY_CONFIGURED),
            Refused::Changed => conflict("It was changed by somebody else at the same time"),
            Refused::Declared => forbidden(DECLARED.to_owned()),
            Refused::Faulty(faults) => Self::faulty(faults),
            Refused::Internal => internal("Internal", "It failed; the server's log says why"),
            Refused::KeysFromEnvironment => conflict(KEYS_FROM_ENVIRONMENT),
            Refused::KeysNeeded(why) => conflict(&not_rotated(&why)),
            Refused::KeysUnreadable(why) => internal("KeysUnreadable", &not_rotated(&why)),
            Refused::Malformed => Self::invalid("The request is not valid"),
            Refused::Mismatch => Self::unauthorized(MISMATCH),
            Refused::MissingScope(scope) => {
                forbidden(format!("Cannot access this resource. Missing scope {scope}"))
            }
            Refused::NotFound => {
                Self::new(StatusCode::NOT_FOUND, "NotFound", format!("{what} does not exist"))
            }
            Refused::NoStore => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "StoreNeeded", STORE_NEEDED)
            }
            Refused::OutOfReach => forbidden(OUT_OF_REACH.to_owned()),
            Refused::SealBroken => internal("SealBroken", SEAL_BROKEN),
            Refused::KeyMissing(id) | Refused::Tokens(TokenFailure::KeyMissing(id)) => {
                internal("SealBroken", &key_missing(id))
            }
            Refused::Taken => conflict("Resource conflict"),
            Refused::NameTaken(title) => Self::new(StatusCode::CONFLICT, "Conflict", title),
            Refused::Tokens(TokenFailure::Store) | Refused::Unavailable => {
                Self::store_unavailable()
            }
            Refused::Tokens(failure) => internal("Internal", &failure.to_string()),
        }
    }

    fn store_unavailable() -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self::new(status, "StoreUnavailable", STORE_UNAVAILABLE).after(1)
    }

    fn after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// The error in its type of the wire.
    pub(super) fn into_body(self) -> ErrorBody {
        ErrorBody { errors: self.errors }
    }

    fn faulty(faults: Vec<RequestFault>) -> Self {
        let worded =
            |fault: RequestFault| ErrorItem { code: code(fault.about).into(), title: fault.title };
        let errors = faults.into_iter().map(worded).collect();
        Self { status: StatusCode::BAD_REQUEST, errors, retry_after: None }
    }

    pub(super) fn early_refusal(reason: EarlyRefusal) -> Self {
        match reason {
            EarlyRefusal::Framing(FramingFault::TooLarge) => Self::new(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "HeadTooLarge",
                "The request's head is too large",
            ),
            EarlyRefusal::Framing(fault) => Self::new(
                StatusCode::BAD_REQUEST,
                "MalformedRequest",
                capitalized(&fault.to_string()),
            ),
            EarlyRefusal::ConnLimit => {
                let title = "The server has too many connections; try again";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "Overloaded", title).after(1)
            }
        }
    }

    /// The whole HTTP/1.1 message, for a conn on which no request was read.
    pub(super) fn into_message(self) -> Vec<u8> {
        let retry = self.retry_after.map(|seconds| format!("retry-after: {seconds}\r\n"));
        let (status, body) = (self.status, self.body());
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n{}content-length: {}\r\n\r\n{body}",
            retry.unwrap_or_default(),
            body.len()
        )
        .into_bytes()
    }

    fn body(self) -> String {
        // Two plain texts can always be written as JSON.
        serde_json::to_string(&self.into_body()).unwrap_or_default()
    }
}

/// A refusal that is never [`Refused::NotFound`].
impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        Self::refused(refused, "Resource")
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let (status, retry_after) = (self.status, self.retry_after);
        answer(status, self.body(), retry_after)
    }
}

fn code(about: About) -> &'static str {
    match about {
        About::AllowedDomain => "InvalidAllowedDomain",
        About::Credential => "InvalidCredential",
        About::HeaderName => "InvalidHeaderName",
        About::Integration => "InvalidIntegration",
        About::Name => "InvalidName",
        About::Request => "InvalidRequest",
    }
}

/// A secret can't be opened for want of a master key.
fn key_missing(id: KeyId) -> String {
    format!(
        "The secret that is kept can't be opened: the server lacks its master key, {id}. The \
         operator must add that key to the server's master keys; the record itself is sound"
    )
}

/// The master keys were to be read again, and nothing has changed.
fn not_rotated(why: &str) -> String {
    format!("The master keys were not rotated: {why}")
}

const DECLARED: &str = "Declared in the configuration: the operator changes or deletes it there";
const AUTHORITY_CONFIGURED: &str = "The CA is ca.cert of the configuration: the operator changes it there and starts the server anew";
const KEYS_FROM_ENVIRONMENT: &str = "The master keys come from KEYFERRY_MASTER_KEY: write them \
    to seal.master_key_file, the new one first, and start the server without the variable";
const MISMATCH: &str = "Authorization failed due to integration mismatch";
const OUT_OF_REACH: &str = "Cannot access this resource. The token does not reach it";
const STORE_UNAVAILABLE: &str = "The store can't be reached, or can't be written; try again";
const SEAL_BROKEN: &str = "The secret that is kept can't be opened: its record was changed by hand. \
    What it belongs to must be deleted and created again";
const STORE_NEEDED: &str = "This server keeps nothing: the operator sets store.url in the \
    configuration to a database, as sqlite:keyferry.db, and starts it anew";
