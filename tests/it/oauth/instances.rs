//! Several instances over one database refresh a connection's tokens once, whatever becomes of the
//! one that does it.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use sqlx::Executor as _;

use crate::support::authorized::{OAUTH, parameter, prepared, target, through};
use crate::support::origin::Origin;
use crate::support::postgres::Postgres;
use crate::support::provider::{Provider, Refreshing, origin_accepting};
use crate::support::raw::refused;
use crate::support::soon;
use crate::support::world::Running;

/// Instances over one database, with the connection `acme.mine`, whose token has ended.
struct Scene {
    provider: Provider,
    origin: Origin,
    postgres: Postgres,
    servers: Vec<Running>,
}

impl Scene {
    async fn of(instances: usize) -> Self {
        let (provider, postgres) = (Provider::start().await, Postgres::start().await);
        let origin = origin_accepting(&provider).await;
        let mut servers = Vec::new();
        for _each in 0..instances {
            let world = prepared(&provider, &origin).keeping_in(&postgres);
            let world = world.set("oauth.lease", "\"500ms\"").set("oauth.takeover", "\"1500ms\"");
            servers.push(world.run().await);
        }
        servers[0].register(&provider).await;
        provider.set_expires_in(json!(1));
        servers[0].authorize(&provider, "mine").await;
        for server in &servers {
            server.has_expired("mine").await;
        }
        provider.set_expires_in(json!(3600));
        Self { provider, origin, postgres, servers }
    }

    /// Sends so many requests at once, to all instances in turn; gives their statuses.
    async fn rush(&self, requests: usize) -> Vec<u16> {
        let asks = (0..requests).map(|number| {
            let server = &self.servers[number % self.servers.len()];
            async move { server.send(&through("mine")).await.status }
        });
        join_all(asks).await
    }

    /// Whether every request that has reached the origin had a good token.
    fn nothing_stale_left(&self) -> bool {
        let tokens = self.origin.seen().into_iter().map(|seen| seen.field("authorization"));
        tokens.map(|field| field.replace("Bearer ", "")).all(|token| self.provider.is_valid(&token))
    }
}

#[tokio::test]
async fn a_thousand_requests_at_three_instances_cost_one_refresh() {
    let scene = Scene::of(3).await;
    assert_eq!(scene.rush(1000).await, vec![200; 1000]);
    assert_eq!((scene.provider.asked(), scene.provider.reused()), (2, 0));
    assert!(scene.nothing_stale_left());
    assert_eq!(scene.origin.seen().len(), 1000);
}

#[tokio::test]
async fn all_instances_wait_for_a_provider_that_takes_its_time() {
    let scene = Scene::of(3).await;
    scene.provider.hold();
    let released = async {
        scene.provider.has_been_asked(2).await;
        // Longer than a lease that nobody extends.
        tokio::time::sleep(Duration::from_secs(2)).await;
        scene.provider.release();
    };
    let (statuses, ()) = tokio::join!(scene.rush(60), released);
    assert_eq!(statuses, vec![200; 60]);
    assert_eq!((scene.provider.asked(), scene.provider.reused()), (2, 0));
}

/// Kills the instance that refreshes while the provider holds its answer back.
async fn killed_before_the_answer(refreshing: Refreshing) -> Scene {
    let mut scene = Scene::of(2).await;
    scene.provider.set_refreshing(refreshing);
    scene.provider.hold();
    let mut raw = scene.servers[0].raw().await;
    raw.write(through("mine").bytes()).await;
    scene.provider.has_been_asked(2).await;
    let killed = scene.servers.remove(0).killed().await;
    scene.provider.release();
    drop((raw, killed));
    scene
}

#[tokio::test]
async fn when_the_one_that_refreshes_is_killed_another_takes_over() {
    let scene = killed_before_the_answer(Refreshing::Keeps).await;
    assert_eq!(scene.rush(50).await, vec![200; 50]);
    assert_eq!(scene.provider.asked(), 3);
    assert!(scene.nothing_stale_left());
}

#[tokio::test]
async fn an_answer_that_died_with_its_instance_is_reported_as_lost() {
    let scene = killed_before_the_answer(Refreshing::Rotates).await;
    let answer = scene.servers[0].send(&through("mine")).await;
    assert_eq!(answer.refusal(), refused(502, "ReauthorizationNeeded"));
    let shown = scene.servers[0].authorized("mine").await;
    assert_eq!(shown["reauthorization_reason"], "answer_lost");
    let line = scene.servers[0]
        .log
        .message("the connection needs to be authorized again: start a flow for it")
        .await;
    assert_eq!(line["reason"], "answer_lost");
    assert!(scene.origin.seen().is_empty(), "nothing left without a good token");
}

