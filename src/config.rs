//! The configuration: everything that an operator can say, read once and checked whole.
//!
//! Owns the configuration's keys, defaults, layers (command line, environment, file) and faults;
//! promises that a [`Config`] which exists obeys every rule, and that all faults are reported at
//! the place where they were written; must never know how a room uses its settings.

mod commanded;
mod custom;
mod declared;
mod describe;
mod environment;
mod fault;
mod item;
mod openid;
mod pem;
mod readers;
mod report;
mod rules;
mod secrets;
mod section;
mod source;
mod store_url;
mod table;
mod telemetry;
mod webhook;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::ledger::LineFormat;
use crate::listener::ListenAddr;
use crate::model::caller::Caller;
use crate::model::collector::CollectorUrl;
use crate::model::connection::Connection;
use crate::model::name::IntegrationName;
use crate::model::token::TokenDigest;
use crate::model::trace::SampleRatio;
use crate::state::{self, ManagementSettings};
use crate::upstream;

pub use self::commanded::{CommandUse, Commanded, FromCommands};
pub use self::describe::{default_file, reference_page, schema};
pub use self::environment::Environment;
pub use self::fault::{ConfigFault, ConfigFaults, SourcePlace};
pub use self::pem::{PemError, PemPair};
use self::report::{Bound, Report};
use self::source::Source;
pub use self::store_url::StoreUrl;

/// The whole configuration (contract §6), checked. Each key is described in the table of keys.
#[derive(Debug)]
#[expect(missing_docs, reason = "the table of keys has a sentence for each")]
pub struct Config {
    pub data_dir: PathBuf,
    pub shutdown_grace: Duration,
    pub log: LogConfig,
    pub proxy: ProxyConfig,
    pub upstream: upstream::Settings,
    pub api: ApiConfig,
    /// `[oauth]`, `[oidc]` and `[zis]`, and what else the management plane goes by; read at no time yet.
    pub management: ManagementSettings,
    pub store: StoreConfig,
    pub master_key_file: PathBuf,
    pub ca: Option<PemPair>,
    pub audit: AuditConfig,
    pub telemetry: TelemetryConfig,
    pub connections: Vec<Arc<Connection>>,
    pub tokens: Vec<DeclaredToken>,
    pub commanded: Commanded,
    bound: Bound,
}

/// `[log]`
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the table of keys has a sentence for each")]
pub struct LogConfig {
    pub format: Option<LineFormat>,
    pub level: String,
}

/// `[proxy]`
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the table of keys has a sentence for each")]
pub struct ProxyConfig {
    pub listen: Vec<ListenAddr>,
    pub is_anonymous: bool,
    pub default_integration: Option<IntegrationName>,
    pub allowed_hosts: Vec<String>,
    pub max_connections: usize,
    pub max_connections_per_caller: usize,
    pub max_head_bytes: usize,
    pub requests_per_minute: Option<u32>,
    pub tls: Option<PemPair>,
    pub settings: state::Settings,
}

/// `[api]`
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the table of keys has a sentence for each")]
pub struct ApiConfig {
    pub listen: SocketAddr,
    pub public_url: String,
    pub allowed_hosts: Vec<String>,
    pub requests_per_minute: Option<u32>,
    pub tls: Option<PemPair>,
}

/// `[store]`
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the table of keys has a sentence for each")]
pub struct StoreConfig {
    pub url: StoreUrl,
    pub max_staleness: Duration,
}

/// `[audit]`
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the table of keys has a sentence for each")]
pub struct AuditConfig {
    pub retention: Duration,
    pub max_bytes: u64,
    pub event_retention: Duration,
}

/// `[telemetry]`
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the table of keys has a sentence for each")]
pub struct TelemetryConfig {
    pub otlp_endpoint: Option<CollectorUrl>,
    pub sample: SampleRatio,
}

/// A declared caller token.
#[derive(Clone, Debug)]
pub struct DeclaredToken {
    /// Its digest; `None` until the command that prints it has been run.
    pub digest: Option<TokenDigest>,
    /// Its holder.
    pub caller: Caller,
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
