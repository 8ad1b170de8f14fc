//! Origins of HTTP/2 that refuse, reset, go away or fall silent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::support::ask::{Ask, ask};
use crate::support::frames::{
    Asked, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, RST_STREAM, STATUS_200, frame,
};
use crate::support::http2::request;
use crate::support::origin::{Conn, Origin};
use crate::support::raw::refused;
use crate::support::soon;
use crate::support::tls;
use crate::support::world::{Running, World};

/// An origin of HTTP/2 that does on each conn what `script` says.
async fn speaking<F, R>(script: F) -> Origin
where
    F: Fn(Frames) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let script = Arc::new(script);
    Origin::scripted_with(tls::origin(&["h2"]), move |conn: Conn| {
        let script = Arc::clone(&script);
        async move {
            if let Some(frames) = Frames::begin(conn).await {
                script(frames).await;
            }
        }
    })
    .await
}

fn get(path: &str) -> Ask {
    ask(&format!("GET https://api.example.test{path}"))
}

fn post(path: &str, body: &str) -> Ask {
    ask(&format!("POST https://api.example.test{path}")).body(body)
}

/// Ways to say that a request was not processed.
#[derive(Clone, Copy, Debug)]
enum Not {
    /// GOAWAY with an earlier last stream, and the conn closes.
    GoneAway(u32),
    /// The same, and the conn stays open.
    GoneAwayOpen,
    /// `REFUSED_STREAM`.
    Refused,
}

async fn say_no(mut frames: Frames, stream: u32, not: Not) {
    match not {
        Not::GoneAway(reason) => {
            frames.go_away(stream - 2, reason).await;
            frames.close().await;
        }
        Not::GoneAwayOpen => {
            frames.go_away(stream - 2, 0).await;
            frames.ends().await;
        }
        Not::Refused => {
            frames.reset(stream, 7).await;
            frames.echo().await;
        }
    }
}

#[tokio::test]
async fn what_an_origin_has_not_processed_is_sent_again_with_all_of_its_body() {
    let long = "x".repeat(100_000);
    let ways = [Not::GoneAway(0), Not::GoneAway(11), Not::GoneAwayOpen, Not::Refused];
    for (not, body) in ways.into_iter().flat_map(|not| ["", "short", &long].map(|body| (not, body)))
    {
        let origin = speaking(move |mut frames: Frames| async move {
            if frames.number > 0 {
                return frames.echo().await;
            }
            let first = frames.request().await.unwrap();
            frames.answer(first.stream, "first").await;
            // Of a long body only as much comes as the window allows.
            while let Some(next) = frames.next().await {
                if next.kind == HEADERS {
                    return say_no(frames, next.stream, not).await;
                }
            }
        })
        .await;
        let world = World::new(&origin).run().await;
        let mut raw = world.raw().await;
        assert_eq!(raw.send(&get("/first")).await.status, 200);
        let answer = raw.send(&post("/v1", body)).await;
        let cause = || format!("{not:?}, {}: {:?}", body.len(), world.log.entries().pop());
        assert!((answer.status, answer.text().as_str()) == (200, body), "{}", cause());
        assert_eq!(raw.send(&get("/last")).await.status, 200, "{not:?}");
        assert_eq!(origin.conns(), 2, "{not:?}");
    }
}

#[tokio::test]
async fn the_words_of_a_goaway_are_written_down_nowhere() {
    let origin = speaking(|mut frames: Frames| async move {
        let Some(asked) = frames.request().await else { return };
        let (last, reason) = (asked.stream.to_be_bytes(), 11_u32.to_be_bytes());
        let words = [&last[..], &reason, b"echo: what-it-was-sent"].concat();
        if asked.body.is_empty() {
            frames.write(HEADERS, END_HEADERS, asked.stream, STATUS_200).await;
            frames.write(DATA, 0, asked.stream, b"begun").await;
        }
        frames.write(GOAWAY, 0, 0, &words).await;
        frames.close().await;
    })
    .await;
    let world = World::new(&origin).set("log.level", "\"trace\"").run().await;
    assert_eq!(world.send(&post("/before", "x")).await.refusal(), refused(502, "UpstreamClosed"));
    assert_eq!(world.send(&get("/after")).await.status, 200);
    for path in ["/before", "/after"] {
        let entry = world.log.entry_of(path).await;
        assert!(!entry["cause"].as_str().unwrap().is_empty(), "{entry}");
    }
    assert!(!world.log.text().contains("what-it-was-sent"), "{}", world.log.text());
}

