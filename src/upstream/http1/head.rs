//! Parses the head of a response (RFC 9112 §4, §5, §6).

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode, Version};
use hyper::ext::ReasonPhrase;

use super::decoder::Decoder;

/// The head of a response, and the framing of its body.
#[derive(Debug)]
pub struct Head {
    /// Status, version and fields.
    pub response: Response<()>,
    /// The decoder of its body.
    pub body: Decoder,
    /// Tells whether the conn can carry another exchange (RFC 9112 §9.3).
    pub keeps_alive: bool,
}

/// A response that is not well-formed. The text is for operators.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the text of each variant says it")]
pub enum MalformedResponse {
    #[error("the head is not well-formed: {0}")]
    Syntax(#[from] httparse::Error),
    #[error("a field is not well-formed")]
    Field,
    #[error("the head or the trailers are too large")]
    TooLarge,
    /// Content-Length and Transfer-Encoding contradict each other or themselves (§6.1, §6.3).
    #[error("Content-Length and Transfer-Encoding contradict each other or themselves")]
    Framing,
    /// A chunk violates §7.1.
    #[error("a chunk is not well-formed")]
    Chunk,
    #[error("{0}")]
    Http2(String),
    #[error("too many interim responses came before the final one")]
    Interim,
}

/// The offset of a head's end; `None` while it is incomplete. `from` is the number of bytes that
/// were searched before.
pub fn end(bytes: &[u8], from: usize) -> Option<usize> {
    let from = from.saturating_sub(3);
    memchr::memchr_iter(b'\n', bytes.get(from..)?).map(|at| from + at + 1).find_map(|next| {
        match bytes.get(next..)? {
            [b'\n', ..] => Some(next + 1),
            [b'\r', b'\n', ..] => Some(next + 2),
            _ => None,
        }
    })
}

impl Head {
    /// Parses a complete head that answers a request of this method.
    pub fn read(bytes: &Bytes, method: &Method) -> Result<Self, MalformedResponse> {
        // 1. Parse the status line and the field lines.
        let mut lines = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut parsed = httparse::Response::new(&mut []);
        let status = httparse::ParserConfig::default().parse_response_with_uninit_headers(
            &mut parsed,
            bytes,
            &mut lines,
        )?;
        let code = parsed.code.and_then(|code| StatusCode::from_u16(code).ok());
        let (Some(code), true) = (code, status.is_complete()) else {
            return Err(MalformedResponse::Syntax(httparse::Error::Status));
        };
        // 2. Copy them into a response. Values share the head's buffer.
        let mut response = Response::new(());
        *response.status_mut() = code;
        *response.version_mut() =
            if parsed.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
        keep_reason(&mut response, parsed.reason);
        let headers = response.headers_mut();
        headers.reserve(parsed.headers.len() + OWN_FIELDS);
        for line in parsed.headers.iter() {
            let name = HeaderName::from_bytes(line.name.as_bytes());
            let value = HeaderValue::from_maybe_shared(bytes.slice_ref(line.value));
            let (Ok(name), Ok(value)) = (name, value) else { return Err(MalformedResponse::Field) };
            headers.append(name, value);
        }
        // 3. Decide the framing of the body, and whether the conn stays open.
        let body = body_framing(&mut response, method)?;
        let keeps_alive = keeps_alive(&response) && !matches!(body, Decoder::UntilClose);
        Ok(Self { response, body, keeps_alive })
    }
}

/// The number of fields that the proxy adds to an answer, for which room is reserved.
const OWN_FIELDS: usize = 3;

/// Keeps a reason phrase that differs from the status code's usual one, even an empty one.
fn keep_reason(response: &mut Response<()>, reason: Option<&str>) {
    let usual = response.status().canonical_reason();
    let Some(own) = reason.filter(|own| Some(*own) != usual) else { return };
    if let Ok(own) = ReasonPhrase::try_from(own.as_bytes()) {
        response.extensions_mut().insert(own);
    }
}

/// The framing of the body (§6.3). A head that two readers could frame differently is refused.
fn body_framing(
    response: &mut Response<()>,
    method: &Method,
) -> Result<Decoder, MalformedResponse> {
    let status = response.status();
    let length = content_length(response.headers_mut())?;
    let mut codings = response.headers().get_all(header::TRANSFER_ENCODING).iter();
    let coding = codings.next();
    if let Some(coding) = coding {
        let understood = coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked")
            && codings.next().is_none()
            && length.is_none()
            && response.version() == Version::HTTP_11;
        if !understood {
            return Err(MalformedResponse::Framing);
        }
    }
    // Some answers have no body, whatever their fields say (RFC 9112 §6.3, cases 1 and 2).
    let never = status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    Ok(match (coding, length) {
        _ if never || *method == Method::HEAD => Decoder::Length(0),
        (Some(_), _) => Decoder::chunked(),
        (None, Some(length)) => Decoder::Length(length),
        (None, None) => Decoder::UntilClose,
    })
}

/// The value of Content-Length; `None` without one. Equal lines are merged into one.
fn content_length(headers: &mut HeaderMap) -> Result<Option<u64>, MalformedResponse> {
    let mut lines = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = lines.next() else { return Ok(None) };
    let agree = lines.all(|line| line == first);
    let digits = first.as_bytes();
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let length = first.to_str().ok().and_then(|text| text.parse().ok());
    let (Some(length), true) = (length, agree && plain) else {
        return Err(MalformedResponse::Framing);
    };
    if headers.get_all(header::CONTENT_LENGTH).iter().nth(1).is_some() {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    Ok(Some(length))
}

/// Tells whether the conn stays open after the exchange (RFC 9112 §9.3).
fn keeps_alive(response: &Response<()>) -> bool {
    let mut kept = response.version() == Version::HTTP_11;
    for line in response.headers().get_all(header::CONNECTION) {
        for option in line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if option.eq_ignore_ascii_case(b"close") {
                return false;
            }
            kept |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }
    kept
}

/// The largest head, in bytes.
pub(super) const MAX_HEAD_BYTES: usize = 256 << 10;
const MAX_FIELDS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, method: &Method) -> Result<Head, MalformedResponse> {
        assert_eq!(end(text.as_bytes(), 0), Some(text.len()));
        Head::read(&Bytes::copy_from_slice(text.as_bytes()), method)
    }

