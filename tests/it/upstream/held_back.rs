//! Requests that an origin of HTTP/2 does not take yet, though there is a conn.

use tokio::io::AsyncWriteExt as _;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;

use crate::support::ask::{ask, stranger};
use crate::support::frames::{
    DATA, END_HEADERS, END_STREAM, Frames, HEADERS, INITIAL_WINDOW_SIZE, MAX_CONCURRENT_STREAMS,
    RST_STREAM, SETTINGS, frame,
};
use crate::support::http2::{Http2, request};
use crate::support::origin::{Conn, Origin, listen};
use crate::support::raw::{Raw, refused};
use crate::support::soon;
use crate::support::tls;
use crate::support::tunnel::API;
use crate::support::world::{Running, World};

/// An origin of HTTP/2 that does on each conn what `script` says.
async fn speaking<F, R>(script: F) -> Origin
where
    F: Fn(Conn) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    Origin::scripted_with(tls::origin(&["h2"]), script).await
}

/// A server with the connection `acme.kept`, a token, and its id.
async fn keeping(origin: &Origin) -> (Running, String, String) {
    let server = World::empty().pin(API, origin).keeping().run().await;
    server.keep_bearer("kept", API, "secret").await;
    let (id, token) = server.keep_token("runner", &["proxy"]).await;
    (server, id, format!("Bearer {token}"))
}

#[tokio::test]
async fn a_request_that_an_origin_has_no_room_for_is_decided_once_more_when_it_has() {
    let (gate, opens) = watch::channel(false);
    let (tell, mut told) = mpsc::unbounded_channel();
    // It answers one request, allows none from then on, on no conn, and takes any once it may.
    let origin = speaking(move |conn: Conn| {
        let (tell, mut opens) = (tell.clone(), opens.clone());
        async move {
            let none = [(MAX_CONCURRENT_STREAMS, 0)];
            let settings = if conn.number == 0 { &[][..] } else { &none };
            let Some(mut frames) = Frames::begin_with(conn, settings).await else { return };
            if frames.number == 0 {
                let asked = frames.request().await.unwrap();
                frames.answer(asked.stream, "first").await;
                frames.set(&none).await;
                frames.are_set().await;
                let _either_way = tell.send("none any more");
            }
            drop(opens.wait_for(|open| *open).await);
            frames.set(&[(MAX_CONCURRENT_STREAMS, 10)]).await;
            while let Some(asked) = frames.request().await {
                let _either_way = tell.send("a request");
                frames.answer(asked.stream, "later").await;
            }
        }
    })
    .await;
    let (server, id, token) = keeping(&origin).await;
    // On one conn of the caller, so that both have the same conns to choose from.
    let caller = server.http2().await;
    let send = |mut caller: Http2| {
        let asked = http::Request::get(format!("https://{API}/v1"));
        let asked = asked.header("x-zis-connection", "kept").header("proxy-authorization", &token);
        tokio::spawn(async move { caller.send(asked).await })
    };
    assert_eq!(send(caller.clone()).await.unwrap().text(), "first");
    assert_eq!(soon(told.recv()).await, Some("none any more"));
    let second = send(caller.clone());
    // There is no other conn with room.
    origin.has_conns(2).await;
    server.revoke(&id).await;
    gate.send_replace(true);
    assert_eq!(second.await.unwrap().refusal(), refused(407, "CallerUnknown"));
    // With room, and a token that is in force, the conn is used again.
    let (_id, token) = server.keep_token("another", &["proxy"]).await;
    let asked = http::Request::get(format!("https://{API}/v1"))
        .header("x-zis-connection", "kept")
        .header("proxy-authorization", format!("Bearer {token}"));
    assert_eq!(caller.clone().send(asked).await.text(), "later");
    assert_eq!((soon(told.recv()).await, origin.conns()), (Some("a request"), 2));
    assert!(told.try_recv().is_err(), "the request of the revoked token was sent");
}

