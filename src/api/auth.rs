//! Authentication by caller token, and rate limits. Handlers reach management only through a
//! [`AuthenticatedOperator`].

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};

use super::ApiState;
use super::error::Error;
use crate::listener::ConnState;
use crate::management::{ClientAddr, Management, Operator, ReadAccess, Refused, WriteAccess};
use crate::model::token::{BODY_LENGTH, FieldCredentials, PREFIX, TokenDigest};
use crate::wire::REDACT_TOKENS_FIELD;

/// An operator before management.
#[derive(Debug)]
pub(super) struct AuthenticatedOperator {
    pub(super) management: Arc<Management>,
    pub(super) operator: Operator,
}

impl AuthenticatedOperator {
    pub(super) fn read_access(&self, integration: &str) -> Result<ReadAccess<'_>, Refused> {
        self.management.read_access(&self.operator, integration)
    }

    pub(super) fn write_access(&self, integration: &str) -> Result<WriteAccess<'_>, Refused> {
        self.management.write_access(&self.operator, integration)
    }
}

impl FromRequestParts<ApiState> for AuthenticatedOperator {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Error> {
        let source = parts.extensions.get::<ClientAddr>().copied().unwrap_or(ClientAddr(None));
        let admitted = presented(&parts.headers).and_then(|digest| {
            let operator =
                state.management.admit(&digest).ok_or_else(|| Error::unauthorized(UNKNOWN));
            Ok((digest, operator?))
        });
        let (digest, operator) = admitted.map_err(|refused| {
            state.rate_limits.count_stranger(source.0).map_or_else(Error::too_many, |()| refused)
        })?;
        if let Some(conn) = parts.extensions.get::<Arc<ConnState>>() {
            conn.mark_authenticated(Some(digest)).map_err(|_full| Error::overloaded())?;
        }
        let per_minute = state.management.settings().requests_per_minute;
        state.rate_limits.count_request(&digest, per_minute).map_err(Error::too_many)?;
        let operator = operator.at(source).redacting_tokens(redacts_tokens(&parts.headers));
        Ok(Self { management: Arc::clone(&state.management), operator })
    }
}

/// Tells whether answers are to have no provider tokens in clear. What is not plainly `false` is a
/// wish for that.
fn redacts_tokens(headers: &HeaderMap) -> bool {
    headers.get_all(REDACT_TOKENS_FIELD).iter().any(|value| value != "false")
}

/// The digest of the token in `Authorization` (RFC 6750 §2.1).
fn presented(headers: &HeaderMap) -> Result<TokenDigest, Error> {
    let mut fields = headers.get_all(header::AUTHORIZATION).into_iter();
    let (Some(field), None) = (fields.next(), fields.next()) else {
        return Err(Error::unauthorized(UNKNOWN));
    };
    match FieldCredentials::read(field.as_bytes()) {
        FieldCredentials::Basic(_) => Err(Error::new(StatusCode::FORBIDDEN, "Forbidden", BASIC)),
        FieldCredentials::Other(_) => Err(Error::unauthorized(UNKNOWN)),
        FieldCredentials::Bearer(token) if token.len() != PREFIX.len() + BODY_LENGTH => {
            Err(Error::unauthorized("Token length is invalid"))
        }
        FieldCredentials::Bearer(token) => {
            TokenDigest::of(token).ok_or_else(|| Error::unauthorized(UNKNOWN))
        }
    }
}

const UNKNOWN: &str = "Authentication failed";
const BASIC: &str = "API token is not supported";
