//! The rules of a client's plain members.

/// A client's id, and what else is sent to a provider as it is.
pub(super) fn parse_plain(text: &str) -> Result<Box<str>, &'static str> {
    if text.len() <= 1024 && !text.chars().any(char::is_control) {
        Ok(text.into())
    } else {
        Err("must be at most 1024 bytes, none of them a control character")
    }
}

/// Scopes as RFC 6749 §3.3 has them, with a single space between two; people put more there.
pub(super) fn parse_scopes(text: &str) -> Result<Box<str>, &'static str> {
    let fits = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    if text.len() > 4096 {
        return Err("must be at most 4096 characters");
    }
    let scopes: Vec<_> = text.split(' ').filter(|scope| !scope.is_empty()).collect();
    if scopes.iter().all(|scope| scope.bytes().all(fits)) {
        Ok(scopes.join(" ").into())
    } else {
        Err("must be scopes with spaces between them, without quotes and backslashes")
    }
}
