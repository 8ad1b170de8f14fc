//! OAuth's tokens: asked for, kept fresh, and never lost (RFC 6749, ZIS spec §7).
//!
//! Owns every word with a token endpoint and the refreshing of tokens, promises that a refresh
//! token is spent by one instance at a time and that what it was changed for is kept before it is
//! used, and must never know the request that a token is for.

mod answer;
mod ask;
mod coding;
mod failure;
mod handle;
mod manager;
mod provider;
mod refresh;
mod schedule;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

pub use self::answer::{Denial, ErrorCode, GrantedTokens, read as read_answer};
pub use self::ask::GrantParams;
pub use self::failure::TokenFailure;
pub use self::handle::{Cause, RefreshHandle, RefreshRequest};
pub use self::manager::Manager;
pub use self::provider::{Provider, TokenRequest, TokenResponse, Unsuccessful};
use crate::model::name::IntegrationName;
use crate::model::sealed::{Context, Sealed};
use crate::secret::Secret;
use crate::state::Registry;
use crate::store::{RefreshLease, Revision, Store};
use crate::upstream::UpstreamRules;
use crate::vault::{OpenError, Vault};

/// Where things are kept, and come into force.
pub trait Shelf: fmt::Debug + Send + Sync {
    /// Where records are kept.
    fn store(&self) -> &Store;

    /// The vault with the master keys that are in force.
    fn vault(&self) -> Arc<Vault>;

    /// Opens what `whose` record has sealed, after a look for its master key, if that is not at
    /// hand: another instance may be at rotating the keys, and further than this one. Where it can't
    /// be opened the alarm is raised, and whoever asks need only refuse.
    fn open<'a>(
        &'a self,
        whose: String,
        context: Context<'a>,
        sealed: &'a Sealed,
    ) -> BoxFuture<'a, Result<Secret, OpenError>>;

    /// Waits, not for long, until the store's revision is in force on this instance; whether it
    /// came to that.
    fn in_force(&self, revision: Revision) -> BoxFuture<'_, bool>;
}

/// What is in force on this instance, as far as tokens go. Every answer comes from memory.
pub trait Surroundings: fmt::Debug + Send + Sync {
    /// The connections.
    fn registry(&self) -> Registry;

    /// The way out's rules.
    fn rules(&self) -> Arc<UpstreamRules>;

    /// The ports that anything may be sent to.
    fn allows_port(&self, port: u16) -> bool;

    /// How long before its end a token is refreshed, at most.
    fn refresh_before(&self) -> Duration;

    /// The time that a refresh may be silent before another instance takes it over.
    fn refresh_lease(&self) -> RefreshLease;
}

/// A step of a flow, or of a client's or a connection's life, as its audit line tells it. No line
/// has a token, a code or a provider's own words in it.
#[derive(Clone, Copy, Debug)]
pub struct OAuthStep<'a> {
    /// What was done.
    pub step: &'static str,
    /// By whom.
    pub operator: &'a str,
    /// In which integration.
    pub integration: &'a IntegrationName,
    /// With which client, where it is one's.
    pub client: Option<&'a str>,
    /// To which connection, once it is known.
    pub connection: Option<&'a str>,
}

impl OAuthStep<'_> {
    /// Writes the line; `failure` says why it was not done.
    pub fn log(&self, failure: Option<&str>) {
        let OAuthStep { step, operator, integration, client, connection } = *self;
        let integration = integration.as_str();
        let (client, connection) = (client.unwrap_or_default(), connection.unwrap_or_default());
        match failure {
            None => tracing::info!(
                target: TARGET,
                step, operator, integration, client, connection, outcome = "done", "{MESSAGE}"
            ),
            Some(why) => tracing::warn!(
                target: TARGET,
                step, operator, integration, client, connection, outcome = "failed", why,
                "{MESSAGE}"
            ),
        }
    }
}

const TARGET: &str = "keyferry::audit";
const MESSAGE: &str = "an OAuth step";
