//! The webhook: it is told which connections begin to need attention, and which no longer do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::SeqCst};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Response;
use rustix::process::Signal;
use serde_json::Value;
use sqlx::Executor as _;

use crate::support::ask::{Ask, ask};
use crate::support::origin::{Origin, Seen, ok};
use crate::support::postgres::Postgres;
use crate::support::soon;
use crate::support::world::{Running, World};

const KEY: &[u8; 32] = b"the key of the webhook, 32 bytes";
const HOOK: &str = "id.example.test";

/// An origin that answers with a status, which can be changed.
async fn answering(status: u16) -> (Origin, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(status));
    let answered = Arc::clone(&status);
    let origin = Origin::answering(&["http/1.1"], move |_seen| {
        let status = answered.load(SeqCst);
        Response::builder().status(status).body(ok("canary-of-origin").into_body()).unwrap()
    });
    (origin.await, status)
}

/// A server that tells `hook`.
fn told(world: World, hook: &Origin) -> World {
    let secret = format!("whsec_{}", STANDARD.encode(KEY));
    world
        .pin(HOOK, hook)
        .set("webhook.url", &format!("\"https://{HOOK}/keyferry?from=test\""))
        .set("webhook.secret", "{ env = \"HOOK_SECRET\" }")
        .with("HOOK_SECRET", &secret)
        .set("api.requests_per_minute", "0")
        .set("api.public_url", "\"https://keyferry.example.com\"")
}

fn through(name: &str) -> Ask {
    ask("GET https://api.example.test/v1").field("X-Zis-Connection", name)
}

/// The message of a request, whose signature is verified as a receiver does.
fn verified(seen: &Seen) -> Value {
    let (id, time) = (seen.field("webhook-id"), seen.field("webhook-timestamp"));
    let age = jiff::Timestamp::now().as_second() - time.parse::<i64>().unwrap();
    assert!((0..60).contains(&age), "{time}");
    let signed = [format!("{id}.{time}.").as_bytes(), &seen.body].concat();
    let signature = seen.field("webhook-signature");
    let signature = STANDARD.decode(signature.strip_prefix("v1,").unwrap()).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, KEY);
    hmac::verify(&key, &signed, &signature).unwrap();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/keyferry?from=test"));
    assert_eq!(seen.field("content-type"), "application/json");
    serde_json::from_slice(&seen.body).unwrap()
}

/// Waits until the hook was told so many times; gives the messages, none of which has a secret.
async fn messages(hook: &Origin, count: usize) -> Vec<Value> {
    hook.has_seen(count).await;
    let seen = hook.seen();
    for secret in ["canary-of-kept", "canary-of-origin", "bearer-secret", "whsec_"] {
        for seen in &seen {
            let sent = format!("{:?} {}", seen.headers, String::from_utf8_lossy(&seen.body));
            assert!(!sent.contains(secret), "{sent}");
        }
    }
    seen.iter().map(verified).collect()
}

async fn end(mut world: Running) -> World {
    world.signal(Signal::TERM);
    assert!(world.ended().await.success());
    world.killed().await
}

