//! What a tunnel is not for.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::inner;
use crate::support::ask::{Ask, ask, stranger};
use crate::support::origin::Origin;
use crate::support::raw::{Raw, refused};
use crate::support::tls;
use crate::support::tunnel::API;
use crate::support::world::{Running, World};
use crate::support::{soon, token};

fn connect() -> Ask {
    ask(&format!("CONNECT {API}:443"))
}

/// What was written down of the tunnel.
async fn judged(world: &Running) -> (String, String) {
    let entry = world.log.entry(|entry| entry["method"] == "CONNECT").await;
    (entry["code"].as_str().unwrap().to_owned(), entry["cause"].as_str().unwrap().to_owned())
}

/// A fatal alert of TLS, or nothing.
fn assert_only_an_alert(bytes: &[u8]) {
    assert!(bytes.is_empty() || (bytes.len() == 7 && bytes.starts_with(&[21, 3])), "{bytes:?}");
}

#[tokio::test]
async fn a_handshake_for_another_name_or_for_none_ends_in_an_alert() {
    let origin = Origin::start().await;
    for name in ["other.example.test", "127.0.0.1"] {
        let world = World::new(&origin).run().await;
        let tunnel = world.connect(&connect()).await;
        let failure = world.shake(tunnel, name, &["http/1.1"]).await.err().unwrap();
        assert!(failure.to_string().contains("UnrecognisedName"), "{failure}");
        let (code, cause) = judged(&world).await;
        assert_eq!(code, "MisdirectedRequest", "{cause}");
    }
    assert_eq!(origin.conns(), 0);
}

#[tokio::test]
async fn a_caller_that_does_not_trust_the_ca_is_told_apart() {
    let origin = Origin::start().await;
    // It says so.
    let world = World::new(&origin).run().await;
    let tunnel = world.connect(&connect()).await;
    let config = tls::trusting(&tls::TRUSTED.pem, &["http/1.1"]);
    let connector = tokio_rustls::TlsConnector::from(config);
    let shaken = soon(connector.connect(API.try_into().unwrap(), tunnel.io)).await;
    assert!(shaken.is_err());
    let (code, cause) = judged(&world).await;
    assert_eq!(code, "");
    assert!(cause.starts_with("the caller does not trust the CA: "), "{cause}");
    // It looks at the certificate when the handshake is over, and leaves.
    for alpn in ["http/1.1", "h2"] {
        let world = World::new(&origin).run().await;
        let tunnel = world.connect(&connect()).await;
        drop(world.shake(tunnel, API, &[alpn]).await.unwrap());
        let (code, cause) = judged(&world).await;
        assert_eq!(code, "");
        assert!(cause.contains("without a request: it may not trust the CA"), "{alpn} {cause}");
    }
    // It trusts the CA.
    let world = World::new(&origin).run().await;
    let mut tunnel = world.tunnel().await;
    assert_eq!(tunnel.send(&inner("GET /v1")).await.status, 200);
    drop(tunnel);
    let entry = world.log.entry(|entry| entry["method"] == "CONNECT").await;
    assert!(entry.get("cause").is_none(), "{entry}");
}

#[tokio::test]
async fn who_sent_what_can_not_be_read_is_written_down() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let stray = format!("Bearer {}", token("runner"));
    let is_named = |entry: &serde_json::Value, origin: &str| {
        assert_eq!(entry["code"], "MalformedRequest", "{entry}");
        assert_eq!((&entry["caller"], &entry["integration"]), (&"runner".into(), &"acme".into()));
        assert_eq!(entry["origin"], origin);
    };
    let mut tunnel = world.tunnel().await;
    let inside = inner("GET /inside").field("Authorization", &stray);
    assert_eq!(tunnel.send(&inside).await.refusal(), refused(400, "MalformedRequest"));
    is_named(&world.log.entry_of("/inside").await, "https://api.example.test");
    tunnel.write(b"EHLO x\r\n\r\n").await;
    let unread = |entry: &serde_json::Value| entry["method"] == "" && entry["form"] == "tunnel";
    is_named(&world.log.entry(unread).await, "https://api.example.test");
    let outside = ask("GET https://api.example.test/outside").field("Authorization", &stray);
    assert_eq!(world.send(&outside).await.refusal(), refused(400, "MalformedRequest"));
    is_named(&world.log.entry_of("/outside").await, "");
    assert_eq!(origin.conns(), 0);
}

#[tokio::test]
async fn bytes_that_are_no_tls_go_nowhere() {
    let origin = Origin::start().await;
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: api.example.test\r\n\r\n"[..],
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"CONNECT other.example.test:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x00\x05hello",
        &[0; 600],
    ] {
        let world = World::new(&origin).run().await;
        let mut tunnel = world.connect(&connect()).await;
        tunnel.write(bytes).await;
        assert_only_an_alert(&tunnel.rest().await);
        let (code, cause) = judged(&world).await;
        assert_eq!(code, "MalformedRequest", "{cause}");
    }
    assert_eq!(origin.conns(), 0);
}

