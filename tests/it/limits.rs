//! Limits on heads, bodies, conns, time and rate.

mod callers;
mod half_heads;

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinSet;

use crate::support::ask::{ask, stranger};
use crate::support::http2::request;
use crate::support::origin::{Conn, Origin};
use crate::support::raw::{Answer, Raw, refused};
use crate::support::world::World;
use crate::support::{soon, tls};

const URL: &str = "GET https://api.example.test/v1";

#[tokio::test]
async fn a_head_may_be_so_large_and_no_larger() {
    let origin = Origin::start().await;
    let world = World::new(&origin).set("proxy.max_head_bytes", "8192").run().await;
    let empty = ask(URL).field("X-Fill", "").bytes().len();
    let fill = |size: usize| ask(URL).field("X-Fill", &"x".repeat(size - empty));
    assert_eq!(world.send(&fill(8192)).await.status, 200);
    let sent = origin.seen().len();
    for size in [8193, 9000, 100_000] {
        let mut raw = world.raw().await;
        let answer = raw.send(&fill(size)).await;
        assert_eq!(answer.refusal(), refused(431, "HeadTooLarge"), "{size}");
        raw.ends().await;
    }
    let long = ask(&format!("{URL}?{}", "q".repeat(9000)));
    assert_eq!(world.send(&long).await.refusal(), refused(431, "HeadTooLarge"));
    assert_eq!(origin.seen().len(), sent);
}

#[tokio::test]
async fn a_head_may_have_so_many_fields_and_no_more() {
    let origin = Origin::saying("HTTP/1.1 204 No Content\r\n\r\n", false).await;
    let world = World::new(&origin).run().await;
    // Host and the token are two more.
    let with = |count: usize| (2..count).fold(ask(URL), |ask, _| ask.field("X", "y"));
    assert_eq!(world.send(&with(100)).await.status, 204);
    assert_eq!(world.send(&with(101)).await.refusal(), refused(431, "HeadTooLarge"));
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test]
async fn trailers_are_limited_like_heads() {
    let origin = Origin::start().await;
    let world = World::new(&origin).set("proxy.max_head_bytes", "8192").run().await;
    for trailers in ["X: y\r\n".repeat(101), format!("X: {}\r\n", "y".repeat(9000))] {
        let post = ask("POST https://api.example.test/v1").chunks("1\r\nx\r\n0\r\n");
        let mut raw = world.raw().await;
        raw.write(post.bytes()).await;
        origin_hears_nothing_whole(&mut raw, &trailers).await;
    }
    assert!(origin.seen().is_empty());
}

async fn origin_hears_nothing_whole(raw: &mut Raw, trailers: &str) {
    raw.write(format!("{trailers}\r\n")).await;
    let answer = raw.answer().await;
    assert_eq!(answer.status / 100, 4, "{answer:?}");
    raw.ends().await;
}

#[tokio::test]
async fn over_http2_a_head_may_be_no_larger_either() {
    let origin = Origin::start().await;
    let world = World::new(&origin).set("proxy.max_head_bytes", "8192").run().await;
    let mut http2 = world.http2().await;
    let large = request("GET", "https://api.example.test/v1").header("x-fill", "x".repeat(9000));
    let answer = http2.try_send(large, "").await;
    assert!(answer.is_none_or(|answer| answer.status == 431));
    assert!(origin.seen().is_empty());
    let mut http2 = world.http2().await;
    assert_eq!(http2.send(request("GET", "https://api.example.test/v1")).await.status, 200);
}

#[tokio::test]
async fn half_heads_and_half_handshakes_are_closed_in_time() {
    let origin = Origin::start().await;
    let leaf = tls::TRUSTED.leaf(&["localhost"]);
    let world = World::new(&origin).set("proxy.head_timeout", "\"1s\"");
    let path = world.path("proxy.sock");
    let listen = format!("[\"127.0.0.1:0\", \"unix:{}\"]", path.display());
    let world = world.set("proxy.listen", &listen).run().await;
    let secure = World::new(&origin)
        .file("proxy.pem", &leaf.pem)
        .file("proxy.key", &leaf.key.serialize_pem())
        .set("proxy.tls", "{ cert = \"proxy.pem\", key = \"proxy.key\" }")
        .set("proxy.head_timeout", "\"1s\"")
        .run()
        .await;
    let mut waiting = JoinSet::new();
    for half in
        ["", "G", "GET https://api.example.test/ HTTP/1.1\r\nHost: a\r\nX: y", "PRI * HTTP/2.0\r\n"]
    {
        let unix = Raw::unix(&path).await;
        for mut raw in [world.raw().await, unix] {
            raw.write(half).await;
            waiting.spawn(async move { raw.ends().await });
        }
    }
    let mut hello = secure.raw().await;
    hello.write(b"\x16\x03\x01\x02\x00\x01\x00").await;
    waiting.spawn(async move { hello.ends().await });
    let (mut shaken, _) = Raw::tls(secure.address(), &["http/1.1"]).await;
    shaken.write("GET").await;
    waiting.spawn(async move { shaken.ends().await });
    let mut preface = world.raw().await;
    preface.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    waiting.spawn(async move { drop(preface.rest().await) });
    while let Some(ended) = soon(waiting.join_next()).await {
        ended.unwrap();
    }
    assert_eq!(world.send(&ask(URL)).await.status, 200);
}

