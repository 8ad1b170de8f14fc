//! SIGHUP: the configuration is read again, and takes effect whole or not at all.

use std::fmt::Display;
use std::sync::Arc;

use super::assembly::{Assembly, AssemblyError};
use crate::config::{Config, Environment, Options, load};
use crate::error::chain;
use crate::state::Live;

/// Everything that a reload needs.
#[derive(Debug)]
pub(super) struct Reload {
    pub(super) assembly: Assembly,
    pub(super) live: Arc<Live>,
    /// The number of configurations that were in force before this one.
    pub(super) generation: u64,
    pub(super) running: Config,
    pub(super) options: Options,
    pub(super) environment: Environment,
}

impl Reload {
    /// Reads the configuration and puts it in force; every reason why not is logged, and what is
    /// in force stays so. Requests in flight finish under what they began with.
    pub(super) fn run(&mut self) {
        let loaded = match load(&self.options, &self.environment) {
            Ok(loaded) => loaded,
            Err(faults) => return faults.faults.iter().for_each(|fault| log_failure(fault)),
        };
        let bound = self.running.needs_restart(&loaded.config);
        if !bound.is_empty() {
            let keys = bound.join(", ");
            return log_failure(&format_args!("restart the server to change these keys: {keys}"));
        }
        if let Err(error) = self.put_in_force(loaded.config) {
            return log_failure(&chain(&error));
        }
        // Said once it is so: what is refused was not reloaded, with a warning or without.
        for warning in &loaded.warnings {
            tracing::warn!(warning = %warning, "the configuration was reloaded with a warning");
        }
    }

    fn put_in_force(&mut self, config: Config) -> Result<(), AssemblyError> {
        let generation = self.generation + 1;
        self.live.try_change(|before| {
            Ok::<_, AssemblyError>((self.assembly.assemble(&config, generation, Some(before))?, ()))
        })?;
        tracing::info!(
            connections = config.connections.len(),
            callers = config.tokens.len(),
            "the configuration was reloaded"
        );
        self.running = config;
        self.generation = generation;
        Ok(())
    }
}

fn log_failure(error: &dyn Display) {
    tracing::error!(%error, "the configuration was not reloaded");
}
