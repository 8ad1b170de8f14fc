//! What is in force, as whoever refreshes tokens needs it.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::oauth::Surroundings;
use crate::proxy::InForce;
use crate::state::Registry;
use crate::store::RefreshLease;
use crate::upstream::UpstreamRules;

/// What is in force.
#[derive(Debug)]
pub(super) struct Scene(pub(super) Arc<ArcSwap<InForce>>);

impl Surroundings for Scene {
    fn registry(&self) -> Registry {
        self.0.load().registry.clone()
    }

    fn rules(&self) -> Arc<UpstreamRules> {
        Arc::clone(&self.0.load().rules)
    }

    fn allows_port(&self, port: u16) -> bool {
        self.0.load().settings.terms.allowed_ports.allows(port)
    }

    fn refresh_before(&self) -> Duration {
        self.0.load().settings.renewal.refresh_before
    }

    fn refresh_lease(&self) -> RefreshLease {
        self.0.load().settings.renewal.refresh_lease
    }
}
