//! SIGHUP: the configuration is read again, and takes effect whole or not at all.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::in_force::Assembly;
use crate::config::{Config, Environment, Fault, Options, load};
use crate::proxy::InForce;

/// What a reload needs.
#[derive(Debug)]
pub(super) struct Reload {
    pub(super) assembly: Assembly,
    pub(super) in_force: Arc<ArcSwap<InForce>>,
    pub(super) changed: watch::Sender<u64>,
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
            Err(faults) => return log_all(&faults.faults),
        };
        for warning in &loaded.warnings {
            tracing::warn!(warning = %warning, "the configuration was reloaded with a warning");
        }
        let bound = self.running.needs_restart(&loaded.config);
        if !bound.is_empty() {
            let keys = bound.join(", ");
            tracing::error!(
                keys,
                "the configuration was not reloaded: these keys change only by a restart"
            );
            return;
        }
        let generation = *self.changed.borrow() + 1;
        let before = self.in_force.load_full();
        match self.assembly.assemble(&loaded.config, generation, Some(&before)) {
            Ok(next) => self.put_in_force(next, loaded.config, generation),
            Err(error) => {
                tracing::error!(error = %error, "the configuration was not reloaded");
            }
        }
    }

    fn put_in_force(&mut self, next: InForce, config: Config, generation: u64) {
        tracing::info!(
            connections = next.registry.connections(),
            callers = next.registry.callers(),
            "the configuration was reloaded"
        );
        self.in_force.store(Arc::new(next));
        self.running = config;
        self.changed.send_replace(generation);
    }
}

fn log_all(faults: &[Fault]) {
    for fault in faults {
        tracing::error!(fault = %fault, "the configuration was not reloaded");
    }
}
