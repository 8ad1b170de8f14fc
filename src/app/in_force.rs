//! From the configuration to what is in force.

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderValue;

use crate::config::{CallerAuth, Config, PlainHttp};
use crate::ledger::Metrics;
use crate::limit::Rate;
use crate::model::connection::Connection;
use crate::model::permit::Terms;
use crate::model::token::TokenDigest;
use crate::proxy::{InForce, Settings};
use crate::registry::{Holder, Registry};
use crate::upstream::{self, Guard, OwnListeners, Resolver, RootsError, Rules, TlsClients};

/// What stays the same over all reloads.
#[derive(Debug)]
pub struct Assembly {
    /// The figures, which a new registry takes up where the last one left off.
    pub metrics: Arc<Metrics>,
    /// The proxy's own listeners.
    pub own: OwnListeners,
    /// Names to addresses.
    pub resolver: Arc<dyn Resolver>,
}

impl Assembly {
    /// Makes `config` ready to be in force. Callers keep what they have left of their rate
    /// limits in `before`, if those did not change.
    ///
    /// # Errors
    /// When TLS can't be set up.
    pub fn assemble(
        &self,
        config: &Config,
        generation: u64,
        before: Option<&InForce>,
    ) -> Result<InForce, RootsError> {
        let settings = upstream_settings(config);
        let rules = Rules {
            generation,
            guard: Guard::new(settings.allow_networks.clone(), self.own.clone()),
            tls: TlsClients::new(&settings)?,
            resolver: Arc::clone(&self.resolver),
            settings,
        };
        let connections: Vec<Arc<Connection>> = config.connections.iter().map(Arc::clone).collect();
        let callers = config
            .tokens
            .iter()
            .map(|(digest, caller)| {
                let limit = rate(config, digest, before);
                (*digest, Holder { caller: caller.clone(), limit })
            })
            .collect();
        Ok(InForce {
            registry: Registry::new(connections, callers, &self.metrics),
            settings: proxy_settings(config),
            rules: Arc::new(rules),
        })
    }
}

fn upstream_settings(config: &Config) -> upstream::Settings {
    let plan = &config.upstream;
    upstream::Settings {
        resolve_timeout: plan.resolve_timeout,
        connect_timeout: plan.connect_timeout,
        response_timeout: plan.response_timeout,
        idle_timeout: plan.idle_timeout,
        max_idle_per_origin: plan.max_idle_per_origin,
        http2: plan.http2,
        extra_roots: plan.extra_roots.clone(),
        allow_networks: plan.allow_networks.clone(),
        pins: HashMap::clone(&plan.resolve),
    }
}

fn proxy_settings(config: &Config) -> Settings {
    let plan = &config.proxy;
    let methods: Vec<_> = plan.allowed_methods.iter().map(http::Method::as_str).collect();
    Settings {
        anonymous: match plan.caller_auth {
            CallerAuth::Token => None,
            CallerAuth::None => plan.default_integration.clone(),
        },
        allowed_hosts: plan.allowed_hosts.clone(),
        allowed_methods: plan.allowed_methods.clone(),
        allow: HeaderValue::try_from(methods.join(", "))
            .unwrap_or_else(|_never| HeaderValue::from_static("")),
        terms: Terms {
            upgrade_plain_http: plan.plain_http == PlainHttp::Upgrade,
            allowed_ports: plan.allowed_ports.clone(),
        },
        max_body_bytes: plan.max_body_bytes.unwrap_or(0),
        idle_timeout: plan.idle_timeout,
        websocket_idle_timeout: plan.websocket_idle_timeout,
    }
}

/// A caller's limit: the one that it has, or a new one.
fn rate(config: &Config, digest: &TokenDigest, before: Option<&InForce>) -> Option<Arc<Rate>> {
    let per_minute = config.proxy.requests_per_minute?;
    let kept = before
        .and_then(|before| before.registry.holder(digest))
        .and_then(|holder| holder.limit.clone())
        .filter(|limit| limit.is_per_minute(per_minute));
    kept.or_else(|| Rate::per_minute(per_minute).map(Arc::new))
}
