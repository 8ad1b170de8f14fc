//! Who asks: an access token, and how often it may ask. Handlers reach the desk only through a
//! [`Seat`].

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};

use super::Rooms;
use super::error::Error;
use crate::listener::Presence;
use crate::management::{Desk, Operator, Source};
use crate::model::token::{BODY_LENGTH, PREFIX, TokenDigest};

/// An operator before the desk.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) desk: Arc<Desk>,
    pub(super) operator: Operator,
}

impl FromRequestParts<Rooms> for Seat {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, rooms: &Rooms) -> Result<Self, Error> {
        let admitted = presented(&parts.headers).and_then(|digest| {
            let operator = rooms.desk.admit(&digest).ok_or_else(|| Error::unauthorized(UNKNOWN));
            Ok((digest, operator?))
        });
        let (digest, operator) = admitted.map_err(|refused| {
            let source = parts.extensions.get::<Source>().and_then(|source| source.0);
            rooms.turnstile.count_stranger(source).map_or_else(Error::too_many, |()| refused)
        })?;
        if let Some(presence) = parts.extensions.get::<Arc<Presence>>() {
            presence.greet(Some(digest)).map_err(|_full| Error::overloaded())?;
        }
        let per_minute = rooms.desk.rules().requests_per_minute;
        rooms.turnstile.count_request(&digest, per_minute).map_err(Error::too_many)?;
        Ok(Self { desk: Arc::clone(&rooms.desk), operator })
    }
}

/// The digest of the token in `Authorization` (RFC 6750 §2.1).
fn presented(headers: &HeaderMap) -> Result<TokenDigest, Error> {
    let mut fields = headers.get_all(header::AUTHORIZATION).into_iter();
    let (Some(field), None) = (fields.next(), fields.next()) else {
        return Err(Error::unauthorized(UNKNOWN));
    };
    let field = field.as_bytes();
    let space = field.iter().position(|byte| *byte == b' ').unwrap_or(field.len());
    let (scheme, token) = field.split_at(space);
    if scheme.eq_ignore_ascii_case(b"basic") {
        return Err(Error::new(StatusCode::FORBIDDEN, "Forbidden", BASIC));
    }
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Err(Error::unauthorized(UNKNOWN));
    }
    let token = token.trim_ascii();
    if token.len() != PREFIX.len() + BODY_LENGTH {
        return Err(Error::unauthorized("Token length is invalid"));
    }
    TokenDigest::of(token).ok_or_else(|| Error::unauthorized(UNKNOWN))
}

const UNKNOWN: &str = "Authentication failed";
const BASIC: &str = "API token is not supported";
