//! Everything that is in force on this instance, and what keeps it so.
//!
//! Owns the set in force (connections, callers, settings), the one place that replaces it, the
//! master keys, and the following of the store; promises that requests are answered from memory
//! and that the set changes as a whole; and must never know a request, nor HTTP.

mod interception_ca;
mod keys;
mod live;
mod persistence;
mod registry;
mod settings;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

pub use self::interception_ca::{
    InterceptionCa, InterceptionCaError, SealAuthorityError, seal_authority,
};
pub use self::keys::{KeyLocation, KeysError, MASTER_KEY_VARIABLE, MasterKeys};
pub use self::live::Live;
pub use self::persistence::{FollowError, Persistence, StoreAndKeys};
pub use self::registry::{
    ConnectionSource, DuplicateNames, Holder, RegisteredConnection, Registry,
};
pub use self::settings::{ManagementSettings, Renewal, Settings};
use crate::upstream::UpstreamRules;

/// Everything that a reload or a change in the store replaces, as one.
#[derive(Clone, Debug)]
pub struct InForce {
    /// Connections and callers.
    pub registry: Registry,
    /// The data plane's settings.
    pub settings: Arc<Settings>,
    /// The management plane's settings.
    pub management: Arc<ManagementSettings>,
    /// The way out's rules.
    pub rules: Arc<UpstreamRules>,
    /// Turns true when the store has been silent for so long that what is known of it no longer
    /// counts.
    pub stale: Arc<AtomicBool>,
}

impl InForce {
    /// Tells whether the store has been silent for longer than `store.max_staleness`.
    pub fn is_stale(&self) -> bool {
        self.stale.load(Relaxed)
    }
}
