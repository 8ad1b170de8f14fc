//! What is in force, as the management plane sees it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;

use super::live::Live;
use crate::clock::Clock;
use crate::config::Config;
use crate::management::{Explanation, OAuthRules, Question, Rules, Step, View};
use crate::model::caller::Caller;
use crate::model::origin::HostName;
use crate::proxy::{self, ProxyRequest, Tags};
use crate::state::Registry;

/// What is in force, and what of the configuration goes with it.
#[derive(Debug)]
pub(super) struct Overview {
    pub(super) live: Arc<Live>,
    clock: Clock,
    declared: ArcSwap<Declared>,
    has_own_authority: bool,
}

/// What a reload replaces.
#[derive(Debug)]
struct Declared {
    since: Timestamp,
    rules: Rules,
    oauth: Arc<OAuthRules>,
}

impl Overview {
    pub(super) fn new(live: Arc<Live>, clock: Clock, config: &Config) -> Self {
        let declared = ArcSwap::from_pointee(Declared::read(config, &clock));
        let has_own_authority = config.ca.cert.is_some();
        Self { live, clock, declared, has_own_authority }
    }

    /// The configuration was read anew.
    pub(super) fn reloaded(&self, config: &Config) {
        self.declared.store(Arc::new(Declared::read(config, &self.clock)));
    }
}

impl Declared {
    fn read(config: &Config, clock: &Clock) -> Self {
        let rules = Rules {
            allow_static_zendesk: config.zis.allow_static_zendesk,
            requests_per_minute: config.api.requests_per_minute,
        };
        Self { since: clock.now(), rules, oauth: Arc::new(oauth_rules(config)) }
    }
}

fn oauth_rules(config: &Config) -> OAuthRules {
    let subdomain = config.zis.subdomain.as_ref();
    let account_host = subdomain.map(|name| format!("{name}.zendesk.com"));
    OAuthRules {
        redact_tokens: config.oauth.redact_tokens,
        public_url: config.api.public_url.clone(),
        allowed_redirect_origins: config.oauth.allowed_redirect_origins.clone(),
        allowed_ports: config.proxy.allowed_ports.clone().into(),
        account_host: account_host.and_then(|host| HostName::parse(&host).ok()),
        account_id: config.zis.account_id,
    }
}

impl View for Overview {
    fn registry(&self) -> Registry {
        self.live.in_force().load().registry.clone()
    }

    fn declared_since(&self) -> Timestamp {
        self.declared.load().since
    }

    fn rules(&self) -> Rules {
        self.declared.load().rules
    }

    fn oauth_rules(&self) -> Arc<OAuthRules> {
        Arc::clone(&self.declared.load().oauth)
    }

    fn has_own_authority(&self) -> bool {
        self.has_own_authority
    }

    fn explain(&self, caller: &Caller, question: &Question) -> Explanation {
        let Question { method, url, integration, connection } = question.clone();
        let tags =
            Tags { integrations: [None, integration, None], connections: [None, connection, None] };
        let ask = ProxyRequest::for_url(method, &url, tags);
        let told = proxy::explain(&self.live.in_force().load(), caller, ask, self.clock.now());
        let refusal = told.refusal.as_ref();
        let step = |step: proxy::RuleStep| Step {
            name: step.rule.as_str(),
            outcome: step.outcome.as_str(),
            detail: step.detail,
        };
        Explanation {
            refusal: refusal.map(|refusal| (refusal.code().as_str(), refusal.status().as_u16())),
            rule: refusal.map(|refusal| refusal.code().rule().as_str()),
            connection: told.connection.map(|connection| connection.name().to_string()),
            origin: told.origin.map(|origin| origin.to_string()),
            field: told.field.map(|field| field.to_string()),
            steps: told.steps.into_iter().map(step).collect(),
        }
    }
}
