//! Rules that hold between keys.

use std::collections::HashSet;
use std::time::Duration;

use super::fault::Place;
use super::listener::Listener;
use super::report::Report;
use super::{CallerAuth, Config, StoreUrl, Untagged};

/// Reports every rule between keys that `config` breaks.
pub(super) fn check(config: &Config, report: &Report) {
    anonymous_callers(config, report);
    listeners(config, report);
    blind_tunnels(config, report);
    refresh_lease(config, report);
    listed_connections(config, report);
    conns_per_caller(config, report);
}

/// More than there may be in all is no limit.
fn conns_per_caller(config: &Config, report: &Report) {
    let (key, most) = ("proxy.max_connections_per_caller", config.proxy.max_connections);
    if config.proxy.max_connections_per_caller > most {
        let rule = format!("must be proxy.max_connections, which is {most}, or less");
        report.consequence(&place_of(key, report), key, &rule);
    }
}

/// A refresh that has asked the provider is never taken over sooner than one that has not; and a
/// lease leaves time for three signs of life and their way to the store.
fn refresh_lease(config: &Config, report: &Report) {
    let (lease, takeover) = (config.oauth.lease, config.oauth.takeover);
    if lease < SHORTEST_LEASE {
        let rule = "must be at least \"500ms\"";
        report.consequence(&place_of("oauth.lease", report), "oauth.lease", rule);
    }
    if takeover < lease {
        let rule = "must be at least as long as oauth.lease";
        report.consequence(&place_of("oauth.takeover", report), "oauth.takeover", rule);
    }
}

/// Without a store there are no connections but the declared ones, so that what a token lists
/// beside them is a mistake.
fn listed_connections(config: &Config, report: &Report) {
    if config.store.url != StoreUrl::Memory {
        return;
    }
    let declared: HashSet<_> = config
        .connections
        .iter()
        .map(|connection| (connection.integration(), connection.name()))
        .collect();
    for (index, (_, caller)) in config.tokens.iter().enumerate() {
        let key = format!("tokens[{index}].connections");
        for (integration, name) in caller.reach.pairs().filter(|pair| !declared.contains(pair)) {
            let rule = format!(
                "no connection {integration}.{name} is declared, and store.url = \"memory:\" keeps \
                 no others"
            );
            report.warning(&place_of(&key, report), &key, rule);
        }
    }
}

/// Contract §3: what no connection covers passes for whoever shows a token; for nobody else, or the
/// proxy would be an open one.
fn blind_tunnels(config: &Config, report: &Report) {
    let is_open = config.proxy.caller_auth == CallerAuth::None;
    if is_open && config.proxy.untagged == Untagged::Tunnel {
        let key = "proxy.untagged";
        let rule = "\"tunnel\" needs proxy.caller_auth = \"token\"";
        report.consequence(&place_of(key, report), key, rule);
    }
}

/// Contract §3: without tokens, only this machine may reach the proxy, and somebody has to say
/// whose connections it uses.
fn anonymous_callers(config: &Config, report: &Report) {
    let key = "proxy.caller_auth";
    let place = place_of(key, report);
    if config.proxy.caller_auth == CallerAuth::Token {
        return;
    }
    for listener in config.proxy.listen.iter().filter(|listener| !listener.is_local()) {
        let rule = format!(
            "\"none\" needs every proxy.listen to be a loopback address or a unix socket, and \
             {listener} is neither"
        );
        report.consequence(&place, key, rule);
    }
    // One that could not be read has its own fault.
    let is_faulty = report.is_faulty("proxy.default_integration");
    if config.proxy.default_integration.is_none() && !is_faulty {
        report.consequence(&place, key, "\"none\" needs proxy.default_integration to be set");
    }
}

fn listeners(config: &Config, report: &Report) {
    let api = Listener::Tcp(config.api.listen);
    for (index, listener) in config.proxy.listen.iter().enumerate() {
        let key = format!("proxy.listen[{index}]");
        let place = place_of(&key, report);
        let earlier = config.proxy.listen.iter().take(index);
        if let Some(at) = earlier.clone().position(|other| listener.collides_with(other)) {
            let first = place_of(&format!("proxy.listen[{at}]"), report);
            let rule = format!("{listener} is already proxy.listen[{at}], at {first}");
            report.consequence(&place, &key, rule);
        }
        if listener.collides_with(&api) {
            let api_place = place_of("api.listen", report);
            let rule = format!("{listener} is already api.listen, at {api_place}");
            report.consequence(&place, &key, rule);
        }
    }
}

/// The shortest `oauth.lease`.
const SHORTEST_LEASE: Duration = Duration::from_millis(500);

fn place_of(key: &str, report: &Report) -> Place {
    report.place_of(key).unwrap_or(Place::Default)
}
