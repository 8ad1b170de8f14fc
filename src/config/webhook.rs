//! `[webhook]`: the webhook that is told which connections need attention.

use std::sync::Arc;

use super::commanded::Commanded;
use super::readers::{integration, list, or_empty, text};
use super::secrets::secret;
use super::section::{Section, keys, row};
use crate::model::webhook::{WebhookSettings, WebhookUrl, check_secret};
use crate::state::ManagementSettings;

/// Reads `[webhook]` into the settings of the management plane.
pub(super) fn webhook(
    root: &mut Section<'_>,
    management: &mut ManagementSettings,
    commanded: &mut Commanded,
) -> Option<()> {
    // 1. The keys, of which a URL needs a secret.
    let mut section = root.section("webhook", ABOUT);
    keys! { section;
        /// The https:// URL that it is posted to; "" for none. Its port must be one of
        /// proxy.allowed_ports.
        url = "" => or_empty(text("an https:// URL", "^[Hh][Tt][Tt][Pp][Ss]://.", WebhookUrl::parse));
        /// The secret that signs each message: whsec_ and 24 to 64 bytes in base64.
        secret? = { env = "KEYFERRY_WEBHOOK_SECRET" } => secret(check_secret);
        /// The integrations whose connections it is told of; without any, all.
        integrations = [] => list(integration());
    }
    if url.is_some() && !section.has("secret") {
        section.mark().report.conflict("webhook.url", "needs secret, which signs what is sent");
    }
    section.close();
    // 2. The settings, now or once a command has printed the secret.
    let Some((url, secret)) = url.zip(secret) else { return Some(()) };
    let settings = secret.map(move |secret| {
        let (url, integrations) = (url.clone(), integrations.clone());
        Some(Arc::new(WebhookSettings { url, secret, integrations }))
    })?;
    management.webhook = commanded.webhook(settings);
    Some(())
}

const ABOUT: &str = "The webhook that is told when a connection begins to need attention, and when \
                     it no longer does.";
