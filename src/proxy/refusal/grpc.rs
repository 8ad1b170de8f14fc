//! Refusals as a gRPC caller reads them: it looks at `grpc-status` alone.

use http::{HeaderValue, Version};

use crate::model::target::push_escaped;

/// Returns whether a caller speaks gRPC (over HTTP/2, as gRPC is defined).
pub(in crate::proxy) fn is_grpc(version: Version, content_type: Option<&HeaderValue>) -> bool {
    let start = content_type.and_then(|value| value.as_bytes().get(..GRPC.len()));
    version == Version::HTTP_2 && start.is_some_and(|start| start.eq_ignore_ascii_case(GRPC))
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
