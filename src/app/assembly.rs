//! From the configuration to the set in force.

use std::sync::Arc;

use crate::clock::Clock;
use crate::config::Config;
use crate::ledger::Metrics;
use crate::model::caller::{Caller, Reach};
use crate::model::token::{Scopes, TokenDigest};
use crate::state::{DuplicateNames, InForce, ManagementSettings, Registry};
use crate::upstream::{Guard, NameLookups, OwnListeners, RootsError, TlsClients, UpstreamRules};

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
    pub fn assemble(
        &self,
        config: &Config,
        generation: u64,
        before: Option<&InForce>,
    ) -> Result<InForce, AssemblyError> {
        // 1. The way out.
        let settings = config.upstream.clone();
        let rules = UpstreamRules {
            generation,
            guard: Guard::new(settings.allow_networks.clone(), self.own.clone()),
            tls: TlsClients::new(&settings)?,
            names: Arc::clone(&self.names),
            settings,
        };
        // 2. The connections and callers that are declared, beside those of the store.
        let known = before.map(|before| before.registry.clone()).unwrap_or_default();
        let management =
            ManagementSettings { read_at: self.clock.now(), ..config.management.clone() };
        Ok(InForce {
            registry: self.declare(config, &known)?,
            settings: Arc::new(config.proxy.settings.clone()),
            management: Arc::new(management),
            rules: Arc::new(rules),
            stale: before.map(|before| Arc::clone(&before.stale)).unwrap_or_default(),
        })
    }

    /// Puts the declared secrets of `config`, of which commands have printed others, in the place
    /// of those of `before`; nothing else changes.
    pub(super) fn with_secrets(
        &self,
        config: &Config,
        before: &InForce,
    ) -> Result<InForce, DuplicateNames> {
        let account_client = config.management.account_client.clone();
        let open_id = config.management.open_id.clone();
        let webhook = config.management.webhook.clone();
        let management =
            ManagementSettings { account_client, open_id, webhook, ..(*before.management).clone() };
        Ok(InForce {
            registry: self.declare(config, &before.registry)?,
            management: Arc::new(management),
            ..before.clone()
        })
    }

    fn declare(&self, config: &Config, known: &Registry) -> Result<Registry, DuplicateNames> {
        let operator = self.admin.map(|digest| (digest, operator()));
        let declared = config.tokens.iter();
        let declared = declared.filter_map(|token| Some((token.digest?, token.caller.clone())));
        let callers = declared.chain(operator).collect();
        let per_minute = config.proxy.requests_per_minute;
        known.declare(&config.connections, callers, per_minute, &self.metrics)
    }
}

/// The holder of `admin.token`.
fn operator() -> Caller {
    Caller {
        name: "admin".into(),
        reach: Reach::Every(None),
        scopes: Scopes { admin: true, ..Scopes::default() },
        expires_at: None,
        rules: crate::model::rules::Rules::default(),
    }
}
