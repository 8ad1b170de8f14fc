//! Grants that nobody uses are kept alive: by instances within the test's own process, whose clock
//! the test moves.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use keyferry::app::Assembly;
use keyferry::clock::Clock;
use keyferry::config::{Environment, Options, load};
use keyferry::ledger::Metrics;
use keyferry::model::domain::AllowedDomain;
use keyferry::model::name::{ClientName, ConnectionName, IntegrationName};
use keyferry::model::oauth::client::{AuthMethod, ClientRecord};
use keyferry::model::oauth::endpoint::EndpointTemplate;
use keyferry::model::oauth::grant::{Grant, GrantType};
use keyferry::model::oauth::profile::{Profile, RefreshStatuses};
use keyferry::model::oauth::tokens::TokenSet;
use keyferry::model::record::{ConnectionRecord, Detail, new_id};
use keyferry::model::sealed::Sealed;
use keyferry::oauth;
use keyferry::secret::Secret;
use keyferry::state::{InterceptionCa, KeyLocation, Live, MasterKeys, Persistence, StoreAndKeys};
use keyferry::store::Store;
use keyferry::tasks::Tasks;
use keyferry::upstream::{NameLookups, OwnListeners, SystemResolver, Upstream};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::sealed::database;
use crate::support::authorized::{OAUTH, world};
use crate::support::postgres::Postgres;
use crate::support::provider::{CLIENT_ID, CLIENT_SECRET, HOST, Provider, Refreshing};
use crate::support::soon;
use crate::support::world::World;

const START: i64 = 1_800_000_000;

/// An instance that refreshes tokens, and has no listener.
struct Instance {
    persistence: Arc<Persistence>,
    /// The refreshes in flight.
    refreshes: Tasks,
    _directory: TempDir,
}

impl Instance {
    async fn start(provider: &Provider, store: Store, keep_alive: &str, clock: &Clock) -> Self {
        let world = World::empty()
            .pin(HOST, &provider.origin)
            .set("oauth.keep_alive", &format!("{keep_alive:?}"));
        let metrics = Arc::new(Metrics::new());
        let live = Arc::new(in_force(&world, &metrics, clock));
        // 1. The store; all instances have the same key.
        let variable = Some(Secret::new("one:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="));
        let location = KeyLocation { variable, file: world.path("master.key") };
        let keys = Arc::new(MasterKeys::open(location, &store).await.unwrap());
        let kept = StoreAndKeys { store: Arc::new(store), keys };
        let (certificate, system) = (world.path("cert.pem"), Clock::system());
        let ca = InterceptionCa::open(None, Some(&kept), certificate, system, Arc::clone(&metrics))
            .await;
        let (ca, staleness) = (Arc::new(ca.unwrap()), Duration::from_mins(5));
        let persistence =
            Persistence::start(kept, ca, Arc::clone(&live), Arc::clone(&metrics), staleness).await;
        let persistence = Arc::new(persistence.unwrap());
        // 2. The work beside requests.
        let upstream = Upstream::new(Arc::default(), Tasks::default(), 1);
        let (there, here) = (Arc::clone(&live), Arc::clone(&persistence));
        let asked = Arc::new(oauth::Provider::new(upstream, there, here, clock.clone()));
        let (refreshes, here) = (Tasks::default(), Arc::clone(&persistence));
        let (time, tasks) = (clock.clone(), refreshes.clone());
        let (mut manager, _handle) = oauth::Manager::new(asked, here, live, metrics, time, tasks);
        let follower = Arc::clone(&persistence);
        tokio::spawn(async move { follower.follow().await });
        tokio::spawn(async move { manager.work().await });
        Self { persistence, refreshes, _directory: world.directory }
    }

    /// Keeps a connection with the tokens of this answer.
    async fn keep(&self, provider: &Provider, answer: &Value) -> ConnectionRecord {
        let (store, vault) = (self.persistence.store(), self.persistence.vault());
        // 1. The client.
        let mut client = client_of(provider);
        client.sealed = vault.seal(&client.context(), &Secret::new(CLIENT_SECRET)).unwrap();
        store.create_client(&client).await.unwrap();
        // 2. The connection.
        let tokens = tokens_of(provider, answer);
        let grant = Grant {
            client: client.uuid,
            subdomain: None,
            grant_type: GrantType::AuthorizationCode,
            created_by: "test".into(),
            scopes: "".into(),
            authorized_at: start(),
            generation: 1,
            refresh_token_life: oauth::refresh_token_life(&tokens, &client.profile, None),
            lapse: None,
            injection: None,
            refresh_on_status: RefreshStatuses::default(),
        };
        let mut record = ConnectionRecord {
            options: Arc::default(),
            uuid: new_id().unwrap(),
            integration: client.integration,
            name: ConnectionName::parse("mine").unwrap(),
            allowed_domain: AllowedDomain::parse("api.example.test").ok(),
            detail: Detail::OAuth(Box::new(grant)),
            sealed: unsealed(),
            created_at: start(),
            updated_at: start(),
        };
        record.sealed = vault.seal(&record.context(), &tokens.pack()).unwrap();
        let revision = store.create_connection(&record).await.unwrap();
        assert!(self.persistence.wait_until_in_force(revision).await);
        record
    }

