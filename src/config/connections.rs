//! `[[connections]]`: declared connections.

use std::collections::HashMap;
use std::sync::Arc;

use super::fault::Place;
use super::item::Item;
use super::reference::{self, Sources};
use super::section::Section;
use crate::model::connection::{Connection, ConnectionType};
use crate::model::domain::AllowedDomain;
use crate::model::field::{self, CredentialField, FieldError};
use crate::model::name::{ConnectionName, IntegrationName, NameError, ZENDESK};
use crate::model::record::Detail;
use crate::secret::Secret;

/// What is read of all declared connections.
pub(super) struct Declarations<'a> {
    sources: Sources<'a>,
    allow_zendesk: bool,
    taken: HashMap<(IntegrationName, ConnectionName), Place>,
}

impl<'a> Declarations<'a> {
    /// `allow_zendesk`: whether a static connection may take the reserved name.
    pub(super) fn new(sources: Sources<'a>, allow_zendesk: bool) -> Self {
        Self { sources, allow_zendesk, taken: HashMap::new() }
    }

    /// Reads the whole list.
    pub(super) fn read(mut self, list: Item<'_, '_>) -> Vec<Arc<Connection>> {
        let items = list.items().unwrap_or_default();
        items.into_iter().filter_map(|item| self.connection(item.section()?)).collect()
    }

    fn connection(&mut self, mut section: Section<'_, '_>) -> Option<Arc<Connection>> {
        let integration = section.require("integration", |item| item.parse(IntegrationName::parse));
        let kind = section.require("type", |item| item.parse(parse_type));
        let allow_zendesk = self.allow_zendesk;
        let name =
            section.require("name", |item| item.parse(|text| parse_name(text, allow_zendesk)));
        let allowed_domain =
            section.require("allowed_domain", |item| item.parse(AllowedDomain::parse));
        let held = match kind {
            Some(kind) => self.detail_and_secret(kind, &mut section),
            None => skip_secrets(&mut section),
        };
        let new = self.claim(integration.as_ref(), name.as_ref(), &section);
        section.close();
        if !new {
            return None;
        }
        // The secret was checked at its place, so that a field can carry it.
        let (detail, secret) = held?;
        Connection::new(integration?, name?, allowed_domain?, detail, &secret).ok().map(Arc::new)
    }

    fn detail_and_secret(
        &self,
        kind: ConnectionType,
        section: &mut Section<'_, '_>,
    ) -> Option<(Detail, Secret)> {
        let sources = self.sources;
        let secret = |item: Item<'_, '_>| reference::secret(item, sources, field::check_secret);
        match kind {
            ConnectionType::ApiKey => {
                let header_name =
                    section.require("header_name", |item| item.parse(parse_header_name));
                let key = section.require("api_key", secret);
                Some((Detail::ApiKey { header_name: header_name? }, key?))
            }
            ConnectionType::BasicAuth => {
                let username = section.require("username", |item| {
                    reference::text(item, sources, field::check_username)
                });
                let password = section.require("password", |item| {
                    reference::secret(item, sources, field::check_password)
                });
                Some((Detail::BasicAuth { username: username? }, password?))
            }
            // None is declared; `parse_type` sees to that.
            ConnectionType::OAuth => None,
            ConnectionType::BearerToken => {
                Some((Detail::BearerToken, section.require("token", secret)?))
            }
        }
    }

    /// Whether the name is new within its integration.
    fn claim(
        &mut self,
        integration: Option<&IntegrationName>,
        name: Option<&ConnectionName>,
        section: &Section<'_, '_>,
    ) -> bool {
        let (Some(integration), Some(name)) = (integration, name) else { return true };
        let mark = section.mark();
        let key = (integration.clone(), name.clone());
        let Some(first) = self.taken.get(&key) else {
            self.taken.insert(key, mark.place.clone());
            return true;
        };
        mark.fault(format!(
            "the integration {integration} already has a connection named {name}, at {first}"
        ));
        false
    }
}

fn parse_type(text: &str) -> Result<ConnectionType, &'static str> {
    match ConnectionType::parse(text) {
        Some(ConnectionType::OAuth) => Err(OAUTH),
        Some(kind) => Ok(kind),
        None => Err("must be \"api_key\" or \"basic_auth\" or \"bearer_token\""),
    }
}

/// The name is kept as it is written, because the API shows it so.
fn parse_header_name(text: &str) -> Result<Box<str>, FieldError> {
    CredentialField::parse(text).map(|_field| text.into())
}

fn parse_name(text: &str, allow_zendesk: bool) -> Result<ConnectionName, NameError> {
    match ConnectionName::parse(text) {
        Ok(name) if name.as_str() == ZENDESK && !allow_zendesk => Err(NameError::Reserved),
        verdict => verdict,
    }
}

/// Without a type, any type's keys may be meant.
fn skip_secrets(section: &mut Section<'_, '_>) -> Option<(Detail, Secret)> {
    for key in ["header_name", "api_key", "username", "password", "token"] {
        drop(section.take(key));
    }
    None
}

const OAUTH: &str = "an oauth connection is made by an authorization, not declared; \
                     must be \"api_key\" or \"basic_auth\" or \"bearer_token\"";
