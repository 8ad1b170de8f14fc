//! Detects schemes that authenticate a conn instead of a request, as NTLM and Negotiate do (RFC
//! 4559 §6). Two requests must not share such a conn.

use http::{HeaderMap, Response, StatusCode, header};

/// Tells whether an exchange belongs to such a scheme.
pub(super) fn is_bound_to_conn<B>(request: &HeaderMap, response: &Response<B>) -> bool {
    // A field may list several challenges (RFC 9110 §11.6.1), but has one set of credentials.
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

/// Tells whether a challenge or credentials are of such a scheme.
fn has_conn_scheme(text: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    CONN_SCHEMES.iter().any(|scheme| {
        text.split_at_checked(scheme.len()).is_some_and(|(start, rest)| {
            start.eq_ignore_ascii_case(scheme) && matches!(rest.first(), None | Some(b' '))
        })
    })
}

const CONN_SCHEMES: [&[u8]; 2] = [b"NTLM", b"Negotiate"];
