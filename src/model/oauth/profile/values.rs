//! The values that members of a profile can have, each with its rule.

use std::fmt::{self, Write as _};
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::oauth::domain_template::DomainTemplate;
use crate::model::oauth::endpoint::EndpointTemplate;
use crate::model::{named_enum, parsed_by_name, stored_as_text};

named_enum! {
    /// The format of a token request's body.
    #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
    pub enum TokenRequestFormat {
        /// `application/x-www-form-urlencoded` (RFC 6749 §4.1.3).
        #[default]
        Form = "form",
        /// `application/json`.
        Json = "json",
    }
}

named_enum! {
    /// The code challenge method (RFC 7636 §4.2).
    #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
    pub enum Pkce {
        /// `S256`
        #[default]
        S256 = "S256",
        /// No challenge is sent, for a provider that refuses one.
        Off = "off",
    }
}

parsed_by_name!(TokenRequestFormat, Pkce);

/// The text between two scopes: 1 to 4 printable characters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ScopeSeparator(Box<str>);

/// A JSON Pointer (RFC 6901) to a member of an answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct JsonPointer(Box<str>);

/// The lifetime of a token, in whole seconds: at most ten years.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lifetime(u32);

/// An issuer identifier: an `https` URL without query and fragment (RFC 8414 §2).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Issuer(Box<str>);

/// Statuses of an origin's answer that call for a refresh: 1 to 8 out of 400 to 499.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "Vec<u16>", into = "Vec<u16>")]
pub struct RefreshStatuses(Box<[u16]>);

impl Default for ScopeSeparator {
    fn default() -> Self {
        Self(" ".into())
    }
}

impl ScopeSeparator {
    /// Reads a separator.
    ///
    /// # Errors
    /// The text states the rule.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let is_printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if (1..=4).contains(&text.len()) && is_printable {
            Ok(Self(text.into()))
        } else {
            Err("must be 1 to 4 printable characters, such as a comma")
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Scopes that are separated by spaces, as the provider wants them.
    #[must_use]
    pub fn join(&self, scopes: &str) -> String {
        scopes.split(' ').filter(|scope| !scope.is_empty()).collect::<Vec<_>>().join(&self.0)
    }
}

impl JsonPointer {
    /// Reads a pointer.
    ///
    /// # Errors
    /// The text states the rule.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let escapes = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        let is_plain = !text.chars().any(char::is_control);
        if text.starts_with('/') && text.len() <= 256 && escapes && is_plain {
            Ok(Self(text.into()))
        } else {
            Err("must be a JSON Pointer (RFC 6901), such as /data/access_token")
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Lifetime {
    /// Reads a lifetime, such as `30m` or `1h 30m`.
    ///
    /// # Errors
    /// The text states the rule.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let length = humantime::parse_duration(text).ok().map(|length| length.as_secs());
        let seconds = length.filter(|seconds| (1..=MAX_LIFETIME_SECONDS).contains(seconds));
        let seconds = seconds.and_then(|seconds| u32::try_from(seconds).ok());
        seconds.map(Self).ok_or("must be a time from 1s to 3650d, such as 30m or 30d")
    }

    /// The length.
    #[must_use]
    pub fn length(self) -> Duration {
        Duration::from_secs(self.0.into())
    }
}

impl fmt::Display for Lifetime {
    /// Writes it in the largest units, such as `1h 30m`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        let mut is_first = true;
        for (seconds, unit) in [(86_400, 'd'), (3600, 'h'), (60, 'm'), (1, 's')] {
            let count = rest / seconds;
            rest %= seconds;
            if count > 0 {
                if !is_first {
                    f.write_char(' ')?;
                }
                write!(f, "{count}{unit}")?;
                is_first = false;
            }
        }
        Ok(())
    }
}

impl Issuer {
    /// Reads an identifier.
    ///
    /// # Errors
    /// The text states the rule.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let is_plain = EndpointTemplate::parse(text).is_ok() && !text.contains(['?', '#', '{']);
        if is_plain {
            Ok(Self(text.into()))
        } else {
            Err("must be an https:// URL without a query and a fragment")
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for RefreshStatuses {
    fn default() -> Self {
        Self(Box::new([401]))
    }
}

impl RefreshStatuses {
    /// No status at all.
    #[must_use]
    pub fn none() -> Self {
        Self(Box::default())
    }

    /// Tells whether an answer of this status calls for a refresh.
    #[must_use]
    pub fn contains(&self, status: u16) -> bool {
        self.0.contains(&status)
    }

    /// Tells whether it is 401 alone.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self.0 == [401]
    }
}

impl TryFrom<Vec<u16>> for RefreshStatuses {
    type Error = &'static str;

    fn try_from(statuses: Vec<u16>) -> Result<Self, Self::Error> {
        let fits = |status: &u16| (400..500).contains(status) && *status != 407;
        if (1..=8).contains(&statuses.len()) && statuses.iter().all(fits) {
            Ok(Self(statuses.into()))
        } else {
            Err("must be 1 to 8 statuses out of 400 to 499, without 407")
        }
    }
}

impl From<RefreshStatuses> for Vec<u16> {
    fn from(statuses: RefreshStatuses) -> Self {
        statuses.0.into_vec()
    }
}

stored_as_text!(DomainTemplate, EndpointTemplate, ScopeSeparator, JsonPointer, Issuer);
stored_as_text!(TokenRequestFormat, Pkce);

impl Serialize for Lifetime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Lifetime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

/// Ten years.
const MAX_LIFETIME_SECONDS: u64 = 3650 * 86_400;
