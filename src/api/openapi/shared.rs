//! Errors that operations have in common, as the description has them: examples are answers that
//! the API gives.

use std::time::Duration;

use http::StatusCode;
use serde::Serialize;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::{ContentBuilder, Ref, Response, ResponseBuilder};
use utoipa::{PartialSchema as _, ToSchema};

use crate::api::error::{Error, INVALID, Numbered};
use crate::management::{Refused, Scope};
use crate::rate_limit::RateExceeded;

/// An error that several operations have in common.
pub(super) struct SharedError {
    pub(super) name: &'static str,
    pub(super) status: StatusCode,
    pub(super) response: Response,
}

/// An error by its name, with what it says of the request and an example.
macro_rules! shared {
    ($($name:ident: $when:literal => $error:expr;)*) => {
        vec![$({
            let error = $error;
            SharedError::new(stringify!($name), $when, error.status(), &error.into_body())
        }),*]
    };
}

/// Errors of family A.
pub(super) fn in_words() -> Vec<SharedError> {
    shared! {
        Invalid: "The request is wrong; every fault is listed" => Error::new(
            StatusCode::BAD_REQUEST, "InvalidIntegration", "Specified integration is not valid");
        Unauthorized: "There is no token, it is not known here, or it is of another integration" =>
            Error::unauthorized("Token length is invalid");
        Forbidden: "The token lacks the scope, or the connection is declared in the configuration" =>
            Error::from(Refused::MissingScope(Scope::Write));
        NotFound: "There is no such thing within the token's reach" =>
            Error::refused(Refused::NotFound, "Connection");
        BodyTimeout: "The body took longer than half a minute" => Error::body_too_slow();
        Conflict: "The name is taken, or somebody else changed the same thing at the same time" =>
            Error::from(Refused::Taken);
        BodyTooLarge: "The body is larger than 64 KiB" => Error::body_too_large();
        UnsupportedMediaType: "The body is not said to be JSON" => Error::not_json();
        MisdirectedRequest: "The Host field is none of the API's names" => Error::misdirected();
        StoreNeeded: "The server has no store" => Error::from(Refused::NoStore);
        TooManyRequests: "The token has made too many requests, or the address too many in vain" =>
            Error::too_many(RateExceeded(Duration::ZERO));
        Failed: "It failed, and the server's log says why" =>
            Error::new(StatusCode::INTERNAL_SERVER_ERROR, "SealBroken", KEY_MISSING);
        StoreUnavailable: "The store can't be reached, or can't be written" =>
            Error::from(Refused::Unavailable);
    }
}

/// Errors of family B.
pub(super) fn in_numbers() -> Vec<SharedError> {
    shared! {
        NumberedInvalid: "The request can't be read, or what it hangs on is over" =>
            Numbered::new(StatusCode::BAD_REQUEST, "1301", INVALID);
        NumberedUnauthorized: "There is no token, it is not known here, or it is of another integration" =>
            Numbered::unauthorized();
        NumberedForbidden: "The token lacks the scope, or does not reach it" => Numbered::forbidden();
        NumberedNotFound: "There is no such thing within the token's reach" => Numbered::not_found();
        NumberedBodyTimeout: "The body took longer than half a minute" =>
            Numbered::from(Error::body_too_slow());
        NumberedBodyTooLarge: "The body is larger than 64 KiB" =>
            Numbered::from(Error::body_too_large());
        NumberedUnsupportedMediaType: "The body is not said to be JSON" =>
            Numbered::from(Error::not_json());
        NumberedMisdirected: "The Host field is none of the API's names" =>
            Numbered::from(Error::misdirected());
        NumberedValue: "A value is wrong, or the provider gives no tokens; every fault is listed" =>
            Numbered::value("Integration", "Integration cannot be nil");
        NumberedTooMany: "The token has made too many requests, or the address too many in vain" =>
            Numbered::from(Error::too_many(RateExceeded(Duration::ZERO)));
        NumberedFailed: "It failed, and the server's log says why" =>
            Numbered::refused(Refused::Internal);
        NumberedUnavailable: "The store can't be reached, or can't be written" =>
            Numbered::refused(Refused::Unavailable);
    }
}

impl SharedError {
    fn new<B: Serialize + ToSchema>(
        name: &'static str,
        when: &str,
        status: StatusCode,
        example: &B,
    ) -> Self {
        // 1. The body.
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name(B::name())))
            .example(serde_json::to_value(example).ok())
            .build();
        let response =
            ResponseBuilder::new().description(when).content("application/json", content);
        // 2. The field that comes along with some statuses.
        let field = match status {
            StatusCode::UNAUTHORIZED => Some(("WWW-Authenticate", "Bearer")),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                Some(("Retry-After", "Seconds to wait"))
            }
            _ => None,
        };
        let response = match field {
            Some((field, about)) => {
                let text = HeaderBuilder::new().schema(Some(String::schema()));
                response.header(field, text.description(Some(about)).build())
            }
            None => response,
        };
        Self { name, status, response: response.build() }
    }
}

const KEY_MISSING: &str = "The secret that is kept can't be opened: the server lacks its master \
    key, 2026-11. The operator must add that key to the server's master keys; the record itself is \
    sound";
