//! An exchange is idle when neither of its directions moves, and only then; over both versions of
//! HTTP on either side, and inside tunnels.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{Stream, StreamExt as _, stream};
use http::{Request, Response};
use http_body::{Body as _, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use crate::support::ask::{Ask, ask, stranger};
use crate::support::http2::{Http2, request};
use crate::support::origin::{Conn, Origin, listen};
use crate::support::raw::{Raw, refused};
use crate::support::tunnel::API;
use crate::support::world::{Running, World};
use crate::support::{soon, tls};

/// A quarter of the idle time, in which each end says something more.
const MESSAGE_INTERVAL: Duration = Duration::from_millis(250);
const MESSAGES: usize = 10;

type Content = UnsyncBoxBody<Bytes, Infallible>;

fn content(frames: impl Stream<Item = Bytes> + Send + 'static) -> Content {
    StreamBody::new(frames.map(|data| Ok(Frame::data(data)))).boxed_unsync()
}

/// Ten pieces, one at a time.
fn beats() -> impl Stream<Item = Bytes> {
    stream::iter(0..MESSAGES).then(|_| async {
        sleep(MESSAGE_INTERVAL).await;
        Bytes::from_static(b"beat ")
    })
}

/// Answers by path: `/talks` sends pieces while the caller is silent; `/listens` sends its head,
/// and says how much it was sent when that has ended; `/silent` sends its head and one piece.
async fn answer(request: Request<Incoming>) -> Result<Response<Content>, Infallible> {
    let (head, mut body) = request.into_parts();
    Ok(Response::new(match head.uri.path() {
        "/talks" => {
            let first = body.frame().await.is_some();
            assert!(first && !body.is_end_stream(), "the caller is to have more to say");
            // Kept, so that the request's direction stays open.
            content(beats().chain(stream::once(async move {
                drop(body);
                Bytes::from_static(b"end")
            })))
        }
        "/listens" => content(stream::once(async move {
            let sent = body.collect().await.unwrap().to_bytes();
            Bytes::from(sent.len().to_string())
        })),
        _ => {
            content(stream::iter([Bytes::from_static(b"first")]).chain(stream::once(async move {
                let _kept = body;
                std::future::pending().await
            })))
        }
    }))
}

async fn origin(alpn: &'static str) -> Origin {
    let acceptor = TlsAcceptor::from(tls::origin(&[alpn]));
    Origin::on(listen(), move |io, _number, _memory| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(io) = acceptor.accept(io).await else { return };
            let (io, service) = (TokioIo::new(io), service_fn(answer));
            let _ended = if alpn == "h2" {
                http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await
            } else {
                http1::Builder::new().serve_connection(io, service).await
            };
        }
    })
    .await
}

async fn world(origin: &Origin) -> Running {
    World::new(origin).set("proxy.idle_timeout", "\"1s\"").run().await
}

/// Does the same over both versions of HTTP to an origin, at the same time.
async fn over_each_version(exchanges: impl AsyncFn(&Running, &str)) {
    let each = ["http/1.1", "h2"].map(async |alpn| {
        let origin = origin(alpn).await;
        let world = world(&origin).await;
        exchanges(&world, alpn).await;
    });
    join_all(each).await;
}

/// A caller that has begun a request and can go on with it.
enum Caller {
    Http1(Raw),
    Http2(mpsc::UnboundedSender<Bytes>, tokio::task::JoinHandle<(u16, String, bool)>),
}

const CALLERS: [&str; 4] = ["http1", "http2", "http1 in a tunnel", "http2 in a tunnel"];

/// Begins a POST whose body has one piece so far.
async fn begin(world: &Running, kind: &str, path: &str) -> Caller {
    let url = format!("https://{API}{path}");
    let inner = || stranger(&format!("POST {path}")).host(API);
    match kind {
        "http1" => begin_http1(world.raw().await, ask(&format!("POST {url}"))).await,
        "http1 in a tunnel" => begin_http1(world.tunnel().await, inner()).await,
        "http2" => begin_http2(world.http2().await, request("POST", &url)),
        _ => begin_http2(world.http2_tunnel().await, Request::builder().method("POST").uri(&url)),
    }
}

async fn begin_http1(mut raw: Raw, ask: Ask) -> Caller {
    raw.write(ask.chunks("5\r\nfirst\r\n").bytes()).await;
    Caller::Http1(raw)
}

fn begin_http2(mut http2: Http2, request: http::request::Builder) -> Caller {
    let (pieces, coming) = mpsc::unbounded_channel();
    pieces.send(Bytes::from_static(b"first")).unwrap();
    let coming = stream::unfold(coming, |mut coming| async {
        let piece = coming.recv().await?;
        Some((piece, coming))
    });
    let answer = tokio::spawn(async move {
        let (head, mut body) = http2.start(request, content(coming)).await.unwrap().into_parts();
        let mut text = String::new();
        loop {
            match soon(body.frame()).await {
                Some(Ok(frame)) => {
                    let piece = frame.into_data().unwrap();
                    text.push_str(std::str::from_utf8(&piece).unwrap());
                }
                ended => return (head.status.as_u16(), text, ended.is_none()),
            }
        }
    });
    Caller::Http2(pieces, answer)
}

