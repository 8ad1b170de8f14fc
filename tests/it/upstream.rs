//! The way out: conns that are kept, repeated or refused, and TLS that is always verified.

mod faults;
mod held_back;
mod nginx;
mod restart;
mod sessions;
mod streams;
mod waiting;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use futures_util::future::join_all;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::support::ask::{Ask, ask};
use crate::support::http2::request;
use crate::support::origin::{Conn, Origin, listen, ok};
use crate::support::raw::{Raw, refused};
use crate::support::soon;
use crate::support::tls::{self, Authority, NAMES, TRUSTED};
use crate::support::world::World;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn get() -> Ask {
    ask("GET https://api.example.test/v1")
}

#[tokio::test]
async fn a_conn_to_the_origin_is_used_again() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let mut raw = world.raw().await;
    for _ in 0..5 {
        assert_eq!(raw.send(&get()).await.status, 200);
        assert_eq!(raw.send(&ask("POST https://api.example.test/v1").body("x")).await.status, 200);
    }
    assert_eq!((origin.seen().len(), origin.conns()), (10, 1));
    let handshakes = "keyferry_upstream_handshakes_total{outcome=\"completed\"}";
    assert!((world.metric(handshakes).await - 1.0).abs() < 0.1);
}

#[tokio::test]
async fn an_answer_that_closes_ends_its_conn() {
    let said = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
    let origin = Origin::saying(said, false).await;
    let world = World::new(&origin).run().await;
    let mut raw = world.raw().await;
    for _ in 0..3 {
        assert_eq!(raw.send(&get()).await.status, 200);
    }
    assert_eq!(origin.conns(), 3);
}

#[tokio::test]
async fn keeping_no_conns_means_a_new_one_each_time() {
    let origin = Origin::start().await;
    let world = World::new(&origin).set("upstream.max_idle_per_origin", "0").run().await;
    let mut raw = world.raw().await;
    for _ in 0..3 {
        raw.send(&get()).await;
    }
    assert_eq!(origin.conns(), 3);
}

#[tokio::test]
async fn no_two_integrations_nor_origins_share_a_conn() {
    let origin = Origin::start().await;
    let world = World::new(&origin)
        .bearer("globex.api", "api.example.test", "globex-secret")
        .bearer("acme.other", "other.example.test", "other-secret")
        .token("any", "*", "")
        .pin("other.example.test", &origin)
        .run()
        .await;
    let mut raw = world.raw().await;
    let any = |line: &str| crate::support::ask::stranger(line).by("any");
    for _ in 0..3 {
        for (path, secret) in [
            ("acme.api", "bearer-secret"),
            ("globex.api", "globex-secret"),
            ("acme.other", "other-secret"),
        ] {
            assert_eq!(raw.send(&any(&format!("GET /~/{path}/{path}"))).await.status, 200);
            assert_eq!(origin.last().field("authorization"), format!("Bearer {secret}"));
        }
    }
    let seen = origin.seen();
    for conn in 0..3 {
        let mut targets: Vec<_> =
            seen.iter().filter(|seen| seen.conn == conn).map(|seen| &seen.target).collect();
        assert_eq!(targets.len(), 3);
        targets.dedup();
        assert_eq!(targets.len(), 1, "{targets:?}");
    }
}

/// An origin whose first conn answers once and dies when the next request has arrived; later
/// ones live.
async fn dying() -> Origin {
    Origin::scripted(|mut conn: Conn| async move {
        let mut answered = 0;
        while conn.head().await.is_some() {
            if conn.number == 0 && answered == 1 {
                return;
            }
            conn.raw.write(OK).await;
            answered += 1;
        }
    })
    .await
}

#[tokio::test]
async fn a_request_that_may_be_repeated_is_when_a_kept_conn_turns_out_dead() {
    for method in ["GET", "HEAD", "OPTIONS", "DELETE", "PUT"] {
        let origin = dying().await;
        let world = World::new(&origin).run().await;
        let mut raw = world.raw().await;
        raw.send(&get()).await;
        let answer = raw.send(&ask(&format!("{method} https://api.example.test/again"))).await;
        assert_eq!(answer.status, 200, "{method}");
        assert_eq!((origin.seen().len(), origin.conns()), (3, 2), "{method}");
        assert_eq!(origin.last().field("authorization"), "Bearer bearer-secret");
    }
}

#[tokio::test]
async fn what_may_not_be_repeated_is_never_sent_twice() {
    for again in [
        ask("POST https://api.example.test/again"),
        ask("POST https://api.example.test/again").body("x"),
        ask("PATCH https://api.example.test/again").body("x"),
        ask("PUT https://api.example.test/again").body("x"),
        ask("PROPFIND https://api.example.test/again"),
    ] {
        let origin = dying().await;
        let world = World::new(&origin).run().await;
        let mut raw = world.raw().await;
        raw.send(&get()).await;
        assert_eq!(raw.send(&again).await.refusal(), refused(502, "UpstreamClosed"));
        let sent = origin.seen().iter().filter(|seen| seen.target == "/again").count();
        assert_eq!((sent, origin.conns()), (1, 1), "{}", again.method());
    }
}

