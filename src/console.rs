//! The console: connections, seen and managed in a browser.
//!
//! Owns the pages below `/console` and who has signed in; promises that they say and do no more
//! than management would for the token that somebody has signed in with; and must never know a
//! secret that is kept, nor decide what management decides.

mod activity;
mod assets;
mod change;
mod chart;
mod clients;
mod connect;
mod connection;
mod create;
mod errors;
mod fields;
mod form_values;
mod home;
mod landing;
mod layout;
mod list;
mod page_context;
mod router;
mod session;
mod sign_in;
mod snippets;
mod status_view;
mod system;
mod tokens;
mod trial;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;
use jiff::Timestamp;

use self::session::Sessions;
use crate::ledger::Metrics;
use crate::management::{Management, RateLimits};
use crate::tasks::Tasks;

/// What the console is made of.
#[derive(Clone, Debug)]
pub struct ConsoleServices {
    /// Where operators ask.
    pub management: Arc<Management>,
    /// How often they may ask.
    pub rate_limits: Arc<RateLimits>,
    /// The figures.
    pub metrics: Arc<Metrics>,
    /// Where work goes on that must not be broken off when its caller goes.
    pub errands: Tasks,
    /// What is told of the process.
    pub facts: Arc<Facts>,
    /// Whether browsers reach the console over TLS.
    pub is_secure: bool,
    /// Whether the server is going down.
    pub draining: Arc<AtomicBool>,
}

/// What is told of the process.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Its name, as it stands in entries.
    pub instance: String,
    /// Where callers reach the proxy.
    pub proxies: Vec<String>,
    /// Where it keeps things, without a password.
    pub store: String,
    /// Since when it runs.
    pub started: Timestamp,
}

/// What every page is served from.
#[derive(Clone, Debug)]
struct ConsoleState {
    services: Arc<ConsoleServices>,
    sessions: Arc<Sessions>,
}

/// Every path of the console.
pub fn router(services: ConsoleServices) -> Router {
    let state = ConsoleState { services: Arc::new(services), sessions: Arc::default() };
    router::router(state)
}
