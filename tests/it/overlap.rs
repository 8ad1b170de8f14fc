//! A replaced secret is kept for a time: an origin that refuses the new one gets the old one, once
//! for each request, and everybody is told.

use std::sync::Arc;

use http::{Response, StatusCode};
use http_body_util::Full;
use jiff::{SignedDuration, Timestamp};
use keyferry::clock::Clock;
use keyferry::model::connection_secrets::{ConnectionSecrets, OldSecret};
use keyferry::model::domain::AllowedDomain;
use keyferry::model::name::{ConnectionName, IntegrationName};
use keyferry::model::record::{ConnectionRecord, Detail, new_id, whole_microseconds};
use keyferry::model::sealed::Sealed;
use keyferry::secret::Secret;
use serde_json::{Value, json};

use crate::support::ask::ask;
use crate::support::instance::Instance;
use crate::support::operator::CONNECTIONS;
use crate::support::origin::{Origin, ok};
use crate::support::soon;
use crate::support::world::{Running, World, files_below};

const OLD: &str = "old-canary-4Tz9";
const NEW: &str = "new-canary-8Wq1";

/// An origin that takes the old secret alone.
async fn conservative() -> Origin {
    Origin::answering(&["http/1.1"], |seen| {
        if seen.field("authorization") == format!("Bearer {OLD}") {
            return ok("ok");
        }
        let mut refusal = Response::new(Full::from("not this one"));
        *refusal.status_mut() = StatusCode::UNAUTHORIZED;
        refusal
    })
    .await
}

/// A server with the connection `acme.kept`, whose secret was replaced and is kept.
async fn server(origin: &Origin, keep_old_for: &str) -> Running {
    let server = World::new(origin).keeping().run().await;
    server.keep_bearer("kept", "api.example.test", OLD).await;
    replace(&server, json!({"token": NEW, "keep_old_for": keep_old_for})).await;
    server
}

async fn replace(server: &Running, change: Value) {
    let line = format!("PATCH {CONNECTIONS}/bearer_token/kept");
    let answer = server.manage(&line, Some(change)).await;
    assert_eq!(answer.status, 204, "{answer:?}");
}

async fn shown(server: &Running) -> Value {
    let answer = server.manage(&format!("GET {CONNECTIONS}/bearer_token/kept"), None).await;
    let mut shown: Value = serde_json::from_slice(&answer.body).unwrap();
    shown["bearer_token"].take()
}

fn post(body: &str) -> crate::support::ask::Ask {
    ask("POST https://api.example.test/v1?q=1").field("X-Zis-Connection", "kept").body(body)
}

fn sent(origin: &Origin) -> Vec<String> {
    origin.seen().iter().map(|seen| seen.field("authorization")).collect()
}

#[tokio::test]
async fn a_401_to_the_new_secret_falls_back_to_the_old_one_once_and_says_so() {
    let origin = conservative().await;
    let server = server(&origin, "10m").await;
    let answer = server.send(&post("sent twice")).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    assert_eq!(sent(&origin), [format!("Bearer {NEW}"), format!("Bearer {OLD}")]);
    for seen in origin.seen() {
        assert_eq!((seen.target.as_str(), &seen.body[..]), ("/v1?q=1", &b"sent twice"[..]));
    }
    let entry = server.log.entry_of("/v1").await;
    let cause = entry["cause"].as_str().unwrap();
    assert!(cause.contains("answered 401 to the connection's new secret"), "{entry}");
    assert_eq!((&entry["decision"], &entry["status"]), (&json!("allow"), &json!(200)));
    let said = "an origin refuses the connection's new secret: requests go on with the old one \
                while that is kept; see that the new one is good";
    assert_eq!(server.log.message(said).await["connection.name"], "kept");
    let until = shown(&server).await["old_secret_until"].as_str().unwrap().to_owned();
    assert!(until.parse::<Timestamp>().unwrap() > Timestamp::now());
    // Neither secret is anywhere else.
    let mut everywhere = format!("{}{}", server.log.text(), shown(&server).await).into_bytes();
    for (_, content) in files_below(&server.data("")) {
        everywhere.extend(content);
    }
    for secret in [OLD, NEW] {
        assert!(memchr::memmem::find(&everywhere, secret.as_bytes()).is_none(), "{secret}");
    }
}

#[tokio::test]
async fn a_secret_that_is_refused_is_corrected_without_losing_the_good_one() {
    let origin = conservative().await;
    let server = server(&origin, "10m").await;
    assert_eq!(server.send(&post("x")).await.status, 200);
    for corrected in ["another-wrong-one", "another-wrong-one"] {
        replace(&server, json!({"token": corrected, "keep_old_for": "10m"})).await;
        origin.forget();
        assert_eq!(server.send(&post("x")).await.status, 200);
        assert_eq!(sent(&origin), [format!("Bearer {corrected}"), format!("Bearer {OLD}")]);
    }
}

