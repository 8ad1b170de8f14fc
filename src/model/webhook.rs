//! The webhook that is told which connections need attention: where it is, and how what it is told
//! is signed (Standard Webhooks).

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::name::IntegrationName;
use super::oauth::discovery::DiscoveryEndpoint;
use super::oauth::endpoint::{EndpointError, EndpointTemplate};
use crate::secret::Secret;

/// The operator's webhook.
#[derive(Clone, Debug)]
pub struct WebhookSettings {
    /// Its URL.
    pub url: WebhookUrl,
    /// The secret that signs, as it was written.
    pub secret: Secret,
    /// The integrations whose connections it is told of; none for all.
    pub integrations: Vec<IntegrationName>,
}

/// The URL of a webhook: `https`, without a user and a fragment. Many receivers trust all who know
/// their URL, so that it is not printed.
#[derive(Clone, Eq, PartialEq)]
pub struct WebhookUrl(Box<str>);

impl WebhookUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`EndpointError`] names the rule that it breaks.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        EndpointTemplate::parse(text)?.resolve(None)?;
        Ok(Self(text.into()))
    }

    /// The endpoint, as it is asked for a connection of this integration.
    ///
    /// # Errors
    /// None for a URL that was read.
    pub fn endpoint(
        &self,
        integration: &IntegrationName,
    ) -> Result<DiscoveryEndpoint, EndpointError> {
        DiscoveryEndpoint::parse(&self.0, integration)
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookUrl(*****)")
    }
}

impl WebhookSettings {
    /// Tells whether the webhook is told of connections of this integration.
    #[must_use]
    pub fn covers(&self, integration: &IntegrationName) -> bool {
        self.integrations.is_empty() || self.integrations.contains(integration)
    }

    /// The value of `webhook-signature` for a message with this id, time in seconds and body; `None`
    /// for a secret that was not checked.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> Option<String> {
        let key = signing_key(self.secret.expose())?;
        let mut signing = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key.expose()));
        signing.update(format!("{id}.{timestamp}.").as_bytes());
        signing.update(body);
        Some(format!("v1,{}", STANDARD.encode(signing.sign())))
    }
}

/// Checks a secret: `whsec_`, and 24 to 64 bytes in base64.
///
/// # Errors
/// The text states the rule.
pub fn check_secret(secret: &[u8]) -> Result<(), &'static str> {
    signing_key(secret).map(drop).ok_or(
        "it must be whsec_ and 24 to 64 random bytes in base64, such as \
         echo \"whsec_$(openssl rand -base64 32)\" prints",
    )
}

fn signing_key(secret: &[u8]) -> Option<Secret> {
    let encoded = secret.strip_prefix(b"whsec_")?;
    let key = zeroize::Zeroizing::new(STANDARD.decode(encoded).ok()?);
    (24..=64).contains(&key.len()).then(|| Secret::new(key.as_slice()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_may_be_a_secret_is_not_printed() {
        let url = WebhookUrl::parse("https://hooks.example.com/T0/secret").unwrap();
        assert_eq!(format!("{url:?}"), "WebhookUrl(*****)");
    }

    /// The example of the Standard Webhooks' own libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn settings() -> WebhookSettings {
        let url = WebhookUrl::parse("https://hooks.example.com/a?b=c").unwrap();
        WebhookSettings { url, secret: Secret::new(SECRET), integrations: Vec::new() }
    }

    #[test]
    fn a_message_is_signed_as_others_sign_it() {
        let signed = settings().sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            b"{\"test\": 2432232314}",
        );
        assert_eq!(signed.unwrap(), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_has_a_form_and_is_never_shown() {
        assert_eq!(check_secret(SECRET.as_bytes()), Ok(()));
        for wrong in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2hvcnQ=", "whsec_%"]
        {
            assert!(check_secret(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(!format!("{:?}", settings()).contains("MfKQ9r8"));
    }

    #[test]
    fn a_webhook_is_asked_by_tls_alone() {
        for wrong in ["http://hooks.example.com", "https://a:b@hooks.example.com", "hooks", ""] {
            assert!(WebhookUrl::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn without_a_list_every_integration_is_covered() {
        let of = |name| IntegrationName::parse(name).unwrap();
        assert!(settings().covers(&of("acme")));
        let one = WebhookSettings { integrations: vec![of("acme")], ..settings() };
        assert!(one.covers(&of("acme")) && !one.covers(&of("other")));
    }
}
