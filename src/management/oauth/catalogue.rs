//! The catalogue of OAuth providers: data that is compiled in and read at its first use.

mod fill;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde::Deserialize as _;
use toml::{Table, Value};

use self::fill::{STANDARD, fill, placeholders};
use super::draft::ClientDraft;
use super::profile::parse_provider;
use crate::management::fault::{About, Refused, Scope};
use crate::management::member_reader::MemberReader;
use crate::management::{Management, Operator};
use crate::model::oauth::client::AuthMethod;
use crate::model::oauth::grant::GrantType;
use crate::model::permit::AllowedPorts;
use crate::secret::Secret;
use crate::state::ManagementSettings;
use crate::wire::{
    Member, NewOAuthClient, ParamMap, ProfileMembers, ProviderAsk, ProviderEntry, ProviderSummary,
};

/// The providers that a client can be made for by name. Each fits the rules of a client.
#[derive(Debug)]
pub struct Catalogue {
    /// In the order of their names.
    entries: Vec<ProviderEntry>,
}

impl Management {
    /// The catalogue, for a token that may read.
    pub fn catalogue(&self, operator: &Operator) -> Result<&'static Catalogue, Refused> {
        operator.need(Scope::Read)?;
        Ok(Catalogue::built_in())
    }
}

impl Catalogue {
    /// The catalogue of this version.
    pub fn built_in() -> &'static Self {
        static BUILT_IN: LazyLock<Catalogue> = LazyLock::new(|| {
            let (catalogue, left_out) = Catalogue::read(DATA);
            for fault in left_out {
                tracing::error!(
                    %fault,
                    "the catalogue of providers lacks an entry, which breaks a rule: a client for \
                     that provider needs its URLs"
                );
            }
            catalogue
        });
        &BUILT_IN
    }

    /// Every entry, in the order of their names.
    pub fn entries(&self) -> &[ProviderEntry] {
        &self.entries
    }

    /// The entry of this name.
    pub fn find(&self, name: &str) -> Option<&ProviderEntry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// The entries in whose name, title or domains each word of the text occurs.
    pub fn search(&self, text: &str) -> impl Iterator<Item = &ProviderEntry> {
        let words: Vec<_> = text.split_whitespace().map(str::to_lowercase).collect();
        self.entries.iter().filter(move |entry| {
            let domains = entry.allowed_domains.value().into_iter().flatten();
            let mut about = format!("{} {}", entry.name, entry.title);
            domains.for_each(|domain| about.extend([" ", domain]));
            let about = about.to_lowercase();
            words.iter().all(|word| about.contains(word))
        })
    }

    /// The name that is closest to this one, if one is close.
    pub fn similar(&self, name: &str) -> Option<&str> {
        let names = self.entries.iter().map(|entry| entry.name.as_str());
        let close = names.map(|known| (strsim::jaro_winkler(known, name), known));
        let close = close.filter(|(closeness, _)| *closeness > 0.8);
        close.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, known)| known)
    }

    /// Reads a catalogue. What is wrong with an entry leaves that entry out, and ends nothing; the
    /// texts tell it.
    fn read(data: &str) -> (Self, Vec<String>) {
        let (mut entries, mut left_out) = (Vec::<ProviderEntry>::new(), Vec::new());
        let mut table = data.parse::<Table>().unwrap_or_else(|error| {
            left_out.push(error.message().to_owned());
            Table::new()
        });
        let Some(Value::Array(items)) = table.remove("providers") else {
            left_out.push("it has no providers".to_owned());
            return (Self { entries }, left_out);
        };
        for item in items {
            let name = item.get("name").and_then(Value::as_str).unwrap_or("?").to_owned();
            match read_entry(item) {
                Ok(entry) if entries.iter().all(|known| known.name != name) => entries.push(entry),
                Ok(_twin) => left_out.push(format!("{name}: another entry has its name")),
                Err(rule) => left_out.push(format!("{name}: {rule}")),
            }
        }
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        (Self { entries }, left_out)
    }
}

