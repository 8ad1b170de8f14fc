//! A request that had to wait for a conn is decided once more before it leaves.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::support::ask::{Ask, stranger};
use crate::support::http2::request;
use crate::support::operator::{CONNECTIONS, until};
use crate::support::origin::{Origin, Seen, listen, ok};
use crate::support::raw::{Answer, Raw, refused};
use crate::support::tls;
use crate::support::tunnel::API;
use crate::support::world::{Running, World};

/// A server with the connection `acme.kept`, whose origin does not take part in TLS before it may.
struct Scene {
    gate: watch::Sender<bool>,
    origin: Origin,
    server: Running,
    /// A token, and its id.
    token: String,
    id: String,
}

impl Scene {
    async fn of(protocol: &str) -> Self {
        let (gate, opens) = watch::channel(false);
        let origin = Origin::gated(&[protocol], opens, |_seen| ok("ok")).await;
        let server = World::empty().pin(API, &origin).keeping().run().await;
        server.keep_bearer("kept", API, "first-secret").await;
        let (id, token) = server.keep_token("runner", &["proxy"]).await;
        Self { gate, origin, server, token, id }
    }

    fn ask(&self, name: &str) -> Ask {
        let ask = stranger(&format!("GET https://{API}/v1")).field("X-Zis-Connection", name);
        ask.field("Proxy-Authorization", &format!("Bearer {}", self.token))
    }

    /// Sends a request, which waits for its conn.
    async fn begun(&self, ask: &Ask) -> Raw {
        let mut raw = self.server.raw().await;
        raw.write(ask.bytes()).await;
        self.origin.has_conns(1).await;
        raw
    }

    /// Lets the origin go on, and reads the answer.
    async fn ended(&self, mut raw: Raw) -> Answer {
        self.gate.send_replace(true);
        raw.answer().await
    }
}

#[tokio::test]
async fn a_secret_that_is_replaced_during_a_dial_does_not_leave() {
    for protocol in ["http/1.1", "h2"] {
        let scene = Scene::of(protocol).await;
        let raw = scene.begun(&scene.ask("kept")).await;
        scene.server.replace_bearer("kept", "second-secret").await;
        assert_eq!(scene.ended(raw).await.status, 200);
        assert_eq!(scene.origin.only().field("authorization"), "Bearer second-secret");
    }
}

#[tokio::test]
async fn a_secret_that_is_replaced_during_a_dial_and_kept_does_not_leave_first() {
    for protocol in ["http/1.1", "h2"] {
        let scene = Scene::of(protocol).await;
        let raw = scene.begun(&scene.ask("kept")).await;
        let line = format!("PATCH {CONNECTIONS}/bearer_token/kept");
        let change = json!({"token": "second-secret", "keep_old_for": "10m"});
        assert_eq!(scene.server.manage(&line, Some(change)).await.status, 204);
        assert_eq!(scene.ended(raw).await.status, 200);
        assert_eq!(scene.origin.only().field("authorization"), "Bearer second-secret");
    }
}

#[tokio::test]
async fn a_host_that_is_taken_from_a_connection_during_a_dial_gets_nothing() {
    for protocol in ["http/1.1", "h2"] {
        let scene = Scene::of(protocol).await;
        let ask = stranger("GET /~/kept/v1");
        let ask = ask.field("Proxy-Authorization", &format!("Bearer {}", scene.token));
        let raw = scene.begun(&ask).await;
        scene.server.delete_bearer("kept").await;
        scene.server.keep_bearer("kept", "other.example.test", "first-secret").await;
        let answer = scene.ended(raw).await;
        assert_eq!(answer.refusal(), refused(403, "ConnectionNotFound"), "{}", answer.text());
        assert!(scene.origin.seen().is_empty(), "over {protocol}");
    }
}

#[tokio::test]
async fn what_is_not_allowed_any_more_after_a_dial_is_refused() {
    for protocol in ["http/1.1", "h2"] {
        let scene = Scene::of(protocol).await;
        let raw = scene.begun(&scene.ask("kept")).await;
        scene.server.revoke(&scene.id).await;
        assert_eq!(scene.ended(raw).await.refusal(), refused(407, "CallerUnknown"));
        assert!(scene.origin.seen().is_empty(), "over {protocol}");
        let scene = Scene::of(protocol).await;
        let raw = scene.begun(&scene.ask("kept")).await;
        scene.server.delete_bearer("kept").await;
        assert_eq!(scene.ended(raw).await.refusal(), refused(403, "ConnectionNotFound"));
        assert!(scene.origin.seen().is_empty(), "over {protocol}");
        let entry = scene.server.log.entry_of("/v1").await;
        assert_eq!(
            (&entry["decision"], &entry["code"]),
            (&json!("refuse"), &json!("ConnectionNotFound"))
        );
    }
}

