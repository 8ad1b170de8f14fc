//! Callers, and the integrations and connections that they may use (contract §2).

use std::sync::Arc;

use jiff::Timestamp;

use super::connection::Connection;
use super::name::{ConnectionName, IntegrationName, NameError};
use super::rules::Rules;
use super::token::Scopes;

/// A caller of the data plane: the holder of a caller token, or the anonymous caller.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The token's name, for logs.
    pub name: Arc<str>,
    /// The integrations and connections that it may use.
    pub reach: Reach,
    /// The actions that it may take.
    pub scopes: Scopes,
    /// The time at which the token expires; `None` for never.
    pub expires_at: Option<Timestamp>,
    /// The rules that narrow those of each connection.
    pub rules: Rules,
}

/// The reason why a caller's token does not suffice for the data plane.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UnusableToken {
    /// It has expired.
    Expired,
    /// It lacks the scope `proxy`.
    LacksScope,
}

/// The integrations and connections that a token reaches.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reach {
    /// One integration, and within it all connections or the listed ones.
    One(IntegrationName, Option<Vec<ConnectionName>>),
    /// Every integration (`*`), and all their connections or the listed ones.
    Every(Option<Vec<(IntegrationName, ConnectionName)>>),
}

/// A token's reach that was refused. The text states the rule.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the text of each variant says it")]
pub enum ReachError {
    #[error("a list of connections, when there is one, names at least one")]
    Empty,
    #[error(transparent)]
    Name(NameError),
    #[error("under * a connection is written integration.name")]
    Pair,
}

impl Caller {
    /// The integration that the token is bound to, if it is bound to one.
    pub fn bound_to(&self) -> Option<&IntegrationName> {
        self.reach.only()
    }

    /// Tells whether the caller may use `connection`.
    pub fn may_use(&self, connection: &Connection) -> bool {
        self.reach.covers(connection.integration(), connection.name())
    }

    /// Tells whether the token has expired at `now`.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }

    /// Checks that the token suffices for the data plane at `now`.
    pub fn check_proxy_use(&self, now: Timestamp) -> Result<(), UnusableToken> {
        if self.has_expired(now) {
            return Err(UnusableToken::Expired);
        }
        if self.scopes.allows_proxy() { Ok(()) } else { Err(UnusableToken::LacksScope) }
    }
}

impl Reach {
    /// Reads an integration, or `*`, and the list of connections: their names, or under `*`
    /// `integration.name`.
    pub fn parse<T: AsRef<str>>(
        integration: &str,
        connections: Option<&[T]>,
    ) -> Result<Self, ReachError> {
        if connections.is_some_and(<[T]>::is_empty) {
            return Err(ReachError::Empty);
        }
        let names = connections.map(|names| names.iter().map(AsRef::as_ref));
        if integration == "*" {
            let pairs = names.map(|names| names.map(parse_pair).collect()).transpose()?;
            return Ok(Self::Every(pairs));
        }
        let integration = IntegrationName::parse(integration).map_err(ReachError::Name)?;
        let names = names.map(|names| names.map(ConnectionName::parse).collect()).transpose();
        Ok(Self::One(integration, names.map_err(ReachError::Name)?))
    }

    /// Tells whether the connection of this name is within reach.
    pub fn covers(&self, integration: &IntegrationName, name: &ConnectionName) -> bool {
        match self {
            Self::One(own, listed) => {
                own == integration && listed.as_ref().is_none_or(|names| names.contains(name))
            }
            Self::Every(listed) => listed.as_ref().is_none_or(|pairs| {
                pairs.iter().any(|pair| &pair.0 == integration && &pair.1 == name)
            }),
        }
    }

