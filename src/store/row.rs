//! Values and rows in a form that both backends share: numbers, texts and bytes.

use jiff::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Postgres, Row as _, Sqlite, Type};

use super::Error;

#[derive(Debug)]
pub(super) enum SqlValue {
    Bytes(Vec<u8>),
    Number(Option<i64>),
    Text(Option<String>),
}

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
        self.get(column)
    }

    pub(super) fn number(self, column: &'static str) -> Result<i64, Error> {
        self.optional_number(column)?.ok_or_else(|| self.inconsistent(column))
    }

    pub(super) fn optional_number(self, column: &'static str) -> Result<Option<i64>, Error> {
        self.get(column)
    }

    pub(super) fn bytes(self, column: &'static str) -> Result<Vec<u8>, Error> {
        self.get(column)?.ok_or_else(|| self.inconsistent(column))
    }

    fn get<T>(self, column: &'static str) -> Result<Option<T>, Error>
    where
        T: for<'r> Decode<'r, Postgres> + Type<Postgres>,
        T: for<'r> Decode<'r, Sqlite> + Type<Sqlite>,
    {
        let value = match self.row {
            SqlRow::Postgres(row) => row.try_get(column),
            SqlRow::Sqlite(row) => row.try_get(column),
        };
        value.map_err(|_wordy| self.inconsistent(column))
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

macro_rules! values {
    ($($from:ty, $value:ident => $into:expr;)*) => {$(
        impl From<$from> for SqlValue {
            fn from($value: $from) -> Self {
                $into
            }
        }
    )*};
}

values! {
    &str, text => Self::Text(Some(text.to_owned()));
    String, text => Self::Text(Some(text));
    Option<String>, text => Self::Text(text);
    i64, number => Self::Number(Some(number));
    Timestamp, time => time.as_microsecond().into();
    Option<Timestamp>, time => Self::Number(time.map(Timestamp::as_microsecond));
    &[u8], bytes => Self::Bytes(bytes.to_vec());
}
