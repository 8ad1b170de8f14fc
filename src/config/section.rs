//! A table being read: it knows which keys were asked for, so that what is left is unknown.

use super::item::{Item, Mark};
use super::report::Report;
use super::tree::{Node, Table, Value};

/// A table of the configuration while it is read.
pub(super) struct Section<'t, 'r> {
    table: Table<'t>,
    mark: Mark<'r>,
    asked: Vec<&'static str>,
}

impl<'t, 'r> Section<'t, 'r> {
    /// The configuration as a whole.
    pub(super) fn root(node: Node<'t>, report: &'r Report) -> Self {
        let table = match node.value {
            Value::Table(table) => table,
            _ => Table::default(),
        };
        Self::new(table, Mark { place: node.place, key: String::new(), report })
    }

    pub(super) fn new(table: Table<'t>, mark: Mark<'r>) -> Self {
        Self { table, mark, asked: Vec::new() }
    }

    /// The section's own key and where it begins.
    pub(super) fn mark(&self) -> &Mark<'r> {
        &self.mark
    }

    /// Takes the value of `key` out of the table, if it was written.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Item<'t, 'r>> {
        self.asked.push(key);
        let node = self.table.0.remove(key);
        let path = self.path_of(key);
        self.mark.report.asked(path.clone(), node.as_ref().map(|node| &node.place));
        node.map(|node| {
            let mark = Mark { place: node.place.clone(), key: path, report: self.mark.report };
            Item::new(node, mark)
        })
    }

    /// Reads `key` into `target`, which keeps its default when the key was not written.
    pub(super) fn set<T>(
        &mut self,
        key: &'static str,
        target: &mut T,
        read: impl FnOnce(Item<'t, 'r>) -> Option<T>,
    ) {
        if let Some(value) = self.take(key).and_then(read) {
            *target = value;
        }
    }

    /// Reads a key that has no default; its absence is a fault.
    pub(super) fn require<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(Item<'t, 'r>) -> Option<T>,
    ) -> Option<T> {
        if let Some(item) = self.take(key) {
            return read(item);
        }
        self.mark.report.consequence(&self.mark.place, &self.path_of(key), "is missing");
        None
    }

    /// The section named `key`, empty when it was not written.
    pub(super) fn section(&mut self, key: &'static str) -> Self {
        let empty = Mark { key: self.path_of(key), ..self.mark.clone() };
        let written = self.take(key).and_then(Item::section);
        written.unwrap_or_else(|| Self::new(Table::default(), empty))
    }

    /// Every key with its value, for a table whose keys are the operator's own.
    pub(super) fn entries(self) -> impl Iterator<Item = (String, Item<'t, 'r>)> {
        let Mark { key: path, report, .. } = self.mark;
        self.table.0.into_iter().map(move |(key, node)| {
            let mark = Mark { place: node.place.clone(), key: format!("{path}.{key:?}"), report };
            (key.into_owned(), Item::new(node, mark))
        })
    }

    /// Reports every key that nobody asked for.
    pub(super) fn close(self) {
        for (key, node) in &self.table.0 {
            let rule = match nearest(key, &self.asked) {
                Some(known) => format!("unknown key; did you mean {known}?"),
                None => "unknown key".to_owned(),
            };
            self.mark.report.fault(&node.place, &self.path_of(key), rule);
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
    (score > NEAR).then_some(name)
}

/// How alike two names must be to suggest one for the other, out of 1.
const NEAR: f64 = 0.8;
