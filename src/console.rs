//! The console: connections, seen and managed in a browser.
//!
//! Owns the pages below `/console` and who has signed in; promises that they say and do no more
//! than management would for the token that somebody has signed in with; and must never know a
//! secret that is kept, nor decide what management decides.

mod activity;
mod assets;
mod attention;
mod aws;
mod change;
mod chart;
mod client_key;
mod clients;
mod connect;
mod connection;
mod create;
mod custom;
mod errors;
mod events;
mod fields;
mod form_values;
mod home;
mod landing;
mod layout;
mod list;
mod mcp;
mod openid;
mod options;
mod page_context;
mod request;
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

use crate::ledger::Metrics;
use crate::management::{Management, RateLimits};
use crate::tasks::Tasks;

/// The parts of the process that the console serves.
#[derive(Clone, Debug)]
pub struct ConsoleServices {
    /// The management plane's rules.
    pub management: Arc<Management>,
    /// The rates of operators and of strangers.
    pub rate_limits: Arc<RateLimits>,
    /// The figures.
    pub metrics: Arc<Metrics>,
    /// The tasks that go on when their caller is gone.
    pub errands: Tasks,
    /// The facts about the process that pages show.
    pub facts: Arc<Facts>,
    /// Tells whether browsers reach the console over TLS.
    pub is_secure: bool,
    /// Tells whether the server is shutting down.
    pub draining: Arc<AtomicBool>,
}

/// The facts about the process that pages show.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Its name in entries.
    pub instance: String,
    /// The addresses at which callers reach the proxy.
    pub proxies: Vec<String>,
    /// The store's URL, without a password.
    pub store: String,
    /// Since when it runs.
    pub started: Timestamp,
}

/// The state that every page is served from.
#[derive(Clone, Debug)]
struct ConsoleState {
    services: Arc<ConsoleServices>,
}

/// Every path of the console.
pub fn router(services: ConsoleServices) -> Router {
    router::router(ConsoleState { services: Arc::new(services) })
}