impl Caller {
    async fn say(&mut self, piece: &'static str) {
        match self {
            Self::Http1(raw) => raw.write(format!("{:x}\r\n{piece}\r\n", piece.len())).await,
            Self::Http2(pieces, _answer) => {
                pieces.send(Bytes::from_static(piece.as_bytes())).unwrap();
            }
        }
    }

    /// Status and body, and whether the body ended as it should; the request's own end comes after
    /// its answer when it `waits`.
    async fn answer(mut self, waits: bool) -> (u16, String, bool) {
        if let Self::Http1(raw) = &mut self
            && !waits
        {
            raw.write("0\r\n\r\n").await;
        }
        match self {
            Self::Http1(mut raw) => {
                let answer = raw.answer().await;
                (answer.status, answer.text(), answer.whole)
            }
            Self::Http2(pieces, answer) => {
                let kept = waits.then_some(pieces);
                let answer = soon(answer).await.unwrap();
                drop(kept);
                answer
            }
        }
    }
}

#[tokio::test]
async fn a_caller_that_waits_while_the_origin_sends_is_not_idle() {
    over_each_version(async |world, alpn| {
        let answers =
            CALLERS.map(async |kind| begin(world, kind, "/talks").await.answer(true).await);
        for (kind, answer) in CALLERS.iter().zip(join_all(answers).await) {
            let whole = "beat ".repeat(MESSAGES) + "end";
            assert_eq!(answer, (200, whole, true), "{kind} to {alpn}: {}", world.log.text());
        }
    })
    .await;
}

#[tokio::test]
async fn an_origin_that_waits_while_the_caller_sends_is_not_idle() {
    over_each_version(async |world, alpn| {
        let answers = CALLERS.map(async |kind| {
            let mut caller = begin(world, kind, "/listens").await;
            for _ in 0..MESSAGES {
                sleep(MESSAGE_INTERVAL).await;
                caller.say("piece").await;
            }
            caller.answer(false).await
        });
        for (kind, answer) in CALLERS.iter().zip(join_all(answers).await) {
            let sent = ((MESSAGES + 1) * 5).to_string();
            assert_eq!(answer, (200, sent, true), "{kind} to {alpn}: {}", world.log.text());
        }
    })
    .await;
}

#[tokio::test]
async fn an_exchange_in_which_both_are_silent_is_cut_and_the_log_says_who_was() {
    over_each_version(async |world, alpn| {
        for (waits, path, cause) in [
            (true, "/silent", "neither the caller nor the origin sent anything for 1s"),
            (false, "/silent/origin", "the origin sent nothing for 1s"),
        ] {
            let answers =
                CALLERS.map(async |kind| begin(world, kind, path).await.answer(waits).await);
            for (kind, answer) in CALLERS.iter().zip(join_all(answers).await) {
                assert_eq!(answer, (200, "first".to_owned(), false), "{kind} to {alpn}, {path}");
            }
            let mut left = CALLERS.len();
            world
                .log
                .entry(|entry| {
                    let told = entry["cause"].as_str().is_some_and(|text| text.contains(cause));
                    left -= usize::from(entry["path"] == path && told);
                    left == 0
                })
                .await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_caller_that_stops_sending_before_there_is_an_answer_is_told_so() {
    let origin = Origin::scripted(|mut conn: Conn| async move {
        conn.head().await;
        conn.raw.rest().await;
    })
    .await;
    let world = world(&origin).await;
    let mut raw = world.raw().await;
    raw.write(ask(&format!("POST https://{API}/v1")).field("Content-Length", "9").bytes()).await;
    raw.write("half").await;
    let answer = raw.answer().await;
    assert_eq!(answer.refusal(), refused(400, "MalformedRequest"));
    assert!(answer.title().contains("stopped coming for 1s"), "{}", answer.title());
    raw.ends().await;
}

#[tokio::test]
async fn a_caller_that_sends_before_it_reads_is_not_idle() {
    const LENGTH: usize = 32 << 20;
    let origin = Origin::scripted(|mut conn: Conn| async move {
        conn.head().await;
        conn.raw.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n")).await;
        let (mut reads, mut writes) = tokio::io::split(conn.raw.io);
        let writing = async {
            let piece = vec![b'x'; 65536];
            for _ in 0..LENGTH / piece.len() {
                tokio::io::AsyncWriteExt::write_all(&mut writes, &piece).await.unwrap();
            }
            // TLS may hold the last records back until then.
            tokio::io::AsyncWriteExt::flush(&mut writes).await.unwrap();
        };
        let mut sink = tokio::io::sink();
        let (_written, read) = tokio::join!(writing, tokio::io::copy(&mut reads, &mut sink));
        read.unwrap();
    })
    .await;
    let world = world(&origin).await;
    let mut raw = world.raw().await;
    let length = (MESSAGES * 5).to_string();
    raw.write(ask(&format!("POST https://{API}/v1")).field("Content-Length", &length).bytes())
        .await;
    for _ in 0..MESSAGES {
        sleep(MESSAGE_INTERVAL).await;
        raw.write("piece").await;
    }
    assert_eq!(raw.head().await.status, 200);
    assert_eq!(raw.discard(LENGTH as u64).await, LENGTH as u64, "{}", world.log.text());
}
