//! The table of contract §4: codes, what each is on the wire, and the rule it belongs to.

use crate::model::named_enum;

named_enum! {
    /// The rules, in the order in which they are applied. But whether the server goes down, or has
    /// not heard from its store, is asked before a request is read; a token's scope along with its
    /// caller.
    #[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
    pub enum Rule {
        /// The request can be read in one way only.
        Form = "form",
        /// It has not passed here before.
        Loop = "loop",
        /// The caller is known.
        Caller = "caller",
        /// The method is allowed.
        Method = "method",
        /// The tags agree.
        Tags = "tags",
        /// There is one connection, and the caller may use it.
        Connection = "connection",
        /// The request is for https.
        Https = "https",
        /// The allowed domain covers the host.
        Domain = "domain",
        /// The port is allowed.
        Port = "port",
        /// The rules of the connection and of the token allow the request.
        Rules = "rules",
        /// The body is not too large.
        BodySize = "body_size",
        /// The caller has not sent too many requests.
        Rate = "rate",
        /// There is a credential to inject.
        Credential = "credential",
        /// The origin's addresses may be dialed.
        Address = "address",
        /// The origin answers.
        Origin = "origin",
        /// The proxy itself is able to.
        Capacity = "capacity",
    }
}

/// Errors of RFC 9209 that several codes have.
const REQUEST: &str = "http_request_error";
const DENIED: &str = "http_request_denied";
const INTERNAL: &str = "proxy_internal_error";
const RESPONSE: &str = "proxy_internal_response";
const CONFIGURED: &str = "proxy_configuration_error";

/// Status codes of gRPC, which say who must act.
const INVALID_ARGUMENT: u16 = 3;
const PERMISSION_DENIED: u16 = 7;
const RESOURCE_EXHAUSTED: u16 = 8;
const INTERNAL_ERROR: u16 = 13;
const UNAVAILABLE: u16 = 14;
const UNAUTHENTICATED: u16 = 16;

/// One row of the table.
struct CodeRow {
    name: &'static str,
    status: u16,
    proxy_status: &'static str,
    rule: Rule,
    grpc_status: u16,
}

/// Declares the codes: each with its status, its error of RFC 9209, its rule, its gRPC status.
macro_rules! codes {
    ($($code:ident: $status:literal, $proxy_status:expr, $rule:ident, $grpc_status:ident;)+) => {
        /// A stable code, as callers see it.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[expect(missing_docs, reason = "docs/reference/errors.md explains each, as a test holds")]
        pub enum Code {
            $($code,)+
        }

        impl Code {
            /// All codes.
            pub const ALL: [Self; [$($status),+].len()] = [$(Self::$code),+];

            /// The code's row of the table.
            fn row(self) -> CodeRow {
                match self {
                    $(Self::$code => CodeRow {
                        name: stringify!($code),
                        status: $status,
                        proxy_status: $proxy_status,
                        rule: Rule::$rule,
                        grpc_status: $grpc_status,
                    },)+
                }
            }
        }
    };
}

codes! {
    AddressProhibited: 403, "destination_ip_prohibited", Address, PERMISSION_DENIED;
    AmbiguousConnection: 409, DENIED, Connection, INVALID_ARGUMENT;
    BodyTooLarge: 413, REQUEST, BodySize, RESOURCE_EXHAUSTED;
    CallerUnknown: 407, DENIED, Caller, UNAUTHENTICATED;
    CertificateInvalid: 502, "tls_certificate_error", Origin, UNAVAILABLE;
    ConflictingTags: 400, REQUEST, Tags, INVALID_ARGUMENT;
    ConnectRefused: 502, "connection_refused", Origin, UNAVAILABLE;
    ConnectTimeout: 504, "connection_timeout", Origin, UNAVAILABLE;
    ConnectionForbidden: 403, DENIED, Connection, PERMISSION_DENIED;
    ConnectionNotFound: 403, DENIED, Connection, PERMISSION_DENIED;
    ConnectionRequired: 403, DENIED, Connection, PERMISSION_DENIED;
    DomainNotAllowed: 403, DENIED, Domain, PERMISSION_DENIED;
    HeadTooLarge: 431, REQUEST, Form, RESOURCE_EXHAUSTED;
    HttpsRequired: 403, DENIED, Https, PERMISSION_DENIED;
    Internal: 500, INTERNAL, Capacity, INTERNAL_ERROR;
    LoopDetected: 502, "proxy_loop_detected", Loop, INTERNAL_ERROR;
    MalformedRequest: 400, REQUEST, Form, INVALID_ARGUMENT;
    MethodNotAllowed: 405, DENIED, Method, PERMISSION_DENIED;
    MisdirectedRequest: 421, DENIED, Form, INVALID_ARGUMENT;
    NameTimeout: 504, "dns_timeout", Origin, UNAVAILABLE;
    NameUnresolved: 502, "dns_error", Origin, UNAVAILABLE;
    Overloaded: 503, "connection_limit_reached", Capacity, UNAVAILABLE;
    PortNotAllowed: 403, DENIED, Port, PERMISSION_DENIED;
    RateLimited: 429, DENIED, Rate, RESOURCE_EXHAUSTED;
    ReauthorizationNeeded: 502, CONFIGURED, Credential, PERMISSION_DENIED;
    RequestNotAllowed: 403, DENIED, Rules, PERMISSION_DENIED;
    ResponseMalformed: 502, "http_protocol_error", Origin, INTERNAL_ERROR;
    ResponseTimeout: 504, "http_response_timeout", Origin, UNAVAILABLE;
    ResponseTruncated: 502, "http_response_incomplete", Origin, INTERNAL_ERROR;
    SealBroken: 500, INTERNAL, Credential, INTERNAL_ERROR;
    ShuttingDown: 503, RESPONSE, Capacity, UNAVAILABLE;
    StoreUnavailable: 503, INTERNAL, Capacity, UNAVAILABLE;
    TlsFailed: 502, "tls_protocol_error", Origin, UNAVAILABLE;
    TokenEndpointFailed: 502, RESPONSE, Credential, UNAVAILABLE;
    UpgradeFailed: 502, "http_upgrade_failed", Origin, INTERNAL_ERROR;
    UpstreamClosed: 502, "connection_terminated", Origin, UNAVAILABLE;
}

impl Code {
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

    /// The status code of gRPC that says who must act.
    pub fn grpc_status(self) -> u16 {
        self.row().grpc_status
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::remedy::FailureRemedy;
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
    fn every_code_has_a_way_out() {
        let known: HashSet<_> = FailureRemedy::codes().collect();
        assert_eq!(known, Code::ALL.iter().map(|code| code.as_str()).collect());
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
