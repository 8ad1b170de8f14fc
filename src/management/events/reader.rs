//! Events are listed, newest first, as far as the operator's token reaches.

use super::check::{ChainCheck, ChainHead};
use crate::error::chain;
use crate::management::fault::{About, Refused, Scope};
use crate::management::listing::{ListPage, cut, reads_backwards};
use crate::management::requests::moment;
use crate::management::{Management, Operator};
use crate::model::event::EventKind;
use crate::model::name::{ConnectionName, IntegrationName};
use crate::model::name_rule;
use crate::store::{EventFilter, PageRange, StoredEvent};
use crate::wire::{EventCheckAnswer, EventView};

/// The right to read events, as far as the operator's own token reaches.
#[derive(Debug)]
pub struct EventReader<'a> {
    management: &'a Management,
    operator: &'a Operator,
}

/// Selects events. An empty text selects all.
#[derive(Clone, Debug, Default)]
pub struct EventQuery {
    /// Those that were done then or later (RFC 3339).
    pub since: String,
    /// Those that were done before then (RFC 3339).
    pub until: String,
    /// Those of this integration.
    pub integration: String,
    /// Those about the connection of this name.
    pub connection: String,
    /// Those of the operator of this name.
    pub operator: String,
    /// Those of this kind, such as `connection.update`, or of all such as `connection`.
    pub kind: String,
}

impl Management {
    /// Lets an operator read events.
    ///
    /// # Errors
    /// The token lacks the scope `audit`.
    pub fn event_reader<'a>(&'a self, operator: &'a Operator) -> Result<EventReader<'a>, Refused> {
        operator.need(Scope::Audit)?;
        Ok(EventReader { management: self, operator })
    }
}

impl EventReader<'_> {
    /// The events within the window, newest first.
    ///
    /// # Errors
    /// A filter or a cursor is faulty, the events are out of reach, or the store fails.
    pub async fn list(
        &self,
        query: &EventQuery,
        window: &PageRange,
    ) -> Result<ListPage<EventView>, Refused> {
        // 1. What is wanted, and may be seen.
        let mut filter = self.filter(query)?;
        filter.below = cursor("page[after]", window.after.as_deref())?;
        filter.above = cursor("page[before]", window.before.as_deref())?;
        let nothing = ListPage { items: Vec::new(), has_more: false };
        let Ok(persistence) = self.management.persistence() else { return Ok(nothing) };
        // 2. One more than asked for, to know whether others follow.
        let backwards = reads_backwards(window);
        let limit = window.limit.saturating_add(1);
        let mut events = persistence.store().events(&filter, backwards, limit).await?;
        if backwards {
            events.reverse();
        }
        let ListPage { items, has_more } = cut(events, window, false);
        Ok(ListPage { items: items.iter().filter_map(shown).collect(), has_more })
    }

    /// Checks the chain of all events; with the head of an earlier check, it must have that still.
    ///
    /// # Errors
    /// [`Refused::OutOfReach`] when the token does not reach all integrations; when the head is
    /// none, or the store fails.
    pub async fn verify(&self, head: Option<&str>) -> Result<EventCheckAnswer, Refused> {
        self.operator.need_everything()?;
        let head = head.map(|text| ChainHead::parse(text).ok_or_else(not_a_head)).transpose()?;
        let persistence = self.management.persistence()?;
        let vault = persistence.vault();
        let mut check = ChainCheck::new(&*vault, head);
        let _turn = self.management.long_reads.acquire().await;
        let stored = persistence.store().walk_events(|event| check.add(event)).await?;
        Ok(check.finish(&stored))
    }

    fn filter(&self, query: &EventQuery) -> Result<EventFilter, Refused> {
        let EventQuery { since, until, integration, connection, operator, kind } = query;
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        // 1. The integration is the token's own, where it has one.
        let integration = match (self.operator.bound_to(), integration.as_str()) {
            (Some(own), "") => Some(own.clone()),
            (None, "") => None,
            (_, named) => Some(self.operator.enter(named)?),
        };
        // 2. Who reaches some connections alone must name one of them.
        if self.operator.names_connections() {
            let name = ConnectionName::parse(connection).map_err(|_rule| Refused::OutOfReach)?;
            let reached = integration.as_ref().is_some_and(|of| self.operator.reaches(of, &name));
            if !reached {
                return Err(Refused::OutOfReach);
            }
        }
        Ok(EventFilter {
            below: None,
            above: None,
            since: moment("since", since)?,
            until: moment("until", until)?,
            integration: integration.as_ref().map(IntegrationName::to_string),
            connection: given(connection),
            operator: given(operator),
            kind: parse_kind(kind)?,
        })
    }
}

fn not_a_head() -> Refused {
    Refused::of(About::Request, "head: must be NUMBER:HASH, as an earlier check has printed it")
}

fn parse_kind(text: &str) -> Result<Option<String>, Refused> {
    if text.is_empty() {
        return Ok(None);
    }
    let is_known = EventKind::parse(text).is_ok() || EventKind::GROUPS.contains(&text);
    if is_known {
        return Ok(Some(text.to_owned()));
    }
    let names = EventKind::GROUPS.into_iter().chain(EventKind::ALL.map(EventKind::as_str));
    Err(Refused::of(About::Request, format!("kind: {}", name_rule(&names.collect::<Vec<_>>()))))
}

/// The number of an event that a parameter gives, if it gives one.
fn cursor(parameter: &str, given: Option<&str>) -> Result<Option<i64>, Refused> {
    let read = |text: &str| {
        text.parse().map_err(|_wordy| {
            let title = format!(
                "{parameter}: is not a cursor of this list; take meta.after or meta.before of one \
                 of its pages"
            );
            Refused::of(About::Request, title)
        })
    };
    given.map(read).transpose()
}

/// An event as it may be shown; one that was changed by hand so that it can't be read is logged.
fn shown(event: &StoredEvent) -> Option<EventView> {
    match serde_json::from_str(&event.content) {
        Ok(content) => Some(EventView { id: event.number.to_string(), content }),
        Err(error) => {
            tracing::error!(error = %chain(&error), event = event.number, "an event can't be read");
            None
        }
    }
}
