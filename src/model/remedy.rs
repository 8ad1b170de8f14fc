//! The ways out of a failure: who must act, and what they do, by the code of a refusal or by the
//! status of an origin's answer.

use super::named_enum;

named_enum! {
    /// Those who can end a failure.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub enum RemedyActor {
        /// The program that sends the request.
        Caller = "caller",
        /// The operator of the proxy.
        Operator = "operator",
        /// Either of these.
        Either = "caller_or_operator",
        /// The operator of the API.
        Api = "api",
    }
}

/// A way out of a failure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FailureRemedy {
    /// A few words for what went wrong, to be read behind "mostly".
    pub reason: &'static str,
    /// The one who must act.
    pub who: RemedyActor,
    /// A sentence that says what they do.
    pub advice: &'static str,
    /// Tells whether it counts as a failure of the connection, and not as one of the single request.
    pub is_connections: bool,
}

impl FailureRemedy {
    /// The way out of a refusal with this code; `None` for a code that is not known here.
    pub fn of_refusal(code: &str) -> Option<Self> {
        let found = REFUSALS.iter().find(|(known, ..)| *known == code);
        found.map(|(_, is_connections, who, reason, advice)| Self {
            reason,
            who: *who,
            advice,
            is_connections: *is_connections,
        })
    }

    /// The codes of refusals.
    pub fn codes() -> impl Iterator<Item = &'static str> {
        REFUSALS.iter().map(|(code, ..)| *code)
    }

    /// The way out of an answer of the origin with this status; `None` for one that is no error.
    pub fn of_status(status: u16) -> Option<Self> {
        let (is_connections, who, reason, advice) = match status {
            401 => (
                true,
                RemedyActor::Operator,
                "the API refuses the key",
                "Replace the secret, or authorize again: the API says that it is not good.",
            ),
            403 => (
                true,
                RemedyActor::Operator,
                "the API forbids it",
                "Have the account's rights checked at the API, or replace the secret.",
            ),
            407 => (
                true,
                RemedyActor::Operator,
                "a proxy before the API wants a login",
                "See what stands between Keyferry and the API.",
            ),
            429 => (
                true,
                RemedyActor::Caller,
                "the API limits the rate",
                "Send fewer requests, or have the API's limit raised.",
            ),
            500.. => (
                true,
                RemedyActor::Api,
                "the API fails",
                "Wait, or ask the operator of the API: its server answers with an error.",
            ),
            400..500 => (
                false,
                RemedyActor::Caller,
                "the API refuses the request",
                "Read the API's answer, and change the request.",
            ),
            _ => return None,
        };
        Some(Self { reason, who, advice, is_connections })
    }
}