#[tokio::test]
async fn a_token_that_ends_during_a_dial_is_refused() {
    for protocol in ["http/1.1", "h2"] {
        let mut scene = Scene::of(protocol).await;
        let (token, end) = scene.server.keep_token_that_ends("short").await;
        scene.token = token;
        let raw = scene.begun(&scene.ask("kept")).await;
        until(end).await;
        assert_eq!(scene.ended(raw).await.refusal(), refused(407, "CallerUnknown"));
        assert!(scene.origin.seen().is_empty(), "over {protocol}");
        let entry = scene.server.log.entry_of("/v1").await;
        assert_eq!((&entry["caller"], &entry["connection"]), (&json!("short"), &json!("kept")));
    }
}

#[tokio::test]
async fn a_websocket_is_decided_once_more_after_a_dial_too() {
    let scene = Scene::of("http/1.1").await;
    let ask = scene
        .ask("kept")
        .field("Connection", "Upgrade")
        .field("Upgrade", "websocket")
        .field("Sec-WebSocket-Version", "13")
        .field("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    let raw = scene.begun(&ask).await;
    scene.server.delete_bearer("kept").await;
    assert_eq!(scene.ended(raw).await.refusal(), refused(403, "ConnectionNotFound"));
    assert!(scene.origin.seen().is_empty());
}

#[tokio::test]
async fn a_field_that_is_renamed_during_a_dial_carries_the_secret_alone() {
    let scene = Scene::of("http/1.1").await;
    let key = json!({
        "name": "key", "allowed_domain": API, "header_name": "X-First", "api_key": "secret",
    });
    let line = format!("POST {CONNECTIONS}/api_key");
    assert_eq!(scene.server.manage(&line, Some(key)).await.status, 201);
    let ask = scene.ask("key").field("X-First", "mine").field("X-Second", "mine");
    let raw = scene.begun(&ask.field("X_Second", "mine too")).await;
    let line = format!("PATCH {CONNECTIONS}/api_key/key");
    let renamed = scene.server.manage(&line, Some(json!({"header_name": "X-Second"}))).await;
    assert_eq!(renamed.status, 204, "{renamed:?}");
    assert_eq!(scene.ended(raw).await.status, 200);
    let seen = scene.origin.only();
    let fields = ["x-first", "x-second", "x_second"].map(|name| seen.field(name));
    assert_eq!(fields, ["", "secret", ""]);
}

/// An origin of one conn of HTTP/2 with room for one stream, which answers once it may.
async fn narrow(gate: watch::Receiver<bool>) -> Origin {
    let acceptor = TlsAcceptor::from(tls::origin(&["h2"]));
    Origin::on(listen(), move |io, number, memory| {
        let (acceptor, gate) = (acceptor.clone(), gate.clone());
        async move {
            if number > 0 {
                return;
            }
            let Ok(io) = acceptor.accept(io).await else { return };
            let service = service_fn(move |request: Request<Incoming>| {
                let (memory, mut gate) = (Arc::clone(&memory), gate.clone());
                async move {
                    let head = request.into_parts().0;
                    memory.remember(Seen {
                        conn: number,
                        method: head.method.to_string(),
                        target: head.uri.to_string(),
                        version: head.version,
                        headers: head.headers,
                        body: Bytes::new(),
                        trailers: HeaderMap::new(),
                    });
                    drop(gate.wait_for(|open| *open).await);
                    Ok::<_, Infallible>(ok("ok"))
                }
            });
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.max_concurrent_streams(1);
            let _ended = builder.serve_connection(TokioIo::new(io), service).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_secret_that_is_replaced_while_a_stream_is_waited_for_does_not_leave() {
    let (gate, opens) = watch::channel(false);
    let origin = narrow(opens).await;
    let world = World::empty().pin(API, &origin).token("runner", "acme", "").keeping();
    let server = world.run().await;
    server.keep_bearer("kept", API, "first-secret").await;
    // On one conn of the caller, so that both have the same conns to choose from.
    let caller = server.http2().await;
    let ask = || {
        let mut caller = caller.clone();
        let asked =
            request("GET", "https://api.example.test/v1").header("x-zis-connection", "kept");
        tokio::spawn(async move { caller.send(asked).await.status })
    };
    let first = ask();
    origin.has_seen(1).await;
    let second = ask();
    // There is no other conn to be had.
    origin.has_conns(2).await;
    server.replace_bearer("kept", "second-secret").await;
    gate.send_replace(true);
    assert_eq!((first.await.unwrap(), second.await.unwrap()), (200, 200));
    let sent: Vec<_> = origin.seen().iter().map(|seen| seen.field("authorization")).collect();
    assert_eq!(sent, ["Bearer first-secret", "Bearer second-secret"]);
}
