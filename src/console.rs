//! The console: connections, seen and managed in a browser.
//!
//! Owns the pages below `/console` and who has signed in; promises that they say and do no more
//! than the desk would for the token that somebody has signed in with; and must never know a
//! secret that is kept, nor decide what the desk decides.

mod assets;
mod change;
mod clients;
mod connect;
mod connection;
mod create;
mod errors;
mod fields;
mod filled;
mod frame;
mod home;
mod landing;
mod list;
mod outlook;
mod router;
mod session;
mod shell;
mod sign_in;
mod snippets;
mod system;
mod tokens;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;
use jiff::Timestamp;

use self::session::Sessions;
use crate::desk::{Desk, Turnstile};
use crate::ledger::Metrics;
use crate::tasks::Tasks;

/// What the console is made of.
#[derive(Clone, Debug)]
pub struct Rooms {
    /// Where operators ask.
    pub desk: Arc<Desk>,
    /// How often they may ask.
    pub turnstile: Arc<Turnstile>,
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
struct Hall {
    rooms: Arc<Rooms>,
    sessions: Arc<Sessions>,
}

/// Every path of the console.
pub fn router(rooms: Rooms) -> Router {
    let hall = Hall { rooms: Arc::new(rooms), sessions: Arc::default() };
    router::router(hall)
}
