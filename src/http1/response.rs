//! Writes answers (RFC 9112 §4, §5, §6).

use std::io::Write as _;

use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version, header};
use hyper::ext::ReasonPhrase;

use super::request::RequestHead;

/// The facts of a request on which the form of its answer depends.
#[derive(Clone, Copy, Debug)]
pub struct AnswerTerms {
    /// The kind of its method.
    pub method: AnsweredMethod,
    /// The caller speaks HTTP/1.0.
    pub is_http10: bool,
    /// The caller takes trailers.
    pub takes_trailers: bool,
    /// The conn can carry another request.
    pub keeps_alive: bool,
}

/// The kinds of methods whose answers differ in form.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AnsweredMethod {
    /// The answer has no body, whatever its fields say (RFC 9110 §9.3.2).
    Head,
    /// A success makes the conn a tunnel (RFC 9110 §9.3.6).
    Connect,
    /// Any other method.
    Other,
}

/// The way in which the end of an answer's body is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AnswerFraming {
    /// There is no body.
    None,
    /// This many bytes are to come.
    Length(u64),
    /// The body is chunked.
    Chunked {
        /// Trailers are sent.
        with_trailers: bool,
    },
    /// The body ends with the conn.
    UntilClose,
}

impl AnswerTerms {
    /// The terms of an answer to this request.
    pub fn of(head: &RequestHead) -> Self {
        Self {
            method: match head.method {
                Method::HEAD => AnsweredMethod::Head,
                Method::CONNECT => AnsweredMethod::Connect,
                _ => AnsweredMethod::Other,
            },
            is_http10: head.version == Version::HTTP_10,
            takes_trailers: head.takes_trailers,
            keeps_alive: head.keeps_alive,
        }
    }

    /// Tells whether an answer with this status makes the conn another protocol's.
    pub fn switches(self, status: StatusCode) -> bool {
        status == StatusCode::SWITCHING_PROTOCOLS
            || self.method == AnsweredMethod::Connect && status.is_success()
    }

    /// The framing of the body (RFC 9112 §6.3), and the length that is stated. `known` is the body's
    /// length, where it is known.
    fn framing(self, head: &Parts, known: Option<u64>) -> (AnswerFraming, Option<u64>) {
        let status = head.status;
        if status.is_informational() || status == StatusCode::NO_CONTENT || self.switches(status) {
            return (AnswerFraming::None, None);
        }
        let stated = stated_length(&head.headers);
        if self.method == AnsweredMethod::Head || status == StatusCode::NOT_MODIFIED {
            return (AnswerFraming::None, stated.or_else(|| known.filter(|known| *known > 0)));
        }
        let framing = match known.or(stated) {
            Some(length) => AnswerFraming::Length(length),
            None if self.is_http10 => AnswerFraming::UntilClose,
            None => AnswerFraming::Chunked { with_trailers: self.takes_trailers },
        };
        (framing, known.or(stated))
    }
}

