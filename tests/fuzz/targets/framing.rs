//! Where a message ends. Input: up to eight places to cut, a zero, and the bytes of a conn.
//!
//! The way in which the bytes arrive changes nothing. The former recognizer finds the same ends and faults. And
//! one whole message is the same one, with the same fields, to two other readers: `httparse` with a
//! plain reading of the body, and the HTTP library's server, which must never take a byte of the
//! next message for this one's.
#![no_main]

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use keyferry::http1::{FramingFault, HeadLimits, HeadScan};
use keyferry_fuzz::messages::{Message, follow};
use keyferry_fuzz::recognizer::{RecognizedExtent, Recognizer};
use libfuzzer_sys::fuzz_target;

const LIMITS: HeadLimits = HeadLimits { max_bytes: 1024, max_fields: 16 };
const CANARY: &[u8] = b"GET /canary HTTP/1.1\r\nHost: canary\r\nX-Canary: 1\r\n\r\n";

fuzz_target!(|input: &[u8]| {
    let Some(zero) = input.iter().take(9).position(|byte| *byte == 0) else { return };
    let (cuts, stream) = (&input[..zero], &input[zero + 1..]);
    let mut places: Vec<usize> = cuts.iter().map(|cut| usize::from(*cut) * 2).collect();
    places.retain(|place| *place < stream.len());
    places.sort_unstable();
    let whole = ends(stream, &[]);
    assert_eq!(recognized_ends(stream), whole, "the former reading");
    assert_eq!(ends(stream, &places), whole, "cut at {places:?}");
    let each: Vec<usize> = (1..stream.len()).collect();
    assert_eq!(ends(stream, &each), whole, "cut at each byte");

    let mut start = 0;
    for message in follow(stream, &[], LIMITS).0 {
        check_message(&stream[start..message.end], &message);
        start = message.end;
    }
});

/// The ends of the messages of a conn, and the fault that ended it all.
type Ends = (Vec<usize>, Option<FramingFault>);

fn ends(bytes: &[u8], cuts: &[usize]) -> Ends {
    let (messages, fault) = follow(bytes, cuts, LIMITS);
    (messages.iter().map(|message| message.end).collect(), fault)
}

/// The same by the former recognizer, which parsed nothing.
fn recognized_ends(bytes: &[u8]) -> Ends {
    let mut recognizer = Recognizer::new(LIMITS);
    let (mut ends, mut start) = (Vec::new(), 0);
    while start < bytes.len() {
        match recognizer.scan(&bytes[start..]) {
            Ok(RecognizedExtent::IncompleteHead) => break,
            Ok(RecognizedExtent::Within(taken)) => start += taken,
            Ok(RecognizedExtent::End(taken)) => {
                start += taken;
                ends.push(start);
            }
            Err(fault) => return (ends, Some(fault)),
        }
    }
    (ends, None)
}

/// A message as the other readers see it.
struct Plain {
    method: String,
    target: String,
    body: Vec<u8>,
    fields: Vec<(String, Vec<u8>)>,
}

fn field((name, value): (&http::HeaderName, &http::HeaderValue)) -> (String, Vec<u8>) {
    (name.to_string(), value.as_bytes().to_vec())
}

fn check_message(message: &[u8], read: &Message) {
    let plain = read_plainly(message);
    let ours = (read.head.method.as_str(), &*read.head.target, &read.body);
    assert_eq!(ours, (&*plain.method, plain.target.as_bytes(), &plain.body));
    let mut fields: Vec<_> = read.head.headers.iter().map(field).collect();
    let mut plain_fields = plain.fields.clone();
    fields.sort();
    plain_fields.sort();
    assert_eq!(fields, plain_fields);
    let seen = hand_to_hyper(message);
    assert!(seen.len() <= 2, "three requests of two");
    if let Some(first) = seen.first() {
        assert_eq!((&first.method, &first.body), (&plain.method, &plain.body));
        let mut seen_fields = first.fields.clone();
        seen_fields.sort();
        assert_eq!(seen_fields, plain_fields);
        let as_written = first.target == plain.target
            || plain.target.contains("://")
            || plain.method == "CONNECT";
        assert!(as_written, "{} {}", first.target, plain.target);
    }
    if let Some(second) = seen.get(1) {
        assert_eq!((&*second.method, &*second.target), ("GET", "/canary"));
        assert!(second.body.is_empty());
    }
}