#[tokio::test]
async fn what_is_never_processed_is_sent_three_times_and_over_two_conns_at_most() {
    let sent = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let origin = speaking(move |mut frames: Frames| {
        let count = Arc::clone(&count);
        async move {
            while let Some(asked) = frames.request().await {
                count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                frames.reset(asked.stream, 7).await;
            }
        }
    })
    .await;
    let world = World::new(&origin).run().await;
    assert_eq!(world.send(&post("/v1", "x")).await.refusal(), refused(502, "UpstreamClosed"));
    let sent = sent.load(std::sync::atomic::Ordering::SeqCst);
    assert!((2..=3).contains(&sent) && origin.conns() <= 2, "{sent} on {}", origin.conns());
}

#[tokio::test]
async fn an_origin_that_closes_at_once_gets_two_conns_at_most_for_one_request() {
    let origin = Origin::scripted_with(tls::origin(&["h2"]), |_conn| async {}).await;
    let world = World::new(&origin).run().await;
    assert_eq!(world.send(&get("/v1")).await.refusal(), refused(502, "UpstreamClosed"));
    assert!(origin.conns() <= 2, "{}", origin.conns());
}

#[tokio::test]
async fn what_may_have_been_processed_is_sent_once() {
    // The stream is the last that GOAWAY leaves alone, and then the conn ends.
    let origin = speaking(|mut frames: Frames| async move {
        let asked = frames.request().await.unwrap();
        frames.go_away(asked.stream, 0).await;
    })
    .await;
    let world = World::new(&origin).run().await;
    for ask in [get("/v1"), post("/v1", "x")] {
        let before = origin.conns();
        assert_eq!(world.send(&ask).await.refusal(), refused(502, "UpstreamClosed"));
        assert_eq!(origin.conns(), before + 1);
    }
}

#[tokio::test]
async fn a_head_with_a_reset_behind_it_reaches_the_caller() {
    // A reset, with INTERNAL_ERROR, CANCEL and NO_ERROR; a body that is shorter than it said.
    for reason in [Some(2_u32), Some(8), Some(0), None] {
        let origin = speaking(move |mut frames: Frames| async move {
            let length = [STATUS_200, &[0x0f, 0x0d, 1, b'9']].concat();
            while let Some(Asked { stream, .. }) = frames.request().await {
                let (head, rest) = match reason {
                    Some(reason) => {
                        (STATUS_200, frame(RST_STREAM, 0, stream, &reason.to_be_bytes()))
                    }
                    None => (&length[..], frame(DATA, END_STREAM, stream, b"half")),
                };
                let head = frame(HEADERS, END_HEADERS, stream, head);
                frames.write_all(&[head, rest]).await;
            }
        })
        .await;
        let world = World::new(&origin).run().await;
        let answer = world.send(&get("/one")).await;
        assert_eq!((answer.status, answer.whole), (200, false));
        let entry = world.log.entry_of("/one").await;
        assert!(entry["cause"].as_str().unwrap().contains("the origin's body"), "{entry}");
        let mut caller = world.http2().await;
        let url = "https://api.example.test/two";
        let answer = caller.try_send(request("GET", url), "").await.unwrap();
        assert_eq!((answer.status, answer.whole), (200, false));
    }
}

#[tokio::test]
async fn an_origins_faults_have_their_own_codes() {
    // A field name in upper case (RFC 9113 §8.2.1), and no status at all.
    let upper = [STATUS_200, &[0, 1, b'A', 1, b'b']].concat();
    let no_status = [0, 1, b'a', 1, b'b'];
    for (said, code) in [
        (frame(HEADERS, END_HEADERS | END_STREAM, 1, &upper), "ResponseMalformed"),
        (frame(HEADERS, END_HEADERS | END_STREAM, 1, &no_status), "ResponseMalformed"),
        (frame(DATA, END_STREAM, 1, b"no head"), "ResponseMalformed"),
        (frame(99, 0, 1, b"unknown"), "ResponseTimeout"),
        (frame(RST_STREAM, 0, 1, &[0, 0, 0, 2]), "UpstreamClosed"),
        (frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]), "UpstreamClosed"),
    ] {
        let said = Arc::new(said);
        let origin = speaking(move |mut frames: Frames| {
            let said = Arc::clone(&said);
            async move {
                frames.request().await;
                frames.write_all(std::slice::from_ref(&said)).await;
                frames.ends().await;
            }
        })
        .await;
        let world = World::new(&origin).set("upstream.response_timeout", "\"500ms\"").run().await;
        assert_eq!(world.send(&get("/v1")).await.code(), code);
        assert_eq!(origin.conns(), 1, "{code}");
    }
}

#[tokio::test]
async fn interim_answers_without_end_are_malformed_over_http2_too() {
    let origin = speaking(|mut frames: Frames| async move {
        frames.request().await;
        // `:status: 103`, written out.
        let early = frame(HEADERS, END_HEADERS, 1, &[0x08, 3, b'1', b'0', b'3']);
        frames.write_all(&vec![early; 100]).await;
        frames.ends().await;
    })
    .await;
    let world = World::new(&origin).run().await;
    assert_eq!(world.send(&get("/v1")).await.refusal(), refused(502, "ResponseMalformed"));
}

