//! The registry as it is, of `imbl`'s maps behind an `ArcSwap`, beside one of `dashmap`'s:
//! `cargo bench --bench registry`. The figures, and the choice, are in decision 0046.
#![expect(clippy::unwrap_used, reason = "a benchmark that can't go on has failed")]
#![expect(clippy::print_stdout, reason = "that is how a benchmark reports")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures the time")]
#![expect(clippy::use_debug, reason = "a duration has no other format")]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use dashmap::DashMap;
use foldhash::fast::RandomState;
use keyferry::ledger::{ConnectionUsage, Metrics};
use keyferry::model::caller::{Caller, Reach};
use keyferry::model::connection::Connection;
use keyferry::model::domain::AllowedDomain;
use keyferry::model::name::{ConnectionName, IntegrationName};
use keyferry::model::origin::HostName;
use keyferry::model::record::Detail;
use keyferry::model::token::Scopes;
use keyferry::secret::Secret;
use keyferry::state::{ConnectionSource, RegisteredConnection, Registry};
use smallvec::SmallVec;

const CONNECTIONS: usize = 100_000;
const LOAD_TIME: Duration = Duration::from_secs(2);
/// The host that two connections take in turns.
const MOVING: &str = "moving.example.com";
const IDLE: &str = "idle.example.com";

/// A registry that several threads use, one of which changes it.
trait Candidate: Send + Sync {
    fn lookup(&self, name: &str) -> Option<Arc<RegisteredConnection>>;

    /// The number of connections that cover a host.
    fn covering(&self, host: &HostName) -> usize;

    /// Puts connections in the place of those of their names, as one change.
    fn replace(&self, connections: Vec<Connection>);

    /// Everything as it is at one moment, for a comparison with the store.
    fn snapshot(&self);
}

struct Persistent {
    registry: ArcSwap<Registry>,
    metrics: Metrics,
    caller: Caller,
}

/// The same maps, each of which is changed in place.
#[derive(Default)]
struct Concurrent {
    integrations: DashMap<IntegrationName, ConcurrentIntegration, RandomState>,
    metrics: Metrics,
}

#[derive(Default)]
struct ConcurrentIntegration {
    by_name: DashMap<ConnectionName, Arc<RegisteredConnection>, RandomState>,
    by_base: DashMap<Arc<str>, SmallVec<[Arc<RegisteredConnection>; 1]>, RandomState>,
}

impl Candidate for Persistent {
    fn lookup(&self, name: &str) -> Option<Arc<RegisteredConnection>> {
        self.registry.load().lookup("shop", name).cloned()
    }

    fn covering(&self, host: &HostName) -> usize {
        self.registry.load().covering("shop", host, &self.caller).len()
    }

    fn replace(&self, connections: Vec<Connection>) {
        let mut next = Registry::clone(&self.registry.load());
        for connection in connections {
            next.insert_connection(connection, &self.metrics).unwrap();
        }
        self.registry.store(Arc::new(next));
    }

    fn snapshot(&self) {
        black_box(self.registry.load_full());
    }
}

impl Candidate for Concurrent {
    fn lookup(&self, name: &str) -> Option<Arc<RegisteredConnection>> {
        Some(Arc::clone(&*self.integrations.get("shop")?.by_name.get(name)?))
    }

    fn covering(&self, host: &HostName) -> usize {
        let Some(integration) = self.integrations.get("shop") else { return 0 };
        let names =
            std::iter::successors(Some(host.as_str()), |name| Some(name.split_once('.')?.1));
        let found = names.filter_map(|base| integration.by_base.get(base));
        let covers = |known: &&Arc<RegisteredConnection>| {
            known.connection.allowed_domain().is_some_and(|domain| domain.covers(host))
        };
        found.map(|listed| listed.iter().filter(covers).count()).sum()
    }

    fn replace(&self, connections: Vec<Connection>) {
        for connection in connections {
            let connection = Arc::new(connection);
            let registered = Arc::new(RegisteredConnection {
                counters: self.metrics.counters_of(&connection),
                usage: ConnectionUsage::new(self.metrics.stats_of("shop", "")),
                source: ConnectionSource::Stored,
                connection: Arc::clone(&connection),
            });
            let integration = self.integrations.entry(connection.integration().clone());
            let integration = integration.or_default().downgrade();
            let before =
                integration.by_name.insert(connection.name().clone(), Arc::clone(&registered));
            let before = before.as_ref().and_then(|before| before.connection.allowed_domain());
            if let Some(mut listed) = before.and_then(|it| integration.by_base.get_mut(it.base())) {
                listed.retain(|known| known.connection.name() != connection.name());
            }
            let base = connection.allowed_domain().unwrap().shared_base();
            integration.by_base.entry(base).or_default().push(registered);
        }
    }

