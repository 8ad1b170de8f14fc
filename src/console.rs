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

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;
use futures_util::future::BoxFuture;
use jiff::Timestamp;

use self::session::Sessions;
use crate::ledger::Metrics;
use crate::management::{Management, RateLimits};
use crate::model::name::{ConnectionName, IntegrationName};
use crate::model::token::TokenDigest;
use crate::tasks::Tasks;

/// What the console is made of.
#[derive(Clone, Debug)]
pub struct ConsoleServices {
    /// Where operators ask.
    pub management: Arc<Management>,
    /// How often they may ask.
    pub rate_limits: Arc<RateLimits>,
    /// Whoever sends a request to try it.
    pub courier: Arc<dyn Courier>,
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

/// Sends a request through the data plane, as if its caller had.
pub trait Courier: fmt::Debug + Send + Sync {
    /// Sends it; the answer shows no secret of the connection that was used. A sentence says why
    /// there is none.
    fn send(&self, errand: Errand) -> BoxFuture<'static, Result<Delivered, String>>;
}

/// A request that is to be sent.
pub struct Errand {
    /// The digest of the token in whose name it is sent.
    pub caller: TokenDigest,
    /// The method.
    pub method: http::Method,
    /// The URL, as a caller would write it.
    pub url: String,
    /// The integration that it names.
    pub integration: IntegrationName,
    /// The connection that it names, if it names one.
    pub connection: Option<ConnectionName>,
    /// What its body is, and the body, if it has one.
    pub body: Option<(String, String)>,
}

impl fmt::Debug for Errand {
    /// Without the URL and the body, which may have secrets of whoever tries it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Errand").field("method", &self.method).finish_non_exhaustive()
    }
}

/// What has come of it.
#[derive(Clone, Debug, Default)]
pub struct Delivered {
    /// The status of the answer.
    pub status: u16,
    /// Whether it is the origin's, and not a refusal.
    pub is_the_origins: bool,
    /// Fields that tell something, by name.
    pub fields: Vec<(String, String)>,
    /// What can be shown of the body.
    pub body: Preview,
    /// How long it took in all, until the head and to the end, in milliseconds.
    pub times: Times,
}

/// What can be shown of a body.
#[derive(Clone, Debug, Default)]
pub struct Preview {
    /// Its text, as far as it is shown; `None` of what is no text.
    pub text: Option<String>,
    /// How many bytes there are, as far as they were read.
    pub bytes: usize,
    /// Whether there is more.
    pub is_cut: bool,
}

/// Where the time went, in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// All of it.
    pub total: f64,
    /// Our own part, until the request left.
    pub own: Option<f64>,
    /// To find the origin and connect to it.
    pub connect: Option<f64>,
    /// For TLS with it.
    pub tls: Option<f64>,
    /// The origin's, from then until its answer began.
    pub origin: Option<f64>,
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
