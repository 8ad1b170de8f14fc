//! The management plane's rules, once for everybody who asks: what may be seen, made, changed and
//! deleted, and by whom.
//!
//! Owns those rules, promises that what it has done is sealed, kept, and in force on this
//! instance before it says so, and must never know how it was asked: no HTTP is spoken here.

mod audit;
mod authorities;
mod connections;
mod draft;
mod explain;
mod fault;
mod form;
mod keys;
mod listing;
mod oauth;
mod operator;
mod rate_limits;
mod status;
mod tokens;
mod unusable;

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use jiff::Timestamp;

pub use self::audit::{AuditPage, AuditPosition, AuditReader, Audited};
pub use self::authorities::{RecordError, Successor, seal_authority};
pub use self::connections::{ConnectionView, ReadAccess, WriteAccess};
pub use self::explain::{Explainer, Explanation, Question, Step};
pub use self::fault::{About, Fault, NAME_TAKEN, Refused, Scope};
pub use self::form::{Entry, Form, REDACTED, printable_name};
pub use self::keys::{KeyUse, Rotated};
pub use self::listing::{AnyConnection, ListPage};
pub use self::oauth::{
    AccountAnswer, AuthorizationRedirect, ClientView, ConnectionRef, ExchangedFlow, FlowCookie,
    FlowOutcome, OAuthConnectionView, StartedFlow, UserAgent,
};
pub use self::operator::Operator;
pub use self::rate_limits::{ClientAddr, RateLimits};
pub use self::status::{ConnectionStatus, RENEWED_WHEN_USED, State, StatusFilter, StatusPage};
pub use self::tokens::{CreatedToken, TOKEN_NAME_TAKEN, TokenAdmin};
pub use self::unusable::Unusable;
use crate::clock::Clock;
use crate::ledger::Metrics;
use crate::model::caller::Caller;
use crate::model::origin::HostName;
use crate::model::permit::AllowedPorts;
use crate::model::token::TokenDigest;
use crate::oauth::{Provider, RefreshHandle, Shelf};
use crate::state::Registry;
use crate::store::Revision;

/// Management: where operators ask.
#[derive(Debug)]
pub struct Management {
    keeping: Option<Arc<dyn Keeping>>,
    view: Arc<dyn View>,
    clock: Clock,
}

/// What is in force on this instance, as far as management must know it. Every answer comes from
/// memory.
pub trait View: fmt::Debug + Send + Sync {
    /// The connections and callers. A stored token whose record is not genuine is not among them.
    fn registry(&self) -> Registry;

    /// When the configuration in force was read.
    fn declared_since(&self) -> Timestamp;

    /// What of the configuration the management plane goes by.
    fn rules(&self) -> Rules;

    /// What of it OAuth goes by.
    fn oauth_rules(&self) -> Arc<OAuthRules>;

    /// Whether the interception CA is the configuration's.
    fn has_own_authority(&self) -> bool;

    /// What the data plane would do with a request of this caller.
    fn explain(&self, caller: &Caller, question: &Question) -> Explanation;
}

/// What of the configuration the management plane goes by.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Rules {
    /// Whether a static connection may take the reserved name.
    pub allow_static_zendesk: bool,
    /// How many requests a token may make in a minute; `None`: no limit.
    pub requests_per_minute: Option<u32>,
}

/// What of the configuration OAuth goes by.
#[derive(Clone, Debug)]
pub struct OAuthRules {
    /// Whether tokens are hidden whatever the scope.
    pub redact_tokens: bool,
    /// The base of the URLs that a flow leads through, without a slash at its end.
    pub public_url: String,
    /// Where a flow may send the browser at its end, beside `public_url`'s origin and loopback:
    /// `scheme://host[:port]`.
    pub allowed_redirect_origins: Vec<String>,
    /// The ports that anything may be sent to.
    pub allowed_ports: AllowedPorts,
    /// The account's own host, where the operator has named the account.
    pub account_host: Option<HostName>,
    /// The account's number; 0 where it was not given.
    pub account_id: u64,
}

/// What it takes to keep anything.
pub trait Keeping: Shelf {
    /// Takes up a new first master key, if there is one.
    ///
    /// Fails with [`Refused::KeysFromEnvironment`] where the server can't read keys anew, with
    /// [`Refused::KeysUnreadable`] when what it reads is of no use, with [`Refused::KeysNeeded`]
    /// when a key is not among them that records need. Nothing has changed then.
    fn renew_keys(&self) -> BoxFuture<'_, Result<(), Refused>>;

    /// The ids of the master keys that the key file has now, none where it can't be read; `None`
    /// where the keys come from the environment.
    fn keys_in_file(&self) -> Option<Vec<String>>;

    /// Where other tokens are asked for.
    fn tokens(&self) -> &RefreshHandle;

    /// Whoever asks token endpoints.
    fn provider(&self) -> &Provider;
}

impl Management {
    /// A management over what is in force. Without anything to keep in, it shows what is declared and
    /// makes nothing.
    #[must_use]
    pub fn new(keeping: Option<Arc<dyn Keeping>>, view: Arc<dyn View>, clock: Clock) -> Self {
        Self { keeping, view, clock }
    }

    /// Who holds the token with this digest, unless it has ended. Its use is noted.
    #[must_use]
    pub fn admit(&self, digest: &TokenDigest) -> Option<Operator> {
        let now = self.clock.now();
        let registry = self.view.registry();
        let holder = registry.holder(digest).filter(|known| !known.caller.has_expired(now))?;
        holder.mark_used(now);
        Some(Operator::new(Arc::clone(holder)))
    }

    /// The base of the URLs by which browsers come here, without a slash at its end.
    #[must_use]
    pub fn public_url(&self) -> String {
        self.view.oauth_rules().public_url.clone()
    }

    /// Where providers send the browser back to.
    #[must_use]
    pub fn callback_url(&self) -> String {
        format!("{}{}", self.public_url(), oauth::CALLBACK)
    }

    /// The time by which management goes.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Whether anything is kept, so that something can be made.
    #[must_use]
    pub fn keeps(&self) -> bool {
        self.keeping.is_some()
    }

    /// What of the configuration the management plane goes by.
    #[must_use]
    pub fn rules(&self) -> Rules {
        self.view.rules()
    }

    /// Notes among the figures how the tokens of all OAuth connections stand.
    pub fn note_tokens(&self, metrics: &Metrics) {
        let (registry, now) = (self.view.registry(), self.clock.now());
        let needed =
            registry.authorized().filter(|(standing, _)| standing.needs_reauthorization(now));
        let needed = needed.count();
        let expiries = registry.authorized().filter_map(|(standing, counters)| {
            let end = standing.expires_at?;
            Some((&**counters, end.duration_since(now).as_secs_f64()))
        });
        metrics.note_tokens(expiries, needed);
    }

    fn keeping(&self) -> Result<&dyn Keeping, Refused> {
        self.keeping.as_deref().ok_or(Refused::NoStore)
    }

    /// Waits until what was written is in force on this instance. It is written in any case: when
    /// the wait is over, it takes effect a little later.
    async fn settle(&self, revision: Revision) {
        let Some(keeping) = &self.keeping else { return };
        if !keeping.in_force(revision).await {
            tracing::warn!("a change was written, but is not in force on this instance yet");
        }
    }
}