#[tokio::test]
async fn an_origin_that_refuses_both_is_said_to() {
    let refuse = |_seen: &crate::support::origin::Seen| {
        let mut refusal = Response::new(Full::from("neither"));
        *refusal.status_mut() = StatusCode::UNAUTHORIZED;
        refusal
    };
    let origin = Origin::answering(&["http/1.1"], refuse).await;
    let server = server(&origin, "10m").await;
    assert_eq!(server.send(&post("x")).await.status, 401);
    assert_eq!(sent(&origin), [format!("Bearer {NEW}"), format!("Bearer {OLD}")]);
    let entry = server.log.entry_of("/v1").await;
    assert!(entry["cause"].as_str().unwrap().contains("and to the old one"), "{entry}");
    assert!(!server.log.text().contains("requests go on with the old one"));
}

#[tokio::test]
async fn what_is_too_long_to_keep_is_not_sent_again() {
    let origin = conservative().await;
    let world = World::new(&origin).keeping().set("oauth.replay_body_bytes", "10");
    let server = world.run().await;
    server.keep_bearer("kept", "api.example.test", OLD).await;
    replace(&server, json!({"token": NEW, "keep_old_for": "10m"})).await;
    let answer = server.send(&post("longer than ten bytes")).await;
    assert_eq!((answer.status, answer.text().as_str()), (401, "not this one"));
    assert_eq!(server.send(&post("short")).await.status, 200);
}

#[tokio::test]
async fn after_its_time_the_old_secret_is_not_used_and_not_kept() {
    let origin = conservative().await;
    let server = server(&origin, "1s").await;
    let forgotten = "the old secret of a connection was forgotten, as keep_old_for says";
    server.log.message(forgotten).await;
    assert!(shown(&server).await.get("old_secret_until").is_none());
    assert_eq!(server.send(&post("x")).await.status, 401);
    assert_eq!(sent(&origin), [format!("Bearer {NEW}")]);
    // What was sealed opens after a restart too.
    let server = server.killed().await.run().await;
    assert_eq!(server.send(&post("x")).await.status, 401);
    assert_eq!(origin.last().field("authorization"), format!("Bearer {NEW}"));
}

#[tokio::test]
async fn a_third_secret_and_a_restart_leave_the_right_two() {
    let origin = conservative().await;
    let server = server(&origin, "10m").await.killed().await.run().await;
    assert_eq!(server.send(&post("x")).await.status, 200, "both are kept over a restart");
    replace(&server, json!({"description": "the shop's"})).await;
    assert_eq!(server.send(&post("x")).await.status, 200, "another change keeps both");
    replace(&server, json!({"token": "third-secret"})).await;
    origin.forget();
    soon(async { while server.send(&post("x")).await.status != 401 {} }).await;
    assert_eq!(origin.last().field("authorization"), "Bearer third-secret");
    assert!(shown(&server).await.get("old_secret_until").is_none());
}

#[tokio::test]
async fn an_old_secret_is_forgotten_early_alone_and_with_a_new_one() {
    let origin = conservative().await;
    let server = server(&origin, "10m").await;
    assert_eq!(server.send(&post("x")).await.status, 200);
    replace(&server, json!({"keep_old_for": "0s"})).await;
    assert!(shown(&server).await.get("old_secret_until").is_none());
    origin.forget();
    assert_eq!(server.send(&post("x")).await.status, 401);
    assert_eq!(sent(&origin), [format!("Bearer {NEW}")], "the new one stays");
    // The same secret once more replaces nothing, and forgets the one before it.
    replace(&server, json!({"token": OLD, "keep_old_for": "10m"})).await;
    replace(&server, json!({"token": OLD, "keep_old_for": "0s"})).await;
    assert!(shown(&server).await.get("old_secret_until").is_none());
    // Where there is none, nothing is wrong.
    replace(&server, json!({"keep_old_for": "0s"})).await;
    assert_eq!(server.send(&post("x")).await.status, 200);
}

#[tokio::test]
async fn an_instance_whose_clock_is_ahead_takes_no_old_secret_from_the_others() {
    let world = World::empty();
    let instance = Instance::start(&world, &Clock::system()).await;
    let persistence = &instance.persistence;
    let (now, hour) = (whole_microseconds(Timestamp::now()), SignedDuration::from_hours(1));
    for (name, until, is_kept) in [("later", now + hour, true), ("over", now - hour, false)] {
        let old = OldSecret { secret: Secret::new(OLD), until };
        let secrets = ConnectionSecrets { old: Some(old), ..Secret::new(NEW).into() };
        let mut record = ConnectionRecord {
            options: Arc::default(),
            uuid: new_id().unwrap(),
            integration: IntegrationName::parse("acme").unwrap(),
            name: ConnectionName::parse(name).unwrap(),
            allowed_domain: Some(AllowedDomain::parse("api.example.test").unwrap()),
            detail: Detail::BearerToken,
            sealed: Sealed::default(),
            created_at: now,
            updated_at: now,
        };
        record.sealed = persistence.vault().seal(&record.context(), &secrets.pack()).unwrap();
        let revision = persistence.store().create_connection(&record).await.unwrap();
        assert!(persistence.wait_until_in_force(revision).await);
        // By its own clock the time of both is over.
        persistence.forget_old_secrets(now + hour + hour).await;
        let found = persistence.store().connection(&record.integration, &record.name).await;
        let found = found.unwrap().unwrap();
        let opened = persistence.vault().open(&found.context(), &found.sealed).unwrap();
        let opened = ConnectionSecrets::unpack(&opened).unwrap();
        assert_eq!(opened.old.is_some(), is_kept, "{name}");
        assert_eq!(opened.secret.expose(), NEW.as_bytes());
    }
}

