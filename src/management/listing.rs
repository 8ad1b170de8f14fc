//! Pages of connections: what is stored and what is declared, in one order.

use std::collections::BTreeMap;

use super::connections::{ConnectionView, ReadAccess};
use super::fault::Refused;
use super::oauth::OAuthConnectionView;
use crate::error::chain;
use crate::model::event::EventKind;
use crate::model::name::ConnectionName;
use crate::model::record::ConnectionRecord;
use crate::store::{self, Page, PageRange};

/// A page of a list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListPage<T> {
    /// The items, in order.
    pub items: Vec<T>,
    /// Tells whether there is more in the direction in which the list is read.
    pub has_more: bool,
}

/// A connection of whatever type, as it may be shown.
#[derive(Debug)]
pub enum AnyConnection {
    /// One by OAuth.
    OAuth(Box<OAuthConnectionView>),
    /// One of another type.
    Static(ConnectionView),
}

impl AnyConnection {
    /// Its name.
    pub fn name(&self) -> &ConnectionName {
        match self {
            Self::OAuth(authorized) => &authorized.name,
            Self::Static(shown) => &shown.name,
        }
    }
}

impl ReadAccess<'_> {
    /// A stored connection as it may be shown.
    fn listed(&self, record: &ConnectionRecord) -> Option<AnyConnection> {
        match self.authorized(record) {
            Some(authorized) => Some(AnyConnection::OAuth(Box::new(authorized))),
            None => self.shown(record).map(AnyConnection::Static),
        }
    }

    /// The connection of this name, whatever its type.
    ///
    /// # Errors
    /// [`Refused::NotFound`] when there is none within the token's reach; and when the store
    /// fails.
    pub async fn show_any(&self, name: &str) -> Result<AnyConnection, Refused> {
        let name = self.name(name)?;
        let shown = match self.declared(&name) {
            Some(connection) => self.management.shown(&connection).map(AnyConnection::Static),
            None => self.listed(&self.record(&name).await?),
        };
        let mut shown = shown.ok_or(Refused::NotFound)?;
        self.note_failures(std::slice::from_mut(&mut shown)).await?;
        self.note_revealed(std::slice::from_ref(&shown)).await?;
        Ok(shown)
    }

    /// The connections of the integration within the window, in the order of their names.
    pub async fn list(&self, window: &PageRange) -> Result<ListPage<AnyConnection>, Refused> {
        let (stored, ends) = match self.operator.listed(&self.integration) {
            Some(names) => (self.each(names, window).await?, None),
            None => self.stored(window).await?,
        };
        let mut all = BTreeMap::new();
        all.extend(stored.into_iter().map(|shown| (shown.name().clone(), shown)));
        let registry = self.management.registry();
        for connection in registry.declared_in(&self.integration) {
            let name = connection.name();
            let is_within = is_within(window, ends.as_ref(), name.as_str());
            if is_within && self.operator.reaches(&self.integration, name) {
                let shown = self.management.shown(connection).map(AnyConnection::Static);
                all.extend(shown.map(|shown| (name.clone(), shown)));
            }
        }
        let mut page = cut(all.into_values().collect(), window, ends.is_some());
        self.note_failures(&mut page.items).await?;
        self.note_revealed(&page.items).await?;
        Ok(page)
    }

    /// Notes the connections whose tokens are shown in clear, each in an event of its own, by which
    /// it is found.
    async fn note_revealed(&self, items: &[AnyConnection]) -> Result<(), Refused> {
        let in_clear = items.iter().filter_map(|item| match item {
            AnyConnection::OAuth(shown) if shown.has_tokens_in_clear() => Some(&shown.name),
            _ => None,
        });
        let events: Vec<_> =
            in_clear.map(|name| self.event(EventKind::ConnectionReveal, name)).collect();
        if events.is_empty() {
            return Ok(());
        }
        self.management.note_all(self.management.persistence()?, self.operator, events).await
    }

    /// Notes of each connection by OAuth, or with a role, how its refreshes stand.
    async fn note_failures(&self, items: &mut [AnyConnection]) -> Result<(), Refused> {
        let has_none = |item: &AnyConnection| matches!(item, AnyConnection::Static(shown) if shown.role_of().is_none());
        if items.iter().all(has_none) {
            return Ok(());
        }
        let mut failures = self.failures().await?;
        for item in items {
            match item {
                AnyConnection::OAuth(shown) => shown.note_failure(failures.remove(&shown.uuid)),
                AnyConnection::Static(shown) => {
                    let failure = shown.role_of().and_then(|uuid| failures.remove(&uuid));
                    shown.note_failure(failure);
                }
            }
        }
        Ok(())
    }

    /// Reads what the store has within the window; and where that ends, if it goes on.
    async fn stored(
        &self,
        window: &PageRange,
    ) -> Result<(Vec<AnyConnection>, Option<(String, String)>), Refused> {
        let Ok(persistence) = self.management.persistence() else { return Ok((Vec::new(), None)) };
        let mut rest = window.clone();
        // A page of which nothing can be read has no cursor to go on from.
        loop {
            let mut page = persistence.store().connections(&self.integration, &rest).await?;
            let ends = page.ends.take().filter(|_ends| page.has_more);
            let records = readable(page);
            let shown: Vec<_> = records.iter().filter_map(|record| self.listed(record)).collect();
            match ends {
                Some((first, _)) if shown.is_empty() && reads_backwards(window) => {
                    rest.before = Some(first);
                }
                Some((_, last)) if shown.is_empty() => rest.after = Some(last),
                ends => return Ok((shown, ends)),
            }
        }
    }

    /// Those of `names` that are stored and within the window.
    async fn each(
        &self,
        mut names: Vec<ConnectionName>,
        window: &PageRange,
    ) -> Result<Vec<AnyConnection>, Refused> {
        let Ok(persistence) = self.management.persistence() else { return Ok(Vec::new()) };
        names.retain(|name| contains(window, name.as_str()));
        names.sort();
        names.dedup();
        let mut found = Vec::new();
        for name in names {
            let record = persistence.store().connection(&self.integration, &name).await;
            match record {
                Err(error @ store::Error::Inconsistent { .. }) => unreadable(&error),
                record => {
                    let record = record?;
                    found.extend(record.as_ref().and_then(|record| self.listed(record)));
                }
            }
        }
        Ok(found)
    }
}