#[tokio::test]
async fn a_new_conn_that_dies_is_no_reason_to_repeat() {
    let origin = Origin::saying("", true).await;
    let world = World::new(&origin).run().await;
    assert_eq!(world.send(&get()).await.refusal(), refused(502, "UpstreamClosed"));
    assert_eq!((origin.seen().len(), origin.conns()), (1, 1));
}

#[tokio::test]
async fn a_request_is_not_repeated_once_an_answer_has_begun() {
    let origin = Origin::scripted(|mut conn: Conn| async move {
        conn.head().await;
        conn.raw.write(OK).await;
        conn.head().await;
        conn.raw.write("HTTP/1.1 200 OK\r\nContent-Le").await;
    })
    .await;
    let world = World::new(&origin).run().await;
    let mut raw = world.raw().await;
    raw.send(&get()).await;
    assert_eq!(raw.send(&get()).await.refusal(), refused(502, "ResponseTruncated"));
    assert_eq!(origin.conns(), 1);
}

#[tokio::test]
async fn a_kept_conn_that_says_something_unasked_is_not_used() {
    let origin = Origin::scripted(|mut conn: Conn| async move {
        while conn.head().await.is_some() {
            conn.raw.write(format!("{OK}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged")).await;
        }
    })
    .await;
    let world = World::new(&origin).run().await;
    let mut raw = world.raw().await;
    for _ in 0..4 {
        let answer = raw.send(&get()).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_the_origins_gets_not_one_byte_of_a_request() {
    let other = Authority::new();
    for (fault, config) in [
        ("wrong name", TRUSTED.leaf(&["other.example.test"]).serve(&[])),
        ("a wildcard one level up", TRUSTED.leaf(&["*.test"]).serve(&[])),
        ("ended", TRUSTED.leaf_until(NAMES, 2001).serve(&[])),
        ("unknown authority", other.leaf(NAMES).serve(&[])),
        ("self-signed", Authority::self_signed(NAMES).serve(&[])),
    ] {
        let origin = Origin::scripted_with(config, |mut conn| async move {
            conn.head().await;
        })
        .await;
        let world = World::new(&origin).run().await;
        assert_eq!(
            world.send(&get()).await.refusal(),
            refused(502, "CertificateInvalid"),
            "{fault}"
        );
        assert_eq!((origin.seen().len(), origin.conns()), (0, 1), "{fault}");
        let failed = "keyferry_upstream_handshakes_total{outcome=\"certificate_invalid\"}";
        assert!((world.metric(failed).await - 1.0).abs() < 0.1, "{fault}");
    }
}

#[tokio::test]
async fn tls_before_1_2_and_what_is_not_tls_are_refused() {
    // A ServerHello of TLS 1.1 with a suite of its time.
    let mut hello = vec![0x16, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0xc0, 0x13, 0]);
    hello.truncate(5 + 42);
    for answer in
        [hello, b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), b"\x15\x03\x01\x00\x02\x02\x28".to_vec()]
    {
        let origin = Origin::on(listen(), move |io, _, _| {
            let answer = answer.clone();
            async move {
                let mut raw = Raw::over(io);
                raw.until(&[3, 3]).await.unwrap();
                raw.write(&answer).await;
                raw.rest().await;
            }
        })
        .await;
        let world = World::new(&origin).run().await;
        assert_eq!(world.send(&get()).await.refusal(), refused(502, "TlsFailed"));
    }
}

#[tokio::test]
async fn the_name_in_the_handshake_is_the_origins() {
    let names = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let (seen, config) = (Arc::clone(&names), tls::origin(&["http/1.1"]));
    let origin = Origin::on(listen(), move |io, _, _| {
        let (seen, config) = (Arc::clone(&seen), Arc::clone(&config));
        async move {
            let hello =
                tokio_rustls::LazyConfigAcceptor::new(rustls::server::Acceptor::default(), io);
            let hello = hello.await.unwrap();
            seen.lock().push(hello.client_hello().server_name().map(str::to_owned));
            let mut raw = Raw::over(hello.into_stream(config).await.unwrap());
            raw.until(b"\r\n\r\n").await.unwrap();
            raw.write(OK).await;
        }
    })
    .await;
    let world = World::new(&origin).run().await;
    let ask = ask("GET https://API.Example.Test/v1").host("evil.test");
    assert_eq!(world.send(&ask).await.status, 200);
    assert_eq!(*names.lock(), [Some("api.example.test".to_owned())]);
}