#[tokio::test]
async fn a_stream_is_reset_when_its_caller_has_gone() {
    let (tell, mut reset) = tokio::sync::watch::channel(None);
    let origin = speaking(move |mut frames: Frames| {
        let tell = tell.clone();
        async move {
            let early = frame(HEADERS, END_HEADERS, 1, &[0x08, 3, b'1', b'0', b'3']);
            frames.request().await;
            tell.send_replace(Some(false));
            frames.write_all(&vec![early; 5]).await;
            while let Some(frame) = frames.next().await {
                if frame.kind == RST_STREAM {
                    tell.send_replace(Some(true));
                }
            }
        }
    })
    .await;
    let world = World::new(&origin).run().await;
    let mut caller = world.http2().await;
    let asked = tokio::spawn(async move {
        caller.send(request("GET", "https://api.example.test/v1")).await;
    });
    soon(reset.wait_for(|reset| *reset == Some(false))).await.unwrap();
    asked.abort();
    soon(reset.wait_for(|reset| *reset == Some(true))).await.unwrap();
    assert_eq!(world.log.entry_of("/v1").await["status"], 0);
}

#[tokio::test]
async fn an_origin_that_requires_http_1_1_is_spoken_to_in_it_from_then_on() {
    let origin =
        Origin::scripted_with(tls::origin(&["h2", "http/1.1"]), |mut conn: Conn| async move {
            if conn.number > 0 {
                while conn.head().await.is_some() {
                    conn.raw.exact(4).await;
                    conn.raw.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                }
                return;
            }
            let mut frames = Frames::begin(conn).await.unwrap();
            let asked = frames.request().await.unwrap();
            frames.reset(asked.stream, 13).await;
            frames.ends().await;
        })
        .await;
    let world = World::new(&origin).run().await;
    let mut raw = world.raw().await;
    for _ in 0..3 {
        assert_eq!(raw.send(&post("/v1", "body")).await.text(), "ok");
    }
    assert_eq!((origin.seen().len(), origin.conns()), (3, 2));
}

#[tokio::test]
async fn a_conn_that_has_fallen_silent_is_left_after_one_request() {
    let origin = speaking(|mut frames: Frames| async move {
        if frames.number > 0 {
            return frames.echo().await;
        }
        let first = frames.request().await.unwrap();
        frames.answer(first.stream, "first").await;
        // As a process that was stopped: the conn stays open, and nothing is read.
        std::future::pending::<()>().await;
    })
    .await;
    let world = World::new(&origin).set("upstream.response_timeout", "\"500ms\"").run().await;
    let mut caller = world.http2().await;
    let url = "https://api.example.test/v1";
    assert_eq!(caller.send(request("GET", url)).await.status, 200);
    let begun = Instant::now();
    assert_eq!(caller.send(request("GET", url)).await.refusal(), refused(504, "ResponseTimeout"));
    for _ in 0..3 {
        assert_eq!(caller.send(request("GET", url)).await.status, 200);
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(origin.conns(), 2);
}

#[tokio::test]
async fn a_query_without_a_path_is_one_of_the_root() {
    let origin = Origin::scripted_with(tls::origin(&["h2"]), |conn: Conn| async move {
        let service = hyper::service::service_fn(|request: http::Request<Incoming>| async move {
            let path = request.uri().path_and_query().unwrap().as_str().to_owned();
            Ok::<_, std::convert::Infallible>(http::Response::new(path))
        });
        let builder = http2::Builder::new(TokioExecutor::new());
        let _ended = builder.serve_connection(TokioIo::new(conn.raw.io), service).await;
    })
    .await;
    let world = World::new(&origin).run().await;
    assert_eq!(world.send(&ask("GET https://api.example.test?x=1")).await.text(), "/?x=1");
}

#[tokio::test]
async fn a_caller_that_breaks_off_its_upload_is_not_the_origins_fault() {
    let origin =
        speaking(|mut frames: Frames| async move { while frames.next().await.is_some() {} }).await;
    let world = World::new(&origin).run().await;
    broken_off(&world).await;
    let origin = Origin::scripted(|mut conn: Conn| async move {
        conn.head().await;
        conn.raw.rest().await;
    })
    .await;
    broken_off(&World::new(&origin).run().await).await;
}

/// Breaks off an upload, and looks at its entry.
async fn broken_off(world: &Running) {
    let mut raw = world.raw().await;
    let head = ask("POST https://api.example.test/broken").field("Content-Length", "100").bytes();
    raw.write(head).await;
    raw.write("half").await;
    raw.close_write().await;
    drop(raw);
    let entry = world.log.entry_of("/broken").await;
    assert_eq!(entry["code"], "MalformedRequest", "{entry}");
}
