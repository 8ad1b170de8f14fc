//! Values and rows in a form that both backends share: numbers, texts and bytes.

use jiff::Timestamp;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;

use super::Error;

/// The value of a placeholder.
#[derive(Debug)]
pub(super) enum SqlValue {
    Bytes(Vec<u8>),
    Number(Option<i64>),
    Text(Option<String>),
}

/// A row of a result.
pub(super) enum SqlRow {
    Postgres(PgRow),
    Sqlite(SqliteRow),
}

/// The columns of one table in a row.
#[derive(Clone, Copy)]
pub(super) struct Columns<'a> {
    row: &'a SqlRow,
    table: &'static str,
}

impl SqlRow {
    /// The columns as those of `table`, which errors name.
    pub(super) fn of(&self, table: &'static str) -> Columns<'_> {
        Columns { row: self, table }
    }
}

impl Columns<'_> {
    pub(super) fn text(self, column: &'static str) -> Result<String, Error> {
        self.optional_text(column)?.ok_or_else(|| self.inconsistent(column))
    }

    pub(super) fn optional_text(self, column: &'static str) -> Result<Option<String>, Error> {
        let text = match self.row {
            SqlRow::Postgres(row) => row.try_get(column),
            SqlRow::Sqlite(row) => row.try_get(column),
        };
        text.map_err(|_wordy| self.inconsistent(column))
    }

    pub(super) fn number(self, column: &'static str) -> Result<i64, Error> {
        self.optional_number(column)?.ok_or_else(|| self.inconsistent(column))
    }

    pub(super) fn optional_number(self, column: &'static str) -> Result<Option<i64>, Error> {
        let number = match self.row {
            SqlRow::Postgres(row) => row.try_get(column),
            SqlRow::Sqlite(row) => row.try_get(column),
        };
        number.map_err(|_wordy| self.inconsistent(column))
    }

    pub(super) fn bytes(self, column: &'static str) -> Result<Vec<u8>, Error> {
        let bytes: Result<Option<Vec<u8>>, _> = match self.row {
            SqlRow::Postgres(row) => row.try_get(column),
            SqlRow::Sqlite(row) => row.try_get(column),
        };
        bytes.ok().flatten().ok_or_else(|| self.inconsistent(column))
    }

    pub(super) fn time(self, column: &'static str) -> Result<Timestamp, Error> {
        self.optional_time(column)?.ok_or_else(|| self.inconsistent(column))
    }

    pub(super) fn optional_time(self, column: &'static str) -> Result<Option<Timestamp>, Error> {
        let time = self.optional_number(column)?.map(Timestamp::from_microsecond).transpose();
        time.map_err(|_wordy| self.inconsistent(column))
    }

    /// A text that `parse` must accept.
    pub(super) fn parsed<T, E>(
        self,
        column: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, Error> {
        parse(&self.text(column)?).map_err(|_wordy| self.inconsistent(column))
    }

    pub(super) fn inconsistent(self, column: &'static str) -> Error {
        Error::Inconsistent { table: self.table, column }
    }
}

impl From<&str> for SqlValue {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<String> for SqlValue {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}

impl From<Option<String>> for SqlValue {
    fn from(text: Option<String>) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for SqlValue {
    fn from(number: i64) -> Self {
        Self::Number(Some(number))
    }
}

impl From<Timestamp> for SqlValue {
    fn from(time: Timestamp) -> Self {
        time.as_microsecond().into()
    }
}

impl From<Option<Timestamp>> for SqlValue {
    fn from(time: Option<Timestamp>) -> Self {
        Self::Number(time.map(Timestamp::as_microsecond))
    }
}

impl From<&[u8]> for SqlValue {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}
