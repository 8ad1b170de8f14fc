//! A pooler in transaction mode between the instances and their database.

use super::{credential, lives, through, with_token};
use crate::support::origin::Origin;
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::Postgres;
use crate::support::soon;
use crate::support::world::{Running, World};

/// What an instance needs to run behind the pooler.
fn behind(pooler: &PgBouncer, origin: &Origin, postgres: &Postgres) -> World {
    let world = World::new(origin).keeping_in(postgres);
    world.set("store.url", &format!("{:?}", pooler.url()))
}

/// Many writes at both instances at once share few conns.
async fn writes(server: &Running, name: &str) {
    let names = (0..8).map(|number| format!("{name}{number}"));
    let made = names.map(|name| async move {
        server.keep_bearer(&name, "api.example.test", "a-secret").await;
        server.delete_bearer(&name).await;
    });
    futures_util::future::join_all(made).await;
}

#[tokio::test]
async fn behind_a_pooler_in_transaction_mode_all_works_and_others_writes_are_looked_for() {
    let (origin, postgres) = (Origin::start().await, Postgres::start().await);
    let pooler = PgBouncer::before(&postgres).await;
    lives(behind(&pooler, &origin, &postgres), &origin).await;
    let here = behind(&pooler, &origin, &postgres).run().await;
    let there = behind(&pooler, &origin, &postgres).run().await;
    tokio::join!(writes(&here, "here"), writes(&there, "there"));
    here.keep_bearer("shared", "api.example.test", "first-secret").await;
    let (id, token) = here.keep_token("fresh", &["proxy"]).await;
    let begun = std::time::Instant::now();
    soon(async { while there.send(&with_token(&token, "shared")).await.status != 200 {} }).await;
    assert!(begun.elapsed() < std::time::Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(credential(&origin), "first-secret");
    here.revoke(&id).await;
    soon(async { while there.send(&with_token(&token, "shared")).await.status != 407 {} }).await;
    assert_eq!(there.send(&through("shared")).await.status, 200);
    let unheard = |line: &str| line.contains("passes no notifications on").then_some(());
    soon(there.log.find(unheard)).await;
}
