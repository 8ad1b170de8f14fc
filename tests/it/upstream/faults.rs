//! What origins do wrong over HTTP/1.1 and in TLS, and how long they are waited for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio_rustls::TlsAcceptor;

use crate::support::ask::ask;
use crate::support::http2::request;
use crate::support::origin::{Conn, Origin, listen};
use crate::support::raw::{Raw, refused};
use crate::support::soon;
use crate::support::tls::{TRUSTED, demanding};
use crate::support::world::World;

#[tokio::test]
async fn interim_answers_without_end_are_malformed() {
    let origin = Origin::scripted(|mut conn: Conn| async move {
        conn.head().await;
        let flood = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(1000);
        while conn.raw.try_write(flood.as_bytes()).await.is_ok() {}
    })
    .await;
    let world = World::new(&origin).run().await;
    let answer = soon(world.send(&ask("GET https://api.example.test/v1"))).await;
    assert_eq!(answer.refusal(), refused(502, "ResponseMalformed"));
    let entry = world.log.entry_of("/v1").await;
    assert!(entry["cause"].as_str().unwrap().contains("interim"), "{entry}");
}

/// An origin that begins with interim answers and then works for as long as its conn lasts; tells
/// when that has ended.
async fn working() -> (Origin, watch::Receiver<bool>) {
    let (tell, ended) = watch::channel(false);
    let origin = Origin::scripted(move |mut conn: Conn| {
        let tell = tell.clone();
        async move {
            conn.head().await;
            conn.raw.write("HTTP/1.1 102 Processing\r\n\r\n".repeat(5)).await;
            conn.raw.rest().await;
            tell.send_replace(true);
        }
    });
    (origin.await, ended)
}

#[tokio::test]
async fn an_origins_work_ends_when_a_caller_of_http2_has_gone() {
    let (origin, mut ended) = working().await;
    let world = World::new(&origin).run().await;
    let mut caller = world.http2().await;
    let asked = tokio::spawn(async move {
        caller.send(request("GET", "https://api.example.test/v1")).await;
    });
    origin.has_seen(1).await;
    asked.abort();
    soon(ended.wait_for(|ended| *ended)).await.unwrap();
    assert_eq!(world.log.entry_of("/v1").await["status"], 0);
}

#[tokio::test]
async fn an_origins_work_ends_when_a_caller_of_http1_has_gone() {
    let (origin, mut ended) = working().await;
    let world = World::new(&origin).run().await;
    let mut caller = world.raw().await;
    caller.write(ask("GET https://api.example.test/v1").bytes()).await;
    origin.has_seen(1).await;
    drop(caller);
    soon(ended.wait_for(|ended| *ended)).await.unwrap();
    assert_eq!(world.log.entry_of("/v1").await["status"], 0);
}

#[tokio::test]
async fn an_origins_work_ends_when_a_caller_in_a_tunnel_has_gone() {
    let (origin, mut ended) = working().await;
    let world = World::new(&origin).run().await;
    let mut caller = world.tunnel().await;
    caller.write(b"GET /v1 HTTP/1.1\r\nHost: api.example.test\r\n\r\n").await;
    origin.has_seen(1).await;
    drop(caller);
    soon(ended.wait_for(|ended| *ended)).await.unwrap();
    assert_eq!(world.log.entry_of("/v1").await["status"], 0);
}

