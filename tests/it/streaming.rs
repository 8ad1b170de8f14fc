//! Bodies on their way through: any size, both ways, at the pace of the slower end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::support::ask::ask;
use crate::support::http2::request;
use crate::support::origin::{Conn, Origin};
use crate::support::raw::Raw;
use crate::support::soon;
use crate::support::world::{Running, World};

const PIECE: usize = 1 << 16;
const LARGE: u64 = 1 << 30;
/// What may be under way between the two ends: socket buffers, windows and our own.
const MOST_UNDER_WAY: u64 = 32 << 20;

/// The most memory that the program has used, in KiB.
fn peak(world: &Running) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", world.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Writes until it has written it all, or the other end takes nothing for a while; gives how
/// much it wrote.
async fn write_while_it_is_taken(raw: &mut Raw, length: u64) -> u64 {
    let piece = vec![b'x'; PIECE];
    let mut written = 0;
    while written < length {
        let most = usize::try_from(length - written).unwrap().min(PIECE);
        match timeout(Duration::from_millis(500), raw.io.write(&piece[..most])).await {
            Ok(count) => written += count.unwrap() as u64,
            Err(_elapsed) => break,
        }
    }
    written
}

#[tokio::test]
async fn a_large_answer_takes_no_memory() {
    let origin = Origin::scripted(|mut conn: Conn| async move {
        while let Some(head) = conn.head().await {
            let length = if head.contains("/large") { LARGE } else { 2 };
            conn.raw.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")).await;
            let piece = vec![b'x'; PIECE];
            for _ in 0..length / PIECE as u64 {
                conn.raw.io.write_all(&piece).await.unwrap();
            }
            conn.raw.write(&piece[..usize::try_from(length % PIECE as u64).unwrap()]).await;
        }
    })
    .await;
    let world = World::new(&origin).run().await;
    let mut raw = world.raw().await;
    raw.send(&ask("GET https://api.example.test/small")).await;
    let before = peak(&world);
    raw.write(ask("GET https://api.example.test/large").bytes()).await;
    assert_eq!(raw.head().await.status, 200);
    let taken = raw.discard(LARGE).await;
    assert_eq!(taken, LARGE);
    assert!(peak(&world) < before + (16 << 10), "{before} KiB, then {} KiB", peak(&world));
    let entry = world.log.entry_of("/large").await;
    assert_eq!(entry["response_bytes"], LARGE);
}

#[tokio::test]
async fn a_large_request_takes_no_memory() {
    let origin = Origin::scripted(|mut conn: Conn| async move {
        while let Some(head) = conn.head().await {
            let length = if head.contains("/large") { LARGE } else { 2 };
            let taken = conn.raw.discard(length).await;
            let said = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{taken}",
                taken.to_string().len()
            );
            conn.raw.write(said).await;
        }
    })
    .await;
    let world = World::new(&origin).run().await;
    let mut raw = world.raw().await;
    raw.send(&ask("POST https://api.example.test/small").body("ok")).await;
    let before = peak(&world);
    let large =
        ask("POST https://api.example.test/large").field("Content-Length", &LARGE.to_string());
    raw.write(large.bytes()).await;
    let written = write_while_it_is_taken(&mut raw, LARGE).await;
    assert_eq!(written, LARGE);
    assert_eq!(raw.answer().await.text(), LARGE.to_string());
    assert!(peak(&world) < before + (16 << 10), "{before} KiB, then {} KiB", peak(&world));
    let entry = world.log.entry_of("/large").await;
    assert_eq!(entry["request_bytes"], LARGE);
}

#[tokio::test]
async fn a_caller_that_does_not_read_holds_the_origin_up() {
    let (tell, told) = oneshot::channel();
    let tell = Arc::new(parking_lot::Mutex::new(Some(tell)));
    let origin = Origin::scripted(move |mut conn: Conn| {
        let tell = Arc::clone(&tell);
        async move {
            conn.head().await;
            conn.raw.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n")).await;
            let written = write_while_it_is_taken(&mut conn.raw, LARGE).await;
            let tell = tell.lock().take().unwrap();
            tell.send(written).unwrap();
            write_while_it_is_taken(&mut conn.raw, LARGE - written).await;
        }
    })
    .await;
    let world = World::new(&origin).run().await;
    let mut raw = world.raw().await;
    raw.write(ask("GET https://api.example.test/v1").bytes()).await;
    let written = soon(told).await.unwrap();
    assert!(written < MOST_UNDER_WAY, "{written} bytes were taken from the origin");
    assert_eq!(raw.head().await.status, 200);
    assert_eq!(raw.discard(written).await, written, "and nothing of them is lost");
}

#[tokio::test]
async fn an_origin_that_does_not_read_holds_the_caller_up() {
    let origin = Origin::scripted(|mut conn: Conn| async move {
        conn.head().await;
        std::future::pending::<()>().await;
    })
    .await;
    let world = World::new(&origin).run().await;
    let mut raw = world.raw().await;
    let large = ask("POST https://api.example.test/v1").field("Content-Length", &LARGE.to_string());
    raw.write(large.bytes()).await;
    let written = write_while_it_is_taken(&mut raw, LARGE).await;
    assert!(written < MOST_UNDER_WAY, "{written} bytes were taken from the caller");
}

