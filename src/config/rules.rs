//! Rules that hold between keys.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::report::Report;
use super::{Config, DeclaredToken, StoreUrl};
use crate::listener::ListenAddr;

/// Reports every rule between keys that `config` breaks.
pub(super) fn check(config: &Config, report: &Report<'_>) {
    anonymous_callers(config, report);
    listeners(config, report);
    refresh_lease(config, report);
    listed_connections(config, report);
    conns_per_caller(config, report);
    open_id(config, report);
    webhook(config, report);
}

/// Contract §3: without tokens, only this machine may reach the proxy, the operator says whose
/// connections it uses, and no tunnel passes blind, or the proxy would be an open one.
fn anonymous_callers(config: &Config, report: &Report<'_>) {
    if !config.proxy.is_anonymous {
        return;
    }
    for address in config.proxy.listen.iter().filter(|address| !address.is_local()) {
        let rule = format!(
            "\"none\" needs every proxy.listen to be a loopback address or a unix socket, and \
             {address} is neither"
        );
        report.conflict("proxy.caller_auth", rule);
    }
    // One that could not be read has its own fault.
    let is_faulty = report.is_faulty("proxy.default_integration");
    if config.proxy.default_integration.is_none() && !is_faulty {
        let rule = "\"none\" needs proxy.default_integration to be set";
        report.conflict("proxy.caller_auth", rule);
    }
    if config.proxy.settings.blind_tunnels {
        report.conflict("proxy.untagged", "\"tunnel\" needs proxy.caller_auth = \"token\"");
    }
}

/// No two listeners bind the same socket.
fn listeners(config: &Config, report: &Report<'_>) {
    let api = ListenAddr::Tcp(config.api.listen);
    for (index, address) in config.proxy.listen.iter().enumerate() {
        let key = format!("proxy.listen[{index}]");
        let mut earlier = config.proxy.listen.iter().take(index);
        let earlier = earlier.position(|other| collide(address, other));
        let earlier = earlier.map(|at| format!("proxy.listen[{at}]"));
        let api = collide(address, &api).then(|| "api.listen".to_owned());
        for other in earlier.into_iter().chain(api) {
            let first = report.place_of(&other);
            report.conflict(&key, format!("{address} is already {other}, at {first}"));
        }
    }
}

/// Compares the sockets that two listeners bind; port 0 is a new one each time.
fn collide(one: &ListenAddr, two: &ListenAddr) -> bool {
    match (one, two) {
        (ListenAddr::Tcp(one), ListenAddr::Tcp(two)) => one.port() != 0 && one == two,
        (ListenAddr::Unix(one, _), ListenAddr::Unix(two, _)) => one == two,
        _ => false,
    }
}

/// A refresh that has asked the provider is never taken over sooner than one that has not; and a
/// lease leaves time for three signs of life and their way to the store.
fn refresh_lease(config: &Config, report: &Report<'_>) {
    let lease = config.proxy.settings.renewal.refresh_lease;
    if lease.before_asking < SHORTEST_LEASE {
        report.conflict("oauth.lease", "must be at least \"500ms\"");
    }
    if lease.after_asking < lease.before_asking {
        report.conflict("oauth.takeover", "must be at least as long as oauth.lease");
    }
}

/// Without a store there are no connections but the declared ones, so that what a token lists
/// beside them is a mistake.
fn listed_connections(config: &Config, report: &Report<'_>) {
    if config.store.url != StoreUrl::Memory {
        return;
    }
    let named = config.connections.iter().map(|known| (known.integration(), known.name()));
    let declared: HashSet<_> = named.collect();
    for (index, DeclaredToken { caller, .. }) in config.tokens.iter().enumerate() {
        let key = format!("tokens[{index}].connections");
        for (integration, name) in caller.reach.pairs().filter(|pair| !declared.contains(pair)) {
            let rule = format!(
                "no connection {integration}.{name} is declared, and store.url = \"memory:\" keeps \
                 no others"
            );
            report.warning(&report.place_of(&key), &key, rule);
        }
    }
}

/// More than there may be in all is no limit.
fn conns_per_caller(config: &Config, report: &Report<'_>) {
    let most = config.proxy.max_connections;
    if config.proxy.max_connections_per_caller > most {
        let rule = format!("must be proxy.max_connections, which is {most}, or less");
        report.conflict("proxy.max_connections_per_caller", rule);
    }
}

/// The sessions of people are kept in the store.
fn open_id(config: &Config, report: &Report<'_>) {
    let is_configured = config.management.open_id.is_some() || config.commanded.has_open_id();
    if is_configured && config.store.url == StoreUrl::Memory {
        let rule = "needs a store for the sessions: set store.url to a database";
        report.conflict("oidc", rule);
    }
}

/// The store has to keep what the webhook was told.
fn webhook(config: &Config, report: &Report<'_>) {
    let is_configured = config.management.webhook.is_some() || config.commanded.has_webhook();
    if is_configured && config.store.url == StoreUrl::Memory {
        let rule = "needs a store for what it was told: set store.url to a database";
        report.conflict("webhook", rule);
    }
}

/// The address by which a browser on this machine finds the listener, if it does; the port must be
/// known.
pub(super) fn on_this_machine(listen: SocketAddr) -> Option<SocketAddr> {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    (ip.is_loopback() && listen.port() != 0).then(|| SocketAddr::new(ip, listen.port()))
}

const SHORTEST_LEASE: Duration = Duration::from_millis(500);