#[tokio::test]
async fn a_head_that_drips_is_closed_in_time() {
    let origin = Origin::start().await;
    let world = World::new(&origin).set("proxy.head_timeout", "\"1s\"").run().await;
    let mut raw = world.raw().await;
    raw.write("GET https://api.example.test/ HTTP/1.1\r\nX: ").await;
    let mut dripped = 0;
    let mut drip = tokio::time::interval(Duration::from_millis(100));
    while dripped < 100 && raw.try_write(b"y").await.is_ok() {
        drip.tick().await;
        dripped += 1;
    }
    assert!((5..40).contains(&dripped), "{dripped} drops in a tenth of a second each");
}

#[tokio::test]
async fn a_second_head_has_the_same_time_as_the_first() {
    let origin = Origin::start().await;
    let world = World::new(&origin).set("proxy.head_timeout", "\"1s\"").run().await;
    let mut raw = world.raw().await;
    assert_eq!(raw.send(&ask(URL)).await.status, 200);
    raw.write("GET https://api.example.test/ HT").await;
    raw.ends().await;
}

#[tokio::test]
async fn conns_at_rest_and_stalled_bodies_are_closed_in_time() {
    let origin = Origin::scripted(|mut conn: Conn| async move {
        while let Some(head) = conn.head().await {
            let length = if head.contains("/endless") { 1_u64 << 40 } else { 0 };
            conn.raw.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")).await;
            while length > 0 && conn.raw.try_write(&vec![b'x'; 65536]).await.is_ok() {}
        }
    })
    .await;
    let world = World::new(&origin).set("proxy.idle_timeout", "\"1s\"").run().await;
    let mut rests = world.raw().await;
    assert_eq!(rests.send(&ask(URL)).await.status, 200);
    rests.ends().await;

    let mut uploads = world.raw().await;
    uploads
        .write(ask("POST https://api.example.test/stalled").field("Content-Length", "9").bytes())
        .await;
    uploads.write("half").await;
    assert_eq!(uploads.head().await.status, 200);
    uploads.rest().await;

    let mut reads_not = world.raw().await;
    reads_not.write(ask("GET https://api.example.test/endless").bytes()).await;
    let entry = world.log.entry_of("/endless").await;
    assert_eq!(entry["status"], 200, "its end is written down: {entry}");
}

#[tokio::test]
async fn beyond_the_most_conns_callers_are_told_to_come_back() {
    let origin = Origin::start().await;
    let world = World::new(&origin)
        .set("proxy.max_connections", "2")
        .set("proxy.max_connections_per_caller", "2")
        .run()
        .await;
    let (mut first, mut second) = (world.raw().await, world.raw().await);
    first.send(&ask(URL)).await;
    second.send(&ask(URL)).await;
    let mut third = world.raw().await;
    let answer = third.send(&ask(URL)).await;
    assert_eq!(answer.refusal(), refused(503, "Overloaded"));
    assert_eq!((answer.field("retry-after"), answer.field("connection")), ("1", "close"));
    third.ends().await;
    let entry = world.log.entry(|entry| entry["code"] == "Overloaded").await;
    assert_eq!((entry["status"].as_u64(), entry["rule"].as_str()), (Some(503), Some("capacity")));
    drop(first);
    soon(async { while world.send(&ask(URL)).await.status != 200 {} }).await;
    assert_eq!(second.send(&ask(URL)).await.status, 200);
}

#[tokio::test]
async fn beyond_the_most_silent_conns_the_oldest_goes_and_callers_get_through() {
    let origin = Origin::start().await;
    // A tenth of them may be silent, but 100 at least.
    let world = World::new(&origin).set("proxy.max_connections", "500").run().await;
    let mut first = world.raw().await;
    assert_eq!(first.send(&ask(URL)).await.status, 200);
    let mut silent = JoinSet::new();
    for _ in 0..250 {
        let mut raw = world.raw().await;
        raw.write("GET https://api.example.test/").await;
        silent.spawn(async move { drop(raw.rest().await) });
    }
    for _ in 0..150 {
        soon(silent.join_next()).await.unwrap().unwrap();
        assert_eq!(first.send(&ask(URL)).await.status, 200, "who has sent a head stays");
    }
    assert_eq!(world.send(&ask(URL)).await.status, 200);
}

