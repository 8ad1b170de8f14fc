//! The members of a client that an entry of the catalogue gives, with the operator's values in them.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::wire::{ParamMap, ProviderEntry};

/// The entry with the values in the place of what it asks for, and what is wrong with the values.
/// A value that is missing is replaced by its example, so that the rest can be read all the same.
pub(in crate::management::oauth) fn fill(
    entry: &ProviderEntry,
    values: &ParamMap,
) -> (ProviderEntry, Vec<String>) {
    let (mut chosen, mut faults) = (ParamMap::new(), Vec::new());
    for name in values.keys() {
        if !entry.asks.iter().any(|ask| ask.name == *name) {
            let asks: Vec<_> = entry.asks.iter().map(|ask| ask.name.as_str()).collect();
            let asks = if asks.is_empty() { "nothing".to_owned() } else { asks.join(", ") };
            let name = crate::wire::printable_name(name, "a name");
            faults.push(format!("{name} is not asked for: {} asks for {asks}", entry.name));
        }
    }
    for ask in &entry.asks {
        match values.get(&ask.name).map(|value| value.trim()).filter(|value| !value.is_empty()) {
            Some(value) if is_plain(value) => {
                chosen.insert(ask.name.clone(), value.to_owned());
            }
            Some(_odd) => faults.push(format!(
                "{} must be 1 to 256 printable characters without spaces, quotes and braces",
                ask.name
            )),
            None if ask.optional => {}
            None => {
                let (title, example) = (&ask.title, &ask.example);
                faults.push(format!("{} is missing: {title}, such as {example}", ask.name));
                chosen.insert(ask.name.clone(), example.clone());
            }
        }
    }
    let mut members = members(entry);
    for (member, value) in &mut members {
        let is_address = ADDRESSES.contains(&member.as_str());
        replace(value, &chosen, is_address, &mut faults);
    }
    faults.sort();
    faults.dedup();
    // Texts have taken the place of texts.
    let filled = serde_json::from_value(Value::Object(members));
    (filled.unwrap_or_else(|_never| entry.clone()), faults)
}

/// The names in braces in the members of an entry.
pub(super) fn placeholders(entry: &ProviderEntry) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (member, value) in members(entry) {
        if !DESCRIPTIONS.contains(&member.as_str()) {
            each_text(&value, &mut |text| {
                found.extend(split(text).filter_map(|part| part.name().map(str::to_owned)));
            });
        }
    }
    found
}

fn members(entry: &ProviderEntry) -> Map<String, Value> {
    match serde_json::to_value(entry) {
        Ok(Value::Object(members)) => members,
        _ => Map::new(),
    }
}

/// Puts values in the place of their names, in every text within.
fn replace(value: &mut Value, values: &ParamMap, is_address: bool, faults: &mut Vec<String>) {
    match value {
        Value::String(text) if text.contains('{') => {
            let filled: String = split(text)
                .map(|part| {
                    let Some((name, value)) =
                        part.name().and_then(|name| values.get_key_value(name))
                    else {
                        return part.text();
                    };
                    if is_address && !is_part_of_address(value) {
                        faults.push(format!("{name} {ADDRESS_RULE}"));
                    }
                    value
                })
                .collect();
            *text = filled;
        }
        Value::Array(items) => {
            for item in items {
                replace(item, values, is_address, faults);
            }
        }
        Value::Object(items) => {
            for item in items.values_mut() {
                replace(item, values, is_address, faults);
            }
        }
        _ => {}
    }
}

fn each_text(value: &Value, see: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => see(text),
        Value::Array(items) => items.iter().for_each(|item| each_text(item, see)),
        Value::Object(items) => items.values().for_each(|item| each_text(item, see)),
        _ => {}
    }
}

/// A part of a text: a name in braces, or what stands between.
enum TextPart<'a> {
    Name(&'a str),
    Text(&'a str),
}

impl<'a> TextPart<'a> {
    fn text(&self) -> &'a str {
        match self {
            Self::Name(whole) | Self::Text(whole) => whole,
        }
    }

    fn name(&self) -> Option<&'a str> {
        match self {
            Self::Name(whole) => whole.strip_prefix('{')?.strip_suffix('}'),
            Self::Text(_) => None,
        }
    }
}

