//! The command line, of the whole benchmark as of each of its roles: `--name value`, and flags.

use std::{collections::BTreeMap, io, str::FromStr};

/// What stood on the command line. Every role reads from it what it needs.
#[derive(Debug)]
pub(crate) struct Arguments(BTreeMap<String, String>);

impl Arguments {
    /// Reads `--name value` pairs; a name in `flags` stands alone.
    ///
    /// # Errors
    /// When an argument is not a known option, or lacks its value: a misspelt option that is
    /// quietly ignored would measure something else than was asked for.
    pub(crate) fn parse(
        arguments: impl IntoIterator<Item = String>,
        options: &[&str],
        flags: &[&str],
    ) -> io::Result<Self> {
        let mut found = BTreeMap::new();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let name = argument.strip_prefix("--").unwrap_or_default().to_owned();
            let value = if flags.contains(&name.as_str()) {
                String::new()
            } else if options.contains(&name.as_str()) {
                arguments.next().ok_or_else(|| wrong(&format!("--{name} needs a value")))?
            } else {
                return Err(wrong(&format!(
                    "{argument}: not an option; there are: --{} VALUE, --{}",
                    options.join(" VALUE, --"),
                    flags.join(", --"),
                )));
            };
            found.insert(name, value);
        }
        Ok(Self(found))
    }

    /// Whether the flag or option was given.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The option's text, if it was given.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The option's value, or `default` when it was not given.
    pub(crate) fn value_or<T: FromStr>(&self, name: &str, default: T) -> io::Result<T> {
        self.text(name).map_or(Ok(default), |text| parse(name, text))
    }

    /// The option's value.
    pub(crate) fn value<T: FromStr>(&self, name: &str) -> io::Result<T> {
        let text = self.text(name).ok_or_else(|| wrong(&format!("--{name} is missing")))?;
        parse(name, text)
    }

    /// The option's comma-separated values; empty when it was not given.
    pub(crate) fn list<T: FromStr>(&self, name: &str) -> io::Result<Vec<T>> {
        let text = self.text(name).unwrap_or_default();
        text.split(',').filter(|part| !part.is_empty()).map(|part| parse(name, part)).collect()
    }
}

fn parse<T: FromStr>(name: &str, text: &str) -> io::Result<T> {
    text.parse()
        .map_err(|_reason: T::Err| wrong(&format!("--{name} {text}: not a value it can take")))
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}
