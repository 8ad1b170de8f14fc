//! Family B: numbers, as OAuth's paths give them (spec §3).

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

use super::Error;
use crate::management::{About, NAME_TAKEN, Refused, RequestFault};
use crate::model::oauth::grant::LapseReason;
use crate::oauth::TokenFailure;
use crate::wire::{ErrorItem, NumberedError, NumberedErrors};

/// An answer of family B.
#[derive(Clone, Debug)]
pub(in crate::api) struct Numbered {
    /// Its codes are numbers, and its titles are details.
    error: Error,
    /// The methods that `Allow` names.
    allow: Option<&'static str>,
}

impl Numbered {
    pub(in crate::api) fn new(
        status: StatusCode,
        code: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self { error: Error::new(status, code, detail), allow: None }
    }

    pub(in crate::api) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "1302", "Not found")
    }

    /// A request that can't be read or is over: in the words of ZIS, which say no more than that,
    /// and then which member it is about and why.
    pub(in crate::api) fn invalid(member: &str, why: &str) -> Self {
        let mut invalid = Self::new(StatusCode::BAD_REQUEST, "1301", INVALID);
        invalid.error.errors.push(of_value("1301", member, why));
        invalid
    }

    /// A member that must be there is not.
    pub(in crate::api) fn missing(member: &str) -> Self {
        Self::invalid(member, "is missing")
    }

    /// Management has refused what the pass of a flow was shown for.
    pub(in crate::api) fn refused_pass(member: &str, refused: Refused) -> Self {
        match refused {
            Refused::Malformed => Self::invalid(member, PASS_IS_OVER),
            other => Self::refused(other),
        }
    }

    pub(in crate::api) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "1200", "Unauthorized")
    }

    pub(in crate::api) fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, "1200", "Forbidden")
    }

    /// The path is for these methods alone.
    pub(in crate::api) fn only(methods: &'static str) -> Self {
        Self { allow: Some(methods), ..Self::from(Error::method_not_allowed()) }
    }

    pub(in crate::api) fn status(&self) -> StatusCode {
        self.error.status
    }

    /// The error in its type of the wire.
    pub(in crate::api) fn into_body(self) -> NumberedErrors {
        let status = self.error.status.as_str();
        let numbered = |ErrorItem { code, title }| NumberedError {
            code,
            detail: title,
            status: status.to_owned(),
        };
        NumberedErrors { errors: self.error.errors.into_iter().map(numbered).collect() }
    }

    pub(in crate::api) fn value(field: &str, why: &str) -> Self {
        Self::of_values(vec![of_value("1303", field, why)])
    }

    fn of_values(errors: Vec<ErrorItem>) -> Self {
        let error = Error { status: StatusCode::UNPROCESSABLE_ENTITY, errors, retry_after: None };
        Self { error, allow: None }
    }

    fn server(detail: &str) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "1500", detail)
    }

    pub(in crate::api) fn refused(refused: Refused) -> Self {
        match refused {
            Refused::Mismatch => Self::unauthorized(),
            Refused::Declared | Refused::MissingScope(_) | Refused::OutOfReach => Self::forbidden(),
            Refused::NotFound => Self::not_found(),
            Refused::Malformed => Self::invalid("request", "can't be read, or is over"),
            Refused::Faulty(faults) => Self::faulty(faults),
            Refused::Tokens(failure) => Self::without_tokens(failure),
            Refused::Taken | Refused::NameTaken(_) => Self::value("Name", NAME_TAKEN),
            Refused::Changed => {
                Self::value("Request", "it was changed at the same time; try again")
            }
            Refused::NoStore => Self::value("Store", super::STORE_NEEDED),
            Refused::Unavailable => Self::from(Error::store_unavailable()),
            Refused::SealBroken => Self::server(super::SEAL_BROKEN),
            Refused::KeyMissing(id) => Self::server(&super::key_missing(id)),
            Refused::AuthorityConfigured
            | Refused::Internal
            | Refused::KeysFromEnvironment
            | Refused::KeysNeeded(_)
            | Refused::KeysUnreadable(_) => Self::server("It failed; the server's log says why"),
        }
    }

    fn faulty(faults: Vec<RequestFault>) -> Self {
        let errors = faults.into_iter().map(|fault| {
            let about = if fault.about == About::Integration { "integration" } else { "request" };
            let (field, why) = fault.title.split_once(": ").unwrap_or((about, &fault.title));
            of_value("1303", field, why)
        });
        Self::of_values(errors.collect())
    }

    fn without_tokens(failure: TokenFailure) -> Self {
        match failure {
            TokenFailure::Gone => Self::not_found(),
            TokenFailure::NoRefreshToken => Self::invalid("refresh_token", NO_REFRESH_TOKEN),
            TokenFailure::Seal => Self::server(super::SEAL_BROKEN),
            TokenFailure::KeyMissing(id) => Self::server(&super::key_missing(id)),
            TokenFailure::Store => Self::from(Error::store_unavailable()),
            TokenFailure::StoreFaulty => Self::server("It failed; the server's log says why"),
            TokenFailure::Lapsed(reason @ LapseReason::ClientMoved) => {
                Self::value("OAuth client", reason.as_sentence())
            }
            TokenFailure::Lapsed(reason) => {
                let why = format!("{}: start a flow for it again", reason.as_sentence());
                Self::value("Refresh token", &why)
            }
            TokenFailure::Denied(_) | TokenFailure::Key(_) | TokenFailure::Withheld(_) => {
                Self::value("OAuth client", &failure.to_string())
            }
            TokenFailure::Endpoint(_)
            | TokenFailure::Late
            | TokenFailure::NotSent(_)
            | TokenFailure::Port
            | TokenFailure::Unfit(_)
            | TokenFailure::Unusable(_)
            | TokenFailure::Overtaken
            | TokenFailure::Unanswered(_)
            | TokenFailure::Unreadable(_) => Self::value("Token url", &failure.to_string()),
        }
    }
}

