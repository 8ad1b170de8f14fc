//! The table of keys as others read it: a JSON Schema for editors, `config/default.toml` for
//! operators, and the reference page.

use std::fmt::Write as _;

use serde::Deserialize as _;
use serde_json::{Map, Value, json};
use toml::de::ValueDeserializer;

use super::environment::Environment;
use super::readers::with;
use super::report::Report;
use super::section::{Absence, KeyRow};
use super::source::Source;
use super::{Options, declared, table};

/// A key that the reader asks for.
#[derive(Debug)]
pub(super) struct DescribedKey {
    /// The path of its section: empty at the top, `connections[1]` in a list.
    pub(super) section: String,
    /// A sentence about the section.
    pub(super) about: &'static str,
    pub(super) row: KeyRow,
    /// The default, or an example, in TOML.
    pub(super) toml: String,
    pub(super) absence: Absence,
    pub(super) schema: Value,
    /// Only a restart changes it.
    pub(super) is_at_start: bool,
}

impl DescribedKey {
    /// Takes note that the key at `path`, which may be a section's, is bound at the start.
    pub(super) fn mark_at_start(&mut self, path: &str) {
        let own = format!("{}.{}", self.section, self.row.name);
        self.is_at_start |= self.section == path || own.trim_start_matches('.') == path;
    }

    /// The list in which the key's section stands.
    fn list(&self) -> Option<&str> {
        self.section.split_once('[').map(|(list, _)| list)
    }

    fn json(&self) -> Value {
        let value = ValueDeserializer::parse(&self.toml);
        value.and_then(Value::deserialize).unwrap_or_default()
    }

    fn schema(&self) -> Value {
        let mut schema = self.schema.clone();
        // The sections of a list are told apart by their type.
        if self.row.name == "type" {
            schema = json!({ "const": self.json() });
        }
        let (name, value) = match self.absence {
            Absence::Default => ("default", self.json()),
            Absence::Nothing | Absence::Fault => ("examples", json!([self.json()])),
        };
        with(with(schema, "description", json!(self.row.sentence)), name, value)
    }
}

