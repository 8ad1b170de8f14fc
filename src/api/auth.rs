//! Who asks: an access token, and how often it may ask. Handlers reach the desk only through a
//! [`Seat`].

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};

use super::Rooms;
use super::error::Error;
use crate::desk::{Desk, Operator};
use crate::limit::{Exceeded, Rates};
use crate::model::token::{BODY_LENGTH, PREFIX, TokenDigest};

/// An operator before the desk.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) desk: Arc<Desk>,
    pub(super) operator: Operator,
}

/// Where a request comes from, where that is an address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source(pub(super) Option<IpAddr>);

/// How often may be asked.
#[derive(Debug)]
pub struct Turnstile {
    /// In vain, from one address. A token can't be guessed; this keeps the log and the processor
    /// free. A token that is good passes at any time.
    failures: Option<Rates<IpAddr>>,
    /// With one token.
    tokens: ArcSwapOption<Rates<TokenDigest>>,
}

impl Default for Turnstile {
    fn default() -> Self {
        Self { failures: Rates::per_minute(FAILURES), tokens: ArcSwapOption::empty() }
    }
}

impl Turnstile {
    fn count_failure(&self, source: Option<IpAddr>) -> Result<(), Exceeded> {
        let source = source.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), network);
        self.failures.as_ref().map_or(Ok(()), |failures| failures.take(&source))
    }

    /// Counts a request that shows no token.
    pub(super) fn count_stranger(&self, source: Option<IpAddr>) -> Result<(), Exceeded> {
        self.count_failure(source)
    }

    /// A reload may have changed the limit; then each token begins a new minute.
    fn count_request(&self, token: &TokenDigest, per_minute: Option<u32>) -> Result<(), Exceeded> {
        let Some(per_minute) = per_minute else { return Ok(()) };
        let known = self.tokens.load_full().filter(|rates| rates.is_per_minute(per_minute));
        let rates = known.or_else(|| {
            let fresh = Rates::per_minute(per_minute).map(Arc::new);
            self.tokens.store(fresh.clone());
            fresh
        });
        rates.map_or(Ok(()), |rates| rates.take(token))
    }
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
            rooms.turnstile.count_failure(source).map_or_else(Error::too_many, |()| refused)
        })?;
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

/// Who has one IPv6 address has all of its /64.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

const UNKNOWN: &str = "Authentication failed";
const BASIC: &str = "API token is not supported";

/// How often one address may fail in a minute.
const FAILURES: u32 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_network_fails_as_one() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("192.0.2.1").to_string(), "192.0.2.1");
    }

    #[test]
    fn another_limit_begins_a_new_minute() {
        let (turnstile, token) = (Turnstile::default(), TokenDigest::from_bytes([1; 32]));
        assert!(turnstile.count_request(&token, Some(1)).is_ok());
        assert!(turnstile.count_request(&token, Some(1)).is_err());
        assert!(turnstile.count_request(&token, Some(2)).is_ok());
        assert!(turnstile.count_request(&token, None).is_ok());
    }
}
