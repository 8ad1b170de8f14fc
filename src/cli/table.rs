//! Tables and records for people: aligned columns, no boxes.

use serde_json::Value;

use super::output::printable;

/// Rows below a head; every column is as wide as its widest cell.
pub(super) struct TextTable {
    rows: Vec<Vec<String>>,
}

impl TextTable {
    /// A table with these columns and no row yet.
    pub(super) fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(|&name| name.to_owned()).collect()] }
    }

    /// Adds a row.
    pub(super) fn add(&mut self, row: impl IntoIterator<Item = String>) {
        self.rows.push(row.into_iter().collect());
    }

    /// Tells whether there is no row.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.len() < 2
    }

    /// The table as lines without a newline at the end; empty where there is no row.
    pub(super) fn text(&self) -> String {
        if self.is_empty() { String::new() } else { aligned(&self.rows) }
    }
}

/// Lines in which columns are aligned.
fn aligned(rows: &[Vec<String>]) -> String {
    let mut widths = Vec::new();
    for row in rows {
        widths.resize(row.len().max(widths.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Names and values, one pair a line; pairs without a value are left out.
pub(super) fn record(pairs: &[(&str, String)]) -> String {
    let filled = pairs.iter().filter(|(_, value)| !value.is_empty());
    let rows = filled.map(|(name, value)| vec![(*name).to_owned(), value.clone()]);
    aligned(&rows.collect::<Vec<_>>())
}

/// A member of a JSON object as a cell shows it; empty where there is none.
pub(super) fn cell(object: &Value, member: &str) -> String {
    object.get(member).map(plain).unwrap_or_default()
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => printable(text),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(","),
        Value::Number(_) | Value::Object(_) => printable(&value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_are_aligned_and_lines_have_no_tail() {
        let mut table = TextTable::new(&["NAME", "TYPE", "X"]);
        assert_eq!((table.is_empty(), table.text()), (true, String::new()));
        table.add(["é".to_owned(), "bearer_token".to_owned(), "1".to_owned()]);
        table.add(["longer".to_owned(), "key".to_owned(), String::new()]);
        assert!(!table.is_empty());
        assert_eq!(table.text(), "NAME    TYPE          X\né       bearer_token  1\nlonger  key");
    }

    #[test]
    fn a_record_has_a_line_for_each_value() {
        let pairs = [("id", "1".to_owned()), ("nothing", String::new()), ("name", "x".to_owned())];
        assert_eq!(record(&pairs), "id    1\nname  x");
    }

    #[test]
    fn cells_show_values_plainly() {
        let object = json!({"a": "x\u{1b}[2J", "b": null, "c": true, "d": ["x", "y"], "e": 7});
        assert_eq!(cell(&object, "a"), "x\u{fffd}[2J");
        let rest = ["b", "c", "d", "e", "f"].map(|name| cell(&object, name));
        assert_eq!(rest, ["", "yes", "x,y", "7", ""]);
    }
}
