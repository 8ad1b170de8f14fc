//! The audit trail: the entries of requests, newest first.

use super::Management;
use super::fault::{About, Refused, Scope};
use super::listing::{ListPage, cut, reads_backwards};
use super::operator::Operator;
use super::requests::read_entry;
use crate::model::name::{ConnectionName, IntegrationName};
use crate::store::{AuditBatch, AuditPosition, PageRange, Store};
use crate::wire::AuditEntry;

/// A page of the trail.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditPage {
    /// The entries on it, newest first.
    pub listing: ListPage<(AuditPosition, AuditEntry)>,
    /// The position up to which was searched, where the search was broken off before the page was
    /// full: there may be more beyond.
    pub looked_until: Option<AuditPosition>,
    /// Up to where everything is known, whether it was wanted or not: what comes is newer. `None`
    /// where nothing is there.
    pub newest: Option<AuditPosition>,
}

struct AuditSearch {
    entries: Vec<(AuditPosition, AuditEntry)>,
    looked_until: Option<AuditPosition>,
    newest: Option<AuditPosition>,
}

/// The right to read the audit trail, as far as the operator's own token reaches.
#[derive(Debug)]
pub struct AuditReader<'a> {
    pub(super) management: &'a Management,
    pub(super) operator: &'a Operator,
}

/// A part of the trail between two positions, of which neither belongs to it.
#[derive(Clone, Copy)]
struct AuditRange {
    older_than: Option<AuditPosition>,
    newer_than: Option<AuditPosition>,
}

impl Management {
    /// Lets an operator read the audit trail.
    ///
    /// # Errors
    /// When the token lacks the scope `audit`.
    pub fn audit_reader<'a>(&'a self, operator: &'a Operator) -> Result<AuditReader<'a>, Refused> {
        operator.need(Scope::Audit)?;
        Ok(AuditReader { management: self, operator })
    }
}

impl AuditReader<'_> {
    /// The entries within the window, newest first. Of requests whose integration is not known,
    /// only who reaches all integrations is told. Whose entries are few among many gets a page that
    /// is not full before everything was read; its cursor goes on from there.
    ///
    /// # Errors
    /// When a cursor is none of this list, or the store fails.
    pub async fn list(&self, window: &PageRange) -> Result<AuditPage, Refused> {
        let stretch = AuditRange {
            older_than: position("page[after]", window.after.as_deref())?,
            newer_than: position("page[before]", window.before.as_deref())?,
        };
        let Ok(persistence) = self.management.persistence() else {
            let listing = ListPage { items: Vec::new(), has_more: false };
            return Ok(AuditPage { listing, looked_until: None, newest: None });
        };
        let enough = usize::try_from(window.limit).unwrap_or(usize::MAX).saturating_add(1);
        let backwards = reads_backwards(window);
        let found = if backwards {
            let mut found = self.upwards(persistence.store(), stretch, enough).await?;
            found.entries.reverse();
            found
        } else {
            self.downwards(persistence.store(), stretch, enough).await?
        };
        let AuditSearch { entries, looked_until, newest } = found;
        let listing = cut(entries, window, looked_until.is_some());
        let shown = listing.items.first().map(|(position, _)| *position);
        let newest = if backwards && listing.has_more { looked_until.or(shown) } else { newest };
        Ok(AuditPage { listing, looked_until, newest })
    }

    /// From the newest on.
    async fn downwards(
        &self,
        store: &Store,
        stretch: AuditRange,
        enough: usize,
    ) -> Result<AuditSearch, Refused> {
        let (mut found, mut newest) = (Vec::new(), None);
        let mut before = stretch.older_than.map(|position| position.batch.saturating_add(1));
        let mut reads = Reads::default();
        while let Some(at_once) = reads.next() {
            let batches = store.audit(before, at_once).await?;
            reads.note(&batches);
            for batch in &batches {
                let missing = enough.saturating_sub(found.len());
                found.extend(self.entries(batch, stretch).rev().take(missing));
            }
            newest = newest.or_else(|| batches.first().map(|batch| end_of(batch.id)));
            before = batches.last().map(|batch| batch.id);
            // The page is full, or the trail or the range ends here.
            let past = before.zip(stretch.newer_than).is_some_and(|(id, end)| id < end.batch);
            if found.len() >= enough || before.is_none() || past {
                return Ok(AuditSearch { entries: found, looked_until: None, newest });
            }
        }
        let looked_until = before.map(|batch| AuditPosition { batch, line: 0 });
        Ok(AuditSearch { entries: found, looked_until, newest })
    }

    /// From the position on toward the newest.
    async fn upwards(
        &self,
        store: &Store,
        stretch: AuditRange,
        enough: usize,
    ) -> Result<AuditSearch, Refused> {
        let (mut found, mut newest) = (Vec::new(), None);
        let mut after = stretch.newer_than.map_or(0, |position| position.batch.saturating_sub(1));
        let mut reads = Reads::default();
        // Reads of growing numbers of batches, within a bound of all.
        while let Some(at_once) = reads.next() {
            let batches = store.audit_after(after, at_once).await?;
            reads.note(&batches);
            for batch in &batches {
                let missing = enough.saturating_sub(found.len());
                found.extend(self.entries(batch, stretch).take(missing));
            }
            newest = batches.last().map(|batch| end_of(batch.id)).or(newest);
            // It ends with what was asked for, or where there are no more batches.
            let last = batches.last().map(|batch| batch.id);
            let (Some(last), true) = (last, found.len() < enough) else {
                return Ok(AuditSearch { entries: found, looked_until: None, newest });
            };
            after = last;
        }
        Ok(AuditSearch { entries: found, looked_until: newest, newest })
    }

    /// The entries of a batch that are within the stretch and within reach, oldest first. Each is
    /// read when it is asked for.
    fn entries<'a>(
        &'a self,
        batch: &'a AuditBatch,
        stretch: AuditRange,
    ) -> impl DoubleEndedIterator<Item = (AuditPosition, AuditEntry)> + 'a {
        let lines: Vec<_> = batch.lines.lines().enumerate().collect();
        let positions =
            lines.into_iter().map(|(line, text)| (AuditPosition { batch: batch.id, line }, text));
        let wanted = positions.filter(move |(position, _)| stretch.contains(*position));
        let read = wanted.filter_map(|(position, text)| Some((position, read_entry(text)?)));
        read.filter(|(_, entry)| self.reaches(entry))
    }

    pub(super) fn reaches(&self, entry: &AuditEntry) -> bool {
        if self.operator.need_everything().is_ok() {
            return true;
        }
        let Ok(integration) = IntegrationName::parse(&entry.integration) else { return false };
        match self.operator.listed(&integration) {
            None => true,
            Some(names) => ConnectionName::parse(&entry.connection)
                .is_ok_and(|connection| names.contains(&connection)),
        }
    }
}

