//! Grants whose tokens end all the time, refreshed by instances that are killed and paused.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use parking_lot::RwLock;
use rustix::process::Signal;
use serde_json::json;
use tokio::time::sleep;

use super::dice::Dice;
use super::fleet::send;
use crate::support::authorized::{prepared, through};
use crate::support::postgres::Postgres;
use crate::support::provider::{Provider, Refreshing, origin_accepting};
use crate::support::soon;
use crate::support::world::Running;

const NAMES: [&str; 6] = ["grant-0", "grant-1", "grant-2", "grant-3", "grant-4", "grant-5"];

#[tokio::test]
async fn no_grant_dies_with_instances_that_are_killed_or_paused() {
    // A provider that replaces a refresh token and forgets the old one at once loses the grant with
    // an instance that is killed before it has kept the answer; there they are only paused.
    for (scenario, refreshing, may_kill) in [
        ("grants, kills and pauses", Refreshing::Keeps, true),
        ("rotating grants, pauses", Refreshing::Rotates, false),
    ] {
        let dice = Dice::seeded(scenario);
        let (provider, postgres) = (Provider::start().await, Postgres::start().await);
        let origin = origin_accepting(&provider).await;
        let run = async || {
            let world = prepared(&provider, &origin).keeping_in(&postgres);
            Arc::new(world.set("api.requests_per_minute", "0").run().await)
        };
        let servers: Vec<_> = join_all([run(), run(), run()]).await;
        authorize_all(&provider, &servers[0], refreshing).await;
        let servers: Vec<RwLock<Arc<Running>>> = servers.into_iter().map(RwLock::new).collect();
        let end = Instant::now() + super::length();
        let callers = NAMES.map(async |name| {
            while Instant::now() < end {
                let server = Arc::clone(&dice.one_of(&servers).read());
                let _whatever_the_answer = send(server.address(), through(name)).await;
                sleep(Duration::from_millis(30)).await;
            }
        });
        let trouble = async {
            while Instant::now() < end {
                sleep(Duration::from_millis(100 + dice.below(400))).await;
                let slot = dice.one_of(&servers);
                let server = Arc::clone(&slot.read());
                if may_kill && dice.below(2) == 0 {
                    server.signal(Signal::KILL);
                    *slot.write() = run().await;
                } else {
                    server.signal(Signal::STOP);
                    sleep(Duration::from_millis(dice.below(1500))).await;
                    server.signal(Signal::CONT);
                }
            }
        };
        tokio::join!(join_all(callers), trouble);
        all_live(&servers).await;
        let (asked, reused) = (provider.asked(), provider.reused());
        let said = format!("the provider was asked {asked} times; lost: nothing, of {NAMES:?}");
        super::report(scenario, &said);
        assert!(asked > NAMES.len() && reused == 0, "{asked}, {reused}");
    }
}

/// Gives every name a grant whose tokens live for two seconds.
async fn authorize_all(provider: &Provider, server: &Running, refreshing: Refreshing) {
    server.register(provider).await;
    provider.set_refreshing(refreshing);
    provider.set_expires_in(json!(2));
    for name in NAMES {
        server.authorize(provider, name).await;
    }
}

/// Waits until every grant is used with success at every instance.
async fn all_live(servers: &[RwLock<Arc<Running>>]) {
    for slot in servers {
        let server = Arc::clone(&slot.read());
        for name in NAMES {
            soon(lives(&server, name)).await;
        }
    }
}

async fn lives(server: &Running, name: &str) {
    while !matches!(send(server.address(), through(name)).await, Some((200, _))) {
        sleep(Duration::from_millis(20)).await;
    }
}
