//! The plan: everything an operator can say, read once and checked whole.
//!
//! Owns the configuration's keys, defaults, layers (command line, environment, file) and faults;
//! promises that a [`Config`] which exists obeys every rule, and that all faults are reported at
//! the place where they were written; must never know how a room uses its part of the plan.

mod connections;
mod environment;
mod fault;
mod item;
mod layers;
mod listener;
mod pem;
mod reference;
mod reload;
mod report;
mod rules;
mod section;
mod sections;
mod settings;
mod store_url;
mod text;
mod tokens;
mod tree;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::model::caller::Caller;
use crate::model::connection::Connection;
use crate::model::token::TokenDigest;

pub use self::environment::Environment;
pub use self::fault::{Fault, Faults, Place};
pub use self::listener::Listener;
pub use self::pem::{PemError, Tls};
pub use self::settings::{
    Api, Audit, Ca, CallerAuth, Log, LogFormat, OAuth, PlainHttp, Proxy, Seal, Store, Untagged,
    Upstream, Zis,
};
pub use self::store_url::StoreUrl;

/// Every key with its default and one sentence, as it is printed for operators.
pub const DEFAULT_FILE: &str = include_str!("../config/default.toml");

/// The whole configuration (contract §6), checked.
#[derive(Debug)]
pub struct Config {
    /// Where the database, the keys and `admin.token` are kept.
    pub data_dir: PathBuf,
    /// How long requests in flight may take after a signal to stop.
    pub shutdown_grace: Duration,
    /// What is logged, and how.
    pub log: Log,
    /// The data plane.
    pub proxy: Proxy,
    /// The way out to origins.
    pub upstream: Upstream,
    /// The management API and the console.
    pub api: Api,
    /// Where connections and tokens are kept.
    pub store: Store,
    /// What secrets are sealed with.
    pub seal: Seal,
    /// The interception CA, where the operator brings one.
    pub ca: Ca,
    /// OAuth connections.
    pub oauth: OAuth,
    /// What concerns Zendesk itself.
    pub zis: Zis,
    /// The audit records.
    pub audit: Audit,
    /// The declared connections.
    pub connections: Vec<Arc<Connection>>,
    /// The declared caller tokens: digest and caller.
    pub tokens: Vec<(TokenDigest, Caller)>,
}

/// What the command line says about the configuration.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `--config FILE`; without it `KEYFERRY_CONFIG`, without that no file.
    pub config: Option<PathBuf>,
    /// `--data-dir DIR`, which wins over every other source.
    pub data_dir: Option<PathBuf>,
}

/// A configuration without a fault, with what was noticed while reading it.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What works but deserves the operator's attention, in the order of the file.
    pub warnings: Vec<Fault>,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
}

/// What leads to a running server.
#[derive(Clone, Debug)]
pub struct Whereabouts {
    /// Where it listens, and what it shows there.
    pub api: Api,
    /// Where it keeps `admin.token`.
    pub data_dir: PathBuf,
    /// Where callers reach the proxy, as far as that can be read.
    pub proxy: Proxy,
    /// Where connections are kept, as far as that can be read.
    pub store: StoreUrl,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("keyferry-data"),
            shutdown_grace: Duration::from_secs(10),
            log: Log::default(),
            proxy: Proxy::default(),
            upstream: Upstream::default(),
            api: Api::default(),
            store: Store::default(),
            seal: Seal::default(),
            ca: Ca::default(),
            oauth: OAuth::default(),
            zis: Zis::default(),
            audit: Audit::default(),
            connections: Vec::new(),
            tokens: Vec::new(),
        }
    }
}

/// Reads the layers, applies every rule and gives the whole configuration or every fault.
///
/// # Errors
/// [`Faults`], each with its place, its key and the rule that it breaks; never with a secret.
pub fn load(options: &Options, environment: &Environment) -> Result<Loaded, Faults> {
    let report = report::Report::default();
    let file = layers::file(options, environment);
    let text = layers::text(file.as_deref(), &report);
    let tree = layers::tree(environment, file.as_deref(), &text, &report);
    let config = sections::config(tree, options, environment, &report);
    rules::check(&config, &report);
    report.verdict().map(|warnings| Loaded { config, warnings, file })
}

/// Reads where a server of this configuration is found, whatever faults the rest may have: for
/// commands that only talk to a running one.
///
/// # Errors
/// [`Faults`] of `data_dir` and the `[api]` section, or of a file that can't be read. What else
/// is told of the server is the default where it is faulty.
pub fn whereabouts(options: &Options, environment: &Environment) -> Result<Whereabouts, Faults> {
    let report = report::Report::default();
    let file = layers::file(options, environment);
    let text = layers::text(file.as_deref(), &report);
    let tree = layers::tree(environment, file.as_deref(), &text, &report);
    let mut found = sections::whereabouts(tree, options, environment, &report);
    // What else is said there is no reason to fail: only the server must understand all of it.
    let aside = report::Report::default();
    let tree = layers::tree(environment, file.as_deref(), &text, &aside);
    sections::surroundings(tree, environment, &aside, &mut found);
    report.verdict().map(|_warnings| found)
}

#[cfg(test)]
mod tests;
