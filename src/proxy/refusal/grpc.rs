//! Refusals as a gRPC caller reads them: it looks at `grpc-status` alone.

use http::{HeaderValue, Version};

use super::Code;
use crate::model::target::push_escaped;

/// Returns whether a caller speaks gRPC (over HTTP/2, as gRPC is defined).
pub(in crate::proxy) fn is_grpc(version: Version, content_type: Option<&HeaderValue>) -> bool {
    let start = content_type.and_then(|value| value.as_bytes().get(..GRPC.len()));
    version == Version::HTTP_2 && start.is_some_and(|start| start.eq_ignore_ascii_case(GRPC))
}

impl Code {
    /// The status code of gRPC that says who must act.
    pub fn grpc_status(self) -> u16 {
        match self {
            Self::AmbiguousConnection
            | Self::ConflictingTags
            | Self::MalformedRequest
            | Self::MisdirectedRequest => INVALID_ARGUMENT,
            Self::AddressProhibited
            | Self::ConnectionForbidden
            | Self::ConnectionNotFound
            | Self::ConnectionRequired
            | Self::DomainNotAllowed
            | Self::HttpsRequired
            | Self::MethodNotAllowed
            | Self::PortNotAllowed
            | Self::ReauthorizationNeeded => PERMISSION_DENIED,
            Self::BodyTooLarge | Self::HeadTooLarge | Self::RateLimited => RESOURCE_EXHAUSTED,
            Self::CallerUnknown => UNAUTHENTICATED,
            Self::Internal
            | Self::LoopDetected
            | Self::ResponseMalformed
            | Self::ResponseTruncated
            | Self::SealBroken
            | Self::UpgradeFailed => INTERNAL,
            Self::CertificateInvalid
            | Self::ConnectRefused
            | Self::ConnectTimeout
            | Self::NameTimeout
            | Self::NameUnresolved
            | Self::Overloaded
            | Self::ResponseTimeout
            | Self::ShuttingDown
            | Self::StoreUnavailable
            | Self::TlsFailed
            | Self::TokenEndpointFailed
            | Self::UpstreamClosed => UNAVAILABLE,
        }
    }
}

/// `Status-Message`: printable ASCII, everything else percent-encoded, the percent sign too.
pub(super) fn message(text: &str) -> HeaderValue {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            push_escaped(&mut encoded, byte);
        }
    }
    HeaderValue::try_from(encoded).unwrap_or_else(|_never| HeaderValue::from_static(""))
}

const GRPC: &[u8] = b"application/grpc";
const INVALID_ARGUMENT: u16 = 3;
const PERMISSION_DENIED: u16 = 7;
const RESOURCE_EXHAUSTED: u16 = 8;
const INTERNAL: u16 = 13;
const UNAVAILABLE: u16 = 14;
const UNAUTHENTICATED: u16 = 16;
