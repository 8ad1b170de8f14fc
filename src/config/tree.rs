//! The configuration as a tree of values that know where they were written.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::Place;
use super::report::Report;

/// A value and where it was written.
pub(super) struct Node<'t> {
    pub(super) value: Value<'t>,
    pub(super) place: Place,
}

/// A value before it is known what it should be. It may be a secret, so it has no `Debug`.
pub(super) enum Value<'t> {
    /// A string, or a date in its text form.
    Text(Cow<'t, str>),
    /// A whole number.
    Integer(i64),
    /// `true` or `false`.
    Boolean(bool),
    /// A list.
    List(Vec<Node<'t>>),
    /// A table.
    Table(Table<'t>),
    /// What no key accepts: a fraction, or a whole number that is too large.
    Other(&'static str),
    /// The text of an environment variable: a string or TOML, as the key asks.
    Raw(&'t str),
}

/// Keys and their values.
#[derive(Default)]
pub(super) struct Table<'t>(pub(super) BTreeMap<Cow<'t, str>, Node<'t>>);

impl<'t> Table<'t> {
    /// Reads a file's text, as far as it can be read.
    pub(super) fn parse(text: &'t str, file: &Path, report: &Report) -> Self {
        let lines = Lines::new(text, file);
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let span = error.span().unwrap_or(text.len()..text.len());
            let duplicate = error.message() == "duplicate key";
            let key = if duplicate { text.get(span.clone()).unwrap_or_default() } else { "" };
            report.syntax(lines.place(&span), key, error.message());
        }
        Self::convert(table.into_inner(), &|span| lines.place(span))
    }

    /// Puts a value over whatever the path holds.
    pub(super) fn put(&mut self, path: &[String], node: Node<'t>) {
        let Some((key, rest)) = path.split_first() else { return };
        if rest.is_empty() {
            self.0.insert(Cow::Owned(key.clone()), node);
            return;
        }
        let below = self.0.entry(Cow::Owned(key.clone())).or_insert_with(|| Node {
            place: node.place.clone(),
            value: Value::Table(Self::default()),
        });
        if !matches!(below.value, Value::Table(_)) {
            *below = Node { place: node.place.clone(), value: Value::Table(Self::default()) };
        }
        if let Value::Table(table) = &mut below.value {
            table.put(rest, node);
        }
    }

    fn convert(table: DeTable<'t>, place: &dyn Fn(&Range<usize>) -> Place) -> Self {
        let node = |(key, value): (Spanned<Cow<'t, str>>, Spanned<DeValue<'t>>)| {
            let node = Node {
                place: place(&key.span()),
                value: Value::convert(value.into_inner(), place),
            };
            (key.into_inner(), node)
        };
        Self(table.into_iter().map(node).collect())
    }
}

impl<'t> Value<'t> {
    /// Reads TOML that stands in an environment variable, all of it at one place.
    pub(super) fn parse(text: &'t str, place: &Place) -> Option<Self> {
        let value = DeValue::parse(text).ok()?.into_inner();
        Some(Self::convert(value, &|_span| place.clone()))
    }

    /// What the value is, for a sentence about what it should be.
    pub(super) fn describe(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Raw(_) => "a string",
            Self::Integer(_) => "a whole number",
            Self::Boolean(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(what) => what,
        }
    }

    fn convert(value: DeValue<'t>, place: &dyn Fn(&Range<usize>) -> Place) -> Self {
        match value {
            DeValue::String(text) => Self::Text(text),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or(Self::Other("a number beyond 64 bits"), Self::Integer),
            DeValue::Boolean(value) => Self::Boolean(value),
            DeValue::Datetime(date) => Self::Text(Cow::Owned(date.to_string())),
            DeValue::Float(_) => Self::Other("a fraction"),
            DeValue::Array(array) => {
                let node = |value: Spanned<DeValue<'t>>| Node {
                    place: place(&value.span()),
                    value: Self::convert(value.into_inner(), place),
                };
                Self::List(array.into_iter().map(node).collect())
            }
            DeValue::Table(table) => Self::Table(Table::convert(table, place)),
        }
    }
}

/// Turns offsets into lines and columns.
struct Lines<'t> {
    text: &'t str,
    file: Arc<Path>,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn new(text: &'t str, file: &Path) -> Self {
        let after = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { text, file: file.into(), starts: std::iter::once(0).chain(after).collect() }
    }

    fn place(&self, span: &Range<usize>) -> Place {
        let line = self.starts.partition_point(|start| *start <= span.start).max(1);
        let start = self.starts.get(line - 1).copied().unwrap_or_default();
        let before = self.text.get(start..span.start).unwrap_or_default();
        let column = before.chars().count() + 1;
        Place::Line { file: Arc::clone(&self.file), line, column }
    }
}
