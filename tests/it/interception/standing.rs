//! Every request inside an open tunnel is decided afresh.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::inner;
use crate::support::ask::ask;
use crate::support::origin::Origin;
use crate::support::raw::refused;
use crate::support::tunnel::API;
use crate::support::world::World;
use crate::support::{soon, tls};

#[tokio::test]
async fn a_new_secret_and_a_deletion_count_inside_open_tunnels() {
    let origin = Origin::start().await;
    let world = World::empty().pin(API, &origin).keeping().run().await;
    world.keep_bearer("kept", API, "first-secret").await;
    let (id, token) = world.keep_token("runner", &["proxy"]).await;
    let connect = ask(&format!("CONNECT {API}:443"));
    assert_eq!(world.send(&connect).await.status, 407);
    let shown = crate::support::ask::stranger(&format!("CONNECT {API}:443"));
    let shown = shown.field("Proxy-Authorization", &format!("Bearer {token}"));
    let tunnel = world.connect(&shown).await;
    let mut tunnel = world.shake(tunnel, API, &["http/1.1"]).await.unwrap();
    for secret in ["first-secret", "second-secret"] {
        world.replace_bearer("kept", secret).await;
        assert_eq!(tunnel.send(&inner("GET /v1")).await.status, 200);
        assert_eq!(origin.last().field("authorization"), format!("Bearer {secret}"));
    }
    world.delete_bearer("kept").await;
    let gone = tunnel.send(&inner("GET /v1")).await;
    assert_eq!(gone.refusal(), refused(403, "ConnectionRequired"));
    world.revoke(&id).await;
    let unknown = tunnel.send(&inner("GET /v1")).await;
    assert_eq!(unknown.refusal(), refused(407, "CallerUnknown"));
}

#[tokio::test]
async fn a_websocket_echoes_inside_a_tunnel_and_is_cut_with_its_token() {
    let acceptor = tokio_rustls::TlsAcceptor::from(tls::origin(&["http/1.1"]));
    let origin = Origin::on(crate::support::origin::listen(), move |io, _, _| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(io) = acceptor.accept(io).await else { return };
            let Ok(mut socket) = tokio_tungstenite::accept_async(io).await else { return };
            while let Some(Ok(message)) = socket.next().await {
                if message.is_close() || socket.send(message).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    let mut world = World::new(&origin).run().await;
    let mut tunnel = world.tunnel().await;
    let handshake = inner("GET /socket")
        .field("Connection", "Upgrade")
        .field("Upgrade", "websocket")
        .field("Sec-WebSocket-Version", "13")
        .field("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(tunnel.send(&handshake).await.status, 101);
    let mut socket = WebSocketStream::from_raw_socket(tunnel.io, Role::Client, None).await;
    soon(socket.send(Message::text("hello"))).await.unwrap();
    assert_eq!(soon(socket.next()).await.unwrap().unwrap(), Message::text("hello"));
    world.reload(|world| world.without("name = \"runner\"")).await;
    let last = soon(socket.next()).await;
    assert!(last.is_none_or(|last| last.is_err()), "it goes on");
}