/// The configuration as a JSON Schema (draft 2020-12), with which editors complete and check.
pub fn schema() -> Value {
    let keys = described_keys();
    let mut properties = Map::new();
    let mut lists = Map::new();
    // 1. The keys and sections, and each kind of section that a list may have.
    for section in sections(&keys) {
        let Some(first) = section.first() else { continue };
        let object = object(section);
        match first.list() {
            None if first.section.is_empty() => properties.extend(members(section)),
            None => drop(properties.insert(first.section.clone(), object)),
            Some(list) => {
                let kinds = lists.entry(list).or_insert_with(|| json!([]));
                kinds.as_array_mut().map(|kinds| kinds.push(object)).unwrap_or_default();
            }
        }
    }
    // 2. The lists, whose sections are each of one kind.
    for (name, kinds) in lists {
        properties.insert(name, json!({ "type": "array", "items": { "oneOf": kinds } }));
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The configuration of Keyferry",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    })
}

/// A configuration file with every key, its default and its sentence.
pub fn default_file() -> String {
    let keys = described_keys();
    let mut text = PREFACE.to_owned();
    for section in sections(&keys) {
        let Some(first) = section.first() else { continue };
        let is_listed = first.list().is_some();
        // 1. The section's sentence and heading.
        text.push('\n');
        if is_first_of_list(first) || !is_listed {
            wrap(&mut text, "# ", first.about);
        }
        match first.list() {
            Some(list) => line(&mut text, &format!("# [[{list}]]")),
            None if first.section.is_empty() => {}
            None => line(&mut text, &format!("[{}]", first.section)),
        }
        // 2. Its keys; what is only an example is commented out.
        for key in section {
            if !is_told(key, &keys) {
                wrap(&mut text, "# ", key.row.sentence);
            }
            let is_set = key.absence == Absence::Default;
            let mark = if is_set { "" } else { "# " };
            line(&mut text, &format!("{mark}{} = {}", key.row.name, key.toml));
        }
    }
    text
}

/// The reference page of all keys, in Markdown.
pub fn reference_page() -> String {
    let keys = described_keys();
    let mut page = PAGE.to_owned();
    for section in sections(&keys) {
        let Some(first) = section.first() else { continue };
        // 1. A heading, once for all sections of a list.
        let heading = match first.list() {
            Some(list) => format!("[[{list}]]"),
            None if first.section.is_empty() => "Outside any section".to_owned(),
            None => format!("[{}]", first.section),
        };
        if first.list().is_none() || is_first_of_list(first) {
            line(&mut page, &format!("\n## {heading}\n"));
            if !first.about.is_empty() {
                wrap(&mut page, "", first.about);
                page.push('\n');
            }
        }
        if let Some(kind) = section.iter().find(|key| key.row.name == "type") {
            let gap = if is_first_of_list(first) { "" } else { "\n" };
            line(&mut page, &format!("{gap}With `type = {}`:\n", kind.toml));
        }
        // 2. Its keys that no earlier section has told of.
        line(&mut page, "| key | value | default | meaning |\n|---|---|---|---|");
        for key in section.iter().filter(|key| !is_told(key, &keys)) {
            line(&mut page, &table_row(key));
        }
    }
    page
}

fn table_row(key: &DescribedKey) -> String {
    let default = match key.absence {
        Absence::Default => format!("`{}`", key.toml),
        Absence::Nothing => format!("none; such as `{}`", key.toml),
        Absence::Fault => format!("required; such as `{}`", key.toml),
    };
    let restart = if key.is_at_start { " Only a restart changes it." } else { "" };
    let plain = |text: &str| text.replace('*', "\\*");
    let value = key.schema.get("title").and_then(Value::as_str).unwrap_or_default();
    let (value, meaning) = (plain(value), plain(key.row.sentence));
    format!("| `{}` | {value} | {default} | {meaning}{restart} |", key.row.name)
}

/// Every key, as reading a configuration with one section of each kind asks for it.
pub(super) fn described_keys() -> Vec<DescribedKey> {
    let environment = Environment::default();
    let source = Source::of_text(None, declared::EXAMPLES.to_owned().into(), &environment);
    let mut report = Report::new(&source);
    report.described = Some(Vec::new().into());
    drop(table::config(&report, &Options::default()));
    report.described.take().unwrap_or_default().into_inner()
}

fn sections(keys: &[DescribedKey]) -> impl Iterator<Item = &[DescribedKey]> {
    keys.chunk_by(|one, two| one.section == two.section)
}

/// Tells that an earlier section of the same list has explained the key.
fn is_told(key: &DescribedKey, keys: &[DescribedKey]) -> bool {
    let mut earlier = keys.iter().take_while(|other| other.section != key.section);
    key.list().is_some()
        && earlier.any(|other| other.list() == key.list() && other.row.name == key.row.name)
}

fn is_first_of_list(key: &DescribedKey) -> bool {
    key.section.ends_with("[0]")
}

fn object(section: &[DescribedKey]) -> Value {
    let required = section.iter().filter(|key| key.absence == Absence::Fault);
    let required: Vec<_> = required.map(|key| key.row.name).collect();
    json!({
        "type": "object",
        "description": section.first().map(|key| key.about),
        "properties": members(section).collect::<Map<_, _>>(),
        "required": required,
        "additionalProperties": false,
    })
}

fn members(section: &[DescribedKey]) -> impl Iterator<Item = (String, Value)> {
    section.iter().map(|key| (key.row.name.to_owned(), key.schema()))
}

/// Writes a sentence in lines that begin with `prefix` and are no wider than a line may be.
fn wrap(text: &mut String, prefix: &str, sentence: &str) {
    let mut written = String::new();
    for word in sentence.split_whitespace() {
        let width = prefix.len() + written.chars().count() + 1 + word.chars().count();
        if !written.is_empty() && width > MAX_COLUMNS {
            line(text, &format!("{prefix}{written}"));
            written.clear();
        }
        if !written.is_empty() {
            written.push(' ');
        }
        written.push_str(word);
    }
    if !written.is_empty() {
        line(text, &format!("{prefix}{written}"));
    }
}

fn line(text: &mut String, line: &str) {
    let _infallible = writeln!(text, "{line}");
}

const MAX_COLUMNS: usize = 100;

const PREFACE: &str = "\
# Every key of Keyferry's configuration, with its default. What has no default is commented out.
#
# Precedence: the command line, then the environment (KEYFERRY_PROXY__PLAIN_HTTP is
# proxy.plain_http, KEYFERRY__DATA_DIR is data_dir; lists and tables are TOML), then this file,
# then the defaults. Unknown keys are errors: `keyferry check` finds them all.
# Files that are read (tls, ca, extra_roots, secrets) are named relative to the file that names
# them; what the server makes (data_dir, unix sockets) is relative to where it is started.
# Editors complete and check the keys: write the output of `keyferry config schema` to
# keyferry.schema.json, and \"#:schema ./keyferry.schema.json\" into the first line of your file.
";

const PAGE: &str = "\
# Configuration keys

Every key of the configuration file, generated from the table that the program reads it by. The
same keys as a file to start from: [`config/default.toml`](../../config/default.toml).

* **Precedence**: command line, environment, file, default. `KEYFERRY_PROXY__PLAIN_HTTP` sets
  `proxy.plain_http`, `KEYFERRY__DATA_DIR` sets `data_dir`; lists and tables are TOML.
* **Faults**: `keyferry check --config FILE` reports every one with file, line and key. Unknown keys
  are faults.
* **Relative names**: files that are read are relative to the file that names them; `data_dir` and
  unix sockets are relative to the working directory.
* **Values**: a duration is a string such as `\"500ms\"`, `\"5s\"`, `\"10m\"` or `\"7d\"`; a size is one
  such as `\"64MiB\"`; a secret is `{ env = \"NAME\" }`, `{ file = \"PATH\" }` or [what a
  command prints](../how-to/secrets-by-command.md).
* **Editors**: `keyferry config schema > keyferry.schema.json` writes a JSON Schema. With
  `#:schema ./keyferry.schema.json` in the first line of the file, taplo and VS Code (Even Better
  TOML) complete and check its keys.
* **Reload**: SIGHUP reads the file again. A file in which a key differs that only a restart changes
  is not taken.
";
