//! SIGHUP: the configuration is read again, and takes effect whole or not at all. Between two
//! readings only the secrets change that commands print.

use std::fmt::Display;
use std::sync::Arc;

use super::assembly::{Assembly, AssemblyError};
use super::secret_commands::{PrintedSecrets, SecretCommands};
use crate::config::{Config, Environment, Options, load};
use crate::error::chain;
use crate::secret::command::SecretCommand;
use crate::state::{DuplicateNames, Live};

/// Everything that a reload needs.
#[derive(Debug)]
pub(super) struct Reload {
    assembly: Assembly,
    live: Arc<Live>,
    /// The number of configurations that were in force before this one.
    generation: u64,
    pub(super) running: Config,
    options: Options,
    environment: Environment,
    secrets: SecretCommands,
}

impl Reload {
    /// The configuration that is in force first, and where the next ones are read.
    pub(super) fn new(
        assembly: Assembly,
        live: Arc<Live>,
        running: Config,
        (options, environment): (Options, Environment),
        secrets: SecretCommands,
    ) -> Self {
        Self { assembly, live, generation: 0, running, options, environment, secrets }
    }

    /// Reads the configuration and puts it in force; every reason why not is logged, and what is
    /// in force stays so. Requests in flight finish under what they began with. Cancel-safe: what
    /// is in force changes in one step at the end.
    pub(super) async fn run(&mut self) {
        // 1. The file, and what its commands print.
        let mut loaded = match load(&self.options, &self.environment) {
            Ok(loaded) => loaded,
            Err(faults) => return faults.faults.iter().for_each(|fault| log_failure(fault)),
        };
        let bound = self.running.needs_restart(&loaded.config);
        if !bound.is_empty() {
            let keys = bound.join(", ");
            return log_failure(&format_args!("restart the server to change these keys: {keys}"));
        }
        let secrets = match self.secrets.read(&loaded.config.commanded).await {
            Ok(secrets) => secrets,
            Err(faults) => {
                self.assembly.metrics.count_secret_command_failures(faults.faults.len());
                return faults.faults.iter().for_each(|fault| log_failure(fault));
            }
        };
        let secret_of = |command: &SecretCommand| secrets.secret_of(command);
        if let Err(faults) = loaded.config.complete(&secret_of) {
            return faults.iter().for_each(|fault| log_failure(fault));
        }
        // 2. All of it, or nothing.
        if let Err(error) = self.put_in_force(loaded.config, secrets) {
            return log_failure(&chain(&error));
        }
        // Said once it is so: what is refused was not reloaded, with a warning or without.
        for warning in &loaded.warnings {
            tracing::warn!(warning = %warning, "the configuration was reloaded with a warning");
        }
    }

    /// Waits until a command has printed another secret, or has failed for too long, and puts in
    /// force what follows from it. Cancel-safe.
    pub(super) async fn renew_secrets(&mut self) {
        self.secrets.renew(&self.assembly.metrics).await;
        let secret_of = |command: &SecretCommand| self.secrets.secret_of(command);
        if let Err(faults) = self.running.complete(&secret_of) {
            for fault in faults {
                tracing::error!(error = %fault, "a secret that a command has printed is ignored");
            }
        }
        let change = self.live.try_change(|before| {
            Ok::<_, DuplicateNames>((self.assembly.with_secrets(&self.running, before)?, ()))
        });
        if let Err(error) = change {
            tracing::error!(error = %chain(&error), "renewed secrets could not be put in force");
        }
    }

    fn put_in_force(
        &mut self,
        config: Config,
        secrets: PrintedSecrets,
    ) -> Result<(), AssemblyError> {
        let generation = self.generation + 1;
        self.live.try_change(|before| {
            Ok::<_, AssemblyError>((self.assembly.assemble(&config, generation, Some(before))?, ()))
        })?;
        tracing::info!(
            connections = config.connections.len(),
            callers = config.tokens.len(),
            "the configuration was reloaded"
        );
        self.secrets.replace(secrets);
        self.running = config;
        self.generation = generation;
        Ok(())
    }
}

fn log_failure(error: &dyn Display) {
    tracing::error!(%error, "the configuration was not reloaded");
}
