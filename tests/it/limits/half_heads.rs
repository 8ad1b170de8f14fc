//! The heavy one: ten thousand half heads at the default limits. It takes as long as the default
//! `head_timeout`, and a file descriptor for each.

use std::time::Duration;

use keyferry::clock::instant;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinSet;

use crate::support::ask::ask;
use crate::support::origin::Origin;
use crate::support::raw::Raw;
use crate::support::world::{Running, World};

const MOST: u64 = 10_000;
/// What the other tests of this process may need.
const OTHERS: u64 = 2000;
const IN_TIME: Duration = Duration::from_secs(15);

/// As many as the system lets us have.
fn affordable() -> u64 {
    let most = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let _as_far_as_it_goes =
        setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: Some(most) });
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    allowed.saturating_sub(OTHERS).min(MOST)
}

async fn assert_served(world: &Running, kept: &mut Raw) {
    let begun = instant();
    assert_eq!(kept.send(&ask("GET https://api.example.test/kept")).await.status, 200);
    assert_eq!(world.send(&ask("GET https://api.example.test/new")).await.status, 200);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn ten_thousand_half_heads_neither_slow_others_nor_stay() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let mut kept = world.raw().await;
    assert_served(&world, &mut kept).await;
    let mut halves = JoinSet::new();
    for number in 0..affordable() {
        let mut raw = world.raw().await;
        raw.write("GET https://api.example.test/ HTTP/1.1\r\nHost: a.test\r\nX-Half: ").await;
        halves.spawn(async move { raw.ends_within(IN_TIME).await });
        if number.is_multiple_of(1000) {
            assert_served(&world, &mut kept).await;
        }
    }
    let last = instant();
    while let Some(ended) = halves.join_next().await {
        assert!(ended.unwrap(), "a half head was not closed in time");
        if halves.len().is_multiple_of(500) {
            assert_served(&world, &mut kept).await;
        }
    }
    assert!(last.elapsed() < IN_TIME, "{:?}", last.elapsed());
}
