//! `[[tokens]]`: declared caller tokens.

use std::collections::HashMap;
use std::sync::Arc;

use super::fault::Place;
use super::item::{Item, Mark};
use super::reference::{self, Sources};
use super::section::Section;
use crate::model::caller::{self, Caller, Reach};
use crate::model::name::{ConnectionName, IntegrationName, NameError};
use crate::model::token::{self, SCOPES_RULE, Scopes, TokenDigest};

/// What is read of all declared tokens.
pub(super) struct Declarations<'a> {
    sources: Sources<'a>,
    names: HashMap<Arc<str>, Place>,
    digests: HashMap<TokenDigest, Place>,
}

/// `integration`: one, or `*`.
enum Integration {
    One(IntegrationName),
    Every,
}

impl<'a> Declarations<'a> {
    pub(super) fn new(sources: Sources<'a>) -> Self {
        Self { sources, names: HashMap::new(), digests: HashMap::new() }
    }

    /// Reads the whole list.
    pub(super) fn read(mut self, list: Item<'_, '_>) -> Vec<(TokenDigest, Caller)> {
        let items = list.items().unwrap_or_default();
        items.into_iter().filter_map(|item| self.token(item.section()?)).collect()
    }

    fn token(&mut self, mut section: Section<'_, '_>) -> Option<(TokenDigest, Caller)> {
        let mark = section.mark().clone();
        let name = section.require("name", |item| {
            item.parse(|text| token::check_name(text).map(|()| Arc::from(text)))
        });
        let integration = section.require("integration", |item| item.parse(parse_integration));
        let scopes = section.require("scopes", scopes);
        let listed = section.take("connections");
        let reach = integration.map(|integration| reach(integration, listed));
        let end = section.take("expires_at").map(|item| item.parse(token::parse_expiry));
        let digest = section.require("token", |item| self.digest(item));
        section.close();
        let new_name = name.as_ref().is_none_or(|name| self.claim_name(name, &mark));
        let new_digest = digest.is_none_or(|digest| self.claim_digest(digest, &mark));
        if !(new_name && new_digest) {
            return None;
        }
        let expires_at = end.map_or(Some(None), |end| end.map(Some))?;
        let caller = Caller { name: name?, reach: reach??, scopes: scopes?, expires_at };
        Some((digest?, caller))
    }

    /// Nothing is kept of the token but its digest.
    fn digest(&self, item: Item<'_, '_>) -> Option<TokenDigest> {
        let shape = |bytes: &[u8]| TokenDigest::of(bytes).map(|_| ()).ok_or(NOT_A_TOKEN);
        let token = reference::secret(item, self.sources, shape)?;
        TokenDigest::of(token.expose())
    }

    fn claim_name(&mut self, name: &Arc<str>, mark: &Mark<'_>) -> bool {
        let Some(first) = self.names.get(name) else {
            self.names.insert(Arc::clone(name), mark.place.clone());
            return true;
        };
        mark.fault(format!("another token is already named {name}, at {first}"));
        false
    }

    fn claim_digest(&mut self, digest: TokenDigest, mark: &Mark<'_>) -> bool {
        let Some(first) = self.digests.get(&digest) else {
            self.digests.insert(digest, mark.place.clone());
            return true;
        };
        mark.fault(format!("another token has the same secret, at {first}"));
        false
    }
}

fn parse_integration(text: &str) -> Result<Integration, NameError> {
    match text {
        "*" => Ok(Integration::Every),
        name => IntegrationName::parse(name).map(Integration::One),
    }
}

fn scopes(item: Item<'_, '_>) -> Option<Scopes> {
    let mut scopes = Scopes::default();
    let granted = item.some(|item| {
        item.parse(|name| {
            let mut one = Scopes::default();
            one.grant(name).then_some(name.to_owned()).ok_or(SCOPES_RULE)
        })
    })?;
    granted.iter().all(|name| scopes.grant(name)).then_some(scopes)
}

/// A list, when it is written, names at least one connection: an empty one would be a token that
/// reaches nothing, which is hardly what anybody means.
fn reach(integration: Integration, listed: Option<Item<'_, '_>>) -> Option<Reach> {
    match (integration, listed) {
        (Integration::One(name), None) => Some(Reach::One(name, None)),
        (Integration::One(name), Some(listed)) => {
            let names = listed.some(|item| item.parse(ConnectionName::parse))?;
            Some(Reach::One(name, Some(names)))
        }
        (Integration::Every, None) => Some(Reach::Every(None)),
        (Integration::Every, Some(listed)) => {
            Some(Reach::Every(Some(listed.some(|item| item.parse(caller::parse_pair))?)))
        }
    }
}

const NOT_A_TOKEN: &str = "an access token is kf_ and 43 characters: make one with \
                           `keyferry token generate`";
