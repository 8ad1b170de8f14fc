//! The management plane's settings, once for everybody who asks: what may be seen, made, changed and
//! deleted, and by whom.
//!
//! Owns those settings, promises that what it has done is sealed, kept, and in force on this
//! instance before it says so, and must never know how it was asked: no HTTP is spoken here.

mod attention;
mod audit;
mod authorities;
mod aws;
mod connections;
mod custom;
mod data_plane;
mod draft;
mod events;
mod explain;
mod fault;
mod health;
mod keys;
mod listing;
mod member_reader;
mod oauth;
mod operator;
mod options;
mod placements;
mod presets;
mod rate_limits;
mod records;
mod requests;
mod sessions;
mod shapes;
mod sign_in;
mod stats;
mod status;
mod status_list;
mod tokens;
mod unusable;

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::Semaphore;

pub use self::attention::AttentionState;
pub use self::audit::{AuditPage, AuditReader};
pub use self::connections::{ConnectionView, ReadAccess, WriteAccess};
pub use self::data_plane::{
    BodyPreview, DataPlane, ProbeRefusal, ProbeRequest, ProbeResponse, ProbeTimes,
};
pub use self::events::{EventQuery, EventReader};
pub use self::explain::{CallerNameError, Explainer, Question, find_caller};
use self::fault::no_randomness;
pub use self::fault::{About, NAME_TAKEN, Refused, RequestFault, Scope};
pub use self::health::{ATTENTION, HealthQuery, REFUSED, failing_sentence, refused_sentence};
pub use self::listing::{AnyConnection, ListPage};
pub use self::oauth::{
    AccountAnswer, AuthorizationRedirect, Catalogue, ClientView, ConnectionRef, ExchangedFlow,
    FlowCookie, FlowOutcome, McpClientView, OAuthConnectionView, RefreshStanding,
    RevocationOutcome, StartedFlow, UserAgent,
};
pub use self::operator::Operator;
pub use self::presets::Preset;
pub use self::rate_limits::{ClientAddr, RateLimits};
pub use self::requests::{RequestQuery, remedy_of};
pub use self::sessions::SessionsView;
use self::sign_in::SessionCache;
pub use self::sign_in::{
    ConsoleSession, OpenIdRedirect, PersonSignedIn, SESSION_COOKIE_AGE, SignInFault, session_ends,
};
pub use self::stats::{RequestHistory, StatsQuery};
pub use self::status::{ConnectionStatus, RENEWED_WHEN_USED, State, StatusAccess};
pub use self::status_list::{StatusFilter, StatusKey, StatusOrder, StatusPage};
pub use self::tokens::{CreatedToken, TOKEN_ORDERS, TokenAdmin, TokenDefect, TokenQuery};
pub use self::unusable::Unusable;
use crate::clock::Clock;
use crate::ledger::Metrics;
use crate::model::token::TokenDigest;
use crate::oauth::{KnownOpenIdProvider, Provider, RefreshHandle};
use crate::state::{Live, ManagementSettings, Persistence, Registry};
pub use crate::store::AuditPosition;
use crate::store::Revision;
use crate::tasks::Tasks;

/// The number of operators who read much of the store at once.
const MAX_LONG_READS: usize = 2;

/// Management: where operators ask.
#[derive(Debug)]
pub struct Management {
    storage: Option<Storage>,
    live: Arc<Live>,
    data_plane: Arc<dyn DataPlane>,
    clock: Clock,
    /// The name of the process, as entries and events have it.
    instance: Box<str>,
    sessions: SessionCache,
    open_id: KnownOpenIdProvider,
    /// The turns of operators who read much of the store. They wait for each other, so that the rest
    /// of the store's readers are left to what must not wait.
    long_reads: Semaphore,
}

/// The store, and the ways to token endpoints that go with it.
#[derive(Clone, Debug)]
pub struct Storage {
    /// The store and its keys, kept in force.
    pub persistence: Arc<Persistence>,
    /// The handle by which other tokens are asked for.
    pub refreshes: RefreshHandle,
    /// The way to token endpoints.
    pub provider: Arc<Provider>,
    /// The tasks that go on when their caller is gone.
    pub errands: Tasks,
}

