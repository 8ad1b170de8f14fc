//! The rules of a client's plain members.

use crate::model::oauth::text::{MAX_SCOPES_LEN, is_plain, is_scope};

/// A client's id, and what else is sent to a provider as it is.
pub(super) fn parse_plain(text: &str) -> Result<Box<str>, &'static str> {
    if is_plain(text) {
        Ok(text.into())
    } else {
        Err("must be at most 1024 bytes, none of them a control character")
    }
}

/// Scopes as RFC 6749 §3.3 has them, with a single space between two; people put more there.
pub(super) fn parse_scopes(text: &str) -> Result<Box<str>, &'static str> {
    if text.len() > MAX_SCOPES_LEN {
        return Err("must be at most 4096 characters");
    }
    let scopes: Vec<_> = text.split(' ').filter(|scope| !scope.is_empty()).collect();
    if scopes.iter().all(|scope| is_scope(scope)) {
        Ok(scopes.join(" ").into())
    } else {
        Err("must be scopes with spaces between them, without quotes and backslashes")
    }
}
