//! The document that creates or changes a connection or a client.

use serde_json::{Map, Value};

use crate::cli::output::CliError;
use crate::secret::Secret;

/// A JSON object, member by member.
#[derive(Default)]
pub(super) struct JsonBody(Map<String, Value>);

impl JsonBody {
    /// Adds a member.
    pub(super) fn with(mut self, member: &str, text: &str) -> Self {
        self.0.insert(member.to_owned(), text.into());
        self
    }

    /// Adds a member, if there is a text for it.
    pub(super) fn with_any(self, member: &str, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.with(member, text),
            None => self,
        }
    }

    /// Adds a member that is true, if it is wanted.
    pub(super) fn with_flag(mut self, member: &str, wanted: bool) -> Self {
        if wanted {
            self.0.insert(member.to_owned(), true.into());
        }
        self
    }

    /// Adds a secret, which must be text to stand in JSON.
    pub(super) fn with_secret(self, member: &str, secret: &Secret) -> Result<Self, CliError> {
        let text = std::str::from_utf8(secret.expose()).map_err(|_where| {
            CliError::Message("the secret is not UTF-8 text: give it as it was issued".into())
        })?;
        Ok(self.with(member, text))
    }

    /// Tells whether nothing was added.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The document. What is left of the members is wiped with the memory that they were in.
    pub(super) fn into_document(self) -> Secret {
        Secret::new(Value::Object(self.0).to_string())
    }
}
