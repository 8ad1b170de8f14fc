//! An answer as it is written to a caller. Input: a byte of choices, a byte for the status, fields,
//! one a line, an empty line, and the body.
//!
//! Two readers find the answer that was written, and its end where it was written to: our own
//! reading of what origins say, and the HTTP library's client.
#![no_main]

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use keyferry::http1::{
    AnswerFraming, AnswerTerms, AnsweredMethod, BodyPiece, encode_chunk, encode_head,
    encode_trailers,
};
use keyferry::upstream::http1::{Decoder, Head, head_end};
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// An answer as a reader finds it, without the fields of its conn.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Answer {
    status: u16,
    fields: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

const STATUSES: [u16; 8] = [200, 201, 204, 206, 304, 404, 500, 599];
const CANARY: &[u8] = b"HTTP/1.1 418 Canary\r\nContent-Length: 0\r\n\r\n";

fuzz_target!(|input: &[u8]| {
    let [choices, status, rest @ ..] = input else { return };
    let cut = rest.windows(2).position(|pair| pair == b"\n\n").unwrap_or(rest.len());
    let (fields, body) = rest.split_at(cut);
    let body = body.get(2..).unwrap_or_default();
    let has = |bit: u8| choices & bit != 0;
    // 1. What a handler gives: a length that it states is the right one.
    let mut headers = keyferry_fuzz::fields(fields);
    for name in ["content-length", "transfer-encoding", "connection", "trailer"] {
        headers.remove(name);
    }
    if has(1) {
        headers.insert("content-length", body.len().into());
    }
    let method = if has(2) { AnsweredMethod::Head } else { AnsweredMethod::Other };
    let mut terms = AnswerTerms {
        method,
        is_http10: has(4),
        takes_trailers: has(8),
        keeps_alive: has(16),
    };
    let known = has(32).then(|| body.len() as u64);
    let mut response = Response::new(());
    *response.status_mut() =
        StatusCode::from_u16(STATUSES[usize::from(*status) % STATUSES.len()]).expect("a status");
    *response.headers_mut() = headers;
    let (head, ()) = response.into_parts();
    // 2. It is written.
    let date = b"Sun, 06 Nov 1994 08:49:37 GMT";
    let mut bytes = Vec::new();
    let framing = encode_head(&head, known, date, &mut terms, &mut bytes);
    let sent = if framing == AnswerFraming::None { &[][..] } else { body };
    if let AnswerFraming::Chunked { .. } = framing {
        for piece in sent.chunks(usize::from(*status).max(1)) {
            encode_chunk(piece, &mut bytes);
        }
        encode_trailers(None, &mut bytes);
    } else {
        bytes.extend_from_slice(sent);
    }
    // 3. And read.
    let written = Answer { status: head.status.as_u16(), fields: shown(&head.headers), body: sent.to_vec() };
    assert!(framing != AnswerFraming::UntilClose || !terms.keeps_alive, "its end would not be seen");
    let asked = if has(2) { Method::HEAD } else { Method::GET };
    let end = bytes.len();
    let until_close = framing == AnswerFraming::UntilClose;
    if !until_close {
        bytes.extend_from_slice(CANARY);
    }
    assert_eq!(read(&bytes, &asked), Some((written.clone(), end)), "{}", String::from_utf8_lossy(&bytes));
    if !has(4) {
        assert_eq!(hand_to_hyper(&bytes[..end], asked).as_ref(), Some(&written));
    }
});

fn shown(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    let own = ["content-length", "transfer-encoding", "connection", "date"];
    let shown = headers.iter().filter(|(name, _)| !own.contains(&name.as_str()));
    let mut shown: Vec<_> =
        shown.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    shown.sort();
    shown
}

/// The answer and its length, as an answer of an origin is read.
fn read(bytes: &[u8], method: &Method) -> Option<(Answer, usize)> {
    let mut at = head_end(bytes, 0)?;
    let head = Head::read(&Bytes::copy_from_slice(&bytes[..at]), method).ok()?;
    let (mut decoder, mut body) = (head.body, Vec::new());
    while at < bytes.len() && !decoder.has_ended() {
        match decoder.next(&bytes[at..]).ok()? {
            BodyPiece::Data { skip, length } => {
                body.extend_from_slice(&bytes[at + skip..at + skip + length]);
                at += skip + length;
            }
            BodyPiece::More { skip } => at += skip,
            BodyPiece::End { skip, .. } => {
                at += skip;
                decoder = Decoder::Length(0);
            }
        }
    }
    let status = head.response.status().as_u16();
    Some((Answer { status, fields: shown(head.response.headers()), body }, at))
}

/// The same as the HTTP library's client finds it.
fn hand_to_hyper(bytes: &[u8], method: Method) -> Option<Answer> {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    }
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let (io, mut server) = tokio::io::duplex(1 << 16);
            let (mut sender, conn) = hyper::client::conn::http1::Builder::new()
                .max_headers(256)
                .handshake::<_, Empty<Bytes>>(TokioIo::new(io))
                .await
                .ok()?;
            let mut request = http::Request::new(Empty::new());
            *request.method_mut() = method;
            let asked = async {
                let (head, body) = sender.send_request(request).await.ok()?.into_parts();
                let body = body.collect().await.ok()?.to_bytes().to_vec();
                Some(Answer { status: head.status.as_u16(), fields: shown(&head.headers), body })
            };
            let answering = async {
                let mut request = [0; 64];
                let _asked = server.read(&mut request).await;
                let _told = server.write_all(bytes).await;
                let _over = server.shutdown().await;
            };
            let (answer, _ended, ()) = tokio::join!(asked, conn, answering);
            answer
        })
    })
}