#[tokio::test]
async fn an_old_secret_never_goes_where_only_the_present_one_was_entered_for() {
    let origin = Origin::answering(&["http/1.1"], |_seen| {
        let mut refusal = Response::new(Full::from("neither"));
        *refusal.status_mut() = StatusCode::UNAUTHORIZED;
        refusal
    })
    .await;
    let world = World::new(&origin).keeping().pin("eu.wild.example.test", &origin);
    let server = world.run().await;
    let all = "/api/keyferry/v1/integrations/acme/connections";
    let change = async |name: &str, body: Value| {
        let answer = server.manage(&format!("PATCH {all}/{name}"), Some(body)).await;
        assert!([200, 204].contains(&answer.status), "{answer:?}");
    };
    // 1. A connection whose secret is replaced and kept. Who may write, and does not know the old
    // one, enters the present one again for another host, and for another field.
    for (name, moved) in [
        ("moved", json!({"allowed_domains": ["eu.wild.example.test"], "secrets": {"key": NEW}})),
        (
            "renamed",
            json!({"inject": [{"in": "header", "name": "X-Echoed", "value": "{key}"}],
                           "secrets": {"key": NEW}}),
        ),
    ] {
        let made = json!({
            "type": "custom", "name": name, "allowed_domains": ["api.example.test"],
            "secrets": {"key": OLD},
            "inject": [{"in": "header", "name": "X-Key", "value": "{key}"}],
        });
        let answer = server.manage(&format!("POST {all}"), Some(made)).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        change(name, json!({"secrets": {"key": NEW}, "keep_old_for": "10m"})).await;
        change(name, moved).await;
    }
    // 2. The old one stays behind.
    for (host, name) in [("eu.wild.example.test", "moved"), ("api.example.test", "renamed")] {
        let request = ask(&format!("GET https://{host}/v1")).field("X-Zis-Connection", name);
        assert_eq!(server.send(&request).await.status, 401);
    }
    let seen = origin.seen();
    let carries =
        |secret: &str| seen.iter().filter(|it| format!("{it:?}").contains(secret)).count();
    assert_eq!((seen.len(), carries(NEW), carries(OLD)), (2, 2, 0), "{seen:?}");
}

#[tokio::test]
async fn keep_old_for_goes_with_a_secret_that_is_replaced_and_nothing_else() {
    let origin = Origin::start().await;
    let server = World::new(&origin).keeping().run().await;
    server.keep_bearer("kept", "api.example.test", OLD).await;
    let line = format!("PATCH {CONNECTIONS}/bearer_token/kept");
    for (change, rule) in [
        (json!({"keep_old_for": "10m"}), "keep_old_for: goes with a secret that replaces another"),
        (
            json!({"token": NEW, "keep_old_for": "8d"}),
            "must be a time from \\\"1s\\\" to \\\"7d\\\"",
        ),
        (
            json!({"token": NEW, "keep_old_for": "500ms"}),
            "must be a time from \\\"1s\\\" to \\\"7d\\\"",
        ),
        (json!({"token": NEW, "keep_old_for": 10}), "keep_old_for: "),
    ] {
        let answer = server.manage(&line, Some(change)).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.text().contains(rule), "{}", answer.text());
    }
    let body = json!({
        "name": "other", "allowed_domain": "a.test", "username": "u", "password": "first-password",
    });
    let made = server.manage(&format!("POST {CONNECTIONS}/basic_auth"), Some(body)).await;
    assert_eq!(made.status, 201, "{made:?}");
    let change = json!({"username": "v", "password": "other-password", "keep_old_for": "1m"});
    let answer =
        server.manage(&format!("PATCH {CONNECTIONS}/basic_auth/other"), Some(change)).await;
    assert!(answer.text().contains("replace the secret alone"), "{answer:?}");
    let body = json!({
        "name": "third", "allowed_domain": "a.test", "token": "first-token", "keep_old_for": "1m",
    });
    let made = server.manage(&format!("POST {CONNECTIONS}/bearer_token"), Some(body)).await;
    assert!(made.text().contains("keep_old_for: is unknown"), "{made:?}");
}