/// An origin that sends without end, and says how it was stopped.
async fn endless() -> (Origin, mpsc::UnboundedReceiver<()>) {
    let (stopped, stops) = mpsc::unbounded_channel();
    let origin = Origin::scripted(move |mut conn: Conn| {
        let stopped = stopped.clone();
        async move {
            conn.head().await;
            conn.raw.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n").await;
            let piece = vec![b'x'; PIECE];
            while conn.raw.io.write_all(&piece).await.is_ok() {}
            stopped.send(()).unwrap();
        }
    })
    .await;
    (origin, stops)
}

#[tokio::test]
async fn a_caller_that_goes_away_stops_the_origin() {
    let (origin, mut stops) = endless().await;
    let world = World::new(&origin).run().await;
    let mut raw = world.raw().await;
    raw.write(ask("GET https://api.example.test/v1").bytes()).await;
    raw.discard(1 << 20).await;
    drop(raw);
    soon(stops.recv()).await.unwrap();
    assert_eq!(world.log.entry_of("/v1").await["status"], 200);

    let mut http2 = world.http2().await;
    let body = http_body_util::BodyExt::boxed_unsync(http_body_util::Empty::new());
    let answer = http2.start(request("GET", "https://api.example.test/v2"), body).await.unwrap();
    drop(answer);
    soon(stops.recv()).await.unwrap();
}

#[tokio::test]
async fn a_stream_that_is_cancelled_before_its_answer_lets_the_origin_go() {
    let (ended, mut ends) = mpsc::unbounded_channel();
    let origin = Origin::scripted(move |mut conn: Conn| {
        let ended = ended.clone();
        async move {
            conn.head().await;
            conn.raw.rest().await;
            ended.send(()).unwrap();
        }
    })
    .await;
    let world = World::new(&origin).run().await;
    let mut http2 = world.http2().await;
    let body = http_body_util::BodyExt::boxed_unsync(http_body_util::Empty::new());
    tokio::select! {
        _answer = http2.start(request("GET", "https://api.example.test/v1"), body) => panic!("answered"),
        () = origin.has_seen(1) => {}
    }
    soon(ends.recv()).await.unwrap();
    let entry = world.log.entry_of("/v1").await;
    assert_eq!(entry["status"], 0, "nobody was answered: {entry}");
}

#[tokio::test]
async fn a_caller_that_has_nothing_more_to_say_still_gets_its_answer() {
    let (answer, answers) = oneshot::channel::<()>();
    let answers = Arc::new(tokio::sync::Mutex::new(Some(answers)));
    let origin = Origin::scripted(move |mut conn: Conn| {
        let answers = Arc::clone(&answers);
        async move {
            conn.head().await;
            answers.lock().await.take().unwrap().await.unwrap();
            conn.raw.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    })
    .await;
    let world = World::new(&origin).run().await;
    let mut raw = world.raw().await;
    raw.write(ask("POST https://api.example.test/v1").body("content").bytes()).await;
    raw.close_write().await;
    origin.has_seen(1).await;
    answer.send(()).unwrap();
    assert_eq!(raw.answer().await.text(), "ok");
    raw.ends().await;
}

#[tokio::test]
async fn what_the_origin_says_arrives_as_it_is_said() {
    let (go, goes) = mpsc::unbounded_channel::<()>();
    let goes = Arc::new(tokio::sync::Mutex::new(goes));
    let origin = Origin::scripted(move |mut conn: Conn| {
        let goes = Arc::clone(&goes);
        async move {
            conn.head().await;
            conn.raw.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            for event in ["5\r\nfirst\r\n", "6\r\nsecond\r\n", "0\r\n\r\n"] {
                goes.lock().await.recv().await.unwrap();
                conn.raw.write(event).await;
            }
        }
    })
    .await;
    let world = World::new(&origin).run().await;
    let mut raw = world.raw().await;
    raw.write(ask("GET https://api.example.test/events").bytes()).await;
    assert_eq!(raw.head().await.status, 200, "the head does not wait for the body");
    for event in ["5\r\nfirst\r\n", "6\r\nsecond\r\n", "0\r\n\r\n"] {
        go.send(()).unwrap();
        let said = raw.until(event.as_bytes()).await.unwrap();
        assert_eq!(said, event.as_bytes());
    }
}

#[tokio::test]
async fn many_bodies_at_once_stay_apart() {
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    let origin = Origin::answering(&["h2"], move |seen| {
        counted.fetch_add(1, SeqCst);
        http::Response::new(http_body_util::Full::new(seen.body.clone()))
    })
    .await;
    let world = World::new(&origin).run().await;
    let http2 = world.http2().await;
    let sends = (0..40_u8).map(|number| {
        let mut http2 = http2.clone();
        async move {
            let body = vec![number; 100_000 + usize::from(number)];
            let post = request("POST", "https://api.example.test/echo");
            let answer = http2.send_body(post, body.clone()).await;
            answer.body == body
        }
    });
    let right = futures_util::future::join_all(sends).await;
    assert!(right.into_iter().all(|right| right));
    assert_eq!(count.load(SeqCst), 40);
}
