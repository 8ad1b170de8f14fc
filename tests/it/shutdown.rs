//! How the program starts, ends, and refuses to start.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;
use std::sync::Arc;

use rustix::process::Signal;
use tokio::sync::mpsc;

use crate::support::ask::{ask, stranger};
use crate::support::origin::{Conn, Origin};
use crate::support::tunnel::API;
use crate::support::world::World;

const URL: &str = "GET https://api.example.test/v1";

/// An origin that answers when it is told to.
async fn waiting() -> (Origin, mpsc::UnboundedSender<()>) {
    let (go, goes) = mpsc::unbounded_channel();
    let goes = Arc::new(tokio::sync::Mutex::new(goes));
    let origin = Origin::scripted(move |mut conn: Conn| {
        let goes = Arc::clone(&goes);
        async move {
            while conn.head().await.is_some() {
                if goes.lock().await.recv().await.is_some() {
                    conn.raw.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                }
            }
        }
    })
    .await;
    (origin, go)
}

#[tokio::test]
async fn what_is_in_flight_is_finished_before_the_program_ends() {
    for signal in [Signal::TERM, Signal::INT] {
        let (origin, go) = waiting().await;
        let mut world = World::new(&origin).run().await;
        let mut idle = world.raw().await;
        let mut raw = world.raw().await;
        raw.write(ask(URL).bytes()).await;
        origin.has_seen(1).await;
        world.signal(signal);
        world.log.message("shutting down: requests in flight are finished first").await;
        idle.ends().await;
        go.send(()).unwrap();
        assert_eq!(raw.answer().await.text(), "ok");
        raw.ends().await;
        assert_eq!(world.ended().await.code(), Some(0), "{}", world.log.text());
        assert_eq!(world.log.entry_of("/v1").await["status"], 200);
    }
}

#[tokio::test]
async fn tunnels_end_and_what_is_in_flight_inside_is_finished() {
    let (origin, go) = waiting().await;
    let mut world = World::new(&origin).run().await;
    let mut silent = world.tunnel().await;
    let mut busy = world.tunnel().await;
    busy.write(stranger("GET /v1").host(API).bytes()).await;
    origin.has_seen(1).await;
    world.signal(Signal::TERM);
    world.log.message("shutting down: requests in flight are finished first").await;
    silent.ends().await;
    go.send(()).unwrap();
    assert_eq!(busy.answer().await.text(), "ok");
    busy.ends().await;
    assert_eq!(world.ended().await.code(), Some(0), "{}", world.log.text());
    assert_eq!(world.log.entry_of("/v1").await["status"], 200);
}

#[tokio::test]
async fn the_api_says_that_it_is_not_ready_while_requests_are_finished() {
    let (origin, go) = waiting().await;
    let mut world = World::new(&origin).run().await;
    let mut raw = world.raw().await;
    raw.write(ask(URL).bytes()).await;
    origin.has_seen(1).await;
    world.signal(Signal::TERM);
    world.log.message("shutting down: requests in flight are finished first").await;
    assert_eq!(world.api("/readyz").await.status, 503);
    assert_eq!(world.api("/healthz").await.status, 200);
    go.send(()).unwrap();
    assert_eq!(raw.answer().await.text(), "ok");
    assert_eq!(world.ended().await.code(), Some(0), "{}", world.log.text());
}

#[tokio::test]
async fn a_program_with_nothing_to_do_ends_at_once() {
    let origin = Origin::start().await;
    let mut world = World::new(&origin).run().await;
    let mut raw = world.raw().await;
    assert_eq!(raw.send(&ask(URL)).await.status, 200);
    let begun = keyferry::clock::instant();
    world.signal(Signal::TERM);
    assert_eq!(world.ended().await.code(), Some(0));
    assert!(begun.elapsed().as_secs() < 5, "kept conns hold nobody up");
    raw.ends().await;
}