/// Turns an error of family A, raised before management is asked, into its number.
impl From<Error> for Numbered {
    fn from(error: Error) -> Self {
        let Error { status, errors, retry_after } = error;
        let title = errors.into_iter().next().map(|worded| worded.title).unwrap_or_default();
        let mut numbered = match status {
            StatusCode::BAD_REQUEST => {
                let (member, why) = title.split_once(": ").unwrap_or(("request", &title));
                Self::invalid(member, why)
            }
            StatusCode::UNAUTHORIZED => Self::unauthorized(),
            StatusCode::FORBIDDEN => Self::forbidden(),
            StatusCode::NOT_FOUND => Self::not_found(),
            StatusCode::TOO_MANY_REQUESTS => Self::new(status, "1300", "Too many requests"),
            status if status.is_server_error() => Self::new(status, "1500", title),
            status => Self::new(status, "1301", title),
        };
        numbered.error.retry_after = retry_after;
        numbered
    }
}

impl IntoResponse for Numbered {
    fn into_response(self) -> Response {
        let (status, retry_after) = (self.error.status, self.error.retry_after);
        let allow = self.allow;
        // Plain texts can always be written as JSON.
        let body = serde_json::to_string(&self.into_body()).unwrap_or_default();
        let mut response = answer(status, body, retry_after);
        if let Some(methods) = allow {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
        }
        response
    }
}

fn of_value(code: &'static str, field: &str, why: &str) -> ErrorItem {
    let title = format!("Invalid value for: {}. Desc: {why}", label(field));
    ErrorItem { code: code.into(), title }
}

/// A field as a person reads it: `oauth_url_subdomain` becomes `Oauth url subdomain`.
fn label(field: &str) -> String {
    let words = field.replace('_', " ");
    let mut letters = words.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

pub(super) fn answer(status: StatusCode, body: String, retry_after: Option<u64>) -> Response {
    let json = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    let mut response = (status, json, body).into_response();
    let headers = response.headers_mut();
    if let Some(seconds) = retry_after {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

pub(in crate::api) const INVALID: &str = "Invalid request";
const PASS_IS_OVER: &str =
    "it is unknown, was used, has expired, or belongs to another browser: start the flow again";
const NO_REFRESH_TOKEN: &str =
    "the provider gave no refresh token with this connection: start a flow for it again";
