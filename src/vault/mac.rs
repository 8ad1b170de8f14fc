//! The MAC of a token's record: HMAC-SHA-256 over everything that decides what the token may do.

use aws_lc_rs::hmac;
use jiff::Timestamp;

use super::context::Encoding;
use crate::model::options::encoded;
use crate::model::record::TokenClaims;

pub(super) fn sign(key: &hmac::Key, key_id: &str, claims: &TokenClaims<'_>) -> [u8; 32] {
    let mut code = [0; 32];
    let tag = hmac::sign(key, &encode(key_id, claims));
    code.copy_from_slice(tag.as_ref());
    code
}

/// Compares in constant time.
pub(super) fn is_genuine(
    key: &hmac::Key,
    key_id: &str,
    claims: &TokenClaims<'_>,
    code: &[u8; 32],
) -> bool {
    hmac::verify(key, &encode(key_id, claims), code).is_ok()
}

fn encode(key_id: &str, claims: &TokenClaims<'_>) -> Vec<u8> {
    let TokenClaims { id, name, reach, scopes, expires_at, rules, digest } = claims;
    let mut encoding = Encoding::new("keyferry token")
        .text(key_id)
        .bytes(id.as_bytes())
        .bytes(digest.as_bytes())
        .text(name)
        .text(reach.integration());
    let listed = reach.connections();
    encoding = encoding.number(i64::from(listed.is_some()));
    for part in [listed.unwrap_or_default(), scopes.names().map(Into::into).collect()] {
        encoding = encoding.bytes(&(part.len() as u64).to_be_bytes());
        encoding = part.iter().fold(encoding, |encoding, text| encoding.text(text));
    }
    let end = expires_at.map(Timestamp::as_microsecond);
    encoding = encoding.number(i64::from(end.is_some()));
    encoding = encoding.number(end.unwrap_or_default());
    // A token of before there were rules has none, and its code covers none.
    if rules.is_empty() {
        return encoding.finish();
    }
    encoding.text("rules").text(&encoded(rules)).finish()
}