    /// Tells whether everything within the reach of `other` is within this one.
    pub fn includes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Every(None), _) => true,
            (Self::One(own, None), Self::One(integration, _)) => own == integration,
            (_, Self::One(integration, Some(names))) => {
                names.iter().all(|name| self.covers(integration, name))
            }
            (_, Self::Every(Some(pairs))) => {
                pairs.iter().all(|(integration, name)| self.covers(integration, name))
            }
            (_, Self::One(_, None) | Self::Every(None)) => false,
        }
    }

    /// The listed names of the integration's connections; `None` when all its connections are
    /// within reach.
    pub fn listed(&self, integration: &IntegrationName) -> Option<Vec<ConnectionName>> {
        match self {
            Self::One(own, listed) if own == integration => listed.clone(),
            Self::One(..) => Some(Vec::new()),
            Self::Every(listed) => {
                let pairs = listed.as_ref()?.iter().filter(|pair| &pair.0 == integration);
                Some(pairs.map(|pair| pair.1.clone()).collect())
            }
        }
    }

    /// The listed connections with their integrations. Empty without a list.
    pub fn pairs(&self) -> impl Iterator<Item = (&IntegrationName, &ConnectionName)> {
        let (one, every) = match self {
            Self::One(integration, names) => (names.as_ref().map(|it| (integration, it)), None),
            Self::Every(pairs) => (None, pairs.as_ref()),
        };
        let one = one.into_iter();
        let one =
            one.flat_map(|(integration, names)| names.iter().map(move |it| (integration, it)));
        let every = every.into_iter().flatten().map(|(integration, name)| (integration, name));
        one.chain(every)
    }

    /// The integration, or `*`.
    pub fn integration(&self) -> &str {
        self.only().map_or("*", IntegrationName::as_str)
    }

    /// The integration, unless it is `*`.
    pub fn only(&self) -> Option<&IntegrationName> {
        match self {
            Self::One(integration, _) => Some(integration),
            Self::Every(_) => None,
        }
    }

    /// The listed connections in the form that [`Reach::parse`] reads; `None` without a list.
    pub fn connections(&self) -> Option<Vec<String>> {
        match self {
            Self::One(_, names) => {
                names.as_ref().map(|names| names.iter().map(ToString::to_string).collect())
            }
            Self::Every(pairs) => pairs.as_ref().map(|pairs| {
                pairs.iter().map(|(integration, name)| format!("{integration}.{name}")).collect()
            }),
        }
    }
}

/// Reads `integration.name`. Neither kind of name can contain a dot.
pub fn parse_pair(text: &str) -> Result<(IntegrationName, ConnectionName), ReachError> {
    let (integration, name) = text.split_once('.').ok_or(ReachError::Pair)?;
    let integration = IntegrationName::parse(integration).map_err(ReachError::Name)?;
    let name = ConnectionName::parse(name).map_err(ReachError::Name)?;
    Ok((integration, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reach_is_read_as_it_is_written() {
        for (integration, connections) in [
            ("acme", None),
            ("acme", Some(vec!["one", "two"])),
            ("*", None),
            ("*", Some(vec!["acme.one", "other.one"])),
        ] {
            let reach = Reach::parse(integration, connections.as_deref()).unwrap();
            assert_eq!(reach.integration(), integration);
            let listed = connections.map(|names| names.into_iter().map(Into::into).collect());
            assert_eq!(reach.connections(), listed);
        }
    }

    #[test]
    fn what_would_reach_nothing_or_something_else_is_refused() {
        for (integration, connections, refusal) in [
            ("acme", Some(vec![]), ReachError::Empty),
            ("*", Some(vec!["one"]), ReachError::Pair),
            ("*", Some(vec!["acme.one.two"]), ReachError::Name(NameError::Connection)),
            ("acme", Some(vec!["acme.one"]), ReachError::Name(NameError::Connection)),
            ("Acme", None, ReachError::Name(NameError::Integration)),
        ] {
            assert_eq!(Reach::parse(integration, connections.as_deref()), Err(refusal));
        }
    }

    #[test]
    fn a_reach_includes_no_more_than_it_covers() {
        let reach = |integration: &str, names: Option<&[&str]>| Reach::parse(integration, names);
        let (every, acme) = (reach("*", None).unwrap(), reach("acme", None).unwrap());
        let (one, other) = (reach("acme", Some(&["one"])).unwrap(), reach("other", None).unwrap());
        let pair = reach("*", Some(&["acme.one"])).unwrap();
        for (wide, narrow) in [
            (&every, &every),
            (&every, &pair),
            (&acme, &one),
            (&acme, &pair),
            (&pair, &one),
            (&one, &pair),
        ] {
            assert!(wide.includes(narrow), "{wide:?} {narrow:?}");
        }
        for (narrow, wide) in
            [(&acme, &every), (&one, &acme), (&acme, &other), (&pair, &every), (&pair, &acme)]
        {
            assert!(!narrow.includes(wide), "{narrow:?} {wide:?}");
        }
        let acme_name = IntegrationName::parse("acme").unwrap();
        assert_eq!(acme.listed(&acme_name), None);
        assert_eq!(pair.listed(&acme_name).unwrap().len(), 1);
        assert_eq!(other.listed(&acme_name).unwrap().len(), 0);
    }
}
