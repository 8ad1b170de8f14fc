//! Who asks: a caller, and which integrations and connections it may use (contract §2).

use std::sync::Arc;

use jiff::Timestamp;

use super::connection::Connection;
use super::name::{ConnectionName, IntegrationName};
use super::token::Scopes;

/// A caller of the data plane: the holder of an access token, or the anonymous one.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The token's name, for logs.
    pub name: Arc<str>,
    /// Where it may act.
    pub reach: Reach,
    /// What it may do.
    pub scopes: Scopes,
    /// When the token ends, if it does.
    pub expires_at: Option<Timestamp>,
}

/// The integrations and connections that a token reaches.
#[derive(Clone, Debug)]
pub enum Reach {
    /// One integration, and within it all connections or the listed ones.
    One(IntegrationName, Option<Vec<ConnectionName>>),
    /// `*`: every integration, and within each all connections or the listed ones.
    Every(Option<Vec<(IntegrationName, ConnectionName)>>),
}

impl Caller {
    /// The integration that the token is bound to, if it is bound to one.
    #[must_use]
    pub fn bound_to(&self) -> Option<&IntegrationName> {
        match &self.reach {
            Reach::One(integration, _) => Some(integration),
            Reach::Every(_) => None,
        }
    }

    /// Whether the caller may use `connection`.
    #[must_use]
    pub fn may_use(&self, connection: &Connection) -> bool {
        match &self.reach {
            Reach::One(integration, listed) => {
                integration == connection.integration()
                    && listed.as_ref().is_none_or(|names| names.contains(connection.name()))
            }
            Reach::Every(listed) => listed.as_ref().is_none_or(|pairs| {
                pairs.iter().any(|(integration, name)| {
                    integration == connection.integration() && name == connection.name()
                })
            }),
        }
    }

    /// Whether the token has ended by `now`.
    #[must_use]
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}