impl Management {
    /// Manages what is in force, by an instance of this name. Without storage it shows what is
    /// declared, and makes nothing.
    pub fn new(
        storage: Option<Storage>,
        live: Arc<Live>,
        data_plane: Arc<dyn DataPlane>,
        clock: Clock,
        instance: &str,
    ) -> Self {
        Self {
            storage,
            live,
            data_plane,
            clock,
            instance: instance.into(),
            sessions: SessionCache::default(),
            open_id: KnownOpenIdProvider::default(),
            long_reads: Semaphore::new(MAX_LONG_READS),
        }
    }

    /// Finds the holder of the token with this digest, unless it has expired, and notes its use.
    #[must_use]
    pub fn admit(&self, digest: &TokenDigest) -> Option<Operator> {
        let now = self.clock.now();
        let registry = self.registry();
        let holder = registry.holder(digest).filter(|known| !known.caller.has_expired(now))?;
        holder.mark_used(now);
        Some(Operator::new(Arc::clone(holder)))
    }

    /// The base of the URLs by which browsers come here, without a slash at its end.
    pub fn public_url(&self) -> String {
        self.settings().public_url.clone()
    }

    /// The URL to which providers send the browser back.
    pub fn callback_url(&self) -> String {
        format!("{}{}", self.public_url(), oauth::CALLBACK)
    }

    /// The URL at which a client that is not registered describes itself, which is its id.
    #[must_use]
    pub fn client_metadata_url(&self) -> String {
        format!("{}{}", self.public_url(), oauth::CLIENT_METADATA)
    }

    /// The time by which management goes.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Tells whether there is a store, so that something can be made.
    pub fn keeps(&self) -> bool {
        self.storage.is_some()
    }

    /// The management plane's settings, as they are in force.
    pub fn settings(&self) -> Arc<ManagementSettings> {
        Arc::clone(&self.live.load().management)
    }

    /// Notes among the figures how the tokens of all OAuth connections stand, when secrets expire
    /// that operators have written down, and when client certificates do.
    pub fn note_tokens(&self, metrics: &Metrics) {
        let (registry, now) = (self.registry(), self.clock.now());
        let needed =
            registry.authorized().filter(|(standing, _)| standing.needs_reauthorization(now));
        let needed = needed.count();
        let until = |end: Timestamp| end.duration_since(now).as_secs_f64();
        let tokens = registry
            .authorized()
            .filter_map(|(standing, counters)| Some((&**counters, until(standing.expires_at?))));
        let grants = registry.authorized().filter_map(|(standing, counters)| {
            Some((&**counters, until(standing.grant_life?.ends)))
        });
        metrics.note_tokens(tokens, grants, needed);
        let all = registry.integrations().flat_map(|name| registry.listed_in(name.as_str()));
        metrics.note_secrets(all.filter_map(|registered| {
            let end = registered.connection.options().expires_at()?;
            Some((&*registered.counters, until(end)))
        }));
        let certificates = registry.certified().filter_map(|(connection, counters)| {
            Some((&**counters, until(connection.identity()?.not_after())))
        });
        metrics.note_certificates(certificates);
    }

    fn registry(&self) -> Registry {
        self.live.load().registry.clone()
    }

    fn storage(&self) -> Result<&Storage, Refused> {
        self.storage.as_ref().ok_or(Refused::NoStore)
    }

    fn persistence(&self) -> Result<&Persistence, Refused> {
        Ok(&*self.storage()?.persistence)
    }

    /// Waits until what was written is in force on this instance. It is written in any case: when
    /// the wait is over, it takes effect a little later.
    async fn settle(&self, revision: Revision) {
        let Ok(persistence) = self.persistence() else { return };
        if !persistence.wait_until_in_force(revision).await {
            tracing::warn!("a change was written, but is not in force on this instance yet");
        }
    }
}
