//! A value being read, and the mark at which its faults are reported.

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;

use toml::de::DeValue;

use super::fault::SourcePlace;
use super::report::Report;
use super::section::Section;

/// A value of the configuration while it is read. It may be a secret, so it has no `Debug`.
pub(super) struct Item<'a> {
    pub(super) value: DeValue<'a>,
    /// The value is the text of an environment variable: a string or TOML, as the reader asks.
    is_raw: bool,
    mark: Mark<'a>,
}

/// A key and where it was written; what is said of it is reported there.
#[derive(Clone)]
pub(super) struct Mark<'a> {
    pub(super) place: SourcePlace,
    pub(super) key: String,
    pub(super) report: &'a Report<'a>,
}

impl Mark<'_> {
    /// Reports that the value breaks `rule`.
    pub(super) fn fault(&self, rule: impl Into<String>) {
        self.report.fault(&self.place, &self.key, rule);
    }

    /// Reports that the value breaks `rule`, and gives nothing.
    pub(super) fn refuse<T>(&self, rule: impl Into<String>) -> Option<T> {
        self.fault(rule);
        None
    }

    /// Reports that the value deserves attention.
    pub(super) fn warning(&self, rule: impl Into<String>) {
        self.report.warning(&self.place, &self.key, rule);
    }

    /// Remembers that the value names a file with a secret, which others must not be able to read.
    pub(super) fn has_secret_in(&self, file: &Path) {
        let named = (self.place.clone(), self.key.clone(), file.to_path_buf());
        self.report.secret_files.borrow_mut().push(named);
    }

    /// The mark of `key`, which stands at `span` below this one.
    pub(super) fn below(&self, key: String, span: &Range<usize>) -> Self {
        let mark = Self { place: self.report.source.place(span, &self.place), key, ..self.clone() };
        self.report.written(&mark);
        mark
    }
}

impl<'a> Item<'a> {
    pub(super) fn new(value: DeValue<'a>, span: &Range<usize>, mark: Mark<'a>) -> Self {
        Self { value, is_raw: mark.report.source.is_override(span), mark }
    }

    /// The key and where it was written.
    pub(super) fn mark(&self) -> Mark<'a> {
        self.mark.clone()
    }

    /// Gives what `read` makes of a string, or reports the rule that it breaks.
    pub(super) fn parse<T, E: ToString>(
        self,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let Some(text) = self.text() else { return self.expected("a string") };
        read(&text).map_err(|rule| self.mark.fault(rule.to_string())).ok()
    }

    /// Tells strings from tables; an environment variable may hold an inline table.
    pub(super) fn is_text(&self) -> bool {
        match &self.value {
            DeValue::String(text) => !(self.is_raw && text.starts_with('{')),
            DeValue::Datetime(_) => true,
            _ => false,
        }
    }

    /// Tells that a string says nothing.
    pub(super) fn is_empty_text(&self) -> bool {
        self.text().is_some_and(|text| text.is_empty())
    }

    /// A string as TOML writes it; for examples, which need no escapes.
    pub(super) fn quoted(&self) -> Option<String> {
        self.text().map(|text| format!("\"{text}\""))
    }

    /// A whole number of 64 bits.
    pub(super) fn integer(self) -> Option<i64> {
        let item = self.typed("a whole number")?;
        let DeValue::Integer(number) = &item.value else { return item.expected("a whole number") };
        let number = i64::from_str_radix(number.as_str(), number.radix());
        number.map_or_else(|_too_large| item.expected("a whole number"), Some)
    }

    /// The values of a list.
    pub(super) fn items(self) -> Option<Vec<Self>> {
        let item = self.typed("a list in TOML such as [\"a\", \"b\"]")?;
        let DeValue::Array(values) = item.value else { return item.expected("a list") };
        let numbered = values.into_iter().enumerate().map(|(index, value)| {
            let mark = item.mark.below(format!("{}[{index}]", item.mark.key), &value.span());
            Self { value: value.into_inner(), is_raw: false, mark }
        });
        Some(numbered.collect())
    }

    /// A table.
    pub(super) fn section(self) -> Option<Section<'a>> {
        let item = self.typed("a table in TOML such as { a = \"b\" }")?;
        let DeValue::Table(table) = item.value else { return item.expected("a table") };
        Some(Section::new(table, item.mark, ""))
    }

    /// Reports that the value is of another type than `what`.
    pub(super) fn expected<T>(&self, what: &str) -> Option<T> {
        self.mark.refuse(format!("must be {what}, not {}", describe(&self.value)))
    }

    fn text(&self) -> Option<Cow<'_, str>> {
        match &self.value {
            DeValue::String(text) if self.is_raw => Some(unquoted(text)),
            DeValue::String(text) => Some(Cow::Borrowed(text)),
            DeValue::Datetime(date) => Some(Cow::Owned(date.to_string())),
            _ => None,
        }
    }

    /// Reads an environment variable's text as TOML, for what is not a string.
    pub(super) fn typed(self, what: &str) -> Option<Self> {
        let DeValue::String(Cow::Borrowed(text)) = &self.value else { return Some(self) };
        if !self.is_raw {
            return Some(self);
        }
        let Ok(value) = DeValue::parse(text) else {
            return self.mark.refuse(format!("must be {what}"));
        };
        Some(Self { value: value.into_inner(), is_raw: false, mark: self.mark })
    }
}

/// An environment variable's text; quotes around it are TOML's and no part of it.
fn unquoted(text: &str) -> Cow<'_, str> {
    let is_quoted = text.starts_with(['"', '\'']);
    match is_quoted.then(|| DeValue::parse(text).ok()).flatten().map(toml::Spanned::into_inner) {
        Some(DeValue::String(inner)) => inner,
        _ => Cow::Borrowed(text),
    }
}

fn describe(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) | DeValue::Datetime(_) => "a string",
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(_) => "a whole number",
            Err(_) => "a number beyond 64 bits",
        },
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