/// Gives the rows that can be read; one that can't be is logged, and does not take the list down
/// with it.
pub(super) fn readable<T>(page: Page<T>) -> Vec<T> {
    let mut items = Vec::with_capacity(page.items.len());
    for item in page.items {
        match item {
            Ok(item) => items.push(item),
            Err(error) => unreadable(&error),
        }
    }
    items
}

fn unreadable(error: &store::Error) {
    tracing::error!(error = %chain(error), "a record was left out of a list: it was changed by hand, or a newer version wrote it");
}

/// The part of `items` that fits into the window: its end when it is read backwards.
pub(super) fn cut<T>(mut items: Vec<T>, window: &PageRange, more: bool) -> ListPage<T> {
    let limit = usize::try_from(window.limit).unwrap_or(usize::MAX);
    let over = items.len().saturating_sub(limit);
    if reads_backwards(window) {
        items.drain(..over);
    } else {
        items.truncate(limit);
    }
    ListPage { items, has_more: more || over > 0 }
}

/// Both cursors together mean the window between them, which is read forwards.
pub(super) fn reads_backwards(window: &PageRange) -> bool {
    window.before.is_some() && window.after.is_none()
}

pub(super) fn contains(window: &PageRange, name: &str) -> bool {
    window.after.as_ref().is_none_or(|after| name > after.as_str())
        && window.before.as_ref().is_none_or(|before| name < before.as_str())
}

/// Tells whether something declared belongs to a page of the window. Where the stored ones go on
/// beyond `ends`, they come before what is declared beyond them.
pub(super) fn is_within(window: &PageRange, ends: Option<&(String, String)>, name: &str) -> bool {
    let is_beyond = ends.is_some_and(|(first, last)| {
        if reads_backwards(window) { name < first.as_str() } else { name > last.as_str() }
    });
    contains(window, name) && !is_beyond
}
