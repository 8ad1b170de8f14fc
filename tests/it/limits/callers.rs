//! One caller's share of the conns.

use http_body_util::BodyExt as _;

use crate::support::ask::{Ask, ask, stranger};
use crate::support::http2::request;
use crate::support::origin::Origin;
use crate::support::raw::{Raw, refused};
use crate::support::soon;
use crate::support::tunnel::API;
use crate::support::world::{Running, World};

const URL: &str = "GET https://api.example.test/v1";

fn other() -> Ask {
    stranger(URL).by("other")
}

/// At most six conns, and three of one caller.
async fn world(origin: &Origin) -> Running {
    World::new(origin).token("other", "acme", "").set("proxy.max_connections", "6").run().await
}

/// At most six conns, and blind tunnels to a host that no connection covers.
async fn passing_blind(origin: &Origin) -> Running {
    let world = World::new(origin).set("proxy.max_connections", "6");
    world.set("proxy.untagged", "\"tunnel\"").pin("other.example.test", origin).run().await
}

/// Tells whether a tunnel is opened.
async fn opens(world: &Running, connect: &Ask) -> bool {
    let mut raw = world.raw().await;
    raw.write(connect.bytes()).await;
    raw.head().await.status == 200
}

/// Three conns of `runner`.
async fn three(world: &Running) -> Vec<Raw> {
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut raw = world.raw().await;
        assert_eq!(raw.send(&ask(URL)).await.status, 200);
        open.push(raw);
    }
    open
}

#[tokio::test]
async fn one_caller_holds_no_more_than_half_of_the_conns() {
    let origin = Origin::start().await;
    let world = world(&origin).await;
    let mut open = three(&world).await;
    let mut fourth = world.raw().await;
    let answer = fourth.send(&ask(URL)).await;
    assert_eq!(answer.refusal(), refused(503, "Overloaded"));
    assert_eq!((answer.field("retry-after"), answer.field("connection")), ("1", "close"));
    assert!(answer.title().contains("proxy.max_connections_per_caller"), "{}", answer.title());
    fourth.ends().await;
    let entry = world.log.entry(|entry| entry["code"] == "Overloaded").await;
    assert_eq!((&entry["caller"], &entry["rule"]), (&"runner".into(), &"capacity".into()));
    // Others are not affected, and neither are the conns that it has.
    let mut others = world.raw().await;
    assert_eq!(others.send(&other()).await.status, 200);
    for raw in &mut open {
        assert_eq!(raw.send(&ask(URL)).await.status, 200);
    }
    open.pop();
    soon(async { while world.send(&ask(URL)).await.status != 200 {} }).await;
    assert_eq!(origin.seen().iter().filter(|seen| seen.target == "/v1").count(), 8);
}

#[tokio::test]
async fn a_conn_counts_for_the_caller_that_it_named_last() {
    let origin = Origin::start().await;
    let world = world(&origin).await;
    let mut open = three(&world).await;
    assert_eq!(open[0].send(&other()).await.status, 200);
    let mut fourth = world.raw().await;
    assert_eq!(fourth.send(&ask(URL)).await.status, 200);
    assert_eq!(open[0].send(&ask(URL)).await.refusal(), refused(503, "Overloaded"));
    open[0].ends().await;
}

#[tokio::test]
async fn over_http2_a_conn_beyond_the_share_is_closed_too() {
    let origin = Origin::start().await;
    let world = world(&origin).await;
    let _open = three(&world).await;
    let mut http2 = world.http2().await;
    let get = || request("GET", "https://api.example.test/v1");
    assert_eq!(http2.send(get()).await.refusal(), refused(503, "Overloaded"));
    soon(async { while http2.try_send(get(), "").await.is_some() {} }).await;
}

#[tokio::test]
async fn tunnels_count_one_each_and_as_their_callers() {
    let origin = Origin::start().await;
    let world = world(&origin).await;
    let mut tunnels = Vec::new();
    for _ in 0..3 {
        tunnels.push(world.tunnel().await);
    }
    let connect = ask(&format!("CONNECT {API}:443"));
    assert_eq!(world.send(&connect).await.refusal(), refused(503, "Overloaded"));
    let by_other = stranger(&format!("CONNECT {API}:443")).by("other");
    let _others = world.connect(&by_other).await;
    for tunnel in &mut tunnels {
        assert_eq!(tunnel.send(&stranger("GET /v1").host(API)).await.status, 200);
    }
    drop(tunnels);
    soon(async { while !opens(&world, &connect).await {} }).await;
}

#[tokio::test]
async fn websockets_and_blind_tunnels_count_for_as_long_as_they_are_open() {
    let origin = Origin::start().await;
    let world = passing_blind(&origin).await;
    let connect = ask("CONNECT other.example.test:443");
    let mut blind = Vec::new();
    for _ in 0..3 {
        blind.push(world.connect(&connect).await);
    }
    assert_eq!(world.send(&connect).await.refusal(), refused(503, "Overloaded"));
    assert!((world.metric("keyferry_caller_connections").await - 3.0).abs() < 1.5);
    drop(blind);
    soon(async { while !opens(&world, &connect).await {} }).await;
}

#[tokio::test]
async fn blind_tunnels_over_http2_count_one_each() {
    let origin = Origin::start().await;
    let world = passing_blind(&origin).await;
    let mut http2 = world.http2().await;
    let connect = || request("CONNECT", "other.example.test:443");
    let open_end = || http_body_util::Empty::new().boxed_unsync();
    // Its own conn is the first of three.
    let mut open = Vec::new();
    for _ in 0..2 {
        let tunnel = http2.start(connect(), open_end()).await.unwrap();
        assert_eq!(tunnel.status(), 200);
        open.push(tunnel);
    }
    assert_eq!(http2.send(connect()).await.refusal(), refused(503, "Overloaded"));
    drop(open);
    soon(async { while http2.start(connect(), open_end()).await.unwrap().status() != 200 {} })
        .await;
}

#[tokio::test]
async fn the_one_caller_of_a_sidecar_may_hold_all_conns() {
    let origin = Origin::start().await;
    let world = World::new(&origin)
        .set("proxy.caller_auth", "\"none\"")
        .set("proxy.default_integration", "\"acme\"")
        .set("proxy.max_connections", "4")
        .run()
        .await;
    let mut open = Vec::new();
    for _ in 0..4 {
        let mut raw = world.raw().await;
        assert_eq!(raw.send(&stranger(URL)).await.status, 200);
        open.push(raw);
    }
}
