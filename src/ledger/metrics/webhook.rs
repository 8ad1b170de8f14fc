//! Metrics of the webhook.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::{Label, Metrics, register};

/// The outcome of an attempt to send a message to the webhook.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WebhookOutcome {
    /// The webhook has taken it.
    Delivered,
    /// It was not taken, and is sent again.
    Failed,
    /// It was not taken, and is not sent again.
    GivenUp,
}

impl WebhookOutcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::GivenUp => "given_up",
        }
    }
}

/// The counter of attempts, all of which outcomes are shown from the start.
pub(super) fn register_attempts(registry: &mut Registry) -> Family<Label, Counter> {
    let help = "Messages to the webhook about connections that need attention, by outcome";
    let attempts: Family<Label, Counter> = register(registry, "webhook_messages", help);
    for outcome in [WebhookOutcome::Delivered, WebhookOutcome::Failed, WebhookOutcome::GivenUp] {
        drop(attempts.get_or_create(&[("outcome", outcome.as_str())]));
    }
    attempts
}

impl Metrics {
    /// Counts an attempt to send a message to the webhook.
    pub fn count_webhook(&self, outcome: WebhookOutcome) {
        self.webhook.get_or_create(&[("outcome", outcome.as_str())]).inc();
    }
}
