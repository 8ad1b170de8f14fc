//! A value being read: each reader gives the typed value, or reports the fault and gives nothing.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;

use super::fault::Place;
use super::report::Report;
use super::section::Section;
use super::tree::{Node, Value};

/// A value of the configuration while it is read.
pub(super) struct Item<'t, 'r> {
    value: Value<'t>,
    mark: Mark<'r>,
}

/// A key and where it was written; what is said of it is reported there.
#[derive(Clone)]
pub(super) struct Mark<'r> {
    pub(super) place: Place,
    pub(super) key: String,
    pub(super) report: &'r Report,
}

impl Mark<'_> {
    /// Reports that the value breaks `rule`.
    pub(super) fn fault(&self, rule: impl Into<String>) {
        self.report.fault(&self.place, &self.key, rule);
    }

    /// Reports that the value deserves attention.
    pub(super) fn warning(&self, rule: impl Into<String>) {
        self.report.warning(&self.place, &self.key, rule);
    }

    /// Reports that something which the value needs is absent, or does not agree with it.
    pub(super) fn consequence(&self, rule: impl Into<String>) {
        self.report.consequence(&self.place, &self.key, rule);
    }
}

impl<'t, 'r> Item<'t, 'r> {
    pub(super) fn new(node: Node<'t>, mark: Mark<'r>) -> Self {
        Self { value: node.value, mark }
    }

    /// The key and where it was written.
    pub(super) fn mark(&self) -> Mark<'r> {
        self.mark.clone()
    }

    /// Gives what `read` makes of a string, or reports the rule that it breaks.
    pub(super) fn parse<T, E: ToString>(
        self,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let Some(text) = self.written_text() else { return self.expected("a string") };
        read(&text).map_err(|rule| self.mark.fault(rule.to_string())).ok()
    }

    /// Whether the value is a string; an environment variable may stand for an inline table.
    pub(super) fn is_text(&self) -> bool {
        match &self.value {
            Value::Text(_) => true,
            Value::Raw(text) => !text.starts_with('{'),
            _ => false,
        }
    }

    /// A name of a file or directory, as it was written.
    pub(super) fn path(self) -> Option<PathBuf> {
        self.parse(
            |text| {
                if text.is_empty() { Err("must not be empty") } else { Ok(PathBuf::from(text)) }
            },
        )
    }

    /// A name of a file that is read: relative to the directory of the file that names it.
    pub(super) fn file(self) -> Option<PathBuf> {
        let directory = self.mark.place.directory().to_path_buf();
        self.path().map(|path| directory.join(path))
    }

    /// `true` or `false`.
    pub(super) fn boolean(self) -> Option<bool> {
        let item = self.typed("true or false")?;
        match item.value {
            Value::Boolean(value) => Some(value),
            _ => item.expected("true or false"),
        }
    }

    /// A whole number between both bounds, inclusive.
    pub(super) fn number<N>(self, least: N, most: N) -> Option<N>
    where
        N: TryFrom<i64> + PartialOrd + Copy + std::fmt::Display,
    {
        let item = self.typed("a whole number")?;
        let Value::Integer(number) = item.value else {
            return item.expected("a whole number");
        };
        match N::try_from(number) {
            Ok(number) if number >= least && number <= most => Some(number),
            _ => {
                item.mark.fault(format!("must be a whole number from {least} to {most}"));
                None
            }
        }
    }

    /// A duration longer than nothing.
    pub(super) fn duration(self) -> Option<Duration> {
        let mark = self.mark();
        let duration = self.duration_or_zero()?;
        if duration.is_zero() {
            mark.fault("must be longer than zero");
            return None;
        }
        Some(duration)
    }

    /// A duration, which may be nothing.
    pub(super) fn duration_or_zero(self) -> Option<Duration> {
        if !self.is_text() {
            return self.expected(A_DURATION);
        }
        self.parse(|text| match humantime::parse_duration(text) {
            Ok(duration) if duration <= LONGEST => Ok(duration),
            Ok(_) => Err("must be at most \"36500d\"".to_owned()),
            Err(_) => Err(format!("must be {A_DURATION}")),
        })
    }

    /// A number of bytes with its unit, between both bounds, inclusive.
    pub(super) fn size(self, least: ByteSize, most: ByteSize) -> Option<u64> {
        if !self.is_text() {
            return self.expected(A_SIZE);
        }
        self.parse(|text| match text.parse::<ByteSize>() {
            // A number without a unit could be meant as anything.
            Ok(_) if text.trim_end().ends_with(|last: char| last.is_ascii_digit()) => {
                Err(format!("must be {A_SIZE}"))
            }
            Ok(size) if least <= size && size <= most => Ok(size.as_u64()),
            Ok(_) => Err(format!("must be from \"{least}\" to \"{most}\"")),
            Err(_) => Err(format!("must be {A_SIZE}")),
        })
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(self, choices: &[(&str, T)]) -> Option<T> {
        self.parse(|text| {
            let found = choices.iter().find(|(word, _)| *word == text);
            found.map(|(_, choice)| *choice).ok_or_else(|| {
                let words: Vec<_> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
                format!("must be {}", words.join(" or "))
            })
        })
    }

    /// A list, each of its values read by `read`.
    pub(super) fn list<T>(self, read: impl Fn(Self) -> Option<T>) -> Option<Vec<T>> {
        let items = self.items()?;
        let length = items.len();
        // All are read before the verdict, so that each fault is reported.
        let values: Vec<T> = items.into_iter().filter_map(read).collect();
        (values.len() == length).then_some(values)
    }

    /// A list with at least one value.
    pub(super) fn some<T>(self, read: impl Fn(Self) -> Option<T>) -> Option<Vec<T>> {
        let mark = self.mark();
        let values = self.list(read)?;
        if values.is_empty() {
            mark.fault("must not be empty");
            return None;
        }
        Some(values)
    }

    /// The values of a list.
    pub(super) fn items(self) -> Option<Vec<Self>> {
        let item = self.typed(A_LIST)?;
        let Value::List(nodes) = item.value else {
            return item.expected("a list");
        };
        let named = |(index, node): (usize, Node<'t>)| {
            let key = format!("{}[{index}]", item.mark.key);
            let mark = Mark { place: node.place.clone(), key, report: item.mark.report };
            mark.report.asked(mark.key.clone(), Some(&mark.place));
            Self::new(node, mark)
        };
        Some(nodes.into_iter().enumerate().map(named).collect())
    }

    /// A table.
    pub(super) fn section(self) -> Option<Section<'t, 'r>> {
        let item = self.typed("a table in TOML such as { a = \"b\" }")?;
        let Value::Table(table) = item.value else {
            return item.expected("a table");
        };
        Some(Section::new(table, item.mark))
    }

    fn written_text(&self) -> Option<Cow<'_, str>> {
        match &self.value {
            Value::Text(text) => Some(Cow::Borrowed(text)),
            Value::Raw(text) => Some(unquoted(text, &self.mark.place)),
            _ => None,
        }
    }

    /// An environment variable's text as TOML, for what is not a string.
    fn typed(self, what: &str) -> Option<Self> {
        let Value::Raw(text) = self.value else { return Some(self) };
        let value = Value::parse(text, &self.mark.place);
        if value.is_none() {
            self.mark.fault(format!("must be {what}"));
        }
        value.map(|value| Self { value, ..self })
    }

    fn expected<T>(&self, what: &str) -> Option<T> {
        self.mark.fault(format!("must be {what}, not {}", self.value.describe()));
        None
    }
}

