//! The table of contract §4: codes, what each is on the wire, and the rule it belongs to.

/// A stable code, as callers see it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(missing_docs, reason = "docs/reference/errors.md explains each; a test compares them")]
pub enum Code {
    AddressProhibited,
    AmbiguousConnection,
    BodyTooLarge,
    CallerUnknown,
    CertificateInvalid,
    ConflictingTags,
    ConnectRefused,
    ConnectTimeout,
    ConnectionForbidden,
    ConnectionNotFound,
    ConnectionRequired,
    DomainNotAllowed,
    HeadTooLarge,
    HttpsRequired,
    Internal,
    LoopDetected,
    MalformedRequest,
    MethodNotAllowed,
    MisdirectedRequest,
    NameTimeout,
    NameUnresolved,
    Overloaded,
    PortNotAllowed,
    RateLimited,
    ReauthorizationNeeded,
    ResponseMalformed,
    ResponseTimeout,
    ResponseTruncated,
    SealBroken,
    ShuttingDown,
    StoreUnavailable,
    TlsFailed,
    TokenEndpointFailed,
    UpgradeFailed,
    UpstreamClosed,
}

/// The rules, in the order in which they are applied. But whether the server goes down, or has not
/// heard from its store, is asked before a request is read; a token's scope along with its caller.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Rule {
    /// The request can be read in one way only.
    Form,
    /// It has not passed here before.
    Loop,
    /// The caller is known.
    Caller,
    /// The method is allowed.
    Method,
    /// The tags agree.
    Tags,
    /// There is one connection, and the caller may use it.
    Connection,
    /// The request is for https.
    Https,
    /// The allowed domain covers the host.
    Domain,
    /// The port is allowed.
    Port,
    /// The body is not too large.
    BodySize,
    /// The caller has not sent too many requests.
    Rate,
    /// There is a credential to inject.
    Credential,
    /// The origin's addresses may be dialled.
    Address,
    /// The origin answers.
    Origin,
    /// The proxy itself is able to.
    Capacity,
}

/// Errors of RFC 9209 that several codes have.
const REQUEST: &str = "http_request_error";
const DENIED: &str = "http_request_denied";
const INTERNAL: &str = "proxy_internal_error";
const RESPONSE: &str = "proxy_internal_response";
const CONFIGURED: &str = "proxy_configuration_error";

/// One row of the table.
struct CodeRow {
    name: &'static str,
    status: u16,
    proxy_status: &'static str,
    rule: Rule,
}

impl Code {
    /// All codes.
    pub const ALL: [Self; 35] = [
        Self::AddressProhibited,
        Self::AmbiguousConnection,
        Self::BodyTooLarge,
        Self::CallerUnknown,
        Self::CertificateInvalid,
        Self::ConflictingTags,
        Self::ConnectRefused,
        Self::ConnectTimeout,
        Self::ConnectionForbidden,
        Self::ConnectionNotFound,
        Self::ConnectionRequired,
        Self::DomainNotAllowed,
        Self::HeadTooLarge,
        Self::HttpsRequired,
        Self::Internal,
        Self::LoopDetected,
        Self::MalformedRequest,
        Self::MethodNotAllowed,
        Self::MisdirectedRequest,
        Self::NameTimeout,
        Self::NameUnresolved,
        Self::Overloaded,
        Self::PortNotAllowed,
        Self::RateLimited,
        Self::ReauthorizationNeeded,
        Self::ResponseMalformed,
        Self::ResponseTimeout,
        Self::ResponseTruncated,
        Self::SealBroken,
        Self::ShuttingDown,
        Self::StoreUnavailable,
        Self::TlsFailed,
        Self::TokenEndpointFailed,
        Self::UpgradeFailed,
        Self::UpstreamClosed,
    ];

