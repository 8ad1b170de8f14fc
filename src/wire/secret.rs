//! Secrets in answers: hidden, or in clear where an answer's type says so.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny};
use serde::ser::{Serialize, Serializer};

/// A secret in an answer that hides it: always `*****`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Redacted;

impl fmt::Display for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for Redacted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

impl<'de> Deserialize<'de> for Redacted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_any| Self)
    }
}

/// A member whose secret is written in clear: `#[serde(with = "in_clear")]`.
pub(super) mod in_clear {
    use serde::de::{Deserialize as _, Deserializer};
    use serde::ser::Serializer;

    use crate::secret::Secret;

    pub(in crate::wire) fn serialize<S: Serializer>(
        secret: &Secret,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        // JSON is text, and a provider's answer need not be.
        serializer.serialize_str(&String::from_utf8_lossy(secret.expose()))
    }

    pub(in crate::wire) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Secret, D::Error> {
        String::deserialize(deserializer).map(Secret::new)
    }
}

/// The same of a member that may be left out.
pub(super) mod in_clear_if_any {
    use serde::de::{Deserialize as _, Deserializer};
    use serde::ser::Serializer;

    use super::in_clear;
    use crate::secret::Secret;

    #[expect(clippy::ref_option, reason = "serde passes the member as it is")]
    pub(in crate::wire) fn serialize<S: Serializer>(
        secret: &Option<Secret>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match secret {
            Some(secret) => in_clear::serialize(secret, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(in crate::wire) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Secret>, D::Error> {
        Ok(Option::<String>::deserialize(deserializer)?.map(Secret::new))
    }
}

/// The header field by which a request asks for an answer without provider tokens in clear.
pub const REDACT_TOKENS_FIELD: &str = "x-keyferry-redact-tokens";

/// The text that stands for a secret in every answer.
pub const REDACTED: &str = "*****";