/// An origin of HTTP/2 that allows no stream until the gate opens, which a client knows before it can send a
/// request. Tells when that is so, and how many requests came on the conn.
async fn closed(opens: watch::Receiver<bool>) -> (Origin, mpsc::UnboundedReceiver<usize>) {
    let (tell, told) = mpsc::unbounded_channel();
    let acceptor = TlsAcceptor::from(tls::old_origin(&["h2"]));
    let origin = Origin::on(listen(), move |io, number, memory| {
        let (tell, mut opens, acceptor) = (tell.clone(), opens.clone(), acceptor.clone());
        async move {
            // The settings come in one piece with the end of the handshake of TLS 1.2.
            socket2::SockRef::from(&io).set_tcp_cork(true).unwrap();
            let Ok(mut io) = acceptor.accept(io).await else { return };
            let settings = frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 0]);
            io.write_all(&settings).await.unwrap();
            io.flush().await.unwrap();
            socket2::SockRef::from(io.get_ref().0).set_tcp_cork(false).unwrap();
            let conn = Conn { number, raw: Raw::over(io), memory };
            let mut frames = Frames::expect(conn).await.unwrap();
            frames.are_set().await;
            let _either_way = tell.send(0);
            drop(opens.wait_for(|open| *open).await);
            frames.set(&[(MAX_CONCURRENT_STREAMS, 10)]).await;
            let mut heads = 0;
            while let Some(frame) = frames.next().await {
                heads += usize::from(frame.kind == HEADERS);
            }
            let _either_way = tell.send(heads);
        }
    })
    .await;
    (origin, told)
}

#[tokio::test]
async fn a_request_that_its_conn_holds_back_is_withdrawn_when_its_token_goes() {
    let (gate, opens) = watch::channel(false);
    let (origin, mut told) = closed(opens).await;
    let (server, id, token) = keeping(&origin).await;
    let mut raw = server.raw().await;
    let ask = stranger(&format!("POST https://{API}/v1")).field("X-Zis-Connection", "kept");
    raw.write(ask.field("Proxy-Authorization", &token).body("text").bytes()).await;
    assert_eq!(soon(told.recv()).await, Some(0));
    server.revoke(&id).await;
    assert_eq!(raw.answer().await.refusal(), refused(407, "CallerUnknown"));
    gate.send_replace(true);
    assert_eq!(soon(told.recv()).await, Some(0), "the request of the revoked token was sent");
}

#[tokio::test]
async fn a_request_that_its_conn_holds_back_is_withdrawn_when_its_token_ends() {
    let (gate, opens) = watch::channel(false);
    let (origin, mut told) = closed(opens).await;
    let (server, _id, _token) = keeping(&origin).await;
    let (token, _end) = server.keep_token_that_ends("short").await;
    let mut raw = server.raw().await;
    let ask = stranger(&format!("GET https://{API}/v1")).field("X-Zis-Connection", "kept");
    raw.write(ask.field("Proxy-Authorization", &format!("Bearer {token}")).bytes()).await;
    assert_eq!(soon(told.recv()).await, Some(0));
    assert_eq!(raw.answer().await.refusal(), refused(407, "CallerUnknown"));
    gate.send_replace(true);
    assert_eq!(soon(told.recv()).await, Some(0), "the request of the ended token was sent");
}