/// `httparse` for the head; the body as RFC 9112 §6.3 says.
fn read_plainly(message: &[u8]) -> Plain {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Request::new(&mut fields);
    let length = match head.parse(message) {
        Ok(httparse::Status::Complete(length)) => length,
        other => panic!("{other:?} {:?}", String::from_utf8_lossy(message)),
    };
    let heads_end = (1..=message.len())
        .find_map(|end| HeadScan::default().scan(&message[..end], LIMITS).transpose());
    assert_eq!(heads_end, Some(Ok(length)), "the head ends elsewhere");
    let value = |name: &str| {
        let mut values = head.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        let value = values.next().map(|field| String::from_utf8_lossy(field.value).into_owned());
        assert!(values.next().is_none(), "{name} stands twice");
        value
    };
    let rest = &message[length..];
    let body = match (value("content-length"), value("transfer-encoding")) {
        (None, None) => {
            assert!(rest.is_empty(), "a body without framing");
            Vec::new()
        }
        (Some(size), None) => {
            assert_eq!(size.trim().parse(), Ok(rest.len()));
            rest.to_vec()
        }
        (None, Some(coding)) => {
            assert!(coding.trim().eq_ignore_ascii_case("chunked"), "{coding}");
            read_chunks(rest)
        }
        (Some(_), Some(_)) => panic!("both ways to frame a body"),
    };
    // Only a tunnel can be asked for without one, and only as in HTTP/1.0.
    let needs_none = head.version == Some(0) && head.method == Some("CONNECT");
    assert!(value("host").is_some() || needs_none);
    Plain {
        method: head.method.unwrap_or_default().to_owned(),
        target: head.path.unwrap_or_default().to_owned(),
        body,
        fields: head
            .headers
            .iter()
            .map(|field| (field.name.to_ascii_lowercase(), field.value.trim_ascii().to_vec()))
            .collect(),
    }
}

/// RFC 9112 §7.1, a line at a time; the trailers' end is the body's.
fn read_chunks(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let Ok(httparse::Status::Complete((length, size))) = httparse::parse_chunk_size(rest)
        else {
            panic!("not a chunk: {:?}", String::from_utf8_lossy(rest));
        };
        rest = &rest[length..];
        if size == 0 {
            break;
        }
        let size = usize::try_from(size).expect("a chunk that was there");
        body.extend_from_slice(&rest[..size]);
        assert_eq!(&rest[size..size + 2], b"\r\n");
        rest = &rest[size + 2..];
    }
    let mut trailers = [httparse::EMPTY_HEADER; 64];
    match httparse::parse_headers(rest, &mut trailers) {
        Ok(httparse::Status::Complete((length, _))) => assert_eq!(length, rest.len()),
        other => panic!("{other:?} {:?}", String::from_utf8_lossy(rest)),
    }
    body
}

/// What the HTTP library makes of the message with another one after it.
fn hand_to_hyper(message: &[u8]) -> Vec<Plain> {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    }
    let seen: Rc<RefCell<Vec<Plain>>> = Rc::default();
    let service = {
        let seen = Rc::clone(&seen);
        service_fn(move |request| answer(request, Rc::clone(&seen)))
    };
    let input = std::io::Cursor::new([message, CANARY].concat());
    let io = TokioIo::new(tokio::io::join(input, tokio::io::sink()));
    let conn = hyper::server::conn::http1::Builder::new()
        .half_close(true)
        .max_buf_size(8192)
        .serve_connection(io, service)
        .with_upgrades();
    let _refused = RUNTIME.with(|runtime| runtime.block_on(conn));
    seen.take()
}

async fn answer(
    request: Request<Incoming>,
    seen: Rc<RefCell<Vec<Plain>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    // A body that the library then refuses is no whole request; it is not one that counts.
    let Ok(body) = body.collect().await else { return Ok(Response::default()) };
    seen.borrow_mut().push(Plain {
        method: head.method.to_string(),
        target: head.uri.to_string(),
        body: body.to_bytes().to_vec(),
        fields: head.headers.iter().map(field).collect(),
    });
    let mut response = Response::default();
    if head.method == Method::CONNECT {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    }
    Ok(response)
}