impl From<&ProviderEntry> for ProviderSummary {
    fn from(entry: &ProviderEntry) -> Self {
        Self {
            name: entry.name.clone(),
            title: entry.title.clone(),
            grant_type: entry.grant_type.value().map_or(DEFAULT_GRANT, String::as_str).to_owned(),
            asks: entry.asks.iter().map(|ask| ask.name.clone()).collect(),
            allowed_domains: entry.allowed_domains.value().cloned().unwrap_or_default(),
        }
    }
}

impl ProviderEntry {
    /// Tells whether the secret of its clients is a private key.
    #[must_use]
    pub fn has_key(&self) -> bool {
        let is_signed = |text| GrantType::parse(text).is_ok_and(GrantType::is_signed);
        let method = self.token_endpoint_auth_method.filled();
        self.grant_type.filled().is_some_and(is_signed)
            || method == Some(AuthMethod::PrivateKeyJwt.as_str())
    }
}

/// Gives a client that is to be made what it leaves out, from the entry of the provider that it
/// names.
pub(super) fn complete(
    request: &mut NewOAuthClient,
    profile: &mut ProfileMembers,
    reader: &mut MemberReader,
) {
    let values = request.provider_values.value().cloned().unwrap_or_default();
    let name = profile.provider.filled();
    if name.is_none() && !values.is_empty() {
        let title = "provider_values: goes with provider, whose entry asks for them";
        reader.fault(About::Request, title);
    }
    // Another name is refused where it is read.
    let Some(entry) = name.and_then(|name| Catalogue::built_in().find(name)) else { return };
    let (filled, faults) = fill(entry, &values);
    for fault in faults {
        reader.fault(About::Request, &format!("provider_values: {fault}"));
    }
    request.fill(profile, filled);
}

/// Reads an entry, which must fit every rule.
fn read_entry(item: Value) -> Result<ProviderEntry, String> {
    let names: Vec<_> = item.as_table().into_iter().flat_map(Table::keys).cloned().collect();
    let mut entry = ProviderEntry::deserialize(item).map_err(|error| error.message().to_owned())?;
    // A member of another type reads as null.
    let read = serde_json::to_value(&entry).map_err(|error| error.to_string())?;
    if let Some(name) =
        names.iter().find(|name| read.get(name).is_none_or(serde_json::Value::is_null))
    {
        return Err(format!("{name} has a value of another type"));
    }
    check_texts(&entry)?;
    check_asks(&entry)?;
    for number in 0..entry.asks.len() {
        let may_be_open = may_stay_open(&entry);
        if let Some(ask) = entry.asks.get_mut(number) {
            ask.optional = ask.name == SUBDOMAIN && may_be_open;
        }
    }
    check_client(&entry)?;
    Ok(entry)
}

/// Checks what people read, and the sources.
fn check_texts(entry: &ProviderEntry) -> Result<(), String> {
    parse_provider(&entry.name).map_err(|rule| format!("name {rule}"))?;
    if !matches!(entry.provider, Member::Absent) {
        return Err("provider is the entry's own name, which goes without saying".to_owned());
    }
    // 1. Texts are there, and printable.
    let asks = entry.asks.iter().flat_map(|ask| [&ask.title, &ask.example]);
    let says = entry.sources.iter().map(|source| &source.says);
    for text in [&entry.title, &entry.notes].into_iter().chain(asks).chain(says) {
        if text.trim().is_empty() || text.chars().any(char::is_control) {
            return Err("a text is empty, or has a control character".to_owned());
        }
    }
    // 2. Each fact has a page and its date.
    if entry.sources.is_empty() {
        return Err("it has no source".to_owned());
    }
    for source in &entry.sources {
        if !source.url.starts_with("https://") || source.url.contains(char::is_whitespace) {
            return Err(format!("the source {} is not an https URL", source.url));
        }
        if source.date.parse::<jiff::civil::Date>().is_err() || source.date.len() != 10 {
            return Err(format!("the date {} is not one such as 2026-11-30", source.date));
        }
    }
    if entry.allowed_domains.value().is_none_or(Vec::is_empty) {
        return Err("it has no allowed domain to offer".to_owned());
    }
    Ok(())
}

