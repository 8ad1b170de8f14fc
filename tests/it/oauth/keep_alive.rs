//! Grants that nobody uses are kept alive: by instances within the test's own process, whose clock
//! the test moves.

use std::time::Duration;

use jiff::Timestamp;
use keyferry::clock::Clock;
use keyferry::model::oauth::profile::Profile;
use keyferry::store::Store;
use serde_json::{Value, json};

use super::sealed::database;
use crate::support::authorized::{OAUTH, world};
use crate::support::instance::{Connected, Instance, tokens_of};
use crate::support::postgres::Postgres;
use crate::support::provider::{CLIENT_ID, CLIENT_SECRET, HOST, Provider, Refreshing};
use crate::support::soon;
use crate::support::world::World;

const START: i64 = 1_800_000_000;

/// A world with this provider, in which grants are kept alive at this interval.
fn kept_alive(provider: &Provider, interval: &str) -> World {
    World::empty().pin(HOST, &provider.origin).set("oauth.keep_alive", &format!("{interval:?}"))
}

/// Keeps a connection whose first access token lives for five seconds.
async fn connect(instance: &Instance, provider: &Provider) -> Connected {
    let client = (CLIENT_ID, CLIENT_SECRET);
    let client = instance.client_of(HOST, client, Profile::default()).await;
    let tokens = tokens_of(provider, instance.clock.now(), Duration::from_secs(5));
    instance.authorize(&client, "mine", &tokens).await
}

/// Lets a second pass, and everything be done that it brings.
async fn pass_a_second(clock: &Clock, instances: &[Instance]) {
    clock.advance(1);
    // A manager hears of the time, then of the end of what it has begun.
    for _turn in 0..3 {
        for _each in 0..instances.len() {
            tokio::task::yield_now().await;
        }
        for instance in instances {
            soon(instance.in_flight.finished()).await;
        }
    }
}

/// Lets time pass, and gives the seconds at which the provider was asked.
async fn pass(
    seconds: i64,
    clock: &Clock,
    instances: &[Instance],
    provider: &Provider,
) -> Vec<i64> {
    let mut asked_at = Vec::new();
    for second in 1..=seconds {
        let before = provider.asked();
        pass_a_second(clock, instances).await;
        asked_at.extend((before..provider.asked()).map(|_each| second));
    }
    asked_at
}

#[tokio::test]
async fn an_unused_grant_lives_for_a_hundred_lives_of_its_refresh_token() {
    let (provider, clock) = (Provider::start().await, Clock::fixed(START));
    provider.set_refresh_life(&clock, 60);
    let world = kept_alive(&provider, "24h");
    let instances = [Instance::start(&world, &clock).await];
    let connected = connect(&instances[0], &provider).await;
    let asked_at = pass(100 * 60, &clock, &instances, &provider).await;
    assert_eq!(provider.reused(), 0);
    let grant = instances[0].stored(&connected).await.0;
    let refreshes = i64::try_from(asked_at.len()).unwrap();
    assert_eq!((grant.lapse, grant.generation), (None, 1 + refreshes));
    // Each time before a third of the life was left, and not much sooner.
    let gaps = asked_at.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(gaps.clone().all(|gap| (30..=40).contains(&gap)), "{asked_at:?}");
    assert!(asked_at[0] <= 40 && asked_at.len() >= 150);
}

#[tokio::test]
async fn three_instances_refresh_an_unused_grant_once_in_a_period() {
    const PERIOD: i64 = 32;
    let (provider, clock) = (Provider::start().await, Clock::fixed(START));
    let postgres = Postgres::start().await;
    let world = kept_alive(&provider, &format!("{PERIOD}s"));
    let mut instances = Vec::new();
    for _each in 0..3 {
        let store = Store::open_postgres(&postgres.url()).await.unwrap();
        instances.push(Instance::over(store, &world, &clock).await);
    }
    let connected = connect(&instances[0], &provider).await;
    let asked_at = pass(20 * PERIOD, &clock, &instances, &provider).await;
    assert_eq!(provider.reused(), 0);
    assert_eq!(instances[1].stored(&connected).await.0.lapse, None);
    // At most one in a period, but for what it is jittered by, and at least one.
    let gaps = asked_at.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(gaps.clone().all(|gap| (PERIOD * 7 / 8..=PERIOD + 1).contains(&gap)), "{asked_at:?}");
    assert!((19..=23).contains(&asked_at.len()), "{asked_at:?}");
}