/// A caller that closes its side and reads on is no caller that has gone: it gets its answer, once
/// the check has come to its end.
#[tokio::test]
async fn a_caller_that_closes_its_side_gets_its_answer() {
    let go_on = Arc::new(Notify::new());
    let waits = Arc::clone(&go_on);
    let origin = Origin::scripted(move |mut conn: Conn| {
        let waits = Arc::clone(&waits);
        async move {
            while conn.head().await.is_some() {
                waits.notified().await;
                conn.raw.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        }
    })
    .await;
    let world = World::new(&origin).run().await;
    let mut caller = world.raw().await;
    caller.write(ask("GET https://api.example.test/v1").bytes()).await;
    caller.close_write().await;
    for _check in 0..2 {
        assert_eq!(soon(caller.head()).await.status, 100);
    }
    go_on.notify_one();
    let answer = soon(caller.answer()).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    caller.ends().await;
    // HTTP/1.0 knows no interim answers.
    let mut old = world.raw().await;
    let request = ask("GET https://api.example.test/v1").bytes();
    let request = String::from_utf8(request).unwrap().replace("HTTP/1.1", "HTTP/1.0");
    old.write(request).await;
    old.close_write().await;
    origin.has_seen(2).await;
    go_on.notify_one();
    let text = soon(old.until(b"ok")).await.unwrap();
    assert!(text.starts_with(b"HTTP/1.0 200 OK\r\n"), "{:?}", String::from_utf8_lossy(&text));
}

#[tokio::test]
async fn the_wait_for_an_answer_begins_once_with_the_last_byte_of_the_request() {
    let origin = Origin::scripted(|mut conn: Conn| async move {
        conn.head().await;
        conn.raw.rest().await;
    })
    .await;
    let world = World::new(&origin).set("upstream.response_timeout", "\"1s\"").run().await;
    let mut raw = world.raw().await;
    let whole = ask("POST https://api.example.test/v1").body("body").bytes();
    let (head, body) = whole.split_at(whole.len() - 4);
    raw.write(head).await;
    // A caller that takes its time is not the origin's fault.
    tokio::time::sleep(Duration::from_millis(1300)).await;
    raw.write(body).await;
    let begun = Instant::now();
    assert_eq!(raw.answer().await.refusal(), refused(504, "ResponseTimeout"));
    let waited = begun.elapsed();
    assert!(
        (Duration::from_millis(900)..Duration::from_millis(1600)).contains(&waited),
        "{waited:?}"
    );
}

#[tokio::test]
async fn a_client_certificate_that_is_demanded_is_named() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for alpn in ["http/1.1", "h2"] {
            let acceptor = TlsAcceptor::from(demanding(&TRUSTED, &[alpn], version));
            let origin = Origin::on(listen(), move |io, _, _| demand(acceptor.clone(), io)).await;
            let world = World::new(&origin).run().await;
            let answer = world.send(&ask("GET https://api.example.test/v1")).await;
            assert_eq!(answer.refusal(), refused(502, "TlsFailed"), "{version:?} {alpn}");
            let entry = world.log.entry_of("/v1").await;
            let cause = entry["cause"].as_str().unwrap();
            assert!(cause.contains("demands a client certificate"), "{version:?} {alpn}: {cause}");
        }
    }
}

/// Shakes hands, and reads to the end so that a reset does not overtake the alert.
async fn demand(acceptor: TlsAcceptor, io: TcpStream) {
    if let Err((_demanded, io)) = acceptor.accept(io).into_fallible().await {
        Raw::over(io).rest().await;
    }
}

#[tokio::test]
async fn a_status_without_a_phrase_and_bytes_in_a_location_pass_as_they_are() {
    let said = b"HTTP/1.1 302 \r\nLocation: /caf\xe9?\xc3\xa9\r\nContent-Length: 0\r\n\r\n";
    let origin = Origin::saying(said.to_vec(), false).await;
    let world = World::new(&origin).run().await;
    for line in ["GET https://api.example.test/v1", "GET /~/api/v1"] {
        let request = ask(line).field("Connection", "close").bytes();
        let answer = world.exchange(request).await;
        assert!(answer.starts_with(b"HTTP/1.1 302 \r\n"), "{}", String::from_utf8_lossy(&answer));
        let location = b"location: /caf\xe9?\xc3\xa9\r\n";
        let relayed = answer.windows(location.len()).any(|part| part == location);
        assert!(relayed || line.contains("/~/"), "{}", String::from_utf8_lossy(&answer));
    }
}

#[tokio::test]
async fn tls_at_a_plain_listener_is_answered_with_an_alert_at_once() {
    let world = World::empty().run().await;
    // A whole ClientHello, and the beginning of one.
    for hello in [&b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03"[..], b"\x16"] {
        let begun = Instant::now();
        assert_eq!(world.exchange(hello).await, [21, 3, 1, 0, 2, 2, 10]);
        assert!(begun.elapsed() < Duration::from_secs(3));
    }
    let entry = world.log.entry(|entry| entry["code"] == "MalformedRequest").await;
    let cause = entry["cause"].as_str().unwrap();
    assert!(cause.contains("TLS handshake") && cause.ends_with("A TLS alert was sent."), "{cause}");
    assert_eq!(entry["status"], 0, "no HTTP was answered");
    let mut api = Raw::tcp(world.api_address()).await;
    api.write([22]).await;
    assert_eq!(api.rest().await, [21, 3, 1, 0, 2, 2, 10]);
    let told = |line: &str| line.contains("to the management API").then(|| line.to_owned());
    let line = world.log.find(told).await;
    assert!(line.contains("api.tls") && line.contains("TLS alert"), "{line}");
}
