//! The search of the audit trail by its index.

use std::collections::BTreeMap;

use super::index::{IndexFilter, IndexRow, search};
use super::{AuditPosition, EntryFilter};
use crate::store::database::DbTransaction;
use crate::store::row::SqlRow;
use crate::store::{Error, Store};

/// The part of the trail that is searched, between two positions of which neither belongs to it.
#[derive(Clone, Copy, Debug, Default)]
pub struct EntryRange {
    /// The position before which entries are wanted.
    pub older_than: Option<AuditPosition>,
    /// The position after which entries are wanted.
    pub newer_than: Option<AuditPosition>,
    /// Tells whether the search begins with the oldest.
    pub oldest_first: bool,
}

/// The result of a search.
#[derive(Debug, Default)]
pub struct FoundEntries {
    /// The entries, as lines of JSON, in the order of the search. A line may be found wrongly.
    pub lines: Vec<(AuditPosition, String)>,
    /// The end of the part that was searched, where the search ended before the range was.
    pub searched_until: Option<AuditPosition>,
    /// The newest batch of the trail; `None` where it is empty.
    pub newest: Option<i64>,
}

/// A search under way.
struct Search<'a> {
    filter: &'a IndexFilter,
    range: EntryRange,
    /// The number of entries that are wanted.
    wanted: usize,
    /// The bytes that may still be read.
    budget: usize,
    found: Vec<(AuditPosition, String)>,
}

/// Batches to be looked into, each with the lines that match.
type Candidates = BTreeMap<i64, Vec<u32>>;

impl Store {
    /// Finds at least `wanted` entries that a filter selects, and their neighbors in the last batch;
    /// fewer where the range ends, or after much was read.
    ///
    /// # Errors
    /// Any error of the trail.
    pub async fn find_entries(
        &self,
        filter: &EntryFilter,
        range: EntryRange,
        wanted: usize,
    ) -> Result<FoundEntries, Error> {
        let filter = IndexFilter::of(filter);
        let searched = async {
            let mut work = self.read_trail().await?;
            let found =
                Search { filter: &filter, range, wanted, budget: MAX_READ, found: Vec::new() };
            let found = found.run(&mut work).await?;
            work.roll_back().await?;
            Ok(found)
        };
        self.end_trail(Box::pin(searched).await).await
    }
}

