//! What an operator writes down of a connection: that it is switched off, what it is for, and when
//! its secret expires.

use serde_json::json;

use crate::support::ask::ask;
use crate::support::operator::CONNECTIONS;
use crate::support::origin::Origin;
use crate::support::raw::refused;
use crate::support::world::World;

const URL: &str = "GET https://api.example.test/v1";

#[tokio::test]
async fn a_connection_that_is_switched_off_is_refused_in_every_form_and_kept() {
    let origin = Origin::start().await;
    let server = World::new(&origin).keeping().run().await;
    server.keep_bearer("kept", "api.example.test", "kept-secret").await;
    let line = format!("PATCH {CONNECTIONS}/bearer_token/kept");
    let changed = server.manage(&line, Some(json!({"enabled": false}))).await;
    assert_eq!(changed.status, 204, "{changed:?}");
    for request in [
        ask(URL).field("X-Zis-Connection", "kept"),
        ask("GET /~/kept/v1"),
        ask("GET /v1").field("X-Zis-Connection", "kept").field("X-Zis-Host", "api.example.test"),
        ask("CONNECT api.example.test:443").field("X-Zis-Connection", "kept"),
    ] {
        let answer = server.send(&request).await;
        assert_eq!(answer.refusal(), refused(403, "ConnectionForbidden"), "{answer:?}");
        assert!(answer.text().contains("switched off"), "{}", answer.text());
    }
    assert_eq!(origin.conns(), 0);
    // Where the host alone says which, the other one is used.
    assert_eq!(server.send(&ask(URL)).await.status, 200);
    assert_eq!(origin.last().field("authorization"), "Bearer bearer-secret");
    let changed = server.manage(&line, Some(json!({"enabled": null}))).await;
    assert_eq!(changed.status, 204, "{changed:?}");
    assert_eq!(server.send(&ask(URL).field("X-Zis-Connection", "kept")).await.status, 200);
    assert_eq!(origin.last().field("authorization"), "Bearer kept-secret");
}

#[tokio::test]
async fn the_only_connection_for_a_host_is_named_where_it_is_switched_off() {
    let origin = Origin::start().await;
    let table = "type = \"bearer_token\"\ntoken = \"off-secret\"\nenabled = false";
    let world = World::empty()
        .connection("acme.off", "api.example.test", table)
        .token("runner", "acme", "")
        .pin("api.example.test", &origin);
    let server = world.run().await;
    for request in [ask(URL), ask("CONNECT api.example.test:443")] {
        let answer = server.send(&request).await;
        assert_eq!(answer.refusal(), refused(403, "ConnectionForbidden"), "{answer:?}");
    }
    assert_eq!(origin.conns(), 0);
}

#[tokio::test]
async fn the_end_of_a_secret_is_warned_of_and_measured() {
    let origin = Origin::start().await;
    let day = |days: i64| {
        let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
        today.saturating_add(jiff::Span::new().days(days)).to_string()
    };
    let table = |day: &str| {
        format!("type = \"bearer_token\"\ntoken = \"some-secret\"\nexpires_on = {day:?}")
    };
    let server = World::new(&origin)
        .connection("acme.soon", "soon.example.test", &table(&day(5)))
        .connection("acme.over", "over.example.test", &table(&day(-5)))
        .connection("acme.far", "far.example.test", &table(&day(300)))
        .run()
        .await;
    let about = "the secret of a connection is about to expire, as its operator has written down: \
                 replace it, and its expires_on";
    let over = "the secret of a connection has expired, as its operator has written down: replace \
                it, and its expires_on";
    for (message, name, days) in [(about, "soon", 5), (over, "over", -5)] {
        let line = server.log.message(message).await;
        assert_eq!(line["connection.name"], name, "{line}");
        assert_eq!(line["expires_on"], day(days), "{line}");
    }
    assert!(!server.log.text().contains("acme.far"));
    let seconds = |name: &str| {
        format!("keyferry_connection_expires_seconds{{integration=\"acme\",connection={name:?}}}")
    };
    let soon = server.metric(&seconds("soon")).await;
    assert!((4.9 * 86_400.0..6.1 * 86_400.0).contains(&soon), "{soon}");
    assert!(server.metric(&seconds("over")).await < 0.0);
    assert_eq!(server.send(&ask("GET https://api.example.test/v1")).await.status, 200);
}
