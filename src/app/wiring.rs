//! Each room, and the other rooms that it is given.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustls::ServerConfig;
use tokio::sync::watch;

use super::assembly::Assembly;
use super::data_dir::AdminToken;
use super::upkeep::Upkeep;
use super::webhook::{Webhook, WebhookSender};
use crate::api::ApiState;
use crate::config::Config;
use crate::console;
use crate::http1::HeadLimits;
use crate::ledger::Ledger;
use crate::listener::{ConnLimits, Listener};
use crate::management::Management;
use crate::proxy::{Probe, SharedParts, Via};
use crate::state::{InterceptionCa, Live};
use crate::upstream::{NameLookups, OwnListeners, SystemResolver, UpstreamGauges};

/// Everything that stays the same over all reloads.
pub(super) fn assembly<'a>(
    listeners: impl Iterator<Item = &'a Listener>,
    ledger: &Ledger,
    admin_token: &AdminToken,
) -> Assembly {
    Assembly {
        metrics: Arc::clone(&ledger.metrics),
        own: OwnListeners::new(listeners.filter_map(Listener::local_addr).collect()),
        names: Arc::new(NameLookups::new(Arc::new(SystemResolver))),
        admin: Some(admin_token.digest),
        clock: ledger.clock.clone(),
    }
}

pub(super) fn shared(
    config: &Config,
    live: &Arc<Live>,
    stop: watch::Receiver<bool>,
    ledger: Arc<Ledger>,
    (instance, gauges): (&str, Arc<UpstreamGauges>),
    tunnel_tls: Arc<ServerConfig>,
) -> SharedParts {
    SharedParts {
        live: Arc::clone(live),
        stop,
        conn_limit: Arc::default(),
        conn_limits: conn_limits(config),
        gauges,
        via: Via::new(instance),
        ledger,
        tunnel_tls,
        refreshes: None,
        replay_memory: Arc::default(),
    }
}

fn conn_limits(config: &Config) -> ConnLimits {
    let plan = &config.proxy;
    let max_conns_per_caller = match plan.max_connections_per_caller {
        0 => (plan.max_connections / 2).max(1),
        most => most,
    };
    ConnLimits {
        head: HeadLimits { max_bytes: plan.max_head_bytes, max_fields: MAX_FIELDS },
        head_timeout: plan.settings.tunnel_first_byte_timeout,
        idle_conn_timeout: plan.settings.exchange_idle_timeout,
        stalled_write_timeout: plan.settings.exchange_idle_timeout,
        max_conns: plan.max_connections,
        max_conns_per_caller,
        max_unauthenticated_conns: (plan.max_connections / 10).max(100),
    }
}

/// Those of the API's listener, which has conns of its own.
pub(super) fn api_conn_limits(config: &Config) -> ConnLimits {
    let max_unauthenticated_conns = MAX_API_CONNS / 10;
    let max_conns_per_caller = MAX_API_CONNS / 2;
    ConnLimits {
        max_conns: MAX_API_CONNS,
        max_conns_per_caller,
        max_unauthenticated_conns,
        ..conn_limits(config)
    }
}

pub(super) fn rooms(
    config: &Config,
    upkeep: &Upkeep,
    ca: &InterceptionCa,
    shared: &SharedParts,
    draining: &Arc<AtomicBool>,
) -> ApiState {
    let (live, clock) = (Arc::clone(&shared.live), shared.ledger.clock.clone());
    let storage = upkeep.storage().cloned();
    let data_plane = Arc::new(Probe(shared.clone()));
    // The names by which the API may be called.
    let public = config.api.public_url.parse::<http::Uri>().ok();
    let public = public.as_ref().and_then(http::Uri::host);
    let listed = config.api.allowed_hosts.iter().map(String::as_str);
    let names = ["localhost", "127.0.0.1", "[::1]"].into_iter().chain(public).chain(listed);
    ApiState {
        management: Arc::new(Management::new(
            storage,
            live,
            data_plane,
            clock,
            &shared.ledger.instance,
        )),
        rate_limits: Arc::default(),
        leaves: Arc::clone(ca.leaves()),
        metrics: Arc::clone(&shared.ledger.metrics),
        conn_limit: Arc::clone(&shared.conn_limit),
        gauges: Arc::clone(&shared.gauges),
        sink: Arc::clone(&shared.ledger.sink),
        draining: Arc::clone(draining),
        errands: upkeep.errands.clone(),
        is_secure: config.api.public_url.starts_with("https:") || config.api.tls.is_some(),
        proxies: Arc::default(),
        own_hosts: names.collect(),
    }
}

/// The webhook, of which nothing can be told where nothing is kept.
pub(super) fn webhook(upkeep: &Upkeep, rooms: &ApiState, shared: &SharedParts) -> Webhook {
    let ledger = &shared.ledger;
    Webhook(upkeep.storage().map(|storage| {
        Arc::new(WebhookSender::new(
            &storage.persistence,
            &rooms.management,
            &shared.live,
            (&ledger.metrics, &shared.gauges),
            (&ledger.clock, &ledger.instance),
        ))
    }))
}

/// The rooms that the console is given.
pub(super) fn console(
    api: &ApiState,
    config: &Config,
    shared: &SharedParts,
) -> console::ConsoleServices {
    let ledger = &shared.ledger;
    let facts = console::Facts {
        instance: ledger.instance.to_string(),
        proxies: api.proxies.to_vec(),
        store: format!("{:?}", config.store.url),
        started: ledger.clock.now(),
    };
    console::ConsoleServices {
        management: Arc::clone(&api.management),
        rate_limits: Arc::clone(&api.rate_limits),
        metrics: Arc::clone(&api.metrics),
        errands: api.errands.clone(),
        facts: Arc::new(facts),
        is_secure: api.is_secure,
        draining: Arc::clone(&api.draining),
    }
}

/// As many as the HTTP library parses without asking for more memory.
const MAX_FIELDS: usize = 100;
const MAX_API_CONNS: usize = 1000;