/// Appends the head of an answer to `out`. `date` is its `Date`, unless it has its own. Gives the
/// framing of its body, and says in `terms` whether the conn can still carry another request.
pub fn encode_head(
    head: &Parts,
    known_length: Option<u64>,
    date: &[u8],
    terms: &mut AnswerTerms,
    out: &mut Vec<u8>,
) -> AnswerFraming {
    // 1. The status line.
    out.reserve(head.headers.len() * AVERAGE_FIELD_BYTES + 160);
    let reason = head.extensions.get::<ReasonPhrase>();
    encode_status_line(head.status, reason, terms.is_http10, out);
    // 2. The fields, without those that are this conn's own.
    let (framing, length) = terms.framing(head, known_length);
    for (name, value) in &head.headers {
        if *name != header::CONTENT_LENGTH && *name != header::TRANSFER_ENCODING {
            push_field(out, name, value);
        }
    }
    // 3. Our own: the time, the framing, and what becomes of the conn.
    if !head.headers.contains_key(header::DATE) {
        out.extend_from_slice(b"date: ");
        out.extend_from_slice(date);
        out.extend_from_slice(b"\r\n");
    }
    if let Some(length) = length {
        let written = write!(out, "content-length: {length}\r\n");
        debug_assert!(written.is_ok(), "a Vec takes all that is written to it");
    } else if matches!(framing, AnswerFraming::Chunked { .. }) {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    if !terms.switches(head.status) {
        let says_close = closes(&head.headers);
        terms.keeps_alive &= !says_close && framing != AnswerFraming::UntilClose;
        if !terms.keeps_alive && !says_close {
            out.extend_from_slice(b"connection: close\r\n");
        } else if terms.keeps_alive && terms.is_http10 {
            out.extend_from_slice(b"connection: keep-alive\r\n");
        }
    }
    out.extend_from_slice(b"\r\n");
    framing
}

/// Appends an interim answer (RFC 9110 §15.2), which has no body and says nothing of the conn.
pub fn encode_interim(head: &Response<()>, out: &mut Vec<u8>) {
    let reason = head.extensions().get::<ReasonPhrase>();
    encode_status_line(head.status(), reason, false, out);
    for (name, value) in head.headers() {
        if *name != header::CONTENT_LENGTH && *name != header::TRANSFER_ENCODING {
            push_field(out, name, value);
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a chunk with `data`, which is not empty.
pub fn encode_chunk(data: &[u8], out: &mut Vec<u8>) {
    let written = write!(out, "{:X}\r\n", data.len());
    debug_assert!(written.is_ok(), "a Vec takes all that is written to it");
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// Appends the end of a chunked body, with these trailers.
pub fn encode_trailers(trailers: Option<&HeaderMap>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        push_field(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
}

fn encode_status_line(
    status: StatusCode,
    reason: Option<&ReasonPhrase>,
    is_http10: bool,
    out: &mut Vec<u8>,
) {
    if status == StatusCode::OK && !is_http10 && reason.is_none() {
        return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    out.extend_from_slice(if is_http10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    let usual = || status.canonical_reason().unwrap_or_default().as_bytes();
    out.extend_from_slice(reason.map_or_else(usual, |reason| reason.as_bytes()));
    out.extend_from_slice(b"\r\n");
}

/// The value of `Content-Length`, if it is a number.
fn stated_length(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(header::CONTENT_LENGTH)?.to_str().ok()?;
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

fn closes(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONNECTION).iter().any(|line| {
        line.as_bytes()
            .split(|byte| *byte == b',')
            .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
    })
}

fn push_field(out: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

const AVERAGE_FIELD_BYTES: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: AnswerTerms = AnswerTerms {
        method: AnsweredMethod::Other,
        is_http10: false,
        takes_trailers: false,
        keeps_alive: true,
    };

    /// The head as it is written, its framing, and whether the conn stays.
    fn encoded(
        status: u16,
        fields: &[(&'static str, &'static str)],
        known: Option<u64>,
        mut terms: AnswerTerms,
    ) -> (String, AnswerFraming, bool) {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        for (name, value) in fields {
            response.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        let (head, ()) = response.into_parts();
        let mut out = Vec::new();
        let framing = encode_head(&head, known, b"now", &mut terms, &mut out);
        (String::from_utf8(out).unwrap(), framing, terms.keeps_alive)
    }

    #[test]
    fn a_body_ends_as_the_head_says() {
        let framing = |status, fields: &[_], known, terms| encoded(status, fields, known, terms).1;
        let stated = [("content-length", "5")];
        let (head, http10) = (
            AnswerTerms { method: AnsweredMethod::Head, ..TERMS },
            AnswerTerms { is_http10: true, ..TERMS },
        );
        let chunked = AnswerFraming::Chunked { with_trailers: false };
        assert_eq!(framing(200, &[], Some(5), TERMS), AnswerFraming::Length(5));
        assert_eq!(framing(200, &stated, None, TERMS), AnswerFraming::Length(5));
        assert_eq!(framing(200, &[], None, TERMS), chunked);
        assert_eq!(framing(200, &[], None, http10), AnswerFraming::UntilClose);
        for (status, terms) in [(204, TERMS), (304, TERMS), (101, TERMS), (200, head)] {
            assert_eq!(framing(status, &stated, None, terms), AnswerFraming::None, "{status}");
        }
        let connect = AnswerTerms { method: AnsweredMethod::Connect, ..TERMS };
        assert_eq!(framing(200, &[], Some(0), connect), AnswerFraming::None);
        assert_eq!(framing(403, &[], Some(3), connect), AnswerFraming::Length(3));
    }

    #[test]
    fn a_length_is_said_where_it_means_something() {
        let text = |status, fields: &[_], known, terms| encoded(status, fields, known, terms).0;
        let stated = [("content-length", "5")];
        let head = AnswerTerms { method: AnsweredMethod::Head, ..TERMS };
        assert_eq!(
            text(200, &stated, Some(5), TERMS),
            "HTTP/1.1 200 OK\r\ndate: now\r\ncontent-length: 5\r\n\r\n"
        );
        for (status, terms) in [(304, TERMS), (200, head)] {
            assert!(text(status, &stated, Some(0), terms).contains("content-length: 5\r\n"));
            assert!(!text(status, &[], Some(0), terms).contains("content-length"));
        }
        for status in [101, 204] {
            assert!(!text(status, &stated, Some(0), TERMS).contains("content-length"));
        }
        assert!(text(200, &[], Some(0), TERMS).contains("content-length: 0\r\n"));
        assert!(text(200, &[("date", "then")], Some(0), TERMS).contains("date: then"));
    }

    #[test]
    fn the_end_of_a_conn_is_said() {
        let (close, http10) =
            ([("connection", "x, Close")], AnswerTerms { is_http10: true, ..TERMS });
        let (text, _, stays) = encoded(200, &[], Some(0), TERMS);
        assert!(stays && !text.contains("connection"));
        let (text, _, stays) = encoded(200, &close, Some(0), TERMS);
        assert!(!stays && text.matches("connection").count() == 1);
        let ending = AnswerTerms { keeps_alive: false, ..TERMS };
        assert!(encoded(200, &[], Some(0), ending).0.contains("connection: close\r\n"));
        let (text, _, stays) = encoded(200, &[], Some(0), http10);
        assert!(stays && text.starts_with("HTTP/1.0 200 OK\r\n"));
        assert!(text.contains("connection: keep-alive\r\n"));
        let (text, _, stays) = encoded(200, &[], None, http10);
        assert!(!stays && text.contains("connection: close\r\n"));
    }
}