#[tokio::test]
async fn bytes_that_are_no_http_inside_tls_go_nowhere() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    for bytes in [&b"SSH-2.0-OpenSSH_9.9\r\n\r\n"[..], b"\x00\x01\x02\r\n\r\n", b"EHLO x\r\n\r\n"] {
        let mut tunnel = world.tunnel().await;
        tunnel.write(bytes).await;
        assert_eq!(tunnel.answer().await.refusal(), refused(400, "MalformedRequest"));
        tunnel.ends().await;
    }
    assert_eq!(origin.conns(), 0);
}

#[tokio::test]
async fn a_request_inside_shows_no_token_and_opens_no_tunnel() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let mut tunnel = world.tunnel().await;
    let nested = tunnel.send(&inner("CONNECT api.example.test:443")).await;
    assert_eq!(nested.refusal(), refused(405, "MethodNotAllowed"));
    assert!(nested.field("allow").contains("GET") && !nested.field("allow").contains("CONNECT"));
    let mut tunnel = world.tunnel().await;
    let token = format!("Bearer {}", token("runner"));
    for name in ["Authorization", "X-Api-Key"] {
        let shown = inner("GET /v1").field(name, &token);
        assert_eq!(tunnel.send(&shown).await.refusal(), refused(400, "MalformedRequest"));
    }
    let own_path = tunnel.send(&inner("GET /~/api/v1")).await;
    assert_eq!(own_path.status, 200);
    assert_eq!(origin.only().target, "/~/api/v1");
}

#[tokio::test]
async fn tls_that_comes_with_the_connect_is_not_lost() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    // A caller that does not wait for the answer before it begins its handshake.
    let mut raw = world.raw().await;
    let mut eager = connect().bytes();
    eager.extend_from_slice(b"\x16\x03\x01");
    raw.write(eager).await;
    assert_eq!(raw.head().await.status, 200);
    raw.write(b"\x00\x05hello").await;
    assert_only_an_alert(&raw.rest().await);
    assert_eq!(judged(&world).await.0, "MalformedRequest");
    // Two CONNECTs in one go: the second is inside the first, and no TLS.
    let world = World::new(&origin).run().await;
    let mut raw = world.raw().await;
    raw.write([connect().bytes(), connect().bytes()].concat()).await;
    assert_eq!(raw.head().await.status, 200);
    assert_only_an_alert(&raw.rest().await);
    assert_eq!(judged(&world).await.0, "MalformedRequest");
}

#[tokio::test]
async fn silent_tunnels_and_handshakes_without_end_are_reaped_and_harm_nobody() {
    let origin = Origin::start().await;
    let world = World::new(&origin)
        .set("proxy.head_timeout", "\"2s\"")
        .set("proxy.max_connections", "30000")
        .run()
        .await;
    let begun = Instant::now();
    let silent = join_all((0..2000).map(|number| {
        let world = &world;
        async move {
            let mut tunnel = world.connect(&connect()).await;
            if number % 2 == 0 {
                tunnel.write(b"\x16\x03\x01\x02\x00\x01").await;
            }
            tunnel
        }
    }));
    let silent: Vec<Raw> = silent.await;
    assert!(world.metric("keyferry_caller_connections").await >= 1000.0);
    let mut tunnel = world.tunnel().await;
    assert_eq!(tunnel.send(&inner("GET /v1")).await.status, 200);
    join_all(silent.into_iter().map(|mut tunnel| async move { tunnel.ends().await })).await;
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    assert_eq!(tunnel.send(&inner("GET /v1")).await.status, 200);
}

#[tokio::test]
async fn a_tunnel_counts_as_one_conn_and_too_many_are_refused() {
    let origin = Origin::start().await;
    let world = World::new(&origin)
        .set("proxy.max_connections", "8")
        .set("proxy.max_connections_per_caller", "8")
        .run()
        .await;
    let mut open = Vec::new();
    for _ in 0..8 {
        let mut tunnel = world.tunnel().await;
        assert_eq!(tunnel.send(&inner("GET /v1")).await.status, 200);
        open.push(tunnel);
    }
    let refusal = world.send(&connect()).await;
    assert_eq!(refusal.refusal(), refused(503, "Overloaded"));
    drop(open);
}

#[tokio::test]
async fn half_closed_tunnels_are_answered_and_end() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let mut tunnel = world.tunnel().await;
    tunnel.write(inner("GET /v1").bytes()).await;
    tunnel.close_write().await;
    assert_eq!(tunnel.answer().await.status, 200);
    tunnel.ends().await;
    let mut silent = world.connect(&connect()).await;
    silent.close_write().await;
    silent.ends().await;
    let stray = world.send(&stranger("GET /v1").host(API)).await;
    assert_eq!(stray.refusal(), refused(400, "MalformedRequest"));
}
