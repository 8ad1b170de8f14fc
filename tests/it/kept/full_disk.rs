//! A disk that is full for a while, and a store that is not as it must be.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::pin::pin;
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{ConnectOptions as _, Executor as _};

use super::{credential, through};
use crate::support::ask::ask;
use crate::support::authorized::prepared;
use crate::support::operator::CONNECTIONS;
use crate::support::origin::Origin;
use crate::support::provider::{Provider, origin_accepting};
use crate::support::soon;
use crate::support::world::{Running, World};

/// The status of making one more connection.
async fn keep(server: &Running, name: &str) -> u16 {
    let body = json!({"name": name, "allowed_domain": "api.example.test", "token": "more-secret"});
    server.manage(&format!("POST {CONNECTIONS}/bearer_token"), Some(body)).await.status
}

async fn writable_is(server: &Running, figure: f64) {
    let line = "keyferry_store_writable";
    soon(async { while (server.metric(line).await - figure).abs() > 0.1 {} }).await;
}

/// The body of `/readyz` with status 200.
async fn readiness(server: &Running) -> Value {
    let answer = server.api("/readyz").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_slice(&answer.body).unwrap()
}

#[tokio::test]
async fn writes_work_within_a_second_of_room_on_a_disk_that_was_full() {
    let origin = Origin::start().await;
    let Some(world) = World::new(&origin).keeping().on_a_disk_of(6) else { return };
    let server = world.run().await;
    server.keep_bearer("kept", "api.example.test", "first-secret").await;
    writable_is(&server, 1.0).await;
    server.fill_the_disk();
    assert_eq!(keep(&server, "refused").await, 503);
    writable_is(&server, 0.0).await;
    let ready = readiness(&server).await;
    assert_eq!(ready["store"]["writable"], false, "{ready}");
    assert_eq!(ready["store"]["reason"], "it has no room left");
    let said = "the store can't be written: requests go on, but nothing is changed and no tokens \
                are refreshed";
    let line = server.log.message(said).await;
    assert_eq!(line["level"], "ERROR");
    assert!(line["error"].as_str().unwrap().contains("database or disk is full"), "{line}");
    // Requests go on meanwhile, and so do reads.
    assert_eq!(server.send(&through("kept")).await.status, 200);
    assert_eq!(credential(&origin), "first-secret");
    let line = format!("GET {CONNECTIONS}/bearer_token/kept");
    assert_eq!(server.manage(&line, None).await.status, 200);
    server.free_the_disk();
    let back = async { while keep(&server, "back").await != 201 {} };
    tokio::time::timeout(Duration::from_secs(1), back).await.expect("writes stay refused");
    writable_is(&server, 1.0).await;
    assert_eq!(
        readiness(&server).await,
        json!({"ready": true, "store": {"readable": true, "writable": true}})
    );
    server.log.message("the store can be written again").await;
}

#[tokio::test]
async fn a_full_disk_is_known_without_anybody_writing() {
    let origin = Origin::start().await;
    let Some(world) = World::new(&origin).keeping().on_a_disk_of(6) else { return };
    let server = world.run().await;
    server.fill_the_disk();
    writable_is(&server, 0.0).await;
    server.free_the_disk();
    writable_is(&server, 1.0).await;
}

#[tokio::test]
async fn nothing_is_spent_while_the_disk_is_full_and_a_rotated_token_survives_it() {
    let provider = Provider::start().await;
    let origin = origin_accepting(&provider).await;
    let Some(world) = prepared(&provider, &origin).keeping().on_a_disk_of(6) else { return };
    let server = world.run().await;
    server.register(&provider).await;
    provider.set_expires_in(json!(1));
    server.authorize(&provider, "mine").await;
    server.has_expired("mine").await;
    provider.set_expires_in(json!(3600));
    // Full before: the refresh token is not spent.
    server.fill_the_disk();
    let mine = crate::support::authorized::through("mine");
    let answer = server.send(&mine).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "StoreUnavailable"));
    assert_eq!(provider.asked(), 1, "the refresh token was spent");
    server.free_the_disk();
    // Full only when the answer is there: it is kept as soon as there is room.
    provider.hold();
    let full = async {
        provider.has_been_asked(2).await;
        server.fill_the_disk();
        provider.release();
        server.log.message("refreshed tokens can't be kept yet; they are not used before").await;
    };
    let sent = async { while server.send(&mine).await.status != 200 {} };
    let mut sent = pin!(soon(sent));
    // SQLite's log of writes may have room for a change this small: then it is kept at once.
    let is_kept_at_once = tokio::select! {
        _said = full => false,
        () = &mut sent => true,
    };
    server.free_the_disk();
    if !is_kept_at_once {
        sent.await;
    }
    assert_eq!((provider.asked(), provider.reused()), (2, 0));
}

