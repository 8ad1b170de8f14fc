//! What must not be shared between callers: TLS sessions, and conns that were authenticated.

use std::sync::Arc;

use parking_lot::Mutex;
use rustls::HandshakeKind;
use tokio_rustls::TlsAcceptor;

use crate::support::ask::{ask, stranger};
use crate::support::origin::{Origin, listen};
use crate::support::raw::Raw;
use crate::support::tls;
use crate::support::world::World;

#[tokio::test]
async fn no_two_integrations_share_a_tls_session() {
    let kinds = Arc::<Mutex<Vec<bool>>>::default();
    let (seen, acceptor) = (Arc::clone(&kinds), TlsAcceptor::from(tls::origin(&["http/1.1"])));
    let origin = Origin::on(listen(), move |io, _, _| {
        let (seen, acceptor) = (Arc::clone(&seen), acceptor.clone());
        async move {
            let io = acceptor.accept(io).await.unwrap();
            let kind = io.get_ref().1.handshake_kind();
            seen.lock().push(kind == Some(HandshakeKind::Resumed));
            let mut raw = Raw::over(io);
            raw.until(b"\r\n\r\n").await.unwrap();
            raw.write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok").await;
            raw.close_write().await;
        }
    })
    .await;
    let world = World::new(&origin)
        .bearer("globex.api", "api.example.test", "globex-secret")
        .token("any", "*", "")
        .run()
        .await;
    for (path, resumed) in [("acme", false), ("acme", true), ("globex", false), ("globex", true)] {
        let mut raw = world.raw().await;
        let request = stranger(&format!("GET /~/{path}.api/v1")).by("any");
        assert_eq!(raw.send(&request).await.status, 200);
        assert_eq!(kinds.lock().pop(), Some(resumed), "{path}");
    }
}

#[tokio::test]
async fn a_conn_that_was_authenticated_is_used_once() {
    for challenge in ["NTLM", "Negotiate", "negotiate oYG", "Basic realm=\"a\", ntlm"] {
        let said = format!(
            "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: {challenge}\r\n\
             Content-Length: 0\r\n\r\n"
        );
        let origin = Origin::saying(said, false).await;
        let world = World::new(&origin).run().await;
        let mut raw = world.raw().await;
        for conns in 1..=2 {
            assert_eq!(raw.send(&ask("GET https://api.example.test/v1")).await.status, 401);
            assert_eq!(origin.conns(), conns, "{challenge}");
        }
    }
    let origin = Origin::start().await;
    let world = World::empty()
        .key("acme.api", "api.example.test", "X-Api-Key", "api-key-secret")
        .token("runner", "acme", "")
        .pin("api.example.test", &origin)
        .run()
        .await;
    let mut raw = world.raw().await;
    let request = ask("GET https://api.example.test/v1");
    for (request, conns) in [
        (request.clone(), 1),
        (request.clone().field("Authorization", "NTLM TlRMTVNTUAAB"), 1),
        (request.clone().field("Authorization", "Basic YTpi"), 2),
        (request, 2),
    ] {
        assert_eq!(raw.send(&request).await.status, 200);
        assert_eq!(origin.conns(), conns);
    }
}
