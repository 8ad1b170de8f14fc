//! An origin that is killed and started again under load.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use futures_util::future::join_all;
use tokio::net::{TcpListener, TcpSocket};

use crate::support::ask::stranger;
use crate::support::origin::{Conn, Origin, listen};
use crate::support::raw::Raw;
use crate::support::tls;
use crate::support::world::World;

const CALLERS: usize = 16;
const DEATHS: usize = 4;

/// Echoes the target and the credential of each request.
async fn echo(listener: TcpListener) -> Origin {
    let acceptor = tokio_rustls::TlsAcceptor::from(tls::origin(&["http/1.1"]));
    Origin::on(std::future::ready(listener), move |io, number, memory| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(io) = acceptor.accept(io).await else { return };
            let mut conn = Conn::new(number, Raw::over(io), memory);
            while let Some(head) = conn.head().await {
                let target = head.split(' ').nth(1).unwrap();
                let credential =
                    head.lines().find(|line| line.starts_with("authorization")).unwrap();
                let body = format!("{target} {credential}");
                let length = body.len();
                let said = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
                if conn.raw.try_write(said.as_bytes()).await.is_err() {
                    return;
                }
            }
        }
    })
    .await
}

fn listen_again(address: SocketAddr) -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket.listen(1024).unwrap()
}

/// One caller: sends until it is told to stop; gives how many answers were right.
async fn call(
    address: String,
    caller: usize,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
) -> usize {
    let mut right = 0;
    let mut raw = Raw::tcp(&address).await;
    let integration = if caller.is_multiple_of(2) { "acme" } else { "globex" };
    for number in 0.. {
        if stop.load(SeqCst) {
            break;
        }
        let path = format!("/{caller}/{number}");
        let ask = stranger(&format!("GET /~/{integration}.api{path}")).by("any");
        let answer = raw.send(&ask).await;
        if answer.status == 200 {
            let expected = format!("{path} authorization: Bearer {integration}-secret");
            assert_eq!(answer.text(), expected, "the answer to another request");
            right += 1;
        } else {
            let code = answer.code();
            let honest = ["UpstreamClosed", "ConnectRefused", "TlsFailed", "ResponseTruncated"];
            assert!(honest.contains(&code.as_str()), "{code}");
        }
        done.fetch_add(1, SeqCst);
    }
    right
}

#[tokio::test]
async fn an_origin_that_dies_and_comes_back_under_load_causes_no_wrong_answer() {
    let listener = listen().await;
    let address = listener.local_addr().unwrap();
    let mut origin = echo(listener).await;
    let world = World::empty()
        .bearer("acme.api", "api.example.test", "acme-secret")
        .bearer("globex.api", "api.example.test", "globex-secret")
        .token("any", "*", "")
        .pin("api.example.test", &origin)
        .run()
        .await;
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let calls = (0..CALLERS).map(|caller| {
        call(world.address().to_owned(), caller, Arc::clone(&stop), Arc::clone(&done))
    });
    let killing = async {
        for death in 1..=DEATHS {
            let goal = done.load(SeqCst) + 200;
            while done.load(SeqCst) < goal {
                tokio::task::yield_now().await;
            }
            origin.kill().await;
            let goal = done.load(SeqCst) + 20 * death;
            while done.load(SeqCst) < goal {
                tokio::task::yield_now().await;
            }
            origin = echo(listen_again(address)).await;
        }
        let goal = done.load(SeqCst) + 400;
        while done.load(SeqCst) < goal {
            tokio::task::yield_now().await;
        }
        stop.store(true, SeqCst);
    };
    let (right, ()) = tokio::join!(join_all(calls), killing);
    assert!(right.iter().all(|right| *right > 0), "every caller got through: {right:?}");
    drop(origin);
}