#[tokio::test]
async fn a_rotated_token_that_cant_be_kept_yet_is_kept_as_soon_as_it_can() {
    let scene = Scene::of(2).await;
    let mut database = scene.postgres.connect().await;
    scene.provider.hold();
    let asks = scene.rush(20);
    let locked = async {
        scene.provider.has_been_asked(2).await;
        database.execute("BEGIN; LOCK TABLE connections IN EXCLUSIVE MODE").await.unwrap();
        scene.provider.release();
        // The first try to keep it has failed by then.
        let failed = "refreshed tokens can't be kept yet; they are not used before";
        let logs = [scene.servers[0].log.message(failed), scene.servers[1].log.message(failed)];
        let [here, there] = logs.map(Box::pin);
        futures_util::future::select(here, there).await;
        assert!(scene.origin.seen().is_empty(), "it was used before it was kept");
        database.execute("COMMIT").await.unwrap();
    };
    let (statuses, ()) = tokio::join!(asks, locked);
    assert_eq!(statuses, vec![200; 20]);
    assert_eq!((scene.provider.asked(), scene.provider.reused()), (2, 0));
}

#[tokio::test]
async fn an_instance_that_dies_before_it_has_kept_the_answer_is_reported() {
    let mut scene = Scene::of(2).await;
    let mut database = scene.postgres.connect().await;
    scene.provider.hold();
    let mut raw = scene.servers[0].raw().await;
    raw.write(through("mine").bytes()).await;
    scene.provider.has_been_asked(2).await;
    database.execute("BEGIN; LOCK TABLE connections IN EXCLUSIVE MODE").await.unwrap();
    scene.provider.release();
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    soon(async {
        while sqlx::query_scalar::<_, i64>(waits).fetch_one(&mut database).await.unwrap() == 0 {}
    })
    .await;
    drop(scene.servers.remove(0).killed().await);
    database.execute("COMMIT").await.unwrap();
    // What a dead instance had asked of the database may be done after all.
    let answer = scene.servers[0].send(&through("mine")).await;
    if answer.status == 200 {
        assert_eq!((scene.provider.asked(), scene.provider.reused()), (2, 0));
    } else {
        assert_eq!(answer.refusal(), refused(502, "ReauthorizationNeeded"));
        let shown = scene.servers[0].authorized("mine").await;
        assert_eq!(shown["reauthorization_reason"], "answer_lost");
    }
    assert!(scene.nothing_stale_left());
}

#[tokio::test]
async fn nothing_is_spent_while_the_store_cant_be_written_to() {
    let scene = Scene::of(1).await;
    let mut database = scene.postgres.connect().await;
    let refuse = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
        'BEGIN RAISE EXCEPTION ''read-only''; END'; \
        CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON oauth_refreshes \
        EXECUTE FUNCTION refuse()";
    database.execute(refuse).await.unwrap();
    let answer = scene.servers[0].send(&through("mine")).await;
    assert_eq!(answer.refusal(), refused(503, "StoreUnavailable"));
    assert_eq!(scene.provider.asked(), 1, "the refresh token was spent");
    database.execute("DROP TRIGGER refuse ON oauth_refreshes").await.unwrap();
    soon(async { while scene.servers[0].send(&through("mine")).await.status != 200 {} }).await;
    assert_eq!((scene.provider.asked(), scene.provider.reused()), (2, 0));
}

#[tokio::test]
async fn nothing_is_spent_while_the_store_is_gone() {
    let mut scene = Scene::of(2).await;
    scene.postgres.stop();
    for server in &scene.servers {
        let answer = server.send(&through("mine")).await;
        assert_eq!(answer.refusal(), refused(503, "StoreUnavailable"));
    }
    assert_eq!(scene.provider.asked(), 1);
    scene.postgres.go_on().await;
    for server in &scene.servers {
        soon(async { while server.send(&through("mine")).await.status != 200 {} }).await;
    }
    assert_eq!((scene.provider.asked(), scene.provider.reused()), (2, 0));
}

#[tokio::test]
async fn a_token_that_is_good_is_used_while_the_store_is_gone() {
    let (provider, mut postgres) = (Provider::start().await, Postgres::start().await);
    let origin = origin_accepting(&provider).await;
    let server = prepared(&provider, &origin).keeping_in(&postgres).run().await;
    server.register(&provider).await;
    provider.set_expires_in(json!(8));
    server.authorize(&provider, "mine").await;
    postgres.stop();
    // Up to its last tenth it is used, whatever fails.
    assert_eq!(server.send(&through("mine")).await.status, 200);
    assert_eq!(provider.asked(), 1);
}

#[tokio::test]
async fn a_flow_goes_on_at_another_instance_and_after_a_restart() {
    let (provider, postgres) = (Provider::start().await, Postgres::start().await);
    let origin = origin_accepting(&provider).await;
    let world = || prepared(&provider, &origin).keeping_in(&postgres);
    let (here, there) = (world().run().await, world().run().await);
    here.register(&provider).await;
    let redirect_url = here.start_flow(Running::flow("mine")).await;
    // All of them are the same to a browser.
    let callback = there.consent(&provider, &redirect_url).await;
    let here = here.killed().await.run().await;
    let ended = here.stroll(target(&callback)).await;
    assert_eq!(ended.status, 303, "{ended:?}");
    let code = parameter(&ended.location(), "verification_code").unwrap();
    let line = format!("GET {OAUTH}/oauth/access_codes/acme?verification_code={code}");
    let exchanged = there.manage(&line, None).await;
    assert_eq!(exchanged.status, 200, "{exchanged:?}");
    for server in [here, there] {
        soon(async { while server.send(&through("mine")).await.status != 200 {} }).await;
    }
    assert_eq!(provider.asked(), 1);
}