#[tokio::test]
async fn each_change_at_any_instance_is_told_once() {
    let ((origin, status), postgres) = (answering(401).await, Postgres::start().await);
    let (hook, _taken) = answering(204).await;
    let world = || told(World::new(&origin).keeping_in(&postgres), &hook);
    let (here, there) = (world().run().await, world().run().await);
    here.keep_bearer("kept", "api.example.test", "canary-of-kept").await;
    // 1. The API refuses the key.
    assert_eq!(here.send(&through("kept")).await.status, 401);
    let first = &messages(&hook, 1).await[0];
    assert_eq!(first["type"], "connection.needs_attention");
    let data = &first["data"];
    for (name, value) in [
        ("integration", "acme"),
        ("connection", "kept"),
        ("state", "failing"),
        ("who", "operator"),
        ("url", "https://keyferry.example.com/console/i/acme/connections?q=kept"),
    ] {
        assert_eq!(data[name], value, "{name}");
    }
    assert!(data["summary"].as_str().unwrap().contains("401: the API refuses the key"), "{data}");
    assert!(data["since"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{data}");
    // 2. It is mended.
    status.store(200, SeqCst);
    assert_eq!(here.send(&through("kept")).await.status, 200);
    let messages = messages(&hook, 2).await;
    assert_eq!(messages[1]["type"], "connection.recovered");
    assert_eq!(messages[1]["data"]["state"], "works");
    // 3. Another fails, at the other instance; nothing was told twice meanwhile.
    status.store(403, SeqCst);
    assert_eq!(there.send(&through("api")).await.status, 403);
    let messages = self::messages(&hook, 3).await;
    assert_eq!(messages.len(), 3);
    assert_eq!(messages[2]["data"]["connection"], "api");
    let told = "keyferry_webhook_messages_total{outcome=\"delivered\"}";
    let noted = async || here.metric(told).await + there.metric(told).await;
    soon(async { while noted().await < 3.0 {} }).await;
    assert!((noted().await - 3.0).abs() < 0.1);
}

#[tokio::test]
async fn what_is_not_taken_is_sent_again_and_after_a_restart_nothing_is() {
    let ((origin, _refusing), (hook, taking)) = (answering(401).await, answering(500).await);
    let world = told(World::new(&origin).keeping(), &hook).run().await;
    assert_eq!(world.send(&through("api")).await.status, 401);
    hook.has_seen(1).await;
    taking.store(200, SeqCst);
    hook.has_seen(2).await;
    let (messages, seen) = (messages(&hook, 2).await, hook.seen());
    assert_eq!(messages[0], messages[1]);
    assert_eq!(seen[0].field("webhook-id"), seen[1].field("webhook-id"));
    // It is down, and up again, and what it is told next is something else.
    let delivered = "keyferry_webhook_messages_total{outcome=\"delivered\"}";
    soon(async { while world.metric(delivered).await < 1.0 {} }).await;
    let world = end(world).await.run().await;
    world.keep_bearer("kept", "api.example.test", "canary-of-kept").await;
    assert_eq!(world.send(&through("kept")).await.status, 401);
    let messages = self::messages(&hook, 3).await;
    assert_eq!(messages.len(), 3);
    assert_eq!(messages[2]["data"]["connection"], "kept");
    assert_ne!(hook.seen()[2].field("webhook-id"), seen[0].field("webhook-id"));
}

#[tokio::test]
async fn a_webhook_that_is_gone_is_not_asked_again() {
    let ((origin, _refusing), (hook, _gone)) = (answering(401).await, answering(410).await);
    let world = told(World::new(&origin).keeping(), &hook).run().await;
    assert_eq!(world.send(&through("api")).await.status, 401);
    let line = world.log.find(|line| line.contains("is not asked again").then(|| line.to_owned()));
    let line = line.await;
    assert!(line.contains("it answered 410 Gone") && line.contains("webhook.url"), "{line}");
    assert!(
        (world.metric("keyferry_webhook_messages_total{outcome=\"given_up\"}").await - 1.0).abs()
            < 0.1
    );
    assert_eq!(hook.seen().len(), 1);
}

#[tokio::test]
async fn another_instance_tells_what_one_that_was_killed_no_longer_can() {
    let ((origin, status), postgres) = (answering(401).await, Postgres::start().await);
    let (hook, _taken) = answering(204).await;
    let world = || told(World::new(&origin).keeping_in(&postgres), &hook);
    // 1. The first instance has the lease, by which it alone tells.
    let here = world().run().await;
    assert_eq!(here.send(&through("api")).await.status, 401);
    messages(&hook, 1).await;
    let delivered = "keyferry_webhook_messages_total{outcome=\"delivered\"}";
    soon(async { while here.metric(delivered).await < 1.0 {} }).await;
    let there = world().run().await;
    // 2. It is killed, so that it can't give the lease back, which ends after a while.
    drop(here.killed().await);
    let end = "UPDATE leases SET ends_at = 0 WHERE name = 'webhook'";
    assert_eq!(postgres.connect().await.execute(end).await.unwrap().rows_affected(), 1);
    // 3. What changes from then on is told by the other, and nothing is told again.
    status.store(200, SeqCst);
    assert_eq!(there.send(&through("api")).await.status, 200);
    let messages = messages(&hook, 2).await;
    assert_eq!((messages.len(), &messages[1]["type"]), (2, &"connection.recovered".into()));
}
