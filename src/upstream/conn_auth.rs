//! Authentication of a conn itself, as NTLM does it, and Negotiate (RFC 4559 §6): no two requests
//! may share such a conn.

use http::{HeaderMap, Response, StatusCode, header};

/// `true` when this exchange is part of one.
pub(super) fn is_bound_to_conn<B>(request: &HeaderMap, response: &Response<B>) -> bool {
    // Challenges come in lists (RFC 9110 §11.6.1), credentials do not.
    let is_asked_for = response.status() == StatusCode::UNAUTHORIZED
        && response
            .headers()
            .get_all(header::WWW_AUTHENTICATE)
            .iter()
            .any(|line| line.as_bytes().split(|byte| *byte == b',').any(has_conn_scheme));
    is_asked_for
        || request
            .get_all(header::AUTHORIZATION)
            .iter()
            .any(|line| has_conn_scheme(line.as_bytes()))
}

/// Tells whether this challenge, or these credentials, are of a scheme that authenticates a conn.
fn has_conn_scheme(text: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    CONN_SCHEMES.iter().any(|scheme| {
        text.split_at_checked(scheme.len()).is_some_and(|(start, rest)| {
            start.eq_ignore_ascii_case(scheme) && matches!(rest.first(), None | Some(b' '))
        })
    })
}

const CONN_SCHEMES: [&[u8]; 2] = [b"NTLM", b"Negotiate"];