#[tokio::test]
async fn nobody_is_asked_where_grants_are_not_kept_alive() {
    let (provider, clock) = (Provider::start().await, Clock::fixed(START));
    provider.set_refresh_life(&clock, 60);
    let world = kept_alive(&provider, "0s");
    let instances = [Instance::start(&world, &clock).await];
    let connected = connect(&instances[0], &provider).await;
    assert!(pass(120, &clock, &instances, &provider).await.is_empty());
    clock.advance(365 * 86_400);
    assert!(pass(3, &clock, &instances, &provider).await.is_empty());
    assert_eq!(instances[0].stored(&connected).await.0.generation, 1);
}

#[tokio::test]
async fn a_grant_whose_refresh_token_is_never_renewed_is_asked_for_a_few_times() {
    let (provider, clock) = (Provider::start().await, Clock::fixed(START));
    provider.set_refresh_life(&clock, 1000);
    provider.set_refreshing(Refreshing::Keeps);
    let world = kept_alive(&provider, "24h");
    let instances = [Instance::start(&world, &clock).await];
    let connected = connect(&instances[0], &provider).await;
    let first = instances[0].stored(&connected).await.0.refresh_token_life;
    let asked_at = pass(1000, &clock, &instances, &provider).await;
    assert!((2..=6).contains(&asked_at.len()), "{asked_at:?}");
    // A kept one does not begin another life.
    assert_eq!(instances[0].stored(&connected).await.0.refresh_token_life, first);
}

#[tokio::test]
async fn the_end_of_a_refresh_token_is_shown_where_it_is_known() {
    let provider = Provider::start().await;
    let (_origin, server) = world(&provider, |world| world).await;
    server.register(&provider).await;
    server.authorize(&provider, "unknown").await;
    assert_eq!(server.authorized("unknown").await["refresh_token_expiry"], Value::Null);
    provider.set_refresh_life(&Clock::system(), 30 * 86_400);
    server.authorize(&provider, "mine").await;
    let shown = server.authorized("mine").await;
    let at = |name: &str| shown[name].as_str().unwrap().parse::<Timestamp>().unwrap();
    let apart = at("refresh_token_expiry").duration_since(at("token_expiry"));
    assert_eq!(apart.as_secs(), 30 * 86_400 - 3600);
    let listed =
        server.manage("GET /api/services/zis/integrations/acme/connections/all", None).await;
    let listed = listed.json();
    let listed: Vec<_> = listed["oauth"].as_array().unwrap().iter().collect();
    let of = |name: &str| *listed.iter().find(|item| item["name"] == name).unwrap();
    assert_eq!(of("mine")["refresh_token_expiry"], shown["refresh_token_expiry"]);
    assert!(of("unknown").get("refresh_token_expiry").is_none());
    let line = |name: &str| {
        format!("keyferry_oauth_grant_expiry_seconds{{integration=\"acme\",connection=\"{name}\"}}")
    };
    let left = server.metric(&line("mine")).await;
    assert!((30.0 * 86_400.0 - 60.0..=30.0 * 86_400.0).contains(&left), "{left}");
    let figures = server.api("/metrics").await.text();
    assert!(!figures.contains(&line("unknown")), "{figures}");
    // A refresh brings another one, which begins its life.
    let refreshed = server.manage(&format!("GET {OAUTH}/refresh/acme?name=mine"), None).await;
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
    let again = server.authorized("mine").await;
    assert!(again["refresh_token_expiry"].as_str() >= shown["refresh_token_expiry"].as_str());
}

#[tokio::test]
async fn the_end_of_a_grant_is_warned_of() {
    let provider = Provider::start().await;
    let (_origin, server) = world(&provider, |world| world.set("oauth.keep_alive", "\"0s\"")).await;
    server.register(&provider).await;
    server.authorize(&provider, "mine").await;
    server.authorize(&provider, "other").await;
    let world = server.killed().await;
    // A life of a month, of which an hour is left.
    let now = Clock::system().now().as_microsecond();
    let (since, until) = (now - 30 * 86_400_000_000, now + 3_600_000_000);
    let edit = "UPDATE connections SET detail = json_set(detail, '$.refresh_token_since', $1, \
        '$.refresh_token_until', $2) WHERE name = 'mine'";
    let edit = sqlx::query(edit).bind(since).bind(until);
    edit.execute(&mut database(&world).await).await.unwrap();
    let server = world.run().await;
    let message = "the connection's grant ends soon, and no refresh has put its end off: start a \
        flow for it before";
    let line = server.log.message(message).await;
    let ends = Timestamp::from_microsecond(until).unwrap().to_string();
    assert_eq!((&line["connection"], &line["ends"]), (&json!("acme.mine"), &json!(ends)));
    assert_eq!(server.log.text().matches("ends soon").count(), 1);
}