#[tokio::test]
async fn no_new_caller_is_taken_in_while_the_program_ends() {
    let (origin, go) = waiting().await;
    let mut world = World::new(&origin).run().await;
    let mut raw = world.raw().await;
    raw.write(ask(URL).bytes()).await;
    origin.has_seen(1).await;
    world.signal(Signal::TERM);
    world.log.message("shutting down: requests in flight are finished first").await;
    let address = world.address().to_owned();
    let refused = async {
        while tokio::net::TcpStream::connect(&address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    crate::support::soon(refused).await;
    go.send(()).unwrap();
    assert_eq!(raw.answer().await.status, 200);
    assert_eq!(world.ended().await.code(), Some(0));
}

#[tokio::test]
async fn what_takes_longer_than_the_grace_is_cut() {
    let (origin, _go) = waiting().await;
    let mut world = World::new(&origin).set("shutdown_grace", "\"200ms\"").run().await;
    let mut raw = world.raw().await;
    raw.write(ask(URL).bytes()).await;
    origin.has_seen(1).await;
    world.signal(Signal::TERM);
    assert_eq!(world.ended().await.code(), Some(0));
    raw.ends().await;
    world.log.message("conns were cut: shutdown_grace is over").await;
    assert_eq!(world.log.entry_of("/v1").await["status"], 0);
}

/// Runs a program that can't start.
fn fails(world: &World) -> String {
    let Output { status, stdout, stderr } = world.command().output().unwrap();
    let text = String::from_utf8(stderr).unwrap();
    assert_eq!((status.code(), stdout.as_slice()), (Some(1), &b""[..]), "{text}");
    text
}

#[tokio::test]
async fn a_port_in_use_is_an_error_that_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (key, value) in
        [("proxy.listen", format!("[\"{address}\"]")), ("api.listen", format!("\"{address}\""))]
    {
        let said = fails(&World::empty().set(key, &value));
        assert!(said.contains(&format!("{address} is in use by another program")), "{said}");
    }
}

#[tokio::test]
async fn a_socket_in_use_is_an_error_and_an_abandoned_one_is_replaced() {
    let world = World::empty();
    let path = world.path("proxy.sock");
    let world = world.set("proxy.listen", &format!("[\"unix:{}\"]", path.display()));
    let first = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let said = fails(&world);
    assert!(said.contains("proxy.sock is in use by another program"), "{said}");
    drop(first);
    let _running = world.run().await;
    assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
    fs::remove_file(&path).unwrap();
    fs::write(&path, "precious").unwrap();
    let said =
        fails(&World::empty().set("proxy.listen", &format!("[\"unix:{}\"]", path.display())));
    assert!(said.contains("in use") && fs::read(&path).unwrap() == b"precious", "{said}");
}

#[tokio::test]
async fn a_data_directory_is_for_one_server_and_its_owner() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let data = world.world.path("data");
    let said = fails(&world.world);
    assert!(said.contains("another server uses the data directory"), "{said}");
    assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
    for (path, _content) in crate::support::world::files_below(&data) {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", path.display());
    }
    let fresh = World::new(&origin);
    fs::create_dir(fresh.path("data")).unwrap();
    fs::set_permissions(fresh.path("data"), fs::Permissions::from_mode(0o755)).unwrap();
    let said = fails(&fresh);
    assert!(said.contains("others can read or change the data directory"), "{said}");
    fs::set_permissions(fresh.path("data"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(fresh.path("data/admin.token"), "").unwrap();
    let said = fails(&fresh);
    assert!(said.contains("others can read or change the secret file"), "{said}");
    assert!(said.contains("start again), or run chmod 600 on it if nobody has read it"), "{said}");
    fs::remove_file(fresh.path("data/admin.token")).unwrap();
    fs::write(fresh.path("data/master.key"), "").unwrap();
    let said = fails(&fresh.keeping());
    assert!(said.contains("others can read or change the master key file"), "{said}");
    assert!(said.contains("keep this one below it") && !said.contains("start again"), "{said}");
}

#[tokio::test]
async fn a_program_that_was_killed_can_be_started_again() {
    let origin = Origin::start().await;
    let mut world = World::new(&origin).run().await;
    let token = fs::read(world.world.path("data/admin.token")).unwrap();
    world.signal(Signal::KILL);
    world.ended().await;
    let kept = std::mem::replace(&mut world.world, World::empty());
    let again = kept.run().await;
    assert_eq!(again.send(&ask(URL)).await.status, 200);
    assert_eq!(fs::read(again.world.path("data/admin.token")).unwrap(), token);
}

#[tokio::test]
async fn a_faulty_configuration_is_reported_whole_and_nothing_is_made() {
    let world =
        World::empty().set("proxy.listen", "[]").set("upstream.extra_roots", "[\"none.pem\"]");
    let said = fails(&world.token("a", "Not A Name", ""));
    for key in ["proxy.listen", "upstream.extra_roots", "tokens[0].integration"] {
        assert!(said.contains(key), "{key}: {said}");
    }
}

#[tokio::test]
async fn without_callers_only_loopback_may_be_open() {
    let world = World::empty()
        .set("proxy.caller_auth", "\"none\"")
        .set("proxy.default_integration", "\"acme\"")
        .set("proxy.listen", "[\"127.0.0.1:0\", \"0.0.0.0:0\"]");
    let said = fails(&world);
    assert!(said.contains("proxy.caller_auth") || said.contains("proxy.listen"), "{said}");
}
