//! Every code of contract §4, provoked; and the order in which requests are refused.

mod order;
mod provoked;

use futures_util::future::join_all;
use keyferry::proxy::Code;

use crate::support::raw::Answer;

/// Contract §4, row by row: code, status, `Proxy-Status` error.
const TABLE: [(&str, u16, &str); 36] = [
    ("MalformedRequest", 400, "http_request_error"),
    ("ConflictingTags", 400, "http_request_error"),
    ("CallerUnknown", 407, "http_request_denied"),
    ("ConnectionNotFound", 403, "http_request_denied"),
    ("ConnectionRequired", 403, "http_request_denied"),
    ("ConnectionForbidden", 403, "http_request_denied"),
    ("DomainNotAllowed", 403, "http_request_denied"),
    ("HttpsRequired", 403, "http_request_denied"),
    ("PortNotAllowed", 403, "http_request_denied"),
    ("RequestNotAllowed", 403, "http_request_denied"),
    ("MethodNotAllowed", 405, "http_request_denied"),
    ("AmbiguousConnection", 409, "http_request_denied"),
    ("BodyTooLarge", 413, "http_request_error"),
    ("HeadTooLarge", 431, "http_request_error"),
    ("MisdirectedRequest", 421, "http_request_denied"),
    ("RateLimited", 429, "http_request_denied"),
    ("AddressProhibited", 403, "destination_ip_prohibited"),
    ("LoopDetected", 502, "proxy_loop_detected"),
    ("NameUnresolved", 502, "dns_error"),
    ("NameTimeout", 504, "dns_timeout"),
    ("ConnectRefused", 502, "connection_refused"),
    ("ConnectTimeout", 504, "connection_timeout"),
    ("CertificateInvalid", 502, "tls_certificate_error"),
    ("TlsFailed", 502, "tls_protocol_error"),
    ("UpstreamClosed", 502, "connection_terminated"),
    ("ResponseTimeout", 504, "http_response_timeout"),
    ("ResponseMalformed", 502, "http_protocol_error"),
    ("ResponseTruncated", 502, "http_response_incomplete"),
    ("UpgradeFailed", 502, "http_upgrade_failed"),
    ("ReauthorizationNeeded", 502, "proxy_configuration_error"),
    ("TokenEndpointFailed", 502, "proxy_internal_response"),
    ("Overloaded", 503, "connection_limit_reached"),
    ("ShuttingDown", 503, "proxy_internal_response"),
    ("StoreUnavailable", 503, "proxy_internal_error"),
    ("SealBroken", 500, "proxy_internal_error"),
    ("Internal", 500, "proxy_internal_error"),
];

#[tokio::test]
async fn every_code_is_provoked_and_written_as_the_contract_says() {
    let provoked = Code::ALL.map(|code| Box::pin(provoked::provoke(code)));
    for (code, answer) in Code::ALL.iter().zip(join_all(provoked).await) {
        let row = TABLE.iter().find(|(name, ..)| *name == code.as_str());
        let (name, status, error) = row.unwrap_or_else(|| panic!("{} is new", code.as_str()));
        assert_eq!(answer.code(), *name, "{answer:?}");
        assert_eq!(answer.status, *status, "{name}");
        let start = format!("keyferry; error={error}; details=\"{name}: ");
        assert!(answer.field("proxy-status").starts_with(&start), "{name}: {answer:?}");
        assert_eq!(answer.field("cache-control"), "no-store", "{name}");
        assert_eq!(answer.field("retry-after").is_empty(), !says_when(*status), "{name}");
        assert_says_nothing_it_should_not(&answer);
    }
    assert_eq!(TABLE.len(), Code::ALL.len());
}

fn says_when(status: u16) -> bool {
    matches!(status, 429 | 503)
}

/// A sentence is for strangers: no secret, no address of an origin, no other integration.
fn assert_says_nothing_it_should_not(answer: &Answer) {
    let said = format!("{:?} {}", answer.headers, answer.text());
    for secret in ["bearer-secret", "kf_", "127.0.0.1:", "globex", "os error"] {
        assert!(!said.contains(secret), "{said}");
    }
}