    async fn grant(&self, record: &ConnectionRecord) -> Grant {
        let store = self.persistence.store();
        let found = store.connection(&record.integration, &record.name).await.unwrap().unwrap();
        found.grant().unwrap().clone()
    }
}

/// The configuration of `world`, in force.
fn in_force(world: &World, metrics: &Arc<Metrics>, clock: &Clock) -> Live {
    let options = Options { config: Some(world.write()), ..Options::default() };
    let environment = Environment::from_iter::<[(&str, &str); 0]>([]);
    let config = load(&options, &environment).unwrap().config;
    let names = Arc::new(NameLookups::new(Arc::new(SystemResolver)));
    let (metrics, own) = (Arc::clone(metrics), OwnListeners::default());
    let assembly = Assembly { metrics, own, names, admin: None, clock: clock.clone() };
    Live::new(assembly.assemble(&config, 0, None).unwrap())
}

fn client_of(provider: &Provider) -> ClientRecord {
    ClientRecord {
        uuid: new_id().unwrap(),
        integration: IntegrationName::parse("acme").unwrap(),
        name: ClientName::parse("example_client").unwrap(),
        client_id: CLIENT_ID.into(),
        auth_url: None,
        token_url: EndpointTemplate::parse(&provider.url("/token")).unwrap(),
        default_scopes: "".into(),
        grant_type: GrantType::AuthorizationCode,
        auth_method: AuthMethod::ClientSecretPost,
        profile: Box::new(Profile::default()),
        created_by: "test".into(),
        sealed: unsealed(),
        created_at: start(),
        updated_at: start(),
    }
}

/// The tokens of an answer, of which the access token lives for five seconds.
fn tokens_of(provider: &Provider, answer: &Value) -> TokenSet {
    let text = |name: &str| Secret::new(answer[name].as_str().unwrap());
    TokenSet {
        access_token: text("access_token"),
        refresh_token: Some(text("refresh_token")),
        response_body: Secret::new(answer.to_string()),
        token_type: "".into(),
        scope: "".into(),
        issuer: provider.url("").into(),
        issued_at: start(),
        expires_at: Some(start() + Duration::from_secs(5)),
    }
}

fn unsealed() -> Sealed {
    Sealed { key_id: "".into(), wrapped: [].into(), payload: [].into() }
}

fn start() -> Timestamp {
    Timestamp::from_second(START).unwrap()
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
            soon(instance.refreshes.finished()).await;
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
    let directory = TempDir::new().unwrap();
    let store = Store::open_sqlite(&directory.path().join("keyferry.db")).await.unwrap();
    let instances = [Instance::start(&provider, store, "24h", &clock).await];
    let record = instances[0].keep(&provider, &provider.issue()).await;
    let asked_at = pass(100 * 60, &clock, &instances, &provider).await;
    assert_eq!(provider.reused(), 0);
    let grant = instances[0].grant(&record).await;
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
    let mut instances = Vec::new();
    for _each in 0..3 {
        let store = Store::open_postgres(&postgres.url()).await.unwrap();
        let keep_alive = format!("{PERIOD}s");
        instances.push(Instance::start(&provider, store, &keep_alive, &clock).await);
    }
    let record = instances[0].keep(&provider, &provider.issue()).await;
    let asked_at = pass(20 * PERIOD, &clock, &instances, &provider).await;
    assert_eq!(provider.reused(), 0);
    assert_eq!(instances[1].grant(&record).await.lapse, None);
    // At most one in a period, but for what it is jittered by, and at least one.
    let gaps = asked_at.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(gaps.clone().all(|gap| (PERIOD * 7 / 8..=PERIOD + 1).contains(&gap)), "{asked_at:?}");
    assert!((19..=23).contains(&asked_at.len()), "{asked_at:?}");
}

#[tokio::test]
async fn nobody_is_asked_where_grants_are_not_kept_alive() {
    let (provider, clock) = (Provider::start().await, Clock::fixed(START));
    provider.set_refresh_life(&clock, 60);
    let directory = TempDir::new().unwrap();
    let store = Store::open_sqlite(&directory.path().join("keyferry.db")).await.unwrap();
    let instances = [Instance::start(&provider, store, "0s", &clock).await];
    let record = instances[0].keep(&provider, &provider.issue()).await;
    assert!(pass(120, &clock, &instances, &provider).await.is_empty());
    clock.advance(365 * 86_400);
    assert!(pass(3, &clock, &instances, &provider).await.is_empty());
    assert_eq!(instances[0].grant(&record).await.generation, 1);
}

#[tokio::test]
async fn a_grant_whose_refresh_token_is_never_renewed_is_asked_for_a_few_times() {
    let (provider, clock) = (Provider::start().await, Clock::fixed(START));
    provider.set_refresh_life(&clock, 1000);
    provider.set_refreshing(Refreshing::Keeps);
    let directory = TempDir::new().unwrap();
    let store = Store::open_sqlite(&directory.path().join("keyferry.db")).await.unwrap();
    let instances = [Instance::start(&provider, store, "24h", &clock).await];
    let record = instances[0].keep(&provider, &provider.issue()).await;
    let first = instances[0].grant(&record).await.refresh_token_life;
    let asked_at = pass(1000, &clock, &instances, &provider).await;
    assert!((2..=6).contains(&asked_at.len()), "{asked_at:?}");
    // A kept one does not begin another life.
    assert_eq!(instances[0].grant(&record).await.refresh_token_life, first);
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