#[tokio::test]
async fn a_body_may_be_so_large_and_no_larger() {
    let origin = Origin::start().await;
    let world = World::new(&origin).set("proxy.max_body_bytes", "1000").run().await;
    let post = || ask("POST https://api.example.test/v1");
    let chunked =
        |size: usize| post().chunks(&format!("{size:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(size)));
    assert_eq!(world.send(&post().body("x".repeat(1000))).await.status, 200);
    assert_eq!(world.send(&chunked(1000)).await.status, 200);
    let sent = origin.seen().len();
    for ask in [post().body("x".repeat(1001)), chunked(1001), chunked(40_000)] {
        let mut raw = world.raw().await;
        let answer = raw.send(&ask).await;
        assert_eq!(answer.refusal(), refused(413, "BodyTooLarge"));
        assert!(answer.title().contains("1000"));
        raw.ends().await;
    }
    let announced = post().field("Content-Length", "1000000000000");
    assert_eq!(world.send(&announced).await.refusal(), refused(413, "BodyTooLarge"));
    let mut http2 = world.http2().await;
    let large = request("POST", "https://api.example.test/v1");
    assert_eq!(
        http2.send_body(large, vec![b'x'; 1001]).await.refusal(),
        refused(413, "BodyTooLarge")
    );
    assert_eq!(origin.seen().len(), sent, "no origin takes a part of one for the whole");
}

#[tokio::test]
async fn a_token_may_send_so_many_requests_in_a_minute() {
    let origin = Origin::start().await;
    let world = World::new(&origin)
        .set("proxy.requests_per_minute", "3")
        .token("other", "acme", "")
        .run()
        .await;
    let mut raw = world.raw().await;
    for _ in 0..3 {
        assert_eq!(raw.send(&ask(URL)).await.status, 200);
    }
    let answer: Answer = raw.send(&ask(URL)).await;
    assert_eq!(answer.refusal(), refused(429, "RateLimited"));
    let wait: u32 = answer.field("retry-after").parse().unwrap();
    assert!((15..=21).contains(&wait), "{wait}");
    assert_eq!(raw.send(&stranger(URL).by("other")).await.status, 200, "each token has its own");
    assert_eq!(raw.send(&ask(URL)).await.status, 429);
    assert_eq!(origin.seen().len(), 4);
}

#[tokio::test]
async fn callers_that_nobody_knows_stay_among_the_silent() {
    let origin = Origin::start().await;
    // A tenth of them may be of nobody who is known, but 100 at least.
    let world = World::new(&origin).set("proxy.max_connections", "300").run().await;
    let mut refused_ones = Vec::new();
    for _ in 0..299 {
        let mut raw = world.raw().await;
        assert_eq!(raw.send(&stranger(URL)).await.status, 407);
        refused_ones.push(raw);
    }
    // The oldest of them have gone, so that there is room.
    let mut callers = Vec::new();
    for _ in 0..50 {
        let mut raw = world.raw().await;
        assert_eq!(raw.send(&ask(URL)).await.status, 200);
        callers.push(raw);
    }
    for raw in &mut callers {
        assert_eq!(raw.send(&ask(URL)).await.status, 200, "who is known stays");
    }
}

#[tokio::test]
async fn the_api_answers_beside_many_silent_conns() {
    let most = getrlimit(Resource::Nofile).maximum;
    let _as_far_as_it_goes = setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most });
    let world = World::empty().run().await;
    let api = world.api.strip_prefix("http://").unwrap();
    let mut silent = Vec::new();
    for _ in 0..1000 {
        silent.push(Raw::tcp(api).await);
    }
    assert_eq!(world.api("/healthz").await.status, 200);
}

#[tokio::test]
async fn over_http2_answers_that_nobody_takes_end_their_conn_in_time() {
    let origin = Origin::start().await;
    let world = World::new(&origin).set("proxy.idle_timeout", "\"500ms\"").run().await;
    let known = request("GET", "https://api.example.test/v1");
    let unknown = http::Request::builder().uri("https://api.example.test/v1");
    let exchanges = [(known, 200), (unknown, 407)].map(async |(builder, status)| {
        // A caller that takes no body, and lives.
        let mut handshake = http2::Builder::new(TokioExecutor::new());
        handshake.timer(TokioTimer::new()).initial_stream_window_size(0);
        handshake.keep_alive_interval(Duration::from_millis(100));
        let io = TokioIo::new(world.raw().await.io);
        let (mut sender, conn) = handshake.handshake(io).await.unwrap();
        let conn = tokio::spawn(conn);
        let answer = sender.send_request(builder.body(Empty::<Bytes>::new()).unwrap()).await;
        assert_eq!(answer.as_ref().unwrap().status(), status);
        // However it ends: by a word, or by a cut.
        let _ended = soon(conn).await.unwrap();
    });
    join_all(exchanges).await;
    soon(async { while world.metric("keyferry_caller_connections").await > 0.0 {} }).await;
}

#[tokio::test]
async fn of_a_long_path_the_entry_keeps_the_beginning() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let path = format!("/{}", "a".repeat(2000));
    world.send(&stranger(&format!("GET https://api.example.test{path}"))).await;
    let entry = world.log.entry(|entry| entry["code"] == "CallerUnknown").await;
    assert_eq!(entry["path"].as_str().unwrap(), &path[..1024]);
}
