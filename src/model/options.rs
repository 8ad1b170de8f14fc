//! The options of a connection: the rules of its use, and what its operator has written down of it
//! (contract §8).

use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::client_identity::{ClientCertificate, ClientIdentity, IdentityFault};
use super::connection_secrets::ConnectionSecrets;
use super::rules::{RuleDenied, RuleSubject, Rules, check_read_only};

/// The options of a connection of any type. The default is a connection as ZIS has it.
///
/// Their encoding is part of the context for which the connection's secret is sealed, so that what
/// is stored today must be encoded in the same way by every later version: a new member needs a
/// default that is left out.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConnectionOptions {
    /// Refuses every request, and keeps the connection.
    #[serde(skip_serializing_if = "is_false")]
    pub disabled: bool,
    /// The operator's words about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<Box<str>>,
    /// The day on which its secret expires, as the operator has written it down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_on: Option<Date>,
    /// The rules of the requests that it may be used for.
    #[serde(skip_serializing_if = "Rules::is_empty")]
    pub rules: Rules,
    /// Allows GET, HEAD and OPTIONS alone.
    #[serde(skip_serializing_if = "is_false")]
    pub read_only: bool,
    /// Masks its credential in text bodies that an origin sends, too.
    #[serde(skip_serializing_if = "is_false")]
    pub mask_echo: bool,
    /// The client certificate that TLS to its origins presents, with its chain, in PEM. Its key is
    /// sealed with the secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<Box<str>>,
}

impl ConnectionOptions {
    /// Reads encoded options; `None` for anything else.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The options as they are stored and sealed; `None` for the default ones, which a connection
    /// of before there were options has.
    #[must_use]
    pub fn encode(&self) -> Option<String> {
        (*self != Self::default()).then(|| encoded(self))
    }

    /// The options as many may hold them. The default ones, which most connections have, are held
    /// once for all.
    #[must_use]
    pub fn shared(self) -> Arc<Self> {
        static NONE: LazyLock<Arc<ConnectionOptions>> = LazyLock::new(Arc::default);
        if self == Self::default() { Arc::clone(&NONE) } else { Arc::new(self) }
    }

    /// Tells whether both let the same requests pass.
    #[must_use]
    pub fn allow_as(&self, other: &Self) -> bool {
        let of = |it: &Self| (it.disabled, it.read_only);
        of(self) == of(other) && self.rules == other.rules
    }

    /// The client certificate, joined with its key; `None` without a certificate.
    ///
    /// # Errors
    /// [`IdentityFault`] says why they can't be used together.
    pub fn identity(
        &self,
        secrets: &ConnectionSecrets,
    ) -> Result<Option<ClientIdentity>, IdentityFault> {
        let Some(certificate) = &self.client_certificate else { return Ok(None) };
        let key = secrets.client_key.as_ref().ok_or(IdentityFault::NoKey)?;
        ClientCertificate::parse(certificate)?.with_key(key).map(Some)
    }

    /// The time at which the client certificate expires; `None` without one.
    #[must_use]
    pub fn not_after(&self) -> Option<Timestamp> {
        let certificate = self.client_certificate.as_deref()?;
        ClientCertificate::parse(certificate).ok().map(|certificate| certificate.not_after())
    }

    /// Checks a request against the rules.
    ///
    /// # Errors
    /// [`RuleDenied`] says why they refuse it.
    pub fn check(&self, line: &RuleSubject<'_>) -> Result<(), RuleDenied> {
        if self.read_only {
            check_read_only(line)?;
        }
        self.rules.check(line)
    }

    /// The time at which the day is over on which its secret expires, in UTC.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        let next = self.expires_on?.tomorrow().ok()?;
        Some(next.to_zoned(TimeZone::UTC).ok()?.timestamp())
    }

    /// Tells whether a request can be refused by them.
    #[must_use]
    pub fn restrict(&self) -> bool {
        self.read_only || !self.rules.is_empty()
    }
}

/// A value as JSON. One that can't be written, which none is, becomes a text that can't be read
/// either, so that nothing is taken for the default.
pub fn encoded(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_never| "unwritable".to_owned())
}

/// Checks the operator's words about a connection.
///
/// # Errors
/// The text states the rule.
pub fn check_description(text: &str) -> Result<(), &'static str> {
    if text.chars().count() > MAX_DESCRIPTION || text.chars().any(char::is_control) {
        return Err("must be one line of at most 500 characters");
    }
    Ok(())
}

/// Reads a day.
///
/// # Errors
/// The text states the rule.
pub fn parse_day(text: &str) -> Result<Date, &'static str> {
    let is_plain = text.len() == "2030-01-31".len();
    let day = text.parse::<Date>().ok().filter(|_| is_plain);
    day.ok_or("must be a day, as 2030-01-31")
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// The longest description, in characters.
const MAX_DESCRIPTION: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoding_of_every_member_stays_as_it_is() {
        let json = concat!(
            r#"{"disabled":true,"description":"d","expires_on":"2030-01-31","#,
            r#""rules":[{"effect":"allow","methods":["GET"]}],"read_only":true,"mask_echo":true,"#,
            r#""client_certificate":"PEM"}"#,
        );
        assert_eq!(ConnectionOptions::decode(json).unwrap().encode().as_deref(), Some(json));
        assert_eq!(ConnectionOptions::default().encode(), None);
        assert_eq!(ConnectionOptions::decode("{}"), Some(ConnectionOptions::default()));
        assert_eq!(ConnectionOptions::decode(r#"{"unknown":1}"#), None);
    }

    #[test]
    fn a_day_and_a_description_are_plain() {
        assert_eq!(parse_day("2030-01-31").unwrap().to_string(), "2030-01-31");
        for text in ["", "2030-02-30", "2030-1-31", "20300131", "2030-01-31T00:00:00Z"] {
            assert!(parse_day(text).is_err(), "{text}");
        }
        assert!(check_description("the shop's key").is_ok());
        assert!(check_description("a\nb").is_err() && check_description(&"a".repeat(501)).is_err());
    }
}
