//! `keyferry provider`: the catalogue of OAuth providers, which is part of the program. No server
//! is asked.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use serde_json::{Map, Value};

use super::context::CliContext;
use super::examples;
use super::output::{self, CliError};
use super::table::{TextTable, record};
use crate::management::Catalogue;
use crate::wire::{
    ProviderAnswer, ProviderAsk, ProviderEntry, ProviderList, ProviderSource, ProviderSummary,
};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Lists the providers of the catalogue
    #[command(visible_alias = "ls", after_help = examples::PROVIDER_LIST)]
    List(ProviderListArgs),
    /// Shows a provider: its notes, the client that it makes, and the sources of both
    #[command(after_help = examples::PROVIDER_SHOW)]
    Show(ProviderShowArgs),
}

#[derive(clap::Args)]
struct ProviderListArgs {
    /// Words, each of which must occur in the name, the title or an allowed domain
    #[arg(long, value_name = "WORDS")]
    search: Option<String>,
}

#[derive(clap::Args)]
struct ProviderShowArgs {
    /// The provider's name
    #[arg(value_name = "NAME", value_parser = ProviderNameParser, hide_possible_values = true)]
    name: String,
}

/// Reads the name of a provider. The catalogue is read only where a shell completes the name.
#[derive(Clone)]
pub(super) struct ProviderNameParser;

impl TypedValueParser for ProviderNameParser {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let value = |entry: &'static ProviderEntry| {
            PossibleValue::new(entry.name.as_str()).help(entry.title.as_str())
        };
        Some(Box::new(Catalogue::built_in().entries().iter().map(value)))
    }
}

pub(super) fn run(arguments: &Arguments, context: &CliContext) -> Result<(), CliError> {
    match &arguments.command {
        Command::List(arguments) => list(arguments, context),
        Command::Show(arguments) => show(arguments, context),
    }
}

fn list(arguments: &ProviderListArgs, context: &CliContext) -> Result<(), CliError> {
    let found = Catalogue::built_in().search(arguments.search.as_deref().unwrap_or_default());
    let providers: Vec<_> = found.map(ProviderSummary::from).collect();
    let answer = ProviderList { providers };
    let json = serde_json::to_string(&answer)?;
    context.emit(&json, || {
        let mut table = TextTable::new(&["NAME", "TITLE", "ASKS FOR", "ALLOWED DOMAINS"]);
        for item in answer.providers {
            let domains = item.allowed_domains.join(", ");
            table.add([item.name, item.title, item.asks.join(", "), domains]);
        }
        if table.is_empty() {
            output::note(
                "no provider is like that: a client for another one is made with --token-url and \
                 --auth-url",
            );
        }
        Ok(table.text())
    })
}

fn show(arguments: &ProviderShowArgs, context: &CliContext) -> Result<(), CliError> {
    let (catalogue, name) = (Catalogue::built_in(), arguments.name.as_str());
    let Some(entry) = catalogue.find(name) else {
        let similar = catalogue.similar(name).map(|known| format!(" {known} is one;"));
        return Err(CliError::Message(format!(
            "{} is not a provider of the catalogue:{} `keyferry provider list` shows all",
            output::printable(name),
            similar.unwrap_or_default()
        )));
    };
    let answer = ProviderAnswer { provider: entry.clone() };
    let json = serde_json::to_string(&answer)?;
    context.emit(&json, || Ok(text_of(entry)))
}

/// Everything of an entry, and the command that makes a client of it.
fn text_of(entry: &ProviderEntry) -> String {
    let mut lines = vec![("name", entry.name.clone()), ("title", entry.title.clone())];
    let members = members(entry, &DESCRIPTIONS);
    lines.extend(members.iter().map(|(name, value)| (name.as_str(), value.clone())));
    let asks = entry.asks.iter().map(|ask| {
        let ProviderAsk { name, title, example, optional } = ask;
        let open = if *optional { "; may be left for each connection" } else { "" };
        ("asks for", format!("{name}: {title}, such as {example}{open}"))
    });
    lines.extend(asks);
    lines.push(("notes", entry.notes.clone()));
    let sources = entry.sources.iter().map(|source| {
        let ProviderSource { url, date, says } = source;
        ("source", format!("{url} ({date}): {says}"))
    });
    lines.extend(sources);
    let sets = entry.asks.iter().map(|ask| format!(" --set {}={}", ask.name, ask.example));
    let name = &entry.name;
    format!(
        "{}\n\nkeyferry client create --name {name} --provider {name} --client-id ID{}",
        record(&lines),
        sets.collect::<String>()
    )
}

/// The members of a client or an entry that have a value, without these; in words and as text.
pub(super) fn members<T: serde::Serialize>(of: &T, without: &[&str]) -> Vec<(String, String)> {
    let members = match serde_json::to_value(of) {
        Ok(Value::Object(members)) => members,
        _ => Map::new(),
    };
    let text = |value: Value| match value {
        Value::String(text) => text,
        Value::Array(items) if items.iter().all(Value::is_string) => {
            let texts = items.iter().filter_map(Value::as_str);
            texts.collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    };
    let shown = members
        .into_iter()
        .filter(|(name, value)| !value.is_null() && !without.contains(&name.as_str()));
    shown.map(|(name, value)| (name.replace('_', " "), text(value))).collect()
}

/// Members of an entry that are shown in words of their own.
const DESCRIPTIONS: [&str; 5] = ["asks", "name", "notes", "sources", "title"];
