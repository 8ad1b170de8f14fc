//! The connections that need attention, for the webhook: no operator asks.

use std::collections::HashSet;

use super::Management;
use super::status::ConnectionStatus;
use crate::model::name::IntegrationName;
use crate::store;
use crate::wire::HealthView;

/// The state of a connection that needs attention, or of which the webhook was told that it does.
#[derive(Clone, Debug)]
pub struct AttentionState {
    /// Its integration.
    pub integration: IntegrationName,
    /// Tells whether somebody must act.
    pub needs: bool,
    /// Its health.
    pub health: HealthView,
}

impl Management {
    /// The connections of the integrations that the webhook covers which need attention, and all of
    /// `told`, by integration and name, that there are.
    ///
    /// # Errors
    /// The error of the store that keeps the health known to other instances from being read: nothing
    /// is known for certain then.
    pub async fn attention(
        &self,
        told: &HashSet<(Box<str>, Box<str>)>,
    ) -> Result<Vec<AttentionState>, store::Error> {
        let known = self.try_health_of(None, None).await?;
        let (registry, now, settings) = (self.registry(), self.clock.now(), self.settings());
        let mut found = Vec::new();
        for integration in registry.integrations() {
            let is_covered = settings.webhook.as_ref().is_some_and(|it| it.covers(integration));
            for listing in registry.listed_in(integration.as_str()) {
                let status = ConnectionStatus::of(listing, known.of(listing), now);
                let needs = is_covered && status.state.needs_attention();
                let key = (integration.as_str().into(), status.name.as_str().into());
                if needs || told.contains(&key) {
                    let health = status.view(integration, now);
                    found.push(AttentionState { integration: integration.clone(), needs, health });
                }
            }
        }
        Ok(found)
    }
}
