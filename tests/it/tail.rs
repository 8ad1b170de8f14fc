//! The tail of an answer: origins that answer and close at once, and callers that send on or have
//! closed their half, still get all of it.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::ask::{ask, stranger};
use crate::support::origin::{Conn, Origin, listen};
use crate::support::raw::{Raw, refused};
use crate::support::soon;
use crate::support::tunnel::API;
use crate::support::world::{Running, World};

const LENGTH: usize = 7728;
const OTHER: &str = "other.example.test";
/// Requests of each kind, in eight lanes.
const LANES: usize = 8;
const ROUNDS: usize = 25;

/// What a caller does besides asking.
#[derive(Clone, Copy, Debug)]
enum Besides {
    Nothing,
    /// It says that nothing more will come.
    HalfCloses,
    /// It sends more than the origin reads: closing then resets the origin's conn.
    SendsOn,
    /// It sends more once the origin has closed.
    SendsAfterwards,
}

const ALL: [Besides; 4] =
    [Besides::Nothing, Besides::HalfCloses, Besides::SendsOn, Besides::SendsAfterwards];

async fn lanes<F: Future<Output = ()>>(round: impl Fn() -> F) {
    let lane = || async {
        for _ in 0..ROUNDS {
            round().await;
        }
    };
    join_all((0..LANES).map(|_| lane())).await;
}

/// Reads a head and no more, says all at once, and closes.
async fn answer_and_close(mut io: TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match io.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_ended) => return,
        }
    }
    io.write_all(&[b'x'; LENGTH]).await.unwrap();
}

async fn blind(world: &Running, besides: Besides) {
    let mut tunnel = world.connect(&ask(&format!("CONNECT {OTHER}:443"))).await;
    tunnel.write("GET / HTTP/1.1\r\n\r\n").await;
    match besides {
        Besides::Nothing => {}
        Besides::HalfCloses => tunnel.close_write().await,
        Besides::SendsOn => tunnel.write([b'y'; 5000]).await,
        Besides::SendsAfterwards => {
            let first = soon(tunnel.io.read_u8()).await.unwrap();
            assert_eq!(first, b'x');
            for _ in 0..3 {
                tunnel.write([b'y'; 5000]).await;
                tokio::task::yield_now().await;
            }
        }
    }
    let seen = usize::from(matches!(besides, Besides::SendsAfterwards));
    assert_eq!(tunnel.rest().await.len() + seen, LENGTH, "{besides:?}: {}", world.log.text());
}

#[tokio::test]
async fn through_a_blind_tunnel_the_tail_of_an_answer_arrives() {
    let origin = Origin::on(listen(), |io, _number, _memory| answer_and_close(io)).await;
    let world =
        World::new(&origin).set("proxy.untagged", "\"tunnel\"").pin(OTHER, &origin).run().await;
    for besides in ALL {
        lanes(|| blind(&world, besides)).await;
    }
}

async fn asks_inside(mut inside: Raw, head: &[u8], besides: Besides, world: &Running) {
    inside.write(head).await;
    match besides {
        Besides::Nothing | Besides::SendsAfterwards => {}
        Besides::HalfCloses => inside.close_write().await,
        Besides::SendsOn => inside.write([b'y'; 5000]).await,
    }
    let answer = inside.answer().await;
    assert_eq!(answer.status, 200, "{besides:?}");
    assert!(answer.whole, "{besides:?}: {}", world.log.text());
    assert_eq!(answer.body.len(), LENGTH, "{besides:?}: {}", world.log.text());
}

#[tokio::test]
async fn through_a_tunnel_that_is_looked_into_the_tail_of_an_answer_arrives() {
    for closes_well in [true, false] {
        let origin = Origin::scripted(move |mut conn: Conn| async move {
            let Some(asked) = conn.head().await else { return };
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
            conn.raw.write([head.as_bytes(), &[b'x'; LENGTH]].concat()).await;
            if closes_well {
                let _closed_there = conn.raw.io.shutdown().await;
            }
            if asked.contains("/upload") {
                // Else the socket is closed with unread bytes and resets.
                conn.raw.rest().await;
            }
        })
        .await;
        let world = World::new(&origin).run().await;
        let sent = |besides| match besides {
            Besides::SendsOn => {
                stranger("POST /v1/upload").host(API).field("Content-Length", "5000")
            }
            _ => stranger("GET /v1").host(API).field("Connection", "close"),
        };
        let ways = [Besides::Nothing, Besides::HalfCloses, Besides::SendsOn];
        // Where the origin only drops its conn, what it has not read of an upload resets it.
        for besides in ways.into_iter().take(if closes_well { 3 } else { 2 }) {
            let head = sent(besides).bytes();
            let (world, head) = (&world, &head);
            join_all((0..LANES).map(|_| async move {
                for _ in 0..4 {
                    asks_inside(world.tunnel().await, head, besides, world).await;
                }
            }))
            .await;
        }
    }
}

/// The caller has most of its upload still to send when it is refused: closing a conn with unread
/// bytes would reset it, and take the refusal along.
#[tokio::test]
async fn the_answer_to_an_upload_that_is_not_read_arrives() {
    const LENGTH: usize = 600_000;
    let origin = Origin::start().await;
    let world = World::new(&origin).set("proxy.max_body_bytes", "500000").run().await;
    for _ in 0..10 {
        let post = ask(&format!("POST https://{API}/v1"))
            .field("Connection", "close")
            .field("Content-Length", &LENGTH.to_string());
        let mut raw = world.raw().await;
        raw.write(post.bytes()).await;
        // As clients do that read when they have sent all of it.
        let mut left = LENGTH;
        while left > 0 && raw.try_write(&vec![b'y'; 100_000]).await.is_ok() {
            left -= 100_000;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(raw.answer().await.refusal(), refused(413, "BodyTooLarge"));
    }
}
