//! SIGHUP: the configuration takes effect whole or not at all, and disturbs nobody.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::support::ask::{ask, stranger};
use crate::support::origin::{Conn, Origin};
use crate::support::raw::refused;
use crate::support::soon;
use crate::support::world::World;

const URL: &str = "GET https://api.example.test/v1";
const NOT_RELOADED: &str = "the configuration was not reloaded";

#[tokio::test]
async fn what_is_added_can_be_used_and_what_is_removed_can_not() {
    let origin = Origin::start().await;
    let mut world = World::new(&origin).run().await;
    let mut raw = world.raw().await;
    let newcomer = stranger("GET /~/new/v1").by("newcomer");
    assert_eq!(raw.send(&newcomer).await.status, 401);
    let line = world
        .reload(|world| {
            world.bearer("acme.new", "api.example.test", "new-secret").token("newcomer", "acme", "")
        })
        .await;
    assert_eq!((line["connections"].as_u64(), line["callers"].as_u64()), (Some(2), Some(2)));
    assert_eq!(raw.send(&newcomer).await.status, 200);
    assert_eq!(origin.last().field("authorization"), "Bearer new-secret");
    world.reload(|world| world.without("new-secret").without("\"runner\"")).await;
    assert_eq!(raw.send(&newcomer).await.refusal(), refused(403, "ConnectionNotFound"));
    assert_eq!(raw.send(&ask(URL)).await.refusal(), refused(407, "CallerUnknown"));
    assert_eq!(raw.send(&stranger(URL).by("newcomer")).await.status, 200);
}

#[tokio::test]
async fn a_replaced_secret_is_sent_from_the_next_request_on() {
    let origin = Origin::start().await;
    let mut world = World::new(&origin).run().await;
    let mut raw = world.raw().await;
    raw.send(&ask(URL)).await;
    world
        .reload(|world| {
            world.without("bearer-secret").bearer("acme.api", "api.example.test", "next-secret")
        })
        .await;
    raw.send(&ask(URL)).await;
    let sent: Vec<_> = origin.seen().iter().map(|seen| seen.field("authorization")).collect();
    assert_eq!(sent, ["Bearer bearer-secret", "Bearer next-secret"]);
}

#[tokio::test]
async fn settings_of_both_ways_take_effect() {
    let origin = Origin::start().await;
    let mut world = World::new(&origin).run().await;
    let mut raw = world.raw().await;
    assert_eq!(raw.send(&ask(URL)).await.status, 200);
    world.reload(|world| world.set("proxy.allowed_methods", "[\"POST\"]")).await;
    assert_eq!(raw.send(&ask(URL)).await.refusal(), refused(405, "MethodNotAllowed"));
    let post = ask("POST https://api.example.test/v1");
    assert_eq!(raw.send(&post).await.status, 200);
    assert_eq!(origin.conns(), 2, "a conn made under other rules is not used again");
    world.reload(|world| world.set("upstream.allow_networks", "[]")).await;
    assert_eq!(raw.send(&post).await.refusal(), refused(403, "AddressProhibited"));
}

#[tokio::test]
async fn one_fault_and_nothing_of_it_takes_effect() {
    let origin = Origin::start().await;
    let mut world = World::new(&origin).run().await;
    world.change(|world| {
        world
            .token("newcomer", "acme", "")
            .without("\"runner\"")
            .set("proxy.plain_htp", "\"upgrade\"")
            .set("proxy.idle_timeout", "\"soon\"")
    });
    for key in ["proxy.plain_htp", "proxy.idle_timeout"] {
        let said = |line: &str| {
            (line.contains(NOT_RELOADED) && line.contains(key)).then(|| line.to_owned())
        };
        let line: serde_json::Value = serde_json::from_str(&world.log.find(said).await).unwrap();
        assert!(line["error"].as_str().unwrap().contains(key), "{line}");
    }
    assert_eq!(world.send(&ask(URL)).await.status, 200);
    assert_eq!(world.send(&stranger(URL).by("newcomer")).await.status, 407);
}

#[tokio::test]
async fn what_needs_a_restart_is_refused_whole() {
    let origin = Origin::start().await;
    let mut world = World::new(&origin).run().await;
    world.change(|world| {
        world
            .token("newcomer", "acme", "")
            .set("proxy.max_connections", "5")
            .set("api.listen", "\"127.0.0.1:1\"")
    });
    let line = world.log.message(NOT_RELOADED).await;
    let keys = line["error"].as_str().unwrap();
    assert!(keys.contains("restart the server"), "{keys}");
    assert!(keys.contains("proxy.max_connections") && keys.contains("api.listen"), "{keys}");
    // Its secrets are written into it, which is a warning, but nothing was reloaded.
    assert!(!world.log.text().contains("was reloaded with a warning"), "{}", world.log.text());
    assert_eq!(world.send(&stranger(URL).by("newcomer")).await.status, 407);
    assert_eq!(world.send(&ask(URL)).await.status, 200);
}

#[tokio::test]
async fn a_request_in_flight_ends_as_it_began() {
    let (go, goes) = oneshot::channel::<()>();
    let goes = Arc::new(tokio::sync::Mutex::new(Some(goes)));
    let origin = Origin::scripted(move |mut conn: Conn| {
        let goes = Arc::clone(&goes);
        async move {
            conn.head().await;
            conn.raw.write("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf").await;
            goes.lock().await.take().unwrap().await.unwrap();
            conn.raw.write("half").await;
        }
    })
    .await;
    let mut world = World::new(&origin).run().await;
    let mut raw = world.raw().await;
    raw.write(ask(URL).bytes()).await;
    assert_eq!(raw.head().await.status, 200);
    raw.until(b"half").await.unwrap();
    world.reload(|world| world.without("\"runner\"").without("bearer-secret")).await;
    go.send(()).unwrap();
    raw.until(b"half").await.unwrap();
    assert_eq!(raw.send(&ask(URL)).await.status, 407, "and the next is refused");
    assert_eq!(world.log.entry_of("/v1").await["response_bytes"], 8);
}

#[tokio::test]
async fn what_is_left_of_a_rate_is_kept() {
    let origin = Origin::start().await;
    let mut world = World::new(&origin).set("proxy.requests_per_minute", "1").run().await;
    assert_eq!(world.send(&ask(URL)).await.status, 200);
    world.reload(|world| world.token("newcomer", "acme", "")).await;
    assert_eq!(world.send(&ask(URL)).await.status, 429);
    assert_eq!(world.send(&stranger(URL).by("newcomer")).await.status, 200);
}

#[tokio::test]
async fn what_is_stored_comes_back_when_a_declared_token_like_it_goes() {
    let origin = Origin::start().await;
    let mut server = World::new(&origin).keeping().run().await;
    let (id, token) = server.keep_token("kept", &["proxy"]).await;
    let get = stranger("GET https://api.example.test/v1")
        .field("Proxy-Authorization", &format!("Bearer {token}"));
    assert_eq!(server.send(&get).await.status, 200);
    let table = format!("token = {token:?}");
    let declared = format!(
        "[[tokens]]\nname = \"same\"\nintegration = \"acme\"\nscopes = [\"proxy\"]\n{table}\n"
    );
    server.reload(|world| world.table(&declared)).await;
    assert_eq!(server.send(&get).await.status, 200);
    server.reload(|world| world.without(&table)).await;
    soon(async { while server.send(&get).await.status != 200 {} }).await;
    server.reload(|world| world.table(&declared)).await;
    server.revoke(&id).await;
    assert_eq!(server.send(&get).await.status, 200, "the declared one is still good");
}