    fn body_of(text: &str) -> Option<Decoder> {
        read(text, &Method::GET).ok().map(|head| head.body)
    }

    #[test]
    fn a_heads_end_is_found_however_it_arrives() {
        let text = b"HTTP/1.1 200 OK\r\na: b\r\n\r\nbody\r\n\r\n";
        for split in 0..25 {
            assert_eq!(end(&text[..split], 0), None, "{split}");
            assert_eq!(end(text, split), Some(25), "{split}");
        }
        assert_eq!(end(b"HTTP/1.1 200 OK\n\nx", 0), Some(17));
        assert_eq!(end(b"HTTP/1.1 200 OK\na: b\n\r\nx", 0), Some(23));
    }

    #[test]
    fn a_body_ends_as_its_framing_says() {
        let plain = |fields: &str| body_of(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n"));
        assert!(matches!(plain(""), Some(Decoder::UntilClose)));
        assert!(matches!(plain("Content-Length: 7\r\n"), Some(Decoder::Length(7))));
        assert!(matches!(
            plain("Content-Length: 7\r\nContent-Length: 7\r\n"),
            Some(Decoder::Length(7))
        ));
        assert!(matches!(plain("Transfer-Encoding: Chunked\r\n"), Some(Decoder::Chunked(_))));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for fields in [
            "Content-Length: 7\r\nContent-Length: 8\r\n",
            "Content-Length: +7\r\n",
            "Content-Length: 7, 7\r\n",
            "Content-Length: \r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Content-Length: 7\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: identity\r\n",
            "a : b\r\n",
            "a: b\r\n c\r\n",
        ] {
            assert!(body_of(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).is_none(), "{fields}");
        }
        assert!(body_of("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_none());
        assert!(body_of("HTTP/2 200 OK\r\n\r\n").is_none());
    }

    #[test]
    fn some_answers_have_no_body_whatever_they_say() {
        for status in ["204 No Content", "304 Not Modified"] {
            let text = format!("HTTP/1.1 {status}\r\nContent-Length: 7\r\n\r\n");
            assert!(matches!(body_of(&text), Some(Decoder::Length(0))));
        }
        let head = read("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", &Method::HEAD).unwrap();
        assert!(matches!(head.body, Decoder::Length(0)) && head.keeps_alive);
        assert_eq!(head.response.headers()["content-length"], "7");
    }

    #[test]
    fn a_conn_is_kept_only_if_both_versions_rules_say_so() {
        let keeps = |text: &str| read(text, &Method::GET).unwrap().keeps_alive;
        assert!(keeps("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"));
        assert!(!keeps("HTTP/1.1 200 OK\r\n\r\n"));
        assert!(!keeps("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: x, Close\r\n\r\n"));
        assert!(!keeps("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n"));
        assert!(keeps("HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: Keep-Alive\r\n\r\n"));
    }

    #[test]
    fn a_reason_of_the_origins_own_is_kept() {
        let reason = |text: &str| {
            let head = read(text, &Method::GET).unwrap();
            head.response.extensions().get::<ReasonPhrase>().cloned()
        };
        assert!(reason("HTTP/1.1 200 OK\r\n\r\n").is_none());
        assert_eq!(reason("HTTP/1.1 200 Fine\r\n\r\n").unwrap().as_bytes(), b"Fine");
        assert_eq!(reason("HTTP/1.1 200 \r\n\r\n").unwrap().as_bytes(), b"");
        assert_eq!(reason("HTTP/1.1 200\r\n\r\n").unwrap().as_bytes(), b"");
    }
}
