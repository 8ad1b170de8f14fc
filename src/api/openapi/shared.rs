//! Errors that operations have in common, as the description has them.

use std::borrow::Cow;

use serde_json::{Value, json};
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::{ContentBuilder, Ref, Response, ResponseBuilder};
use utoipa::{PartialSchema as _, ToSchema as _};

use crate::wire::{ErrorBody, NumberedErrors};

/// An error that several operations have in common.
pub(super) struct SharedError {
    pub(super) name: &'static str,
    pub(super) status: &'static str,
    when: &'static str,
    code: &'static str,
    title: &'static str,
    field: Option<(&'static str, &'static str)>,
}

impl SharedError {
    /// The error as the description has it.
    pub(super) fn response(&self) -> Response {
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name(self.schema())))
            .example(Some(self.example()))
            .build();
        let response =
            ResponseBuilder::new().description(self.when).content("application/json", content);
        match self.field {
            Some((name, about)) => {
                let header = HeaderBuilder::new()
                    .schema(Some(String::schema()))
                    .description(Some(about))
                    .build();
                response.header(name, header).build()
            }
            None => response.build(),
        }
    }

    /// Tells the families apart by the code.
    fn is_numbered(&self) -> bool {
        self.code.starts_with('1')
    }

    fn schema(&self) -> Cow<'static, str> {
        if self.is_numbered() { NumberedErrors::name() } else { ErrorBody::name() }
    }

    fn example(&self) -> Value {
        let (code, title) = (self.code, self.title);
        if self.is_numbered() {
            json!({"errors": [{"code": code, "detail": title, "status": self.status}]})
        } else {
            json!({"errors": [{"code": code, "title": title}]})
        }
    }
}

const RETRY_AFTER: (&str, &str) = ("Retry-After", "Seconds to wait");

/// Errors of family A.
pub(super) const SHARED_ERRORS: &[SharedError] = &[
    SharedError {
        name: "Invalid",
        status: "400",
        when: "The request is wrong; every fault is listed",
        code: "InvalidIntegration",
        title: "Specified integration is not valid",
        field: None,
    },
    SharedError {
        name: "Unauthorized",
        status: "401",
        when: "There is no token, it is not known here, or it is of another integration",
        code: "InvalidCredentials",
        title: "Token length is invalid",
        field: Some(("WWW-Authenticate", "Bearer")),
    },
    SharedError {
        name: "Forbidden",
        status: "403",
        when: "The token lacks the scope, or the connection is declared in the configuration",
        code: "Forbidden",
        title: "Cannot access this resource. Missing scope write",
        field: None,
    },
    SharedError {
        name: "NotFound",
        status: "404",
        when: "There is no such thing within the token's reach",
        code: "NotFound",
        title: "Connection does not exist",
        field: None,
    },
    SharedError {
        name: "BodyTimeout",
        status: "408",
        when: "The body took longer than half a minute",
        code: "BodyTimeout",
        title: "The request body took too long",
        field: None,
    },
    SharedError {
        name: "Conflict",
        status: "409",
        when: "The name is taken, or somebody else changed the same thing at the same time",
        code: "Conflict",
        title: "Resource conflict",
        field: None,
    },
    SharedError {
        name: "BodyTooLarge",
        status: "413",
        when: "The body is larger than 64 KiB",
        code: "BodyTooLarge",
        title: "A request body is at most 65536 bytes",
        field: None,
    },
    SharedError {
        name: "UnsupportedMediaType",
        status: "415",
        when: "The body is not said to be JSON",
        code: "UnsupportedMediaType",
        title: "The request body must be JSON: Content-Type: application/json",
        field: None,
    },
    SharedError {
        name: "MisdirectedRequest",
        status: "421",
        when: "The Host field is none of the API's names",
        code: "MisdirectedRequest",
        title: "The Host field is none of the API's names; the operator can add it to api.allowed_hosts",
        field: None,
    },
    SharedError {
        name: "StoreNeeded",
        status: "422",
        when: "The server has no store",
        code: "StoreNeeded",
        title: "This server keeps nothing: the operator sets store.url in the configuration to a database, as sqlite:keyferry.db, and starts it anew",
        field: None,
    },
    SharedError {
        name: "TooManyRequests",
        status: "429",
        when: "The token has made too many requests, or the address too many in vain",
        code: "TooManyRequests",
        title: "Too many requests",
        field: Some(RETRY_AFTER),
    },
    SharedError {
        name: "Failed",
        status: "500",
        when: "It failed, and the server's log says why",
        code: "SealBroken",
        title: "The secret that is kept can't be opened: the server lacks its master key, 2026-11. The operator must add that key to the server's master keys; the record itself is sound",
        field: None,
    },
    SharedError {
        name: "StoreUnavailable",
        status: "503",
        when: "The store can't be reached, or can't be written",
        code: "StoreUnavailable",
        title: "The store can't be reached, or can't be written; try again",
        field: Some(RETRY_AFTER),
    },
];

/// Errors of family B.
pub(super) const NUMBERED_ERRORS: &[SharedError] = &[
    SharedError {
        name: "NumberedInvalid",
        status: "400",
        when: "The request can't be read, or what it hangs on is over",
        code: "1301",
        title: "Invalid request",
        field: None,
    },
    SharedError {
        name: "NumberedUnauthorized",
        status: "401",
        when: "There is no token, it is not known here, or it is of another integration",
        code: "1200",
        title: "Unauthorized",
        field: Some(("WWW-Authenticate", "Bearer")),
    },
    SharedError {
        name: "NumberedForbidden",
        status: "403",
        when: "The token lacks the scope, or does not reach it",
        code: "1200",
        title: "Forbidden",
        field: None,
    },
    SharedError {
        name: "NumberedNotFound",
        status: "404",
        when: "There is no such thing within the token's reach",
        code: "1302",
        title: "Not found",
        field: None,
    },
    SharedError {
        name: "NumberedBodyTimeout",
        status: "408",
        when: "The body took longer than half a minute",
        code: "1301",
        title: "The request body took too long",
        field: None,
    },
    SharedError {
        name: "NumberedBodyTooLarge",
        status: "413",
        when: "The body is larger than 64 KiB",
        code: "1301",
        title: "A request body is at most 65536 bytes",
        field: None,
    },
    SharedError {
        name: "NumberedUnsupportedMediaType",
        status: "415",
        when: "The body is not said to be JSON",
        code: "1301",
        title: "The request body must be JSON: Content-Type: application/json",
        field: None,
    },
    SharedError {
        name: "NumberedMisdirected",
        status: "421",
        when: "The Host field is none of the API's names",
        code: "1301",
        title: "The Host field is none of the API's names; the operator can add it to api.allowed_hosts",
        field: None,
    },
    SharedError {
        name: "NumberedValue",
        status: "422",
        when: "A value is wrong, or the provider gives no tokens; every fault is listed",
        code: "1303",
        title: "Invalid value for: Integration. Desc: Integration cannot be nil",
        field: None,
    },
    SharedError {
        name: "NumberedTooMany",
        status: "429",
        when: "The token has made too many requests, or the address too many in vain",
        code: "1300",
        title: "Too many requests",
        field: Some(RETRY_AFTER),
    },
    SharedError {
        name: "NumberedFailed",
        status: "500",
        when: "It failed, and the server's log says why",
        code: "1500",
        title: "It failed; the server's log says why",
        field: None,
    },
    SharedError {
        name: "NumberedUnavailable",
        status: "503",
        when: "The store can't be reached, or can't be written",
        code: "1500",
        title: "The store can't be reached, or can't be written; try again",
        field: Some(RETRY_AFTER),
    },
];
