//! The rules of texts that are sent to a provider as they are.

/// Tells whether a text can be a client's id, or what else is sent as it is: it has no control
/// characters, and at most 1024 bytes.
#[must_use]
pub fn is_plain(text: &str) -> bool {
    text.len() <= 1024 && !text.chars().any(char::is_control)
}

/// Tells whether a text is a scope (RFC 6749 §3.3).
#[must_use]
pub fn is_scope(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    !text.is_empty() && text.bytes().all(fits)
}

/// The length of all scopes together, with the spaces between them, in bytes.
pub const MAX_SCOPES_LEN: usize = 4096;
