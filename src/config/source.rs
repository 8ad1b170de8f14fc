//! The layers over one another: the file, then the environment; defaults and the command line are
//! the reader's. Every value knows where it was written.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use super::Options;
use super::environment::Environment;
use super::fault::SourcePlace;
use super::report::Report;

/// The texts that a configuration is read from.
pub(super) struct Source<'e> {
    pub(super) environment: &'e Environment,
    /// The file that is read: nothing is picked up silently.
    pub(super) file: Option<Arc<Path>>,
    /// The file's text, which may hold secrets; empty without a file or when it can't be read.
    text: Zeroizing<String>,
    unreadable: Option<String>,
    /// The offsets at which the file's lines begin.
    line_starts: Vec<usize>,
    overrides: Vec<Override<'e>>,
}

/// A key that the environment sets.
struct Override<'e> {
    variable: &'e str,
    path: Vec<String>,
    value: &'e OsStr,
}

impl<'e> Source<'e> {
    /// Reads the file that `--config` names, else `KEYFERRY_CONFIG`.
    pub(super) fn read(options: &Options, environment: &'e Environment) -> Self {
        let named = environment.value("KEYFERRY_CONFIG").filter(|value| !value.is_empty());
        let file = options.config.as_deref().or_else(|| named.map(Path::new));
        let read = file.map_or_else(|| Ok(Zeroizing::default()), read_text);
        let (text, unreadable) = match read {
            Ok(text) => (text, None),
            Err(why) => (Zeroizing::default(), Some(why)),
        };
        Self { unreadable, ..Self::of_text(file, text, environment) }
    }

    /// Takes `text` for the content of `file`.
    pub(super) fn of_text(
        file: Option<&Path>,
        text: Zeroizing<String>,
        environment: &'e Environment,
    ) -> Self {
        let after = text.match_indices('\n').map(|(at, _)| at + 1);
        let line_starts = std::iter::once(0).chain(after).collect();
        let level = environment.text(RUST_LOG).map(|level| Override {
            variable: RUST_LOG,
            path: LOG_LEVEL.map(str::to_owned).into(),
            value: OsStr::new(level),
        });
        let settings = environment.settings();
        let settings = settings.map(|(variable, path, value)| Override { variable, path, value });
        let overrides = level.into_iter().chain(settings).collect();
        let file = file.map(Arc::from);
        Self { environment, file, text, unreadable: None, line_starts, overrides }
    }

    /// The file's values with the environment's over them, as far as they can be read.
    pub(super) fn tree(&self, report: &Report<'_>) -> DeTable<'_> {
        if let Some(why) = &self.unreadable {
            report.syntax(self.top(), "", why);
        }
        let (table, errors) = DeTable::parse_recoverable(&self.text);
        let mut table = table.into_inner();
        for error in errors {
            let span = error.span().unwrap_or(self.text.len()..self.text.len());
            let duplicate = error.message() == "duplicate key";
            let key = if duplicate { self.text.get(span.clone()).unwrap_or_default() } else { "" };
            report.syntax(self.place(&span, &self.top()), key, error.message());
        }
        for (index, Override { variable, path, value }) in self.overrides.iter().enumerate() {
            if let Some(text) = value.to_str() {
                put(&mut table, path, index, text);
            } else {
                let place = SourcePlace::Variable((*variable).to_owned());
                report.syntax(place, &path.join("."), "the value is not UTF-8 text");
            }
        }
        table
    }

    /// The place of the configuration as a whole.
    pub(super) fn top(&self) -> SourcePlace {
        self.file.clone().map_or(SourcePlace::Default, SourcePlace::File)
    }

    /// The place of a span below a value at `parent`: everything within a variable's text is
    /// at the variable.
    pub(super) fn place(&self, span: &Range<usize>, parent: &SourcePlace) -> SourcePlace {
        if let Some(Override { variable, .. }) = self.overridden(span) {
            return SourcePlace::Variable((*variable).to_owned());
        }
        let (Some(file), SourcePlace::File(_) | SourcePlace::Line { .. }) = (&self.file, parent)
        else {
            return parent.clone();
        };
        let line = self.line_starts.partition_point(|start| *start <= span.start).max(1);
        let start = self.line_starts.get(line - 1).copied().unwrap_or_default();
        let before = self.text.get(start..span.start).unwrap_or_default();
        SourcePlace::Line { file: Arc::clone(file), line, column: before.chars().count() + 1 }
    }

    /// Tells that the value at `span` is the text of a variable: a string or TOML.
    pub(super) fn is_override(&self, span: &Range<usize>) -> bool {
        self.overridden(span).is_some()
    }

    fn overridden(&self, span: &Range<usize>) -> Option<&Override<'e>> {
        self.overrides.get(usize::MAX - span.start)
    }
}

/// Puts a variable's text over whatever the path holds. Its span is one that no text has: counted
/// from the end of all numbers.
fn put<'t>(table: &mut DeTable<'t>, path: &[String], index: usize, text: &'t str) {
    let Some((key, rest)) = path.split_first() else { return };
    let end = usize::MAX - index;
    let is_table = |value: &Spanned<DeValue<'_>>| matches!(value.get_ref(), DeValue::Table(_));
    // A key that is replaced takes the variable's place, so the old one goes first.
    if rest.is_empty() || !table.get(key.as_str()).is_some_and(is_table) {
        table.remove(key.as_str());
        let value = match rest {
            [] => DeValue::String(Cow::Borrowed(text)),
            _ => DeValue::Table(DeTable::new()),
        };
        let key = Spanned::new(end..end, Cow::Owned(key.clone()));
        table.insert(key, Spanned::new(end..end, value));
    }
    if let Some(DeValue::Table(below)) = table.get_mut(key.as_str()).map(Spanned::get_mut) {
        put(below, rest, index, text);
    }
}

fn read_text(file: &Path) -> Result<Zeroizing<String>, String> {
    let bytes = std::fs::read(file).map(Zeroizing::new);
    let bytes = bytes.map_err(|why| format!("the configuration file can't be read: {why}"))?;
    let text = std::str::from_utf8(&bytes);
    let text = text.map_err(|_where| "the configuration file is not UTF-8 text".to_owned())?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// The variable that programs in Rust read their log level from.
pub(super) const RUST_LOG: &str = "RUST_LOG";

const LOG_LEVEL: [&str; 2] = ["log", "level"];