#[tokio::test]
async fn the_trail_does_not_take_the_room_that_the_store_needs() {
    let origin = Origin::start().await;
    let Some(world) = World::new(&origin).keeping().on_a_disk_of(6) else { return };
    let server = world.run().await;
    // More than the disk has, though audit.max_bytes would allow for a gigabyte.
    let long = "x".repeat(20_000);
    let mut raw = server.raw().await;
    for number in 0..500 {
        let line = format!("GET https://api.example.test/n{number}-{long}");
        assert_eq!(raw.send(&ask(&line)).await.status, 200);
    }
    assert_eq!(keep(&server, "kept").await, 201);
    let trail =
        |end: &str| fs::metadata(server.data(&format!("keyferry-audit.db{end}"))).unwrap().len();
    assert!(trail("") + trail("-wal") < 4 << 20, "{} {}", trail(""), trail("-wal"));
    // What is newest is there.
    let newest = async {
        loop {
            let answer = server.manage("GET /api/keyferry/v1/audit?page[size]=1", None).await;
            if answer.text().contains("n499-") {
                return;
            }
        }
    };
    soon(newest).await;
    writable_is(&server, 1.0).await;
}

#[tokio::test]
async fn a_trail_that_cant_be_opened_stops_nothing_and_is_said() {
    let origin = Origin::start().await;
    let world = World::new(&origin).keeping();
    let world = world.run().await.killed().await;
    let file = world.path("data/keyferry-audit.db");
    for end in ["", "-wal", "-shm"] {
        drop(fs::remove_file(world.path(&format!("data/keyferry-audit.db{end}"))));
    }
    fs::write(&file, "this is a letter to my aunt, and nothing else".repeat(100)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let server = world.run().await;
    server.keep_bearer("kept", "api.example.test", "first-secret").await;
    assert_eq!(server.send(&through("kept")).await.status, 200);
    let said = "the audit trail is off, and entries of requests are lost until its database is \
                repaired or moved away";
    assert_eq!(server.log.message(said).await["level"], "ERROR");
    let lost = "keyferry_audit_entries_lost_total";
    soon(async { while server.metric(lost).await < 1.0 {} }).await;
    assert_eq!(server.api("/readyz").await.status, 200);
    // It is made anew when it is out of the way.
    fs::remove_file(&file).unwrap();
    assert_eq!(server.send(&through("kept")).await.status, 200);
    soon(async {
        while !server.manage("GET /api/keyferry/v1/audit", None).await.text().contains("/v1") {}
    })
    .await;
}

#[tokio::test]
async fn a_missing_table_is_an_error_of_the_server_and_the_log_names_it() {
    let origin = Origin::start().await;
    let server = World::new(&origin).keeping().run().await;
    let file = sqlx::sqlite::SqliteConnectOptions::new().filename(server.data("keyferry.db"));
    let mut database = file.connect().await.unwrap();
    database.execute("DROP TABLE tokens").await.unwrap();
    let answer = server.manage("GET /api/keyferry/v1/tokens", None).await;
    assert_eq!(answer.faults(), (500, vec!["Internal".to_owned()]), "{answer:?}");
    let said = "a management request failed: the store has failed, and that does not pass by \
                itself; its operator must act";
    let line = server.log.message(said).await;
    assert_eq!(line["level"], "ERROR");
    assert!(line["error"].as_str().unwrap().ends_with("no such table: tokens"), "{line}");
}
