//! The `x-amz-content-sha256` field: what a request says of its body.

use aws_lc_rs::digest::{Context, Digest, SHA256, digest};
use http::{HeaderMap, HeaderName, header};

/// The name of the field that has the hash of the body.
pub const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");

/// The value of the field where the body is not signed.
pub const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// A request whose body can't be signed for. The text says what to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PayloadFault {
    /// The chunks of the body are signed with the caller's own keys.
    #[error(
        "The body is sent in chunks that the caller has signed itself, which the proxy can't sign \
         again: turn chunked signing off in the client (Java: chunkedEncodingEnabled(false), .NET: \
         DisablePayloadSigning = true, boto3: payload_signing_enabled = False), use an https:// \
         endpoint, and set AWS_REQUEST_CHECKSUM_CALCULATION=when_required."
    )]
    SignedChunks,
    /// The messages of an event stream are signed with the caller's own keys.
    #[error(
        "The body is an event stream whose messages the caller has signed itself, which the proxy \
         can't sign again: use an operation without an event stream in its request."
    )]
    SignedEvents,
    /// The caller signs with an algorithm that the proxy does not have.
    #[error(
        "The request is signed with Signature Version 4A, or version 2: configure the client for \
         version 4 in one region."
    )]
    Algorithm,
    /// The field stands more than once, or is neither a digest nor a known text.
    #[error(
        "The field x-amz-content-sha256 must stand once, with the SHA-256 of the body in lower-case \
         hexadecimal, UNSIGNED-PAYLOAD or STREAMING-UNSIGNED-PAYLOAD-TRAILER."
    )]
    Unreadable,
}

/// The state of the hash of a body that is still being read.
#[derive(Clone)]
pub struct PayloadHash(Context);

/// Checks what the caller says of the request's body; `true` where the field that says it is kept.
///
/// # Errors
/// [`PayloadFault`] says why the request can't be signed.
pub fn check_declared(headers: &HeaderMap) -> Result<bool, PayloadFault> {
    // 1. A signature that another version replaces is of the version that is made here.
    let mut schemes = headers.get_all(header::AUTHORIZATION).iter();
    let is_other = |scheme: &&[u8]| OTHER_ALGORITHMS.iter().any(|other| scheme.starts_with(other));
    if schemes.any(|value| is_other(&value.as_bytes())) {
        return Err(PayloadFault::Algorithm);
    }
    // 2. The field stands once.
    let mut values = headers.get_all(CONTENT_SHA256).iter();
    let Some(value) = values.next() else { return Ok(false) };
    if values.next().is_some() {
        return Err(PayloadFault::Unreadable);
    }
    // 3. It has a digest, or a text that leaves the body unsigned.
    match value.as_bytes() {
        b"UNSIGNED-PAYLOAD" | b"STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Ok(true),
        b"STREAMING-AWS4-HMAC-SHA256-EVENTS" => Err(PayloadFault::SignedEvents),
        text if text.starts_with(b"STREAMING-AWS4-") => Err(PayloadFault::SignedChunks),
        text if is_digest(text) => Ok(true),
        _ => Err(PayloadFault::Unreadable),
    }
}

impl PayloadHash {
    /// The hash of nothing yet.
    #[must_use]
    pub fn begin() -> Self {
        Self(Context::new(&SHA256))
    }

    /// Adds a piece of the body.
    pub fn add(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The digest as the field has it.
    #[must_use]
    pub fn finish(self) -> String {
        hexadecimal(&self.0.finish())
    }
}

impl std::fmt::Debug for PayloadHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PayloadHash")
    }
}

/// The SHA-256 of bytes, in lower-case hexadecimal.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&digest(&SHA256, bytes))
}

fn hexadecimal(digest: &Digest) -> String {
    to_hexadecimal(digest.as_ref())
}

/// Bytes in lower-case hexadecimal.
pub(super) fn to_hexadecimal(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

fn is_digest(text: &[u8]) -> bool {
    text.len() == 64 && text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Beginnings of `Authorization` of requests that are signed in another way: Version 4A (which
/// signs for several regions), and Version 2.
const OTHER_ALGORITHMS: [&[u8]; 2] = [b"AWS4-ECDSA-P256-SHA256", b"AWS "];

/// The SHA-256 of an empty body.
pub const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(fields: &[(&'static str, &str)]) -> Result<bool, PayloadFault> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        check_declared(&headers)
    }

    #[test]
    fn a_digest_and_an_unsigned_body_are_kept() {
        assert_eq!(checked(&[]), Ok(false));
        let placeholder =
            "AWS4-HMAC-SHA256 Credential=x/20150830/us-east-1/s3/aws4_request, Signature=0";
        assert_eq!(checked(&[("authorization", placeholder)]), Ok(false));
        for value in [EMPTY_SHA256, UNSIGNED_PAYLOAD, "STREAMING-UNSIGNED-PAYLOAD-TRAILER"] {
            assert_eq!(checked(&[("x-amz-content-sha256", value)]), Ok(true), "{value}");
        }
    }

    #[test]
    fn what_the_caller_has_signed_piece_by_piece_is_refused() {
        use PayloadFault as F;
        for (value, fault) in [
            ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", F::SignedChunks),
            ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", F::SignedChunks),
            ("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", F::SignedChunks),
            ("STREAMING-AWS4-HMAC-SHA256-EVENTS", F::SignedEvents),
            ("", F::Unreadable),
            ("unsigned-payload", F::Unreadable),
            (&EMPTY_SHA256.to_uppercase(), F::Unreadable),
            (&format!("{EMPTY_SHA256}0"), F::Unreadable),
        ] {
            assert_eq!(checked(&[("x-amz-content-sha256", value)]), Err(fault), "{value}");
        }
        let twice = [("x-amz-content-sha256", EMPTY_SHA256); 2];
        assert_eq!(checked(&twice), Err(F::Unreadable));
        for value in ["AWS4-ECDSA-P256-SHA256 Credential=x", "AWS x:y"] {
            assert_eq!(checked(&[("authorization", value)]), Err(F::Algorithm), "{value}");
        }
    }

    #[test]
    fn a_body_is_hashed_piece_by_piece() {
        assert_eq!(PayloadHash::begin().finish(), EMPTY_SHA256);
        let mut hash = PayloadHash::begin();
        hash.add(b"ab");
        hash.add(b"c");
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash.finish(), expected);
        assert_eq!(sha256(b"abc"), expected);
    }
}
