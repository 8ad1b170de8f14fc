//! What is entered of a connection, read into what can't be wrong.

use super::fault::{About, Refused};
use super::form::Form;
use crate::model::connection::ConnectionType;
use crate::model::domain::AllowedDomain;
use crate::model::field::{self, CredentialField};
use crate::model::name::{ConnectionName, NameError, ZENDESK};
use crate::model::record::{ConnectionRecord, Detail};
use crate::secret::Secret;
use crate::state::ManagementSettings;

/// A connection that is to be made.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) name: ConnectionName,
    pub(super) allowed_domain: AllowedDomain,
    pub(super) detail: Detail,
    pub(super) secret: Secret,
}

/// What is to change of a connection.
#[derive(Debug)]
pub(super) struct Change {
    /// The user name or the header's name.
    text: Option<Box<str>>,
    pub(super) secret: Option<Secret>,
}

impl Draft {
    /// Reads the whole form.
    ///
    /// # Errors
    /// [`Refused::Faulty`] with everything that is wrong.
    pub(super) fn read(
        kind: ConnectionType,
        mut form: Form,
        settings: &ManagementSettings,
    ) -> Result<Self, Refused> {
        let name = form.require("name", About::Name, |text| parse_name(text, settings));
        let domain = form.require("allowed_domain", About::AllowedDomain, AllowedDomain::parse);
        if let Some(field) = text_field(kind) {
            form.demand(field);
        }
        form.demand(secret_field(kind));
        let (text, secret) = credentials(kind, &mut form);
        let detail = detail(kind, text);
        let read = name.zip(domain).zip(detail).zip(secret);
        let read = read.map(|(((name, allowed_domain), detail), secret)| Self {
            name,
            allowed_domain,
            detail,
            secret,
        });
        form.close(read)
    }
}

impl Change {
    /// Reads the whole form. What can't change may be repeated, as it is, and what the server alone
    /// sets as it was shown once.
    ///
    /// # Errors
    /// [`Refused::Faulty`] with everything that is wrong.
    pub(super) fn read(record: &ConnectionRecord, mut form: Form) -> Result<Self, Refused> {
        let kind = record.kind();
        let changes_something =
            form.has(secret_field(kind)) || text_field(kind).is_some_and(|field| form.has(field));
        form.keep_redacted(secret_field(kind), &["name", "created_at", "updated_at"]);
        form.pass_over(&["created_at", "defect", "updated_at"]);
        form.refuse_blanks();
        let _same = form.take("name", About::Request, |text| {
            if text == record.name.as_str() { Ok(()) } else { Err(NEVER_CHANGES) }
        });
        let _same = form.take("allowed_domain", About::Request, |text| {
            let same = AllowedDomain::read_kept(text)
                .is_ok_and(|given| Some(given) == record.allowed_domain);
            if same { Ok(()) } else { Err(NEVER_CHANGES) }
        });
        let (text, secret) = credentials(kind, &mut form);
        if !changes_something {
            let fields: Vec<_> = text_field(kind).into_iter().chain([secret_field(kind)]).collect();
            let title = format!("nothing is to change: give {}", fields.join(" or "));
            form.fault(About::Request, &title);
        }
        form.close(Some(Self { text, secret }))
    }

    /// Tells whether everything stays as it is in `record`.
    pub(super) fn is_nothing(&self, record: &ConnectionRecord) -> bool {
        self.secret.is_none() && self.apply(&record.detail) == record.detail
    }

    /// What of the connection is not secret, once it has changed.
    pub(super) fn apply(&self, before: &Detail) -> Detail {
        match (before, &self.text) {
            (Detail::ApiKey { .. }, Some(text)) => Detail::ApiKey { header_name: text.clone() },
            (Detail::BasicAuth { .. }, Some(text)) => Detail::BasicAuth { username: text.clone() },
            (Detail::BearerToken | Detail::OAuth(_), _) | (_, None) => before.clone(),
        }
    }
}

/// What is entered beside the secret, and the secret.
fn credentials(kind: ConnectionType, form: &mut Form) -> (Option<Box<str>>, Option<Secret>) {
    match kind {
        ConnectionType::ApiKey => {
            let header = form.take("header_name", About::HeaderName, |text| {
                CredentialField::parse(text).map(|_fits| Box::from(text))
            });
            (header, form.take_secret("api_key", field::check_secret))
        }
        ConnectionType::BasicAuth => {
            let username = form.take("username", About::Credential, |text| {
                field::check_username(text).map(|()| Box::from(text))
            });
            (username, form.take_secret("password", field::check_password))
        }
        // No form makes or changes a connection by OAuth: a flow does.
        ConnectionType::BearerToken | ConnectionType::OAuth => {
            (None, form.take_secret("token", field::check_secret))
        }
    }
}

fn detail(kind: ConnectionType, text: Option<Box<str>>) -> Option<Detail> {
    Some(match kind {
        ConnectionType::ApiKey => Detail::ApiKey { header_name: text? },
        ConnectionType::BasicAuth => Detail::BasicAuth { username: text? },
        ConnectionType::BearerToken => Detail::BearerToken,
        ConnectionType::OAuth => return None,
    })
}

fn text_field(kind: ConnectionType) -> Option<&'static str> {
    match kind {
        ConnectionType::ApiKey => Some("header_name"),
        ConnectionType::BasicAuth => Some("username"),
        ConnectionType::BearerToken | ConnectionType::OAuth => None,
    }
}

fn secret_field(kind: ConnectionType) -> &'static str {
    match kind {
        ConnectionType::ApiKey => "api_key",
        ConnectionType::BasicAuth => "password",
        ConnectionType::BearerToken | ConnectionType::OAuth => "token",
    }
}

fn parse_name(text: &str, settings: &ManagementSettings) -> Result<ConnectionName, NameError> {
    match ConnectionName::parse(text) {
        Ok(name) if name.as_str() == ZENDESK && !settings.allow_static_zendesk => {
            Err(NameError::Reserved)
        }
        verdict => verdict,
    }
}

/// What is wrong where something else is entered for what never changes.
pub(super) const NEVER_CHANGES: &str = "never changes: delete the connection and create it again";
