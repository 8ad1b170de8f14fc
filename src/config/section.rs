//! A table of the configuration while it is read, and the form in which its keys are listed.

use std::any::Any;
use std::fmt;

use serde_json::Value;
use toml::de::{DeTable, DeValue};

use super::describe::DescribedKey;
use super::fault::SourcePlace;
use super::item::{Item, Mark};
use super::readers::Reader;
use super::report::Report;

/// Reads a whole section: opens it, reads its [`keys!`], and reports every other key in it.
macro_rules! section {
    ($above:ident, $name:literal, $about:literal; $($rows:tt)*) => {
        let mut section = $above.section($name, $about);
        keys! { section; $($rows)* }
        section.close();
    };
}

/// Reads keys of a section into variables of the same names. A row is
///
/// * `key = DEFAULT => READER;`: its value, or else its default;
/// * `key? = EXAMPLE => READER;`: its value, if it was written;
/// * `key! = EXAMPLE => READER;`: the same, and its absence is a fault;
///
/// with its sentence above it. Defaults and examples are TOML. `, at_start` after the reader says
/// that only a restart changes the key.
macro_rules! keys {
    ($section:ident;) => {};
    ($section:ident; $(#[doc = $sentence:literal])+
        $name:ident = $default:tt => $reader:expr $(, $flag:ident)?; $($rest:tt)*) => {
        let $name = $section.key(row!($name, $default, $($sentence)+), &$reader)?;
        $( $section.$flag(stringify!($name), &$name); )?
        keys! { $section; $($rest)* }
    };
    ($section:ident; $(#[doc = $sentence:literal])+
        $name:ident ? = $example:tt => $reader:expr $(, $flag:ident)?; $($rest:tt)*) => {
        let $name = $section.optional(row!($name, $example, $($sentence)+), &$reader);
        $( $section.$flag(stringify!($name), &$name); )?
        keys! { $section; $($rest)* }
    };
    ($section:ident; $(#[doc = $sentence:literal])+
        $name:ident ! = $example:tt => $reader:expr; $($rest:tt)*) => {
        let $name = $section.required(row!($name, $example, $($sentence)+), &$reader);
        keys! { $section; $($rest)* }
    };
}

/// The row of a key.
macro_rules! row {
    ($name:ident, $toml:tt, $($sentence:literal)+) => {
        $crate::config::section::KeyRow {
            name: stringify!($name).trim_start_matches("r#"),
            sentence: concat!($($sentence),+).trim_ascii_start(),
            toml: stringify!($toml),
        }
    };
}

pub(super) use {keys, row, section};

/// A key as the table lists it.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyRow {
    pub(super) name: &'static str,
    pub(super) sentence: &'static str,
    /// The default, or an example, in TOML.
    pub(super) toml: &'static str,
}

impl KeyRow {
    fn toml_in_one_line(&self) -> String {
        self.toml.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// The meaning of a key's absence.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Absence {
    /// The key has its default.
    Default,
    /// The key has no value.
    Nothing,
    /// The configuration is at fault.
    Fault,
}

/// A table of the configuration while it is read. It knows which keys were asked for, so that the
/// rest is unknown.
pub(super) struct Section<'a> {
    table: DeTable<'a>,
    mark: Mark<'a>,
    /// A sentence about the section.
    about: &'static str,
    asked: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// The configuration as a whole.
    pub(super) fn root(report: &'a Report<'a>) -> Self {
        let table = report.source.tree(report);
        Self::new(table, Mark { place: report.source.top(), key: String::new(), report }, "")
    }

    pub(super) fn new(table: DeTable<'a>, mark: Mark<'a>, about: &'static str) -> Self {
        Self { table, mark, about, asked: Vec::new() }
    }

    /// The section's own key and where it begins.
    pub(super) fn mark(&self) -> &Mark<'a> {
        &self.mark
    }

    /// Reads a key that has a default, which also takes the place of a faulty value. Nothing is
    /// read where the default itself is at fault.
    pub(super) fn key<T: 'static>(&mut self, row: KeyRow, reader: &Reader<T>) -> Option<T> {
        let item = self.asked_item(row, Absence::Default, &reader.schema);
        item.and_then(|item| reader.read(item)).or_else(|| reader.read(self.default_item(row)?))
    }

    /// Reads a key that may be absent.
    pub(super) fn optional<T: 'static>(&mut self, row: KeyRow, reader: &Reader<T>) -> Option<T> {
        let item = self.asked_item(row, Absence::Nothing, &reader.schema)?;
        reader.read(item)
    }

    /// Reads a key whose absence is a fault.
    pub(super) fn required<T: 'static>(&mut self, row: KeyRow, reader: &Reader<T>) -> Option<T> {
        let item = self.asked_item(row, Absence::Fault, &reader.schema);
        reader.read(self.unless_missing(row.name, item)?)
    }

    /// Takes a value whose absence is a fault.
    pub(super) fn needed(&mut self, key: &'static str) -> Option<Item<'a>> {
        let item = self.take(key);
        self.unless_missing(key, item)
    }

    /// Remembers the value of a key that only a restart changes.
    pub(super) fn at_start<T>(&self, name: &str, value: &T)
    where
        T: Any + Clone + PartialEq + fmt::Debug + Send + Sync,
    {
        let (path, report) = (self.path_of(name), self.mark.report);
        if let Some(described) = &report.described {
            described.borrow_mut().iter_mut().for_each(|key| key.mark_at_start(&path));
        }
        report.bound.borrow_mut().push((path, Box::new(value.clone())));
    }

    /// Tells that a key that was asked for was written.
    pub(super) fn has(&self, name: &str) -> bool {
        self.mark.report.place_of(&self.path_of(name)) != SourcePlace::Default
    }

    /// The section named `name`, empty when it was not written.
    pub(super) fn section(&mut self, name: &'static str, about: &'static str) -> Self {
        let empty = Mark { key: self.path_of(name), ..self.mark.clone() };
        let written = self.take(name).and_then(Item::section);
        let section = written.unwrap_or_else(|| Self::new(DeTable::new(), empty, about));
        Self { about, ..section }
    }

    /// Reads each section of the list named `name`, and gives those without a fault.
    pub(super) fn list<T>(
        &mut self,
        name: &'static str,
        about: &'static str,
        mut read: impl FnMut(Self) -> Option<T>,
    ) -> Vec<T> {
        let items = self.take(name).and_then(Item::items).unwrap_or_default();
        let report = self.mark.report;
        let sections = items.into_iter().filter_map(Item::section).filter_map(|section| {
            let faults = report.fault_count();
            let value = read(Self { about, ..section })?;
            (report.fault_count() == faults).then_some(value)
        });
        sections.collect()
    }

    /// Takes the value of `key` out of the table, if it was written.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Item<'a>> {
        self.asked.push(key);
        let (written, value) = self.table.remove_entry(key)?;
        let mark = self.mark.below(self.path_of(key), &written.span());
        Some(Item::new(value.into_inner(), &written.span(), mark))
    }

    /// Every key with its value, for a table whose keys are the operator's own.
    pub(super) fn entries(self) -> impl Iterator<Item = (String, Item<'a>)> {
        let Self { table, mark: above, .. } = self;
        table.into_iter().map(move |(key, value)| {
            let mark = above.below(format!("{}.{:?}", above.key, key.get_ref()), &key.span());
            let item = Item::new(value.into_inner(), &key.span(), mark);
            (key.into_inner().into_owned(), item)
        })
    }

    /// Reports every key that nobody asked for.
    pub(super) fn close(self) {
        for key in self.table.keys() {
            let rule = match nearest(key.get_ref(), &self.asked) {
                Some(known) => format!("unknown key; did you mean {known}?"),
                None => "unknown key".to_owned(),
            };
            self.mark.below(self.path_of(key.get_ref()), &key.span()).fault(rule);
        }
    }

    fn asked_item(&mut self, row: KeyRow, absence: Absence, schema: &Value) -> Option<Item<'a>> {
        let item = self.take(row.name);
        if let Some(described) = &self.mark.report.described {
            described.borrow_mut().push(DescribedKey {
                section: self.mark.key.clone(),
                about: self.about,
                row,
                toml: item
                    .as_ref()
                    .and_then(Item::quoted)
                    .unwrap_or_else(|| row.toml_in_one_line()),
                absence,
                schema: schema.clone(),
                is_at_start: false,
            });
        }
        item
    }

    fn unless_missing(&self, key: &str, item: Option<Item<'a>>) -> Option<Item<'a>> {
        if item.is_none() {
            self.mark.report.consequence(&self.mark.place, &self.path_of(key), "is missing");
        }
        item
    }

    fn default_item(&self, row: KeyRow) -> Option<Item<'a>> {
        let report = self.mark.report;
        let mark = Mark { place: SourcePlace::Default, key: self.path_of(row.name), report };
        match DeValue::parse(row.toml) {
            Ok(value) => Some(Item::new(value.into_inner(), &(0..0), mark)),
            Err(error) => {
                mark.fault(error.message());
                None
            }
        }
    }

    fn path_of(&self, key: &str) -> String {
        if self.mark.key.is_empty() { key.to_owned() } else { format!("{}.{key}", self.mark.key) }
    }
}

/// The known key that `key` is likely a slip for.
fn nearest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    let one_slip = |name: &&&str| key.len() > 2 && strsim::damerau_levenshtein(key, name) <= 1;
    if let Some(name) = known.iter().find(one_slip) {
        return Some(name);
    }
    let scored = known.iter().map(|name| (strsim::jaro_winkler(key, name), *name));
    let (score, name) = scored.max_by(|one, two| one.0.total_cmp(&two.0))?;
    (score > LEAST_LIKENESS).then_some(name)
}

/// The likeness of two names, out of 1, above which one is suggested for the other.
const LEAST_LIKENESS: f64 = 0.8;