    fn snapshot(&self) {
        let integration = self.integrations.get("shop").unwrap();
        let all = integration.by_name.iter().map(|entry| Arc::clone(&entry));
        black_box(all.collect::<Vec<_>>());
    }
}

fn main() {
    let persistent = || Persistent {
        registry: ArcSwap::default(),
        metrics: Metrics::new(),
        caller: Caller {
            rules: keyferry::model::rules::Rules::default(),
            name: "runner".into(),
            reach: Reach::One(IntegrationName::parse("shop").unwrap(), None),
            scopes: Scopes { proxy: true, ..Scopes::default() },
            expires_at: None,
        },
    };
    report("imbl", persistent);
    report("dashmap", Concurrent::default);
}

fn report<C: Candidate>(kind: &str, empty: impl FnOnce() -> C) {
    println!("{kind}, {CONNECTIONS} connections");
    let candidate = build(empty);
    let host = HostName::parse("api7.example.com").unwrap();
    let name = per_call(1_000_000, || candidate.lookup(black_box("conn7")));
    let covering = per_call(1_000_000, || candidate.covering(black_box(&host)));
    println!("  look-up by name {name:?}, by host {covering:?}");
    println!("  snapshot {:?}", per_call(20, || candidate.snapshot()));
    let update = per_call(20_000, || candidate.replace(vec![connection(7, "api7.example.com")]));
    println!("  update {update:?}");
    under_load(&candidate);
}

/// Builds a registry in one change, and says the time and the memory that it takes.
fn build<C: Candidate>(empty: impl FnOnce() -> C) -> C {
    let connections = (0..CONNECTIONS).map(|it| connection(it, &format!("api{it}.example.com")));
    let connections: Vec<_> = connections.collect();
    let (mut built, mut time) = (None, Duration::ZERO);
    let memory = allocation_counter::measure(|| {
        let (candidate, begun) = (empty(), Instant::now());
        candidate.replace(connections);
        time = begun.elapsed();
        built = Some(candidate);
    });
    // The list that goes in is freed meanwhile, which cancels out the connections themselves.
    let each = memory.bytes_current / i64::try_from(CONNECTIONS).unwrap();
    println!("  build {time:?}, {each} bytes for each connection beside itself");
    built.unwrap()
}

/// Has one thread look up as fast as it can while another writes as fast as it can: each change
/// hands a host from one connection to another.
fn under_load<C: Candidate>(candidate: &C) {
    let host = HostName::parse(MOVING).unwrap();
    let owners = |is_even: bool| {
        let (first, second) = if is_even { (MOVING, IDLE) } else { (IDLE, MOVING) };
        vec![connection(CONNECTIONS, first), connection(CONNECTIONS + 1, second)]
    };
    candidate.replace(owners(true));
    let (stopped, changes) = (AtomicBool::new(false), AtomicU64::new(0));
    let (mut reads, mut wrong, mut longest) = (0_u64, 0_u64, Duration::ZERO);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stopped.load(Relaxed) {
                let change = changes.fetch_add(1, Relaxed) + 1;
                candidate.replace(owners(change.is_multiple_of(2)));
            }
        });
        let begun = Instant::now();
        while begun.elapsed() < LOAD_TIME {
            let (before, found) = (Instant::now(), candidate.covering(&host));
            longest = longest.max(before.elapsed());
            wrong += u64::from(found != 1);
            reads += 1;
        }
        stopped.store(true, Relaxed);
    });
    let per_second = |count: u64| count / LOAD_TIME.as_secs();
    let (reads_per_second, changes) = (per_second(reads), per_second(changes.load(Relaxed)));
    println!(
        "  under load {reads_per_second} reads/s (the longest {longest:?}), {changes} changes/s"
    );
    println!("  {wrong} of {reads} reads saw half a change");
}

fn per_call<T>(calls: u32, mut call: impl FnMut() -> T) -> Duration {
    let begun = Instant::now();
    for _call in 0..calls {
        black_box(call());
    }
    begun.elapsed() / calls
}

fn connection(number: usize, domain: &str) -> Connection {
    let connection = Connection::new(
        IntegrationName::parse("shop").unwrap(),
        ConnectionName::parse(&format!("conn{number}")).unwrap(),
        AllowedDomain::parse(domain).unwrap(),
        Detail::BearerToken,
        &Secret::new("s3cr3t"),
    );
    connection.unwrap()
}