/// Checks that every value that is asked for is used, and every placeholder is asked for.
fn check_asks(entry: &ProviderEntry) -> Result<(), String> {
    let used = placeholders(entry);
    let mut asked = BTreeSet::new();
    for ProviderAsk { name, optional, .. } in &entry.asks {
        let is_plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        if !is_plain || name.is_empty() || STANDARD.contains(&name.as_str()) || *optional {
            return Err(format!("it can't ask for {name} in that way"));
        }
        if !asked.insert(name.clone()) {
            return Err(format!("it asks for {name} twice"));
        }
        if !used.contains(name) {
            return Err(format!("it asks for {name} and does not use it"));
        }
    }
    let unknown = used.iter().find(|name| !asked.contains(*name));
    match unknown.filter(|name| !STANDARD.contains(&name.as_str())) {
        Some(name) => Err(format!("it has {{{name}}} and does not ask for it")),
        None => Ok(()),
    }
}

/// Checks that a client can be made with the examples, and where a value may stay open, without it.
fn check_client(entry: &ProviderEntry) -> Result<(), String> {
    let values = |is_wanted: fn(&ProviderAsk) -> bool| -> ParamMap {
        let asks = entry.asks.iter().filter(|ask| is_wanted(ask));
        asks.map(|ask| (ask.name.clone(), ask.example.clone())).collect()
    };
    let settings = ManagementSettings {
        allowed_ports: AllowedPorts::from(vec![443]),
        ..ManagementSettings::default()
    };
    // Once with every value, and once without those that may stay open.
    for values in [values(|_any| true), values(|ask| !ask.optional)] {
        let (filled, faults) = fill(entry, &values);
        if let Some(fault) = faults.first() {
            return Err(fault.clone());
        }
        let mut request = NewOAuthClient {
            client_id: "example".into(),
            client_secret: Secret::new("example").into(),
            ..NewOAuthClient::default()
        };
        let mut profile = ProfileMembers::default();
        request.fill(&mut profile, filled);
        let (request, reader) = MemberReader::of(request.into());
        match ClientDraft::read_members(request, profile, reader, "example", &settings) {
            Err(Refused::Faulty(mut faults)) => {
                // The example is no key, which is no fault of the entry.
                faults.retain(|fault| !entry.has_key() || fault.about != About::Credential);
                let titles: Vec<_> = faults.into_iter().map(|fault| fault.title).collect();
                if !titles.is_empty() {
                    return Err(titles.join("; "));
                }
            }
            Err(other) => return Err(other.to_string()),
            Ok(_fits) => {}
        }
    }
    Ok(())
}

/// Tells whether `{subdomain}` may be left for each connection to fill in: the token URL has it, and
/// nothing has it that a connection does not fill in.
fn may_stay_open(entry: &ProviderEntry) -> bool {
    let has = |member: &Member<String>| member.filled().is_some_and(|text| text.contains(OPEN));
    let mut places = entry.inject.value().into_iter().flatten();
    let injects =
        places.any(|place| place.value.as_deref().is_some_and(|value| value.contains(OPEN)));
    has(&entry.token_url) && !has(&entry.default_scopes) && !has(&entry.issuer) && !injects
}

const DATA: &str = include_str!("../../../catalogue/providers.toml");

const SUBDOMAIN: &str = "subdomain";
const OPEN: &str = "{subdomain}";
const DEFAULT_GRANT: &str = "authorization_code";

#[cfg(test)]
mod tests;