fn split(text: &str) -> impl Iterator<Item = TextPart<'_>> {
    text.split_inclusive('}').flat_map(|piece| {
        let open = piece.rfind('{').filter(|_| piece.ends_with('}'));
        let (before, name) = open.and_then(|at| piece.split_at_checked(at)).unwrap_or((piece, ""));
        [TextPart::Text(before), TextPart::Name(name)]
    })
}

/// Tells whether a value may stand in any member.
fn is_plain(value: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_graphic() && !b"\"\\{}".contains(&byte);
    (1..=256).contains(&value.len()) && value.bytes().all(fits)
}

/// Tells whether a value can't end the part of a URL in which it is put.
fn is_part_of_address(value: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._~:-".contains(&byte);
    value.bytes().all(fits) && value.bytes().any(|byte| byte.is_ascii_alphanumeric())
}

const ADDRESS_RULE: &str = "stands in a URL or a domain: it may have letters, digits and . _ ~ : -";

/// Members whose values are URLs and domains.
const ADDRESSES: [&str; 6] =
    ["allowed_domains", "auth_url", "issuer", "refresh_url", "revocation_url", "token_url"];

/// Members that describe the entry, and are no client's.
const DESCRIPTIONS: [&str; 5] = ["name", "title", "notes", "asks", "sources"];

/// Names in braces that stand in a client's own members, and are filled in later.
pub(super) const STANDARD: [&str; 2] = ["access_token", "client_id"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::management::Catalogue;
    use crate::wire::Member;

    fn filled(name: &str, values: &[(&str, &str)]) -> (ProviderEntry, Vec<String>) {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let entry = Catalogue::built_in().find(name).unwrap();
        fill(entry, &values.iter().map(own).collect())
    }

    #[test]
    fn values_stand_where_the_entry_has_their_names() {
        let values = [("domain", "acme.eu.auth0.com"), ("audience", "https://api.acme.test/v1?x")];
        let (entry, faults) =
            filled("auth0", &[&values[..], &[("api_host", "api.acme.test")]].concat());
        assert_eq!(faults, Vec::<String>::new());
        assert_eq!(entry.token_url, Member::from("https://acme.eu.auth0.com/oauth/token"));
        let Member::Given(params) = entry.auth_params else { panic!("{:?}", entry.auth_params) };
        assert_eq!(params["audience"], "https://api.acme.test/v1?x");
        assert_eq!(entry.allowed_domains, Member::Given(vec!["api.acme.test".to_owned()]));
        // What is filled in later stays as it is.
        let (entry, _) = filled("tiktok", &[]);
        let Member::Given(params) = entry.auth_params else { panic!("{:?}", entry.auth_params) };
        assert_eq!(params["client_key"], "{client_id}");
        let (entry, faults) = filled("zendesk", &[]);
        assert_eq!(faults, Vec::<String>::new());
        assert_eq!(entry.token_url, Member::from("https://{subdomain}.zendesk.com/oauth/tokens"));
    }

    #[test]
    fn every_wrong_value_is_told() {
        let missing = "tenant is missing: Directory (tenant) id, a UUID, such as";
        for (values, rule) in [
            (&[][..], missing),
            (&[("tenant", " ")][..], missing),
            (&[("tenant", "a b")][..], "tenant must be"),
            (&[("tenant", "{subdomain}")][..], "tenant must be"),
            (&[("tenant", "a/../b")][..], "tenant stands in a URL"),
            (&[("tenant", "..")][..], "tenant stands in a URL"),
            (&[("tenant", "a?b")][..], "tenant stands in a URL"),
            (&[("tenant", "a@b")][..], "tenant stands in a URL"),
            (&[("tenant", "a"), ("x y", "b")][..], "a name is not asked for: microsoft_tenant"),
        ] {
            let (_, faults) = filled("microsoft_tenant", values);
            assert!(faults.len() == 1 && faults[0].starts_with(rule), "{values:?}: {faults:?}");
        }
    }

    #[test]
    fn a_text_is_split_at_its_names() {
        for (text, names) in [
            ("", &[][..]),
            ("no name", &[]),
            ("{a}{b}", &["a", "b"]),
            ("https://{a}.x/{b}/c", &["a", "b"]),
            ("{{a}}", &["a"]),
            ("{a", &[]),
            ("a}", &[]),
        ] {
            let found: Vec<_> = split(text).filter_map(|part| part.name()).collect();
            assert_eq!(found, names, "{text}");
            assert_eq!(split(text).map(|part| part.text()).collect::<String>(), text);
        }
    }
}
