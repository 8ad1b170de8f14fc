//! A store whose history is not the one that an instance has followed: put back from a copy, or a
//! standby that lacked the last writes.

use std::os::unix::fs::symlink;

use rustix::process::Signal;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Executor as _};
use tempfile::TempDir;

use super::outage::ready_is;
use super::{through, with_token};
use crate::support::ask::Ask;
use crate::support::origin::Origin;
use crate::support::postgres::Postgres;
use crate::support::raw::refused;
use crate::support::soon;
use crate::support::world::{Running, World};

/// What somebody sees who has followed to the last write: that another one has its number.
const ANOTHER_LAST_WRITE: &str = "DELETE FROM connections WHERE name = 'lost'; \
    UPDATE changes SET identity = 7 WHERE revision = (SELECT revision FROM revision)";

const DIVERGED: &str = "the store's history is not the one that this instance has followed";

/// Waits until the answer has this status.
async fn comes_to(server: &Running, ask: &Ask, status: u16) {
    soon(async { while server.send(ask).await.status != status {} }).await;
}

async fn warned(server: &Running) {
    let diverged = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        line["message"].as_str()?.starts_with(DIVERGED).then_some(line)
    };
    let said = soon(server.log.find(diverged)).await;
    assert_eq!(said["level"], "WARN", "{said}");
    assert!(!said["reached"].is_null() && !said["found"].is_null(), "{said}");
}

#[tokio::test]
async fn in_sqlite_a_last_write_that_is_another_one_has_everything_read_again() {
    let origin = Origin::start().await;
    let server = World::new(&origin).keeping().run().await;
    server.keep_bearer("lost", "api.example.test", "lost-secret").await;
    let file = SqliteConnectOptions::new().filename(server.world.path("data/keyferry.db"));
    let mut database = file.connect().await.unwrap();
    let swap = format!("BEGIN IMMEDIATE; {ANOTHER_LAST_WRITE}; COMMIT");
    database.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(swap))).await.unwrap();
    comes_to(&server, &through("lost"), 403).await;
    warned(&server).await;
    // What is written from now on is acknowledged when it is in force.
    server.keep_bearer("next", "api.example.test", "next-secret").await;
    assert_eq!(server.send(&through("next")).await.status, 200);
}

#[tokio::test]
async fn in_postgres_a_last_write_that_is_another_one_has_everything_read_again() {
    let (origin, postgres) = (Origin::start().await, Postgres::start().await);
    let server = World::new(&origin).keeping_in(&postgres).run().await;
    server.keep_bearer("lost", "api.example.test", "lost-secret").await;
    postgres.connect().await.execute(sqlx::raw_sql(ANOTHER_LAST_WRITE)).await.unwrap();
    comes_to(&server, &through("lost"), 403).await;
    warned(&server).await;
}

/// An instance whose server of PostgreSQL is the one that `link` leads to.
async fn behind(link: &std::path::Path, origin: &Origin, postgres: &Postgres) -> Running {
    let url = format!("\"postgres://postgres@localhost/postgres?host={}\"", link.display());
    World::new(origin).keeping_in(postgres).set("store.url", &url).run().await
}

#[tokio::test]
async fn after_a_failover_that_has_lost_writes_every_instance_has_what_the_store_has() {
    let (origin, mut primary) = (Origin::start().await, Postgres::start().await);
    let links = TempDir::new().unwrap();
    let link = links.path().join("now");
    symlink(primary.directory(), &link).unwrap();
    let here = behind(&link, &origin, &primary).await;
    let there = behind(&link, &origin, &primary).await;
    here.keep_bearer("deleted", "api.example.test", "a-secret").await;
    let (id, token) = here.keep_token("revoked", &["proxy"]).await;
    let mut standby = primary.standby().await;
    standby.stop();
    // The standby never gets these.
    for name in ["lost1", "lost2"] {
        here.keep_bearer(name, "api.example.test", "a-secret").await;
    }
    comes_to(&there, &through("lost2"), 200).await;
    assert_eq!(there.send(&with_token(&token, "deleted")).await.status, 200);
    // One instance sleeps through what follows.
    there.signal(Signal::STOP);
    primary.stop();
    ready_is(&here, 503).await;
    standby.go_on().await;
    standby.promote().await;
    std::fs::remove_file(&link).unwrap();
    symlink(standby.directory(), &link).unwrap();
    ready_is(&here, 200).await;
    warned(&here).await;
    here.revoke(&id).await;
    here.delete_bearer("deleted").await;
    // The new primary passes the number that the sleeping one has reached.
    here.keep_bearer("next", "api.example.test", "a-secret").await;
    there.signal(Signal::CONT);
    comes_to(&there, &through("next"), 200).await;
    for server in [&here, &there] {
        let answer = server.send(&with_token(&token, "next")).await;
        assert_eq!(answer.refusal(), refused(407, "CallerUnknown"));
        for name in ["deleted", "lost1", "lost2"] {
            let answer = server.send(&through(name)).await;
            assert_eq!(answer.refusal(), refused(403, "ConnectionNotFound"), "{name}");
        }
    }
    warned(&there).await;
    there.keep_bearer("last", "api.example.test", "a-secret").await;
    comes_to(&here, &through("last"), 200).await;
}
