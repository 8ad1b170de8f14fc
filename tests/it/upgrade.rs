//! WebSockets in every form, and the upgrades that are none.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::support::ask::{Ask, ask, stranger};
use crate::support::origin::{Conn, Origin};
use crate::support::raw::{Io, refused};
use crate::support::world::{Running, World};
use crate::support::{soon, tls, token};

/// An origin that echoes what it is told over a WebSocket.
async fn echo() -> Origin {
    let acceptor = tokio_rustls::TlsAcceptor::from(tls::origin(&["h2", "http/1.1"]));
    Origin::on(crate::support::origin::listen(), move |io, _, _| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(io) = acceptor.accept(io).await else { return };
            assert_ne!(io.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            let Ok(mut socket) = tokio_tungstenite::accept_async(io).await else { return };
            while let Some(Ok(message)) = socket.next().await {
                if message.is_close() || socket.send(message).await.is_err() {
                    return;
                }
            }
        }
    })
    .await
}

fn handshake(ask: Ask) -> Ask {
    ask.field("Connection", "Upgrade")
        .field("Upgrade", "websocket")
        .field("Sec-WebSocket-Version", "13")
        .field("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

fn absolute() -> Ask {
    handshake(ask("GET https://api.example.test/socket"))
}

/// Opens a WebSocket through the proxy.
async fn open(world: &Running, ask: &Ask) -> WebSocketStream<Box<dyn Io>> {
    let mut raw = world.raw().await;
    let answer = raw.send(ask).await;
    assert_eq!(answer.status, 101, "{answer:?}");
    assert_eq!(answer.field("upgrade"), "websocket");
    assert_eq!(answer.field("connection").to_ascii_lowercase(), "upgrade");
    assert_eq!(answer.field("sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    WebSocketStream::from_raw_socket(raw.io, Role::Client, None).await
}

async fn assert_echoes(socket: &mut WebSocketStream<Box<dyn Io>>, message: Message) {
    soon(socket.send(message.clone())).await.unwrap();
    assert_eq!(soon(socket.next()).await.unwrap().unwrap(), message);
}

/// The socket ends, and not by a farewell of the origin's.
async fn assert_cut(socket: &mut WebSocketStream<Box<dyn Io>>) {
    let last = soon(socket.next()).await;
    assert!(last.is_none_or(|last| last.is_err()), "it goes on");
}

#[tokio::test]
async fn a_websocket_echoes_in_every_form() {
    let origin = echo().await;
    let world = World::new(&origin).run().await;
    let bearer = format!("Bearer {}", token("runner"));
    for ask in [
        absolute(),
        handshake(ask("GET /socket").field("X-Zis-Host", "api.example.test")),
        handshake(ask("GET /~/api/socket")),
        handshake(stranger("GET /~/api/socket").field("Authorization", &bearer)),
    ] {
        let mut socket = open(&world, &ask).await;
        assert_echoes(&mut socket, Message::text("hello")).await;
        assert_echoes(&mut socket, Message::binary(vec![7; 1_000_000])).await;
        soon(socket.close(None)).await.unwrap();
    }
    let entries = world.log.all_entries(4).await;
    for entry in entries {
        assert_eq!(
            (entry["status"].as_u64(), entry["decision"].as_str()),
            (Some(101), Some("allow"))
        );
        assert!(entry["request_bytes"].as_u64().unwrap() > 1_000_000, "{entry}");
        assert!(entry["response_bytes"].as_u64().unwrap() > 1_000_000, "{entry}");
    }
}

#[tokio::test]
async fn bytes_that_come_right_after_the_handshake_are_not_lost() {
    let origin = echo().await;
    let world = World::new(&origin).run().await;
    let mut raw = world.raw().await;
    // A masked text frame, "hi", with a mask of zeros.
    let frame = [0x81, 0x82, 0, 0, 0, 0, b'h', b'i'];
    raw.write([absolute().bytes(), frame.to_vec()].concat()).await;
    assert_eq!(raw.head().await.status, 101);
    assert_eq!(raw.until(b"hi").await.unwrap(), [0x81, 2, b'h', b'i']);
}

#[tokio::test]
async fn what_the_origin_gets_is_an_upgrade_with_the_credential() {
    let answer = "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\
                  Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nProxy-Foo: x\r\n\r\n";
    let origin = Origin::saying(answer, false).await;
    let world = World::new(&origin).run().await;
    let ask = absolute().field("X-Zis-Connection", "api").field("Sec-WebSocket-Protocol", "chat");
    let mut raw = world.raw().await;
    let relayed = raw.send(&ask).await;
    assert_eq!(relayed.status, 101);
    assert_eq!(relayed.field("proxy-foo"), "");
    let seen = origin.only();
    assert_eq!(seen.field("connection"), "Upgrade");
    assert_eq!(seen.field("upgrade"), "websocket");
    assert_eq!(seen.field("authorization"), "Bearer bearer-secret");
    assert_eq!(seen.field("sec-websocket-protocol"), "chat");
    assert!(
        seen.names().iter().all(|name| !name.starts_with("proxy") && !name.starts_with("x-zis"))
    );
}

#[tokio::test]
async fn an_offer_of_h2c_is_passed_over() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let ask = ask("GET https://api.example.test/v1")
        .field("Connection", "Upgrade, HTTP2-Settings")
        .field("Upgrade", "h2c")
        .field("HTTP2-Settings", "AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA");
    let answer = world.send(&ask).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    assert_eq!(origin.only().names(), ["authorization", "host", "via"]);
}

#[tokio::test]
async fn any_other_upgrade_is_refused() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let upgrade = |value: &str| {
        ask("GET https://api.example.test/v1")
            .field("Connection", "upgrade")
            .field("Upgrade", value)
    };
    let bare = handshake(ask("POST https://api.example.test/v1"));
    for ask in [
        upgrade("TLS/1.0"),
        upgrade("h2c, irc/6.9"),
        upgrade("websocket2"),
        upgrade("websocket"),
        bare.clone(),
        handshake(ask("GET https://api.example.test/v1").body("x")),
        ask("GET https://api.example.test/v1")
            .field("Upgrade", "websocket")
            .field("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ] {
        assert_eq!(world.send(&ask).await.refusal(), refused(400, "MalformedRequest"));
    }
    assert_eq!(origin.conns(), 0);
}

#[tokio::test]
async fn an_origins_refusal_to_upgrade_is_its_own() {
    for (said, status) in [
        ("HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\nnever", 403),
        ("HTTP/1.1 426 No\r\nUpgrade: x\r\nContent-Length: 5\r\n\r\nnever", 426),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nnever\r\n0\r\n\r\n", 200),
    ] {
        let origin = Origin::saying(said, false).await;
        let world = World::new(&origin).run().await;
        let mut raw = world.raw().await;
        let answer = raw.send(&absolute()).await;
        assert_eq!((answer.status, answer.text().as_str()), (status, "never"));
        assert!(!answer.headers.contains_key("proxy-status"));
        assert_eq!(raw.send(&absolute()).await.status, status, "the conn goes on");
    }
}

#[tokio::test]
async fn an_upgrade_that_nobody_asked_for_is_an_error() {
    let said = "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let origin = Origin::saying(said, false).await;
    let world = World::new(&origin).run().await;
    let answer = world.send(&ask("GET https://api.example.test/v1")).await;
    assert_eq!(answer.status, 502);
    assert!(["UpgradeFailed", "ResponseMalformed"].contains(&answer.code().as_str()));
}

#[tokio::test]
async fn an_agreement_to_another_handshake_is_an_error() {
    for accept in [
        "",
        "Sec-WebSocket-Accept: x\r\n",
        "Sec-WebSocket-Accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n",
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Accept: x\r\n",
    ] {
        let said =
            format!("HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{accept}\r\n");
        let origin = Origin::saying(said, false).await;
        let world = World::new(&origin).run().await;
        assert_eq!(world.send(&absolute()).await.refusal(), refused(502, "UpgradeFailed"));
    }
}

#[tokio::test]
async fn a_silent_websocket_is_closed_in_time() {
    let origin = echo().await;
    let world = World::new(&origin).set("proxy.websocket_idle_timeout", "\"300ms\"").run().await;
    let mut socket = open(&world, &absolute()).await;
    assert_echoes(&mut socket, Message::text("hello")).await;
    assert_cut(&mut socket).await;
    let entry = world.log.entry_of("/socket").await;
    assert!(entry["cause"].as_str().unwrap().contains("too long"), "{entry}");
}

#[tokio::test]
async fn a_websocket_outlives_the_idle_time_of_conns() {
    let origin = echo().await;
    let world = World::new(&origin)
        .set("proxy.idle_timeout", "\"300ms\"")
        .set("proxy.head_timeout", "\"300ms\"")
        .run()
        .await;
    let mut socket = open(&world, &absolute()).await;
    // Other conns that begin after it are reaped; it is not.
    let mut other = world.raw().await;
    other.ends().await;
    assert_echoes(&mut socket, Message::text("still here")).await;
}

#[tokio::test]
async fn a_websocket_is_cut_when_its_token_or_connection_goes() {
    let origin = echo().await;
    for (gone, stays) in [("\"runner\"", "\"other\""), ("bearer-secret", "other-secret")] {
        let mut world = World::new(&origin)
            .bearer("acme.other", "other.example.test", "other-secret")
            .token("other", "acme", "")
            .pin("other.example.test", &origin)
            .run()
            .await;
        let mut socket = open(&world, &absolute()).await;
        world.reload(|world| world.without(stays)).await;
        assert_echoes(&mut socket, Message::text("undisturbed")).await;
        world.change(|world| world.without(gone));
        assert_cut(&mut socket).await;
        let entry = world.log.entry_of("/socket").await;
        assert!(entry["cause"].as_str().unwrap().contains("no longer in force"), "{entry}");
    }
}

#[tokio::test]
async fn a_token_that_goes_during_the_handshake_takes_its_websocket_along() {
    let (go, goes) = tokio::sync::mpsc::unbounded_channel::<()>();
    let goes = std::sync::Arc::new(tokio::sync::Mutex::new(goes));
    let origin = Origin::scripted(move |mut conn: Conn| {
        let goes = std::sync::Arc::clone(&goes);
        async move {
            if conn.head().await.is_none() || goes.lock().await.recv().await.is_none() {
                return;
            }
            let agreed = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                          Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
            conn.raw.write(agreed).await;
            conn.raw.ends().await;
        }
    })
    .await;
    let mut world = World::new(&origin).token("other", "acme", "").run().await;
    let mut raw = world.raw().await;
    raw.write(absolute().bytes()).await;
    origin.has_seen(1).await;
    world.reload(|world| world.without("\"runner\"")).await;
    go.send(()).unwrap();
    assert_eq!(raw.head().await.status, 101);
    raw.ends().await;
    let entry = world.log.entry_of("/socket").await;
    assert!(entry["cause"].as_str().unwrap().contains("no longer in force"), "{entry}");
}

#[tokio::test]
async fn either_end_may_end_the_websocket() {
    let origin = echo().await;
    let world = World::new(&origin).run().await;
    let mut socket = open(&world, &absolute()).await;
    assert_echoes(&mut socket, Message::text("hello")).await;
    drop(socket);
    let entry = soon(world.log.entry_of("/socket")).await;
    assert_eq!(entry["status"], 101);
    let mut socket = open(&world, &absolute()).await;
    soon(socket.send(Message::Close(None))).await.unwrap();
    let farewell = tokio::time::timeout(Duration::from_secs(5), socket.next()).await.unwrap();
    assert!(farewell.is_none_or(|last| last.is_err() || last.unwrap().is_close()));
}

/// An origin of a WebSocket that tells the first 8 bytes it is sent after the handshake, and then
/// all the rest.
async fn recording() -> (Origin, tokio::sync::mpsc::UnboundedReceiver<Vec<u8>>) {
    let (tell, told) = tokio::sync::mpsc::unbounded_channel();
    let origin = Origin::scripted(move |mut conn: Conn| {
        let tell = tell.clone();
        async move {
            conn.head().await;
            let agreed = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: \
                          websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
            conn.raw.write(agreed).await;
            // The beginning first: a frame is under way only when it has come this far.
            let _either_way = tell.send(conn.raw.exact(8).await.unwrap());
            let _either_way = tell.send(conn.raw.rest().await);
        }
    })
    .await;
    (origin, told)
}

#[tokio::test]
async fn a_resting_websocket_is_told_of_a_stop_and_does_not_hold_it_up() {
    let origin = echo().await;
    let mut world = World::new(&origin).set("shutdown_grace", "\"60s\"").run().await;
    let mut socket = open(&world, &absolute()).await;
    assert_echoes(&mut socket, Message::text("hello")).await;
    world.signal(rustix::process::Signal::TERM);
    let Some(Ok(Message::Close(Some(close)))) = soon(socket.next()).await else {
        panic!("there was no close frame");
    };
    assert_eq!(u16::from(close.code), 1001);
    // The other end is told too: with the answer of both the conn ends.
    assert!(soon(socket.next()).await.is_none_or(|last| last.is_err()));
    assert_eq!(world.ended().await.code(), Some(0), "{}", world.log.text());
    let entry = world.log.entry_of("/socket").await;
    assert_eq!((&entry["status"], &entry["cause"]), (&101.into(), &STOPPED.into()));
}

const STOPPED: &str = "the server was shutting down";

#[tokio::test]
async fn a_frame_that_is_under_way_is_ended_before_the_other_end_is_told_of_a_stop() {
    let (origin, mut told) = recording().await;
    let mut world = World::new(&origin).set("shutdown_grace", "\"60s\"").run().await;
    let mut raw = world.raw().await;
    raw.write(absolute().bytes()).await;
    assert_eq!(raw.head().await.status, 101);
    // A text of five bytes, masked with zeros; three of them come later.
    let beginning = [0x81, 0x85, 0, 0, 0, 0, b'h', b'e'];
    raw.write(beginning).await;
    assert_eq!(soon(told.recv()).await.unwrap(), beginning);
    world.signal(rustix::process::Signal::TERM);
    assert_eq!(raw.until(&[0x88, 2, 0x03, 0xe9]).await.unwrap().len(), 4);
    raw.write(b"llo").await;
    let heard = soon(told.recv()).await.unwrap();
    let [b'l', b'l', b'o', 0x88, 0x82, mask @ ..] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!((mask[0] ^ mask[4], mask[1] ^ mask[5], mask.len()), (0x03, 0xe9, 6));
    // It never answers the close frame, and is not waited for to the end of the grace.
    assert_eq!(world.ended().await.code(), Some(0), "{}", world.log.text());
}