#[tokio::test]
async fn an_origin_of_http2_is_spoken_to_in_http2_on_one_conn() {
    let origin = Origin::answering(&["h2", "http/1.1"], |seen| ok(&seen.target)).await;
    let world = World::new(&origin).run().await;
    let mut raw = world.raw().await;
    let first = raw.send(&ask("POST https://api.example.test/1").body("body")).await;
    assert_eq!(first.text(), "https://api.example.test/1");
    let seen = origin.last();
    assert_eq!((seen.version, &seen.body[..]), (http::Version::HTTP_2, &b"body"[..]));
    assert_eq!(
        (seen.field("host"), seen.field("authorization").as_str()),
        (String::new(), "Bearer bearer-secret")
    );
    let mut http2 = world.http2().await;
    http2.send(request("GET", "https://api.example.test/warm")).await;
    let conns = origin.conns();
    let sends = (0..20).map(|number| {
        let mut http2 = http2.clone();
        let url = format!("https://api.example.test/{number}");
        async move { http2.send(request("GET", &url)).await.text() == url }
    });
    assert!(join_all(sends).await.into_iter().all(|right| right));
    assert_eq!(origin.conns(), conns, "one conn carries them all");
}

#[tokio::test]
async fn http2_can_be_turned_off() {
    let origin = Origin::answering(&["h2", "http/1.1"], |_seen| ok("ok")).await;
    let world = World::new(&origin).set("upstream.http2", "false").run().await;
    assert_eq!(world.send(&get()).await.status, 200);
    assert_eq!(origin.only().version, http::Version::HTTP_11);
}

#[tokio::test]
async fn idle_conns_are_closed_in_time() {
    let (closed, waits) = tokio::sync::mpsc::unbounded_channel();
    let origin = Origin::scripted(move |mut conn: Conn| {
        let closed = closed.clone();
        async move {
            while conn.head().await.is_some() {
                conn.raw.write(OK).await;
            }
            closed.send(()).unwrap();
        }
    })
    .await;
    let world = World::new(&origin).set("upstream.idle_timeout", "\"100ms\"").run().await;
    assert_eq!(world.send(&get()).await.status, 200);
    let mut waits = waits;
    soon(waits.recv()).await.unwrap();
    assert_eq!(origin.conns(), 1);
}

#[tokio::test]
async fn a_slow_answer_is_waited_for_as_long_as_is_said() {
    let turn = Arc::new(AtomicUsize::new(0));
    let origin = Origin::scripted(move |mut conn: Conn| {
        let turn = Arc::clone(&turn);
        async move {
            conn.head().await;
            if turn.fetch_add(1, SeqCst) == 0 {
                std::future::pending::<()>().await;
            }
            conn.raw.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n").await;
            tokio::time::sleep(std::time::Duration::from_millis(800)).await;
            conn.raw.write("slow").await;
        }
    })
    .await;
    let world = World::new(&origin).set("upstream.response_timeout", "\"400ms\"").run().await;
    assert_eq!(world.send(&get()).await.refusal(), refused(504, "ResponseTimeout"));
    let answer = world.send(&get()).await;
    assert_eq!(answer.text(), "slow", "the time is for the head alone");
    assert_eq!(origin.conns(), 2, "a conn that did not answer is not used again");
}

/// Answers none of five before it has all, but for the first.
async fn together(
    request: http::Request<Incoming>,
    all: Arc<tokio::sync::Barrier>,
) -> Result<http::Response<String>, std::convert::Infallible> {
    if request.uri().path() != "/first" {
        all.wait().await;
    }
    Ok(http::Response::new("ok".to_owned()))
}

#[tokio::test]
async fn more_requests_than_an_origin_allows_on_one_conn_take_more_conns() {
    let all = Arc::new(tokio::sync::Barrier::new(5));
    let origin = Origin::scripted_with(tls::origin(&["h2"]), move |conn: Conn| {
        let all = Arc::clone(&all);
        async move {
            let service = service_fn(move |request| together(request, Arc::clone(&all)));
            let mut builder = http2::Builder::new(TokioExecutor::new());
            let builder = builder.max_concurrent_streams(2);
            // The proxy closes its end when it is told to stop.
            let _ended = builder.serve_connection(TokioIo::new(conn.raw.io), service).await;
        }
    })
    .await;
    let world = World::new(&origin).run().await;
    // One conn is served by one worker, whose conns to the origin are its own.
    let mut caller = world.http2().await;
    let first = caller.send(request("GET", "https://api.example.test/first")).await;
    assert_eq!(first.status, 200);
    let asks = (0..5).map(|_| {
        let mut caller = caller.clone();
        async move { caller.send(request("GET", "https://api.example.test/v1")).await.status }
    });
    assert_eq!(join_all(asks).await, vec![200; 5]);
    assert!(origin.conns() >= 3, "{}", origin.conns());
}