impl Search<'_> {
    async fn run(mut self, work: &mut DbTransaction) -> Result<FoundEntries, Error> {
        let newest = work.row(LAST, []).await?;
        let newest = newest.map(|row| row.of("audit").optional_number("id")).transpose()?.flatten();
        // The batches that are left: from `low` to `high`, both included.
        let mut low = self.range.newer_than.map_or(0, |position| position.batch);
        let mut high = self.range.older_than.map_or(i64::MAX - 1, |position| position.batch);
        let mut at_once = 1;
        let is_whole = loop {
            if low > high {
                break true;
            }
            // 1. The next part of the index, and the batches there that match.
            let (part, mut candidates) = self.next_part(work, (low, high), at_once).await?;
            // 2. Batches of before there was an index.
            let part = self.add_unindexed(work, part, &mut candidates).await?;
            // 3. The entries.
            if let Some(broken_off) = self.read_entries(work, candidates).await? {
                return Ok(self.end(newest, Some(broken_off)));
            }
            if self.range.oldest_first {
                low = part.1 + 1;
            } else {
                high = part.0 - 1;
            }
            at_once = (at_once * 4).min(MAX_ROWS_AT_ONCE);
            if self.budget == 0 {
                break low > high;
            }
        };
        let end = if self.range.oldest_first { low } else { high + 1 };
        let searched_until = (!is_whole).then_some(AuditPosition { batch: end, line: 0 });
        Ok(self.end(newest, searched_until))
    }

    fn end(self, newest: Option<i64>, searched_until: Option<AuditPosition>) -> FoundEntries {
        FoundEntries { lines: self.found, searched_until, newest }
    }

    /// Reads some rows of the index. Gives the first and the last batch of the part that they are
    /// for, and the lines in it that match.
    async fn next_part(
        &mut self,
        work: &mut DbTransaction,
        (low, high): (i64, i64),
        at_once: i64,
    ) -> Result<((i64, i64), Candidates), Error> {
        // 1. The rows.
        let sql = if self.range.oldest_first { INDEX_OLDEST } else { INDEX_NEWEST };
        let (since, until) = self.filter.seconds();
        let values = [low.into(), high.into(), since.into(), until.into(), at_once.into()];
        let rows = work.rows(sql, values).await?;
        let rows: Vec<_> = rows.iter().map(read_row).collect::<Result<_, _>>()?;
        // 2. What matches in them.
        let mut candidates = Candidates::new();
        for row in &rows {
            self.budget = self.budget.saturating_sub(row.data.len());
            search(&row.data, self.filter, |batch, lines| {
                if (low..=high).contains(&batch) && !lines.is_empty() {
                    candidates.insert(batch, lines);
                }
            });
        }
        // 3. Where there may be more rows, the part ends with the last of these.
        let is_last = i64::try_from(rows.len()).unwrap_or(i64::MAX) < at_once;
        let end = rows.last().filter(|_| !is_last).map(|row| row.batches);
        let part = match end {
            None => (low, high),
            Some((_, last)) if self.range.oldest_first => (low, last.min(high)),
            Some((first, _)) => (first.max(low), high),
        };
        Ok((part, candidates))
    }

    /// Adds the batches within `part` that have no index, as far as they match. Gives the part that
    /// is then known, which is smaller where there are many.
    async fn add_unindexed(
        &mut self,
        work: &mut DbTransaction,
        part: (i64, i64),
        candidates: &mut Candidates,
    ) -> Result<(i64, i64), Error> {
        let sql = if self.range.oldest_first { UNINDEXED_OLDEST } else { UNINDEXED_NEWEST };
        let rows = work.rows(sql, [part.0.into(), part.1.into(), MAX_UNINDEXED.into()]).await?;
        for row in &rows {
            let columns = row.of("audit");
            let (batch, lines) = (columns.number("id")?, columns.text("entries")?);
            self.budget = self.budget.saturating_sub(lines.len() / UNINDEXED_DISCOUNT);
            search(&IndexRow::of(batch, &lines).data, self.filter, |batch, lines| {
                if !lines.is_empty() {
                    candidates.insert(batch, lines);
                }
            });
        }
        let is_all = i64::try_from(rows.len()).unwrap_or(i64::MAX) < MAX_UNINDEXED;
        let Some(last) = rows.last().filter(|_| !is_all) else { return Ok(part) };
        let last = last.of("audit").number("id")?;
        let part = if self.range.oldest_first { (part.0, last) } else { (last, part.1) };
        candidates.retain(|batch, _| (part.0..=part.1).contains(batch));
        Ok(part)
    }

    /// Reads entries until there are enough. Gives the last position that was read where that was
    /// before the end of the candidates.
    async fn read_entries(
        &mut self,
        work: &mut DbTransaction,
        candidates: Candidates,
    ) -> Result<Option<AuditPosition>, Error> {
        let mut ids: Vec<i64> = candidates.keys().copied().collect();
        if !self.range.oldest_first {
            ids.reverse();
        }
        let mut left = ids.as_slice();
        while !left.is_empty() {
            // 1. Some batches at once, and no more than can be needed.
            let mut number = self.found.len();
            let needed = left.iter().take(BATCHES_AT_ONCE).take_while(|batch| {
                let is_needed = number < self.wanted;
                number += candidates.get(batch).map_or(0, Vec::len);
                is_needed
            });
            let (needed, rest) = left.split_at(needed.count().max(1));
            left = rest;
            let texts = self.texts(work, needed).await?;
            // 2. Their lines, in the order of the search.
            for batch in needed {
                let (Some(text), Some(lines)) = (texts.get(batch), candidates.get(batch)) else {
                    continue;
                };
                self.take_lines(*batch, text, lines);
            }
            // 3. That may be enough.
            if self.found.len() >= self.wanted || self.budget == 0 {
                return Ok(needed.last().map(|last| self.end_in(*last)));
            }
        }
        Ok(None)
    }

    /// The position after all that was found up to a batch.
    fn end_in(&self, batch: i64) -> AuditPosition {
        let line = if self.range.oldest_first { BEYOND } else { 0 };
        let last = self.found.last().map(|(position, _)| *position);
        last.filter(|last| last.batch == batch).unwrap_or(AuditPosition { batch, line })
    }

    fn take_lines(&mut self, batch: i64, text: &str, lines: &[u32]) {
        let EntryRange { older_than, newer_than, oldest_first } = self.range;
        let mut wanted = lines.iter().copied().peekable();
        let mut taken = Vec::with_capacity(lines.len());
        for (line, text) in text.lines().enumerate() {
            if wanted.next_if(|wanted| usize::try_from(*wanted) == Ok(line)).is_none() {
                continue;
            }
            let position = AuditPosition { batch, line };
            if older_than.is_none_or(|end| position < end)
                && newer_than.is_none_or(|end| position > end)
            {
                taken.push((position, text.to_owned()));
            }
        }
        if !oldest_first {
            taken.reverse();
        }
        self.found.append(&mut taken);
    }

    async fn texts(
        &mut self,
        work: &mut DbTransaction,
        batches: &[i64],
    ) -> Result<BTreeMap<i64, String>, Error> {
        let id = |at: usize| batches.get(at).copied().unwrap_or(-1).into();
        let ids = [id(0), id(1), id(2), id(3), id(4), id(5), id(6), id(7)];
        let mut texts = BTreeMap::new();
        for row in work.rows(ENTRIES, ids).await? {
            let columns = row.of("audit");
            let text = columns.text("entries")?;
            self.budget = self.budget.saturating_sub(text.len());
            texts.insert(columns.number("id")?, text);
        }
        Ok(texts)
    }
}

