//! Rate limits of the management plane: failed authentications by address, requests by token.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::model::token::TokenDigest;
use crate::rate_limit::{KeyedRateLimiter, RateExceeded};

/// The address that a request comes from, where it has one.
#[derive(Clone, Copy, Debug)]
pub struct ClientAddr(pub Option<IpAddr>);

/// The rates of requests to the management plane.
#[derive(Debug)]
pub struct RateLimits {
    /// In vain, from one address. A token can't be guessed; this keeps the log and the processor
    /// free. A token that is good passes at any time.
    failures: Option<KeyedRateLimiter<IpAddr>>,
    /// Of questions to the OpenID provider for somebody at one address who is not known yet. They
    /// are no failures, so that neither the one nor the other keeps anybody out of the rest.
    open_id: Option<KeyedRateLimiter<IpAddr>>,
    tokens: ArcSwapOption<KeyedRateLimiter<TokenDigest>>,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            failures: KeyedRateLimiter::per_minute(MAX_FAILURES_PER_MINUTE),
            open_id: KeyedRateLimiter::per_minute(MAX_ASKED_PER_MINUTE),
            tokens: ArcSwapOption::empty(),
        }
    }
}

impl RateLimits {
    /// Counts a request that shows no token, or one that nobody holds.
    pub fn count_stranger(&self, source: Option<IpAddr>) -> Result<(), RateExceeded> {
        take(self.failures.as_ref(), source)
    }

    /// Counts a step of a sign-in for which the OpenID provider is asked, before it is.
    pub(super) fn count_open_id(&self, source: ClientAddr) -> Result<(), RateExceeded> {
        take(self.open_id.as_ref(), source.0)
    }

    /// Counts a request of a token's holder. A reload may have changed the limit; then each token
    /// begins a new minute.
    pub fn count_request(
        &self,
        token: &TokenDigest,
        per_minute: Option<u32>,
    ) -> Result<(), RateExceeded> {
        let Some(per_minute) = per_minute else { return Ok(()) };
        let known = self.tokens.load_full().filter(|rates| rates.is_per_minute(per_minute));
        let rates = known.or_else(|| {
            let fresh = KeyedRateLimiter::per_minute(per_minute).map(Arc::new);
            self.tokens.store(fresh.clone());
            fresh
        });
        rates.map_or(Ok(()), |rates| rates.take(token))
    }
}

fn take(
    rates: Option<&KeyedRateLimiter<IpAddr>>,
    source: Option<IpAddr>,
) -> Result<(), RateExceeded> {
    let source = source.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), network);
    rates.map_or(Ok(()), |rates| rates.take(&source))
}

/// Takes an IPv6 address for its /64, all of which one peer has.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

/// The number of times one address may fail in a minute.
const MAX_FAILURES_PER_MINUTE: u32 = 60;

/// The number of times that the OpenID provider is asked for one address in a minute.
const MAX_ASKED_PER_MINUTE: u32 = 60;

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
    fn failures_and_questions_to_the_provider_are_counted_apart() {
        let (rate_limits, source) = (RateLimits::default(), ClientAddr(None));
        while rate_limits.count_stranger(source.0).is_ok() {}
        assert!(rate_limits.count_open_id(source).is_ok());
        while rate_limits.count_open_id(source).is_ok() {}
        let other = ClientAddr(Some("192.0.2.1".parse().unwrap()));
        assert!(rate_limits.count_open_id(other).is_ok());
        assert!(rate_limits.count_stranger(other.0).is_ok());
    }

    #[test]
    fn another_limit_begins_a_new_minute() {
        let (rate_limits, token) = (RateLimits::default(), TokenDigest::from_bytes([1; 32]));
        assert!(rate_limits.count_request(&token, Some(1)).is_ok());
        assert!(rate_limits.count_request(&token, Some(1)).is_err());
        assert!(rate_limits.count_request(&token, Some(2)).is_ok());
        assert!(rate_limits.count_request(&token, None).is_ok());
    }
}