/// An environment variable's text; quotes around it are TOML's and no part of it.
fn unquoted<'t>(text: &'t str, place: &Place) -> Cow<'t, str> {
    match text.starts_with(['"', '\'']).then(|| Value::parse(text, place)).flatten() {
        Some(Value::Text(inner)) => inner,
        _ => Cow::Borrowed(text),
    }
}

const A_DURATION: &str = "a duration such as \"500ms\", \"5s\", \"10m\" or \"7d\"";

const A_SIZE: &str = "a number of bytes with its unit such as \"64MiB\" or \"1GiB\"";

const A_LIST: &str = "a list in TOML such as [\"a\", \"b\"]";

/// A hundred years: beyond it, adding to a clock could overflow.
const LONGEST: Duration = Duration::from_hours(36_500 * 24);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> (Option<Duration>, bool) {
        let report = Report::default();
        let place = Place::Default;
        let mark = Mark { place: place.clone(), key: "key".to_owned(), report: &report };
        let value = Item::new(Node { value: Value::Text(text.into()), place }, mark).duration();
        (value, report.verdict().is_err())
    }

    #[test]
    fn durations_are_read_by_their_unit() {
        for (text, milliseconds) in [
            ("500ms", 500),
            ("5s", 5_000),
            ("10m", 600_000),
            ("2h", 7_200_000),
            ("7d", 604_800_000),
            ("1m 30s", 90_000),
        ] {
            let expected = Some(Duration::from_millis(milliseconds));
            assert_eq!(read(text), (expected, false), "{text}");
        }
        for text in ["", "5", "s", "-5s", "5 parsecs", "0s", "36501d", "99999999999999999999d"] {
            assert_eq!(read(text), (None, true), "{text}");
        }
    }

    fn read_size(text: &str) -> (Option<u64>, bool) {
        let report = Report::default();
        let place = Place::Default;
        let mark = Mark { place: place.clone(), key: "key".to_owned(), report: &report };
        let item = Item::new(Node { value: Value::Text(text.into()), place }, mark);
        let value = item.size(ByteSize::kib(1), ByteSize::tib(1));
        (value, report.verdict().is_err())
    }

    #[test]
    fn sizes_are_read_by_their_unit() {
        for (text, bytes) in [
            ("1KiB", 1 << 10),
            ("64MiB", 64 << 20),
            ("1.5 GiB", 3 << 29),
            ("1TiB", 1 << 40),
            ("10kB", 10_000),
            ("2000B", 2000),
        ] {
            assert_eq!(read_size(text), (Some(bytes), false), "{text}");
        }
        for text in ["", "5000", "MiB", "-5MiB", "5 parsecs", "1023B", "1.1TiB", "9e99GiB", "NaNB"]
        {
            assert_eq!(read_size(text), (None, true), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_at_all_gives_a_size_or_a_fault(text in "\\PC{0,20}") {
            let (value, faulty) = read_size(&text);
            prop_assert_eq!(value.is_none(), faulty);
        }

        #[test]
        fn a_duration_reads_as_it_prints(milliseconds in 1_u64..3_153_600_000_000) {
            let duration = Duration::from_millis(milliseconds);
            let printed = humantime::format_duration(duration).to_string();
            prop_assert_eq!(read(&printed), (Some(duration), false));
        }

        #[test]
        fn any_text_at_all_gives_a_duration_or_a_fault(text in "\\PC{0,20}") {
            let (value, faulty) = read(&text);
            prop_assert_eq!(value.is_none(), faulty);
        }
    }
}
