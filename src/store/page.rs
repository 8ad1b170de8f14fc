//! Pages: parts of lists, delimited by keys.

use super::row::SqlRow;
use super::{DbTransaction, Error};

/// The requested part of a list. With both ends it is the part between them, from its start; with
/// `before` alone it is the part that ends there.
#[derive(Clone, Debug)]
pub struct PageRange {
    /// The key after which the page begins. A record of that key need not exist.
    pub after: Option<String>,
    /// The key before which the page ends.
    pub before: Option<String>,
    /// The largest number of records.
    pub limit: u32,
}

/// A part of a list.
#[derive(Debug)]
pub struct Page<T> {
    /// The records in the order of their keys, or the error of one that can't be read.
    pub items: Vec<Result<T, Error>>,
    /// The keys of the first and the last record.
    pub ends: Option<(String, String)>,
    /// Tells whether more records follow in the direction of reading.
    pub has_more: bool,
}

/// A list, as two statements that take the ends and the limit.
#[derive(Clone, Copy)]
pub(super) struct ListQuery {
    /// Records between `$2` and `$3`, at most `$4`, ascending.
    pub(super) forward: &'static str,
    /// The same, descending.
    pub(super) backward: &'static str,
    pub(super) key: &'static str,
    pub(super) table: &'static str,
}

impl ListQuery {
    /// Reads a page of the records of `scope` (`$1`).
    pub(super) async fn page<T>(
        self,
        work: &mut DbTransaction,
        scope: &str,
        window: &PageRange,
        read: impl Fn(&SqlRow) -> Result<T, Error>,
    ) -> Result<Page<T>, Error> {
        let backward = window.after.is_none() && window.before.is_some();
        let sql = if backward { self.backward } else { self.forward };
        let limit = i64::from(window.limit);
        let ends = [window.after.clone().into(), window.before.clone().into()];
        let [after, before] = ends;
        // Read one record more than asked for, to know whether others follow.
        let mut rows = work.rows(sql, [scope.into(), after, before, (limit + 1).into()]).await?;
        let has_more = rows.len() > usize::try_from(limit).unwrap_or(usize::MAX);
        if has_more {
            rows.pop();
        }
        if backward {
            rows.reverse();
        }
        let key = |row: &SqlRow| row.of(self.table).text(self.key);
        let ends = match (rows.first(), rows.last()) {
            (Some(first), Some(last)) => Some((key(first)?, key(last)?)),
            _ => None,
        };
        Ok(Page { items: rows.iter().map(read).collect(), ends, has_more })
    }
}

/// A list of the records of a table for which a condition on `$1` holds, in the order of a key.
macro_rules! list_query {
    ($table:literal by $key:literal where $condition:literal) => {
        list_query!(@ $table, $key, concat!(
            "SELECT * FROM ", $table, " WHERE ", $condition, " AND ($2 IS NULL OR ", $key,
            " > $2) AND ($3 IS NULL OR ", $key, " < $3) ORDER BY ", $key
        ))
    };
    (@ $table:literal, $key:literal, $select:expr) => {
        $crate::store::page::ListQuery {
            forward: concat!($select, " LIMIT $4"),
            backward: concat!($select, " DESC LIMIT $4"),
            key: $key,
            table: $table,
        }
    };
}
pub(super) use list_query;
