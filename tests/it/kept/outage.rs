//! A store that is gone for a while.

use super::{credential, through};
use crate::support::origin::Origin;
use crate::support::postgres::Postgres;
use crate::support::raw::refused;
use crate::support::soon;
use crate::support::world::{Running, World};

/// Waits until `/readyz` answers with this status.
pub(super) async fn ready_is(server: &Running, status: u16) {
    soon(async { while server.api("/readyz").await.status != status {} }).await;
}

#[tokio::test]
async fn requests_go_on_while_the_store_is_gone_and_readiness_says_so() {
    let (origin, mut postgres) = (Origin::start().await, Postgres::start().await);
    let server = World::new(&origin).keeping_in(&postgres).run().await;
    server.keep_bearer("kept", "api.example.test", "first-secret").await;
    postgres.stop();
    ready_is(&server, 503).await;
    assert_eq!(server.send(&through("kept")).await.status, 200);
    assert_eq!(credential(&origin), "first-secret");
    assert!(server.metric("keyferry_store_staleness_seconds").await > 0.0);
    let line = format!("GET {}/bearer_token/kept", crate::support::operator::CONNECTIONS);
    let answer = server.manage(&line, None).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    postgres.go_on().await;
    ready_is(&server, 200).await;
    server.replace_bearer("kept", "second-secret").await;
    assert_eq!(server.send(&through("kept")).await.status, 200);
    assert_eq!(credential(&origin), "second-secret");
    assert!(server.metric("keyferry_store_staleness_seconds").await == 0.0);
}

#[tokio::test]
async fn requests_are_refused_once_the_store_was_silent_for_too_long_and_until_it_is_back() {
    let (origin, mut postgres) = (Origin::start().await, Postgres::start().await);
    let world = World::new(&origin).keeping_in(&postgres).set("store.max_staleness", "\"1s\"");
    let server = world.run().await;
    server.keep_bearer("kept", "api.example.test", "first-secret").await;
    postgres.stop();
    let refused_at_last = async { while server.send(&through("kept")).await.status != 503 {} };
    soon(refused_at_last).await;
    let answer = server.send(&through("kept")).await;
    assert_eq!(answer.refusal(), refused(503, "StoreUnavailable"));
    postgres.go_on().await;
    soon(async { while server.send(&through("kept")).await.status != 200 {} }).await;
}