/// The codes of refusals: each with whether it counts for the connection, who must act, the reason,
/// and what they do.
const REFUSALS: [(&str, bool, RemedyActor, &str, &str); 36] = [
    (
        "AddressProhibited",
        true,
        RemedyActor::Operator,
        "the API's address is not public",
        "Add the address to upstream.allow_networks, if it is intended.",
    ),
    (
        "AmbiguousConnection",
        false,
        RemedyActor::Caller,
        "several connections cover the host",
        "Name one connection in the request.",
    ),
    (
        "BodyTooLarge",
        false,
        RemedyActor::Either,
        "the body is too large",
        "Send less, or raise proxy.max_body_bytes.",
    ),
    (
        "CallerUnknown",
        false,
        RemedyActor::Caller,
        "the caller is not known",
        "Send a caller token that is valid.",
    ),
    (
        "CertificateInvalid",
        true,
        RemedyActor::Operator,
        "the API's certificate is not valid",
        "Add a private CA to upstream.extra_roots, or have the API's certificate renewed.",
    ),
    (
        "ConflictingTags",
        false,
        RemedyActor::Caller,
        "the request names two connections",
        "Name the connection once.",
    ),
    (
        "ConnectRefused",
        true,
        RemedyActor::Api,
        "the API refuses conns",
        "See that the API's server runs at that host and port.",
    ),
    (
        "ConnectTimeout",
        true,
        RemedyActor::Api,
        "the API can't be reached",
        "See that the API's server runs, and that no firewall stands between.",
    ),
    (
        "ConnectionForbidden",
        true,
        RemedyActor::Operator,
        "the token may not use it",
        "Create a token that may use the connection, or enable the connection.",
    ),
    (
        "ConnectionNotFound",
        true,
        RemedyActor::Either,
        "no connection has that name",
        "Correct the name in the request, or create the connection.",
    ),
    (
        "ConnectionRequired",
        false,
        RemedyActor::Either,
        "no connection covers the host",
        "Name a connection, or create one for the host.",
    ),
    (
        "DomainNotAllowed",
        true,
        RemedyActor::Either,
        "the host is not in its allowed domain",
        "Correct the host in the request, or create a connection for that host.",
    ),
    (
        "HeadTooLarge",
        false,
        RemedyActor::Caller,
        "the head is too large",
        "Send fewer or shorter fields.",
    ),
    (
        "HttpsRequired",
        false,
        RemedyActor::Either,
        "the URL is not https",
        "Use an https:// URL, or set proxy.plain_http to upgrade.",
    ),
    ("Internal", true, RemedyActor::Operator, "Keyferry has a bug", "Report it, with this entry."),
    (
        "LoopDetected",
        true,
        RemedyActor::Operator,
        "the API's name leads back to the proxy",
        "Find what leads from the API's name back here.",
    ),
    (
        "MalformedRequest",
        false,
        RemedyActor::Caller,
        "the request can't be read",
        "Do what the cause says.",
    ),
    (
        "MethodNotAllowed",
        false,
        RemedyActor::Either,
        "the method is not allowed",
        "Use another method, or add it to proxy.allowed_methods.",
    ),
    (
        "MisdirectedRequest",
        false,
        RemedyActor::Either,
        "the request came by the wrong name",
        "Use one of the proxy's names, or add the name to proxy.allowed_hosts.",
    ),
    (
        "NameTimeout",
        true,
        RemedyActor::Operator,
        "DNS does not answer",
        "Check the server's DNS resolver.",
    ),
    (
        "NameUnresolved",
        true,
        RemedyActor::Either,
        "the API's name has no address",
        "Correct the host in the request, or check DNS.",
    ),
    (
        "Overloaded",
        false,
        RemedyActor::Either,
        "the proxy has too many conns",
        "Wait as Retry-After says, or raise proxy.max_connections.",
    ),
    (
        "PortNotAllowed",
        true,
        RemedyActor::Operator,
        "the port is not allowed",
        "Add the port to proxy.allowed_ports, if it is intended.",
    ),
    (
        "RateLimited",
        true,
        RemedyActor::Either,
        "the token's rate is used up",
        "Send fewer requests, or raise proxy.requests_per_minute.",
    ),
    (
        "ReauthorizationNeeded",
        true,
        RemedyActor::Operator,
        "the grant is dead",
        "Authorize the connection again.",
    ),
    (
        "RequestNotAllowed",
        false,
        RemedyActor::Either,
        "its rules forbid the request",
        "Ask for something else, or change the rules of the connection or token.",
    ),
    (
        "ResponseMalformed",
        true,
        RemedyActor::Api,
        "the API's answers can't be read",
        "Ask the operator of the API: its answer is not valid HTTP.",
    ),
    (
        "ResponseTimeout",
        true,
        RemedyActor::Either,
        "the API does not answer in time",
        "Raise upstream.response_timeout, or ask the operator of the API.",
    ),
    (
        "ResponseTruncated",
        true,
        RemedyActor::Api,
        "the API's answers break off",
        "Ask the operator of the API: it ends conns before the answer is whole.",
    ),
    (
        "SealBroken",
        true,
        RemedyActor::Operator,
        "its secret can't be opened",
        "Add the master key that is missing, or enter the secret again.",
    ),
    (
        "ShuttingDown",
        false,
        RemedyActor::Caller,
        "the proxy was stopping",
        "Try again, as Retry-After says.",
    ),
    (
        "StoreUnavailable",
        false,
        RemedyActor::Operator,
        "the store does not answer",
        "Bring the store back.",
    ),
    (
        "TlsFailed",
        true,
        RemedyActor::Either,
        "TLS with the API fails",
        "Ask the operator of the API; if it wants a client certificate, give the connection one.",
    ),
    (
        "TokenEndpointFailed",
        true,
        RemedyActor::Operator,
        "the provider gives no tokens",
        "Read the cause: the provider is down, or the OAuth client must be corrected.",
    ),
    (
        "UpgradeFailed",
        true,
        RemedyActor::Api,
        "the API refuses WebSockets",
        "See that the URL is one of a WebSocket.",
    ),
    (
        "UpstreamClosed",
        true,
        RemedyActor::Api,
        "the API closes conns",
        "Try again, or ask the operator of the API.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_of_an_origin_has_a_way_out() {
        for status in 0..700 {
            assert_eq!(FailureRemedy::of_status(status).is_some(), status >= 400, "{status}");
        }
        assert!(!FailureRemedy::of_status(404).unwrap().is_connections);
        assert_eq!(FailureRemedy::of_status(401).unwrap().who, RemedyActor::Operator);
    }

    #[test]
    fn a_way_out_is_a_sentence() {
        for (code, _, _, reason, advice) in REFUSALS {
            assert!(advice.ends_with('.') && !reason.ends_with('.'), "{code}");
        }
    }
}
