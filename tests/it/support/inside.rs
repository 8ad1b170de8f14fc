//! The proxy within the test's own process, for what the program can't be brought to do.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use keyferry::app::Assembly;
use keyferry::ca::{CaRotation, LeafCache};
use keyferry::clock::Clock;
use keyferry::config::{Environment, Options, load};
use keyferry::http1::HeadLimits;
use keyferry::ledger::{Ledger, LineFormat, LogBuffer, Metrics};
use keyferry::listener::{ConnLimits, ListenAddr, Listener, tunnel_config};
use keyferry::proxy::{SharedParts, Via};
use keyferry::state::{InForce, Live};
use keyferry::tasks::Tasks;
use keyferry::upstream::{Lookup, NameLookups, OwnListeners, Resolver};
use tokio::sync::watch;

use super::world::World;

/// A resolver that never answers.
#[derive(Debug)]
pub(crate) struct Stuck;

impl Resolver for Stuck {
    fn lookup<'a>(&'a self, _host: &'a str, _port: u16) -> Lookup<'a> {
        Box::pin(std::future::pending())
    }
}

/// Serves `world`'s configuration; gives the address. A proxy that `stops` was told to go down.
pub(crate) fn serve(world: &World, resolver: Arc<dyn Resolver>, stops: bool) -> String {
    serve_changed(world, resolver, stops, |_in_force| {})
}

/// The same with something else in force.
pub(crate) fn serve_changed(
    world: &World,
    resolver: Arc<dyn Resolver>,
    stops: bool,
    change: impl FnOnce(&mut InForce),
) -> String {
    let config: PathBuf = world.write();
    let options = Options { config: Some(config), ..Options::default() };
    let environment = Environment::from_iter::<[(&str, &str); 0]>([]);
    let config = load(&options, &environment).unwrap().config;
    let metrics = Arc::new(Metrics::new());
    let own = OwnListeners::default();
    let names = Arc::new(NameLookups::new(resolver));
    let (clock, admin) = (Clock::system(), None);
    let assembly = Assembly { metrics: Arc::clone(&metrics), own, names, admin, clock };
    let mut in_force = assembly.assemble(&config, 0, None).unwrap();
    change(&mut in_force);
    let sink = Arc::new(LogBuffer::default());
    let ledger = Ledger::new(sink, metrics, Clock::system(), LineFormat::Json, "inside");
    let tasks = Tasks::default();
    let (_stop, stop) = watch::channel(stops);
    let limits = ConnLimits {
        head: HeadLimits { max_bytes: 65536, max_fields: 100 },
        head_timeout: Duration::from_secs(10),
        idle_conn_timeout: Duration::from_secs(10),
        stalled_write_timeout: Duration::from_secs(10),
        max_conns: 100,
        max_conns_per_caller: 100,
        max_unauthenticated_conns: 100,
    };
    let leaves = LeafCache::new(CaRotation::default(), Clock::system());
    let shared = SharedParts {
        live: Arc::new(Live::new(in_force)),
        stop,
        ledger: Arc::new(ledger),
        conn_limit: Arc::default(),
        conn_limits: limits,
        gauges: Arc::default(),
        via: Via::new("inside"),
        tunnel_tls: tunnel_config(Arc::new(leaves)).unwrap(),
        refreshes: None,
        replay_memory: Arc::default(),
    };
    let proxy = shared.proxy(tasks.clone(), tasks.clone(), 1);
    let conn_tracker = Arc::clone(&proxy.conn_tracker);
    let listener = Listener::bind(&ListenAddr::Tcp("127.0.0.1:0".parse().unwrap()), None).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { listener.serve(Arc::new(proxy), conn_tracker, tasks).await });
    address
}
