//! An origin's answer. Input: up to eight places to cut, a zero, and the bytes of a conn.
//!
//! How the bytes arrive changes nothing; and an answer that is taken for whole is the same one to
//! the HTTP library's client, which reads more than we do but must not read it otherwise.
#![no_main]

use bytes::Bytes;
use http::Method;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use keyferry::http1::BodyPiece;
use keyferry::upstream::http1::{Decoder, Head, head_end};
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// An answer that has been read to its end.
#[derive(Debug, Eq, PartialEq)]
struct Answer {
    status: u16,
    fields: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

fuzz_target!(|input: &[u8]| {
    let Some(zero) = input.iter().take(9).position(|byte| *byte == 0) else { return };
    let (cuts, stream) = (&input[..zero], &input[zero + 1..]);
    let mut places: Vec<usize> = cuts.iter().map(|cut| usize::from(*cut) * 2).collect();
    places.retain(|place| *place < stream.len());
    places.sort_unstable();
    let whole = read(stream, &[]);
    assert_eq!(read(stream, &places), whole, "cut at {places:?}");
    let each: Vec<usize> = (1..stream.len()).collect();
    assert_eq!(read(stream, &each), whole, "cut at each byte");
    let Some((answer, length)) = whole else { return };
    assert!(length <= stream.len());
    if answer.status >= 200 {
        assert_eq!(hand_to_hyper(&stream[..length]).as_ref(), Some(&answer));
    }
});

/// The answer that `bytes` begin with, read as they arrive, and how many of them it took.
fn read(bytes: &[u8], cuts: &[usize]) -> Option<(Answer, usize)> {
    let length = head_end(bytes, 0)?;
    for cut in cuts.iter().filter(|cut| **cut < length) {
        assert_eq!(head_end(&bytes[..*cut], 0), None, "a head that ends twice");
        assert_eq!(head_end(bytes, *cut), Some(length), "looked at from {cut}");
    }
    let head = Head::read(&Bytes::copy_from_slice(&bytes[..length]), &Method::GET).ok()?;
    let (mut decoder, mut body, mut at) = (head.body, Vec::new(), length);
    for cut in cuts.iter().copied().filter(|cut| *cut > length).chain([bytes.len()]) {
        while at < cut && !decoder.has_ended() {
            match decoder.next(&bytes[at..cut]).ok()? {
                BodyPiece::Data { skip, length } => {
                    assert!(length > 0 && skip + length <= cut - at);
                    body.extend_from_slice(&bytes[at + skip..at + skip + length]);
                    at += skip + length;
                }
                BodyPiece::More { skip } => {
                    assert_eq!(skip, cut - at);
                    at = cut;
                }
                BodyPiece::End { skip, .. } => {
                    at += skip;
                    decoder = Decoder::Length(0);
                }
            }
        }
    }
    let ended = decoder.has_ended() || matches!(decoder, Decoder::UntilClose);
    let fields = head.response.headers().iter();
    let fields =
        fields.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    let status = head.response.status().as_u16();
    ended.then_some((Answer { status, fields, body }, at))
}

/// What the HTTP library's client makes of the same bytes, before the conn ends.
fn hand_to_hyper(bytes: &[u8]) -> Option<Answer> {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    }
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let (io, mut origin) = tokio::io::duplex(1 << 16);
            let (mut sender, conn) = hyper::client::conn::http1::Builder::new()
                .max_headers(256)
                .handshake::<_, Empty<Bytes>>(TokioIo::new(io))
                .await
                .ok()?;
            let request = http::Request::new(Empty::new());
            let asked = async {
                let (head, body) = sender.send_request(request).await.ok()?.into_parts();
                let body = body.collect().await.ok()?.to_bytes().to_vec();
                let fields = head.headers.iter();
                let fields =
                    fields.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
                let mut fields: Vec<_> = fields.collect();
                // A length that is said several times over is one (RFC 9112 §6.3).
                fields.dedup_by(|next, last| next == last && next.0 == "content-length");
                Some(Answer { status: head.status.as_u16(), fields, body })
            };
            // The library takes what comes before its request for a fault of its own kind.
            let answering = async {
                let mut request = [0; 64];
                let _asked = origin.read(&mut request).await;
                let _told = origin.write_all(bytes).await;
                let _over = origin.shutdown().await;
            };
            let (answer, _ended, ()) = tokio::join!(asked, conn, answering);
            answer
        })
    })
}