    /// The table of contract §4.
    fn row(self) -> CodeRow {
        let (name, status, proxy_status, rule) = match self {
            Self::MalformedRequest => ("MalformedRequest", 400, REQUEST, Rule::Form),
            Self::ConflictingTags => ("ConflictingTags", 400, REQUEST, Rule::Tags),
            Self::CallerUnknown => ("CallerUnknown", 407, DENIED, Rule::Caller),
            Self::ConnectionNotFound => ("ConnectionNotFound", 403, DENIED, Rule::Connection),
            Self::ConnectionRequired => ("ConnectionRequired", 403, DENIED, Rule::Connection),
            Self::ConnectionForbidden => ("ConnectionForbidden", 403, DENIED, Rule::Connection),
            Self::DomainNotAllowed => ("DomainNotAllowed", 403, DENIED, Rule::Domain),
            Self::HttpsRequired => ("HttpsRequired", 403, DENIED, Rule::Https),
            Self::PortNotAllowed => ("PortNotAllowed", 403, DENIED, Rule::Port),
            Self::MethodNotAllowed => ("MethodNotAllowed", 405, DENIED, Rule::Method),
            Self::AmbiguousConnection => ("AmbiguousConnection", 409, DENIED, Rule::Connection),
            Self::BodyTooLarge => ("BodyTooLarge", 413, REQUEST, Rule::BodySize),
            Self::HeadTooLarge => ("HeadTooLarge", 431, REQUEST, Rule::Form),
            Self::MisdirectedRequest => ("MisdirectedRequest", 421, DENIED, Rule::Form),
            Self::RateLimited => ("RateLimited", 429, DENIED, Rule::Rate),
            Self::AddressProhibited => {
                ("AddressProhibited", 403, "destination_ip_prohibited", Rule::Address)
            }
            Self::LoopDetected => ("LoopDetected", 502, "proxy_loop_detected", Rule::Loop),
            Self::NameUnresolved => ("NameUnresolved", 502, "dns_error", Rule::Origin),
            Self::NameTimeout => ("NameTimeout", 504, "dns_timeout", Rule::Origin),
            Self::ConnectRefused => ("ConnectRefused", 502, "connection_refused", Rule::Origin),
            Self::ConnectTimeout => ("ConnectTimeout", 504, "connection_timeout", Rule::Origin),
            Self::CertificateInvalid => {
                ("CertificateInvalid", 502, "tls_certificate_error", Rule::Origin)
            }
            Self::TlsFailed => ("TlsFailed", 502, "tls_protocol_error", Rule::Origin),
            Self::UpstreamClosed => ("UpstreamClosed", 502, "connection_terminated", Rule::Origin),
            Self::ResponseTimeout => {
                ("ResponseTimeout", 504, "http_response_timeout", Rule::Origin)
            }
            Self::ResponseMalformed => {
                ("ResponseMalformed", 502, "http_protocol_error", Rule::Origin)
            }
            Self::ResponseTruncated => {
                ("ResponseTruncated", 502, "http_response_incomplete", Rule::Origin)
            }
            Self::UpgradeFailed => ("UpgradeFailed", 502, "http_upgrade_failed", Rule::Origin),
            Self::ReauthorizationNeeded => {
                ("ReauthorizationNeeded", 502, CONFIGURED, Rule::Credential)
            }
            Self::TokenEndpointFailed => ("TokenEndpointFailed", 502, RESPONSE, Rule::Credential),
            Self::SealBroken => ("SealBroken", 500, INTERNAL, Rule::Credential),
            Self::StoreUnavailable => ("StoreUnavailable", 503, INTERNAL, Rule::Capacity),
            Self::Overloaded => ("Overloaded", 503, "connection_limit_reached", Rule::Capacity),
            Self::ShuttingDown => ("ShuttingDown", 503, RESPONSE, Rule::Capacity),
            Self::Internal => ("Internal", 500, INTERNAL, Rule::Capacity),
        };
        CodeRow { name, status, proxy_status, rule }
    }

    /// The code as it is written on the wire.
    pub fn as_str(self) -> &'static str {
        self.row().name
    }

    /// The status that goes with it; 401 replaces 407 where the caller speaks to us as an origin.
    pub fn status(self) -> u16 {
        self.row().status
    }

    /// The RFC 9209 error type.
    pub fn proxy_status(self) -> &'static str {
        self.row().proxy_status
    }

    /// The rule that it belongs to.
    pub fn rule(self) -> Rule {
        self.row().rule
    }
}

impl Rule {
    /// All rules, in order.
    pub const ALL: [Self; 15] = [
        Self::Form,
        Self::Loop,
        Self::Caller,
        Self::Method,
        Self::Tags,
        Self::Connection,
        Self::Https,
        Self::Domain,
        Self::Port,
        Self::BodySize,
        Self::Rate,
        Self::Credential,
        Self::Address,
        Self::Origin,
        Self::Capacity,
    ];

    /// The rule's name, as logs and `explain` print it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Loop => "loop",
            Self::Caller => "caller",
            Self::Method => "method",
            Self::Tags => "tags",
            Self::Connection => "connection",
            Self::Https => "https",
            Self::Domain => "domain",
            Self::Port => "port",
            Self::BodySize => "body_size",
            Self::Rate => "rate",
            Self::Credential => "credential",
            Self::Address => "address",
            Self::Origin => "origin",
            Self::Capacity => "capacity",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_code_is_listed_once_with_a_status_that_refuses() {
        let names: HashSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!((400..600).contains(&code.status()), "{}", code.as_str());
        }
    }

    #[test]
    fn every_code_is_documented_with_its_status() {
        let page = include_str!("../../../docs/reference/errors.md");
        for code in Code::ALL {
            let facts = format!(
                "\n### `{}`\n\n{} · `{}` · rule `{}`\n\n",
                code.as_str(),
                code.status(),
                code.proxy_status(),
                code.rule().as_str()
            );
            assert_eq!(page.matches(&facts).count(), 1, "reference/errors.md lacks {facts}");
        }
        // A section of a code that is none.
        let named = page.lines().filter_map(|line| line.strip_prefix("### `")?.split('`').next());
        for name in named {
            assert!(Code::ALL.iter().any(|code| code.as_str() == name), "{name} is no code");
        }
    }
}
