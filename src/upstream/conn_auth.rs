//! Authentication of a conn itself, as NTLM does it, and Negotiate (RFC 4559 §6): no two requests
//! may share such a conn.

use http::{HeaderMap, HeaderName, Response, StatusCode, header};

/// `true` when this exchange is part of one.
pub(super) fn is_bound_to_conn<B>(request: &HeaderMap, response: &Response<B>) -> bool {
    let is_asked_for = response.status() == StatusCode::UNAUTHORIZED
        && has_conn_scheme(response.headers(), &header::WWW_AUTHENTICATE);
    is_asked_for || has_conn_scheme(request, &header::AUTHORIZATION)
}

fn has_conn_scheme(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.get_all(name).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).any(
        |challenge| {
            let mut words = challenge.trim_ascii_start().split(|byte| *byte == b' ');
            let scheme = words.next().unwrap_or_default();
            CONN_SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known))
        },
    )
}

const CONN_SCHEMES: [&[u8]; 2] = [b"NTLM", b"Negotiate"];