fn read_row(row: &SqlRow) -> Result<IndexRow, Error> {
    let columns = row.of("audit_index");
    Ok(IndexRow {
        batches: (columns.number("first_batch")?, columns.number("last_batch")?),
        seconds: (columns.number("oldest")?, columns.number("newest")?),
        data: columns.bytes("data")?,
    })
}

const LAST: &str = "SELECT max(id) AS id FROM audit";

/// Rows of the index that have batches from `$1` to `$2`, of entries from the second `$3` to `$4`.
macro_rules! index_rows {
    ($order:literal) => {
        concat!(
            "SELECT first_batch, last_batch, oldest, newest, data FROM audit_index \
            WHERE last_batch >= $1 AND first_batch <= $2 AND newest >= $3 AND oldest <= $4 \
            ORDER BY last_batch ",
            $order,
            " LIMIT $5"
        )
    };
}

const INDEX_NEWEST: &str = index_rows!("DESC");

const INDEX_OLDEST: &str = index_rows!("ASC");

/// Batches from `$1` to `$2` without an index.
macro_rules! unindexed {
    ($order:literal) => {
        concat!(
            "SELECT id, entries FROM audit WHERE indexed IS NULL AND id >= $1 AND id <= $2 \
            ORDER BY id ",
            $order,
            " LIMIT $3"
        )
    };
}

const UNINDEXED_NEWEST: &str = unindexed!("DESC");

const UNINDEXED_OLDEST: &str = unindexed!("ASC");

const ENTRIES: &str = "SELECT id, entries FROM audit WHERE id IN ($1, $2, $3, $4, $5, $6, $7, $8)";

/// A line that no batch has.
const BEYOND: usize = 999_999_999;

/// The number of batches that are read at once.
const BATCHES_AT_ONCE: usize = 8;

/// The largest number of rows of the index, and of batches without one, that are read at once.
const MAX_ROWS_AT_ONCE: i64 = 64;

const MAX_UNINDEXED: i64 = 16;

/// Entries without an index are read until that is done in the background, so that more of them may
/// be read for one page than of others.
const UNINDEXED_DISCOUNT: usize = 2;

/// The bytes that are read for one search: the index of some 2,000,000 entries.
const MAX_READ: usize = 96 << 20;