impl AuditRange {
    fn contains(self, position: AuditPosition) -> bool {
        self.older_than.is_none_or(|end| position < end)
            && self.newer_than.is_none_or(|end| position > end)
    }
}

/// After everything in a batch.
pub(super) fn end_of(batch: i64) -> AuditPosition {
    AuditPosition { batch, line: BEYOND }
}

/// Reads a position as it is shown.
fn parse_position(text: &str) -> Option<AuditPosition> {
    let (batch, line) = text.split_once('-')?;
    Some(AuditPosition { batch: batch.parse().ok()?, line: line.parse().ok()? })
}

/// The position that a parameter gives, if it gives one.
pub(super) fn position(
    parameter: &str,
    given: Option<&str>,
) -> Result<Option<AuditPosition>, Refused> {
    let read = |text| {
        parse_position(text).ok_or_else(|| {
            let title = format!(
                "{parameter}: is not a cursor of this list; take meta.after or meta.before of one \
                 of its pages"
            );
            Refused::of(About::Request, title)
        })
    };
    given.map(read).transpose()
}

/// Paces the reading of the trail for one page: a busy server fills it out of one batch, a quiet
/// one out of many. A search for something rare among much ends with what was found so far.
#[derive(Default)]
struct Reads {
    done: u32,
    batches: usize,
    bytes: usize,
}

impl Reads {
    /// The number of batches to read next; `None` when that was enough.
    fn next(&mut self) -> Option<u32> {
        if self.done >= MAX_READS || self.bytes >= MAX_BYTES_READ {
            return None;
        }
        let usual = (self.bytes / self.batches.max(1)).max(1);
        let fitting = u32::try_from((MAX_BYTES_READ - self.bytes) / usual).unwrap_or(u32::MAX);
        let growing = 1 << self.done.min(MAX_BATCHES_LOG2);
        self.done += 1;
        Some(fitting.clamp(1, growing))
    }

    fn note(&mut self, batches: &[AuditBatch]) {
        self.batches += batches.len();
        self.bytes += batches.iter().map(|batch| batch.lines.len()).sum::<usize>();
    }
}

/// The reads of the store for one page: some two hundred and fifty batches.
const MAX_READS: u32 = 12;
/// The bytes that are read for one page.
const MAX_BYTES_READ: usize = 4 << 20;
/// The largest number of batches at once, as a power of two.
const MAX_BATCHES_LOG2: u32 = 5;

/// A line that no batch has.
const BEYOND: usize = 999_999_999;
