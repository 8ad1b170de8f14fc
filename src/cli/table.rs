//! Tables and records for people: aligned columns, no boxes.

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

    pub(super) fn add(&mut self, row: impl IntoIterator<Item = String>) {
        self.rows.push(row.into_iter().map(|cell| printable(&cell)).collect());
    }

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
    let rows = filled.map(|(name, value)| vec![(*name).to_owned(), printable(value)]);
    aligned(&rows.collect::<Vec<_>>())
}

pub(super) fn yes_or_no(it: bool) -> String {
    if it { "yes" } else { "no" }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn no_cell_changes_what_the_terminal_shows() {
        let mut table = TextTable::new(&["X"]);
        table.add(["x\u{1b}[2J".to_owned()]);
        assert_eq!(table.text(), "X\nx\u{fffd}[2J");
        assert_eq!(record(&[("x", "\u{7}".to_owned())]), "x  \u{fffd}");
    }
}