#[tokio::test]
async fn a_request_whose_conns_close_while_it_waits_for_room_goes_over_another() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let (gate, opens) = watch::channel(false);
    // It answers one request, allows none from then on, on two conns, which then close.
    let origin = speaking(move |conn: Conn| {
        let (tell, mut opens) = (tell.clone(), opens.clone());
        async move {
            let none = [(MAX_CONCURRENT_STREAMS, 0)];
            let settings = if conn.number == 1 { &none[..] } else { &[] };
            let Some(mut frames) = Frames::begin_with(conn, settings).await else { return };
            match frames.number {
                0 => {
                    let asked = frames.request().await.unwrap();
                    frames.answer(asked.stream, "first").await;
                    frames.set(&none).await;
                }
                1 => {}
                _ => return frames.echo().await,
            }
            frames.are_set().await;
            let _either_way = tell.send(frames.number);
            drop(opens.wait_for(|open| *open).await);
            frames.close().await;
        }
    })
    .await;
    let world = World::new(&origin).run().await;
    let caller = world.http2().await;
    let send = |body: &'static str| {
        let (mut caller, asked) = (caller.clone(), request("POST", &format!("https://{API}/v1")));
        tokio::spawn(async move { caller.send_body(asked, body).await.text() })
    };
    assert_eq!(send("").await.unwrap(), "first");
    assert_eq!(soon(told.recv()).await, Some(0));
    let second = send("second");
    assert_eq!(soon(told.recv()).await, Some(1));
    gate.send_replace(true);
    assert_eq!(second.await.unwrap(), "second");
    assert_eq!(origin.conns(), 3);
}

#[tokio::test]
async fn a_request_that_is_given_up_while_its_conn_holds_it_back_is_not_sent_later() {
    let (gate, opens) = watch::channel(false);
    let (origin, mut told) = closed(opens).await;
    let world = World::new(&origin).set("upstream.response_timeout", "\"500ms\"").run().await;
    let asked = ask(&format!("GET https://{API}/v1"));
    assert_eq!(world.send(&asked).await.refusal(), refused(504, "ResponseTimeout"));
    assert_eq!(soon(told.recv()).await, Some(0));
    gate.send_replace(true);
    assert_eq!(soon(told.recv()).await, Some(0), "the request was sent after its answer");
}

#[tokio::test]
async fn an_origin_that_shuts_its_window_amid_an_upload_is_waited_for_no_longer_than_for_another() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let origin = speaking(move |conn: Conn| {
        let tell = tell.clone();
        async move {
            let Some(mut frames) = Frames::begin(conn).await else { return };
            while let Some(frame) = frames.next().await {
                if frame.kind == DATA && !frame.payload.is_empty() {
                    frames.set(&[(INITIAL_WINDOW_SIZE, 0)]).await;
                    frames.are_set().await;
                    let _either_way = tell.send(());
                }
            }
        }
    })
    .await;
    let world = World::new(&origin).set("upstream.response_timeout", "\"500ms\"").run().await;
    let mut raw = world.raw().await;
    let head = ask(&format!("POST https://{API}/v1")).field("Content-Length", "10");
    raw.write(head.bytes()).await;
    raw.write("first").await;
    soon(told.recv()).await.unwrap();
    raw.write("final").await;
    assert_eq!(raw.answer().await.refusal(), refused(504, "ResponseTimeout"));
}

#[tokio::test]
async fn an_upload_that_nobody_wants_any_more_ends_with_its_stream_and_its_conn() {
    let (tell, mut told) = mpsc::unbounded_channel();
    // It answers when the upload has begun, and neither takes more of it nor says so.
    let origin = speaking(move |conn: Conn| {
        let tell = tell.clone();
        async move {
            let Some(mut frames) = Frames::begin(conn).await else { return };
            while let Some(frame) = frames.take().await {
                match frame.kind {
                    HEADERS => {
                        let answer = frame_of_413(frame.stream);
                        frames.write_all(&[answer]).await;
                    }
                    RST_STREAM => {
                        let _either_way = tell.send(frame.stream);
                    }
                    _ => {}
                }
            }
        }
    })
    .await;
    let world = World::new(&origin).run().await;
    let mut raw = world.raw().await;
    let head = ask(&format!("POST https://{API}/v1")).field("Content-Length", "300000");
    raw.write(head.bytes()).await;
    raw.write(vec![0; 200_000]).await;
    assert_eq!(raw.head().await.status, 413);
    drop(raw);
    assert_eq!(soon(told.recv()).await, Some(1));
    soon(async { while world.metric("keyferry_caller_connections").await > 0.5 {} }).await;
}

/// `:status: 413`, written out, and nothing more.
fn frame_of_413(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &[0x08, 3, b'4', b'1', b'3'])
}
