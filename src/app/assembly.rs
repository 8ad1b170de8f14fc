//! From the configuration to the set in force.

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderValue;

use crate::clock::Clock;
use crate::config::{CallerAuth, Config, PlainHttp, Untagged};
use crate::ledger::Metrics;
use crate::model::caller::{Caller, Reach};
use crate::model::origin::HostName;
use crate::model::permit::Terms;
use crate::model::token::{Scopes, TokenDigest};
use crate::state::{DuplicateNames, InForce, ManagementSettings, Renewal, Settings};
use crate::store::RefreshLease;
use crate::upstream::{
    self, Guard, NameLookups, OwnListeners, RootsError, TlsClients, UpstreamRules,
};

/// Everything that stays the same over all reloads.
#[derive(Debug)]
pub struct Assembly {
    /// The figures, which a new registry takes up where the last one left off.
    pub metrics: Arc<Metrics>,
    /// The proxy's own listeners.
    pub own: OwnListeners,
    /// Names to addresses.
    pub names: Arc<NameLookups>,
    /// The operator's token, if there is one, which is in force beside all others.
    pub admin: Option<TokenDigest>,
    /// The time.
    pub clock: Clock,
}

/// The reason why a configuration can't be in force.
#[derive(Debug, thiserror::Error)]
pub enum AssemblyError {
    /// TLS to origins can't be set up.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// The store has a connection of a declared name.
    #[error(transparent)]
    DuplicateNames(#[from] DuplicateNames),
}

impl Assembly {
    /// Makes `config` ready to be in force, with what `before` knows of the store. Callers keep
    /// what they have left of their rate limits, if those did not change.
    ///
    /// # Errors
    /// When TLS can't be set up, or a declared name is in the store.
    pub fn assemble(
        &self,
        config: &Config,
        generation: u64,
        before: Option<&InForce>,
    ) -> Result<InForce, AssemblyError> {
        // 1. The way out.
        let settings = upstream_settings(config);
        let rules = UpstreamRules {
            generation,
            guard: Guard::new(settings.allow_networks.clone(), self.own.clone()),
            tls: TlsClients::new(&settings)?,
            names: Arc::clone(&self.names),
            settings,
        };
        // 2. The connections and callers that are declared, beside those of the store.
        let operator = self.admin.map(|digest| (digest, operator()));
        let callers = config.tokens.iter().cloned().chain(operator).collect();
        let known = before.map(|before| before.registry.clone()).unwrap_or_default();
        let per_minute = config.proxy.requests_per_minute;
        Ok(InForce {
            registry: known.declare(&config.connections, callers, per_minute, &self.metrics)?,
            settings: Arc::new(proxy_settings(config)),
            management: Arc::new(self.management_settings(config)),
            rules: Arc::new(rules),
            stale: before.map(|before| Arc::clone(&before.stale)).unwrap_or_default(),
        })
    }

    fn management_settings(&self, config: &Config) -> ManagementSettings {
        let subdomain = config.zis.subdomain.as_ref();
        let account_host = subdomain.map(|name| format!("{name}.zendesk.com"));
        ManagementSettings {
            read_at: self.clock.now(),
            allow_static_zendesk: config.zis.allow_static_zendesk,
            requests_per_minute: config.api.requests_per_minute,
            has_own_authority: config.ca.cert.is_some(),
            redact_tokens: config.oauth.redact_tokens,
            public_url: config.api.public_url.clone(),
            allowed_redirect_origins: config.oauth.allowed_redirect_origins.clone(),
            allowed_ports: config.proxy.allowed_ports.clone().into(),
            account_host: account_host.and_then(|host| HostName::parse(&host).ok()),
            account_id: config.zis.account_id,
        }
    }
}

/// The holder of `admin.token`.
fn operator() -> Caller {
    Caller {
        name: "admin".into(),
        reach: Reach::Every(None),
        scopes: Scopes { admin: true, ..Scopes::default() },
        expires_at: None,
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
    // The methods, as a list and as the `Allow` field that names them.
    let methods: Vec<_> = plan.allowed_methods.iter().map(http::Method::as_str).collect();
    Settings {
        anonymous: match plan.caller_auth {
            CallerAuth::Token => None,
            CallerAuth::None => plan.default_integration.clone(),
        },
        own_hosts: plan.allowed_hosts.iter().map(String::as_str).collect(),
        allowed_methods: plan.allowed_methods.clone(),
        allow: HeaderValue::try_from(methods.join(", "))
            .unwrap_or_else(|_never| HeaderValue::from_static("")),
        terms: Terms {
            upgrade_plain_http: plan.plain_http == PlainHttp::Upgrade,
            allowed_ports: plan.allowed_ports.clone().into(),
            unrestricted_oauth: config.oauth.unrestricted,
        },
        blind_tunnels: plan.untagged == Untagged::Tunnel,
        max_body_bytes: plan.max_body_bytes.unwrap_or(0),
        exchange_idle_timeout: plan.idle_timeout,
        splice_idle_timeout: plan.websocket_idle_timeout,
        tunnel_first_byte_timeout: plan.head_timeout,
        renewal: Renewal {
            refresh_before: config.oauth.refresh_before,
            refresh_lease: RefreshLease {
                before_asking: config.oauth.lease,
                after_asking: config.oauth.takeover,
            },
            retry_on_401: config.oauth.retry_on_401,
            replay_body_bytes: config.oauth.replay_body_bytes,
            replay_memory: usize::try_from(config.oauth.replay_memory).unwrap_or(usize::MAX),
        },
    }
}
