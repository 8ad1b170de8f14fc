//! The configuration: everything that an operator can say, read once and checked whole.
//!
//! Owns the configuration's keys, defaults, layers (command line, environment, file) and faults;
//! promises that a [`Config`] which exists obeys every rule, and that all faults are reported at
//! the place where they were written; must never know how a room uses its settings.

mod declared;
mod describe;
mod environment;
mod fault;
mod item;
mod pem;
mod readers;
mod report;
mod rules;
mod secrets;
mod section;
mod source;
mod store_url;
mod table;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::ledger::LineFormat;
use crate::listener::ListenAddr;
use crate::model::caller::Caller;
use crate::model::connection::Connection;
use crate::model::name::IntegrationName;
use crate::model::token::TokenDigest;
use crate::state::{self, ManagementSettings};
use crate::upstream;

pub use self::describe::{default_file, reference_page, schema};
pub use self::environment::Environment;
pub use self::fault::{ConfigFault, ConfigFaults, SourcePlace};
pub use self::pem::{PemError, PemPair};
use self::report::{Bound, Report};
use self::source::Source;
pub use self::store_url::StoreUrl;

/// The whole configuration (contract §6), checked. Each key is described in the table of keys.
#[derive(Debug)]
pub struct Config {
    /// The directory of the database, the keys and `admin.token`.
    pub data_dir: PathBuf,
    /// The time that requests in flight may take after a signal to stop.
    pub shutdown_grace: Duration,
    /// `[log]`
    pub log: LogConfig,
    /// `[proxy]`
    pub proxy: ProxyConfig,
    /// `[upstream]`
    pub upstream: upstream::Settings,
    /// `[api]`
    pub api: ApiConfig,
    /// `[oauth]` and `[zis]`, and what else the management plane goes by; read at no time yet.
    pub management: ManagementSettings,
    /// `[store]`
    pub store: StoreConfig,
    /// The master keys; relative to the data directory.
    pub master_key_file: PathBuf,
    /// `[ca]`: the interception CA, where the operator brings one.
    pub ca: Option<PemPair>,
    /// `[audit]`
    pub audit: AuditConfig,
    /// The declared connections.
    pub connections: Vec<Arc<Connection>>,
    /// The declared caller tokens: digest and caller.
    pub tokens: Vec<(TokenDigest, Caller)>,
    bound: Bound,
}

/// `[log]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogConfig {
    /// The form of a line; without one, pretty on a terminal and else JSON.
    pub format: Option<LineFormat>,
    /// The lines that are written: a level, or `target=level` pairs as in `RUST_LOG`.
    pub level: String,
}

/// `[proxy]`
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// The addresses where callers are accepted.
    pub listen: Vec<ListenAddr>,
    /// Callers show no token.
    pub is_anonymous: bool,
    /// The integration of an anonymous caller, and of commands that name none.
    pub default_integration: Option<IntegrationName>,
    /// The names by which callers reach the proxy itself, lower-case, without a port.
    pub allowed_hosts: Vec<String>,
    /// The number of callers' conns that are held at once.
    pub max_connections: usize,
    /// The number of them that one caller may hold; 0: half of them.
    pub max_connections_per_caller: usize,
    /// The largest head of a request, in bytes.
    pub max_head_bytes: usize,
    /// Requests per minute and token; `None`: no limit.
    pub requests_per_minute: Option<u32>,
    /// The certificate shown to callers that use `https://` as the proxy's scheme.
    pub tls: Option<PemPair>,
    /// The settings of the data plane.
    pub settings: state::Settings,
}

/// `[api]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ApiConfig {
    /// The address where the management API and the console listen.
    pub listen: SocketAddr,
    /// The base of redirect URLs and of the OAuth callback, without a trailing slash.
    pub public_url: String,
    /// Names beside `public_url`'s and loopback ones, lower-case, without a port.
    pub allowed_hosts: Vec<String>,
    /// The requests that a token may make in a minute; `None`: no limit.
    pub requests_per_minute: Option<u32>,
    /// The API's certificate.
    pub tls: Option<PemPair>,
}

/// `[store]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoreConfig {
    /// The store of connections and tokens.
    pub url: StoreUrl,
    /// The time that an instance goes on without hearing from its store.
    pub max_staleness: Duration,
}

/// `[audit]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuditConfig {
    /// The time that audit records are kept.
    pub retention: Duration,
    /// The number of bytes that all audit records together may take in the store.
    pub max_bytes: u64,
}

/// The part of the command line that concerns the configuration.
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
    /// Things that work but deserve the operator's attention, in the order of the file.
    pub warnings: Vec<ConfigFault>,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
}

/// The way to a running server. What is faulty has its default, but for `data_dir` and `api`.
#[derive(Clone, Debug)]
pub struct Whereabouts {
    /// `[api]`
    pub api: ApiConfig,
    /// The directory of `admin.token`.
    pub data_dir: PathBuf,
    /// `[proxy]`
    pub proxy: ProxyConfig,
    /// The store of connections and tokens.
    pub store: StoreUrl,
}

impl Config {
    /// The keys that differ between both and are bound at the start, so that only a restart
    /// changes them.
    pub fn needs_restart(&self, other: &Self) -> Vec<&str> {
        let pairs = self.bound.iter().zip(&other.bound);
        let changed = pairs.filter(|((_, one), (_, two))| !one.equals(&**two));
        changed.map(|((key, _), _)| key.as_str()).collect()
    }
}

/// Reads the layers, applies every rule and gives the whole configuration or every fault.
///
/// # Errors
/// [`ConfigFaults`], each with its place, its key and the rule that it breaks; never with a secret.
pub fn load(options: &Options, environment: &Environment) -> Result<Loaded, ConfigFaults> {
    let source = Source::read(options, environment);
    let report = Report::new(&source);
    let config = table::config(&report, options);
    if let Some(config) = &config {
        secrets::check_modes(&report, &config.data_dir);
        rules::check(config, &report);
    }
    let warnings = report.verdict(|_key| true)?;
    let config = config.ok_or_else(|| ConfigFaults { faults: Vec::new(), warnings: Vec::new() })?;
    Ok(Loaded { config, warnings, file: source.file.as_deref().map(PathBuf::from) })
}

/// Reads where a server of this configuration is found, whatever faults the rest may have: for
/// commands that only talk to a running one.
///
/// # Errors
/// [`ConfigFaults`] of `data_dir` and the `[api]` section, or of a file that can't be read.
pub fn whereabouts(
    options: &Options,
    environment: &Environment,
) -> Result<Whereabouts, ConfigFaults> {
    let source = Source::read(options, environment);
    let report = Report::new(&source);
    let found = table::whereabouts(&report, options);
    if let Some(found) = &found {
        secrets::check_modes(&report, &found.data_dir);
    }
    // Only the server must understand the rest.
    let counts = |key: &str| key == "data_dir" || key == "api" || key.starts_with("api.");
    let warnings = report.verdict(counts)?;
    found.ok_or(ConfigFaults { faults: Vec::new(), warnings })
}

#[cfg(test)]
mod tests;
