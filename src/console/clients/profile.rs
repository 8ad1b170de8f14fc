//! The fields of a client's token-request profile: what is asked of them, and what they show.

use serde_json::{Map, Value, json};

use crate::console::fields::{Field, Kind, Need};
use crate::console::form_values::FormValues;
use crate::model::placement::WrittenPlacement;
use crate::wire::{PlacementMembers, ProfileMembers};

/// A member of the profile as it is filled in.
struct ProfileField {
    name: &'static str,
    label: &'static str,
    hint: &'static str,
    shape: ValueShape,
}

/// The shape of a member's value.
enum ValueShape {
    Choice(&'static [(&'static str, &'static str)]),
    Flag,
    /// `NAME: VALUE` on each line.
    Places,
    /// A text on each line.
    Lines,
    /// `NAME=VALUE` on each line.
    Pairs,
    Statuses,
    Text,
}

/// The meaning of an empty field.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Empty {
    /// The provider's entry in the catalogue, or the standard, decides.
    LeftOut,
    /// The member is taken away.
    TakenAway,
}

/// The members as texts, which fields show.
pub(super) struct ProfileTexts(Vec<(&'static str, String)>);

impl ProfileTexts {
    pub(super) fn of(members: &ProfileMembers) -> Self {
        let json = match serde_json::to_value(members) {
            Ok(Value::Object(json)) => json,
            _ => Map::new(),
        };
        let text = |field: &ProfileField| {
            let value = json.get(field.name);
            (field.name, value.map(|value| field.shape.show(value)).unwrap_or_default())
        };
        Self(FIELDS.iter().map(text).collect())
    }

    fn text(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| *known == name).map_or("", |(_, text)| text)
    }

    /// Each member that has a value, by its label.
    pub(super) fn facts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let labels = FIELDS.iter().map(|field| (field.label, self.text(field.name)));
        labels.filter(|(_, text)| !text.is_empty())
    }
}

/// The fields. They show these texts: as what is there, or else as what there is without an entry.
pub(super) fn fields(texts: &ProfileTexts, are_there: bool) -> Vec<Field<'_>> {
    let field = |field: &ProfileField| {
        let text = texts.text(field.name);
        Field {
            name: field.name,
            label: field.label,
            hint: field.hint,
            need: Need::Never,
            value: if are_there { text } else { "" },
            placeholder: if are_there { "" } else { text },
            kind: match field.shape {
                ValueShape::Choice(choices) => Kind::One(choices),
                ValueShape::Flag => Kind::One(&FLAG),
                ValueShape::Places | ValueShape::Lines | ValueShape::Pairs => Kind::Lines,
                ValueShape::Statuses | ValueShape::Text => Kind::Text,
            },
        }
    };
    FIELDS.iter().map(field).collect()
}

/// Reads the fields; what can't be read is noted beside its field.
pub(super) fn read(values: &mut FormValues, empty: Empty) -> ProfileMembers {
    let (mut members, mut emptied) = (Map::new(), Vec::new());
    for field in &FIELDS {
        let text = values.text(field.name);
        if text.is_empty() || (text.trim().is_empty() && field.name != SEPARATOR) {
            emptied.push(field.name);
            continue;
        }
        match field.shape.read(text) {
            Ok(value) => {
                members.insert(field.name.to_owned(), value);
            }
            Err(rule) => values.fault(&format!("{}: {rule}", field.name)),
        }
    }
    // Every shape is that of its member.
    let members = serde_json::from_value(Value::Object(members));
    let mut members: ProfileMembers = members.unwrap_or_default();
    if empty == Empty::TakenAway {
        for name in emptied {
            members.take_away(name);
        }
    }
    members
}

impl ValueShape {
    fn show(&self, value: &Value) -> String {
        let lines = |items: &[Value], line: fn(&Value) -> Option<String>| {
            items.iter().filter_map(line).collect::<Vec<_>>()
        };
        match (self, value) {
            (Self::Pairs, Value::Object(pairs)) => {
                let line = |(name, value): (&String, &Value)| {
                    format!("{name}={}", value.as_str().unwrap_or_default())
                };
                pairs.iter().map(line).collect::<Vec<_>>().join("\n")
            }
            (Self::Places, Value::Array(items)) => lines(items, |item| {
                let place = serde_json::from_value::<PlacementMembers>(item.clone()).ok()?;
                Some(WrittenPlacement::from(place).to_string())
            })
            .join("\n"),
            (Self::Statuses, Value::Array(items)) => {
                lines(items, |item| Some(item.to_string())).join(", ")
            }
            (_, Value::Array(items)) => {
                lines(items, |item| item.as_str().map(str::to_owned)).join("\n")
            }
            (_, Value::String(text)) => text.clone(),
            (_, Value::Null) => String::new(),
            (_, other) => other.to_string(),
        }
    }

    fn read(&self, text: &str) -> Result<Value, &'static str> {
        let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
        Ok(match self {
            Self::Choice(_) | Self::Text => json!(text),
            Self::Flag => json!(text == "true"),
            Self::Lines => json!(lines().collect::<Vec<_>>()),
            Self::Pairs => {
                let pair = |line: &str| {
                    let (name, value) = line.split_once('=')?;
                    Some((name.trim().to_owned(), json!(value.trim())))
                };
                let pairs: Option<Map<_, _>> = lines().map(pair).collect();
                Value::Object(pairs.ok_or("each line must be a name, = and a value")?)
            }
            Self::Places => {
                let place = |line| WrittenPlacement::read_line(line).map(PlacementMembers::from);
                json!(lines().map(place).collect::<Result<Vec<_>, _>>()?)
            }
            Self::Statuses => {
                let statuses = text.split([',', ' ']).filter(|status| !status.is_empty());
                let statuses: Result<Vec<_>, _> = statuses.map(str::parse::<u16>).collect();
                json!(statuses.map_err(|_rule| "must be statuses with commas between them")?)
            }
        })
    }
}

const fn field(
    name: &'static str,
    label: &'static str,
    hint: &'static str,
    shape: ValueShape,
) -> ProfileField {
    ProfileField { name, label, hint, shape }
}

const FIELDS: [ProfileField; 19] = [
    field(
        "allowed_domains",
        "Offered domains",
        "One on each line. The first is the allowed domain of a connection for which none is entered; {subdomain} may be its first part.",
        ValueShape::Lines,
    ),
    field(
        "auth_params",
        "Parameters of the authorization request",
        "NAME=VALUE on each line, as access_type=offline.",
        ValueShape::Pairs,
    ),
    field(
        "token_params",
        "Parameters of token requests",
        "NAME=VALUE on each line, sent when a code is exchanged. {client_id} and {subdomain} are replaced.",
        ValueShape::Pairs,
    ),
    field(
        "refresh_params",
        "Parameters of refreshes",
        "NAME=VALUE on each line, sent when tokens are refreshed.",
        ValueShape::Pairs,
    ),
    field("refresh_url", "Refresh URL", "If it is not the token URL.", ValueShape::Text),
    field(
        "revocation_url",
        "Revocation URL",
        "Where tokens are revoked when a connection is deleted (RFC 7009).",
        ValueShape::Text,
    ),
    field(
        "token_request_format",
        "Format of token requests",
        "",
        ValueShape::Choice(&[("", "as usual"), ("form", "Form"), ("json", "JSON")]),
    ),
    field(
        "pkce",
        "PKCE",
        "Off only for a provider that refuses it (RFC 7636).",
        ValueShape::Choice(&[("", "as usual"), ("S256", "S256"), ("off", "Off")]),
    ),
    field(
        SEPARATOR,
        "Scope separator",
        "What stands between two scopes at the provider, if not a space; often a comma.",
        ValueShape::Text,
    ),
    field("scope_on_refresh", "Scopes on refresh", "", ValueShape::Flag),
    field(
        "token_path",
        "Path of the access token",
        "A JSON Pointer into the answer, as /data/access_token.",
        ValueShape::Text,
    ),
    field("refresh_token_path", "Path of the refresh token", "Likewise.", ValueShape::Text),
    field("expires_in_path", "Path of the lifetime", "Likewise.", ValueShape::Text),
    field(
        "default_lifetime",
        "Lifetime of access tokens",
        "Where the answer names none, as 30m or 1h.",
        ValueShape::Text,
    ),
    field(
        "refresh_token_lifetime",
        "Lifetime of refresh tokens",
        "Where the answer names none, as 30d.",
        ValueShape::Text,
    ),
    field(
        "issuer",
        "Issuer",
        "The provider’s answers must name it exactly (RFC 9207).",
        ValueShape::Text,
    ),
    field(
        "dead_grant_codes",
        "Codes of an ended grant",
        "One on each line: error codes after which only a new authorization helps.",
        ValueShape::Lines,
    ),
    field(
        "refresh_on_status",
        "Statuses that call for a refresh",
        "With commas between them; 401 unless filled in.",
        ValueShape::Statuses,
    ),
    field(
        "inject",
        "Places that carry the token",
        "One on each line: NAME: VALUE for a header, as X-Token: {access_token}; ?NAME=VALUE for a parameter of the query; /PLACEHOLDER=VALUE for a segment of the path. Authorization: Bearer unless filled in.",
        ValueShape::Places,
    ),
];

const FLAG: [(&str, &str); 3] = [("", "as usual"), ("true", "Sent"), ("false", "Not sent")];

/// The member whose value may be of spaces.
const SEPARATOR: &str = "scope_separator";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Member;
    use crate::wire::PROFILE_MEMBERS;

    #[test]
    fn every_member_but_the_entrys_name_has_a_field() {
        let mut names: Vec<_> = FIELDS.iter().map(|field| field.name).collect();
        // The key's have fields of their own.
        names.extend(["provider", "assertion", "installation"]);
        names.sort_unstable();
        let mut members = PROFILE_MEMBERS.to_vec();
        members.sort_unstable();
        assert_eq!(names, members);
    }

    #[test]
    fn what_fields_show_is_read_back() {
        let json = json!({
            "auth_params": {"a": "1=2", "b": ""}, "pkce": "off", "scope_separator": ", ",
            "scope_on_refresh": true, "token_path": "/a", "dead_grant_codes": ["A", "B C"],
            "refresh_on_status": [401, 403], "allowed_domains": ["a.test", "b.test"],
            "inject": [
                {"in": "header", "name": "X-A", "value": "a: {access_token}"},
                {"in": "query", "name": "a", "value": "{access_token}"},
                {"in": "path", "placeholder": "KEYFERRY", "value": "{access_token}"},
            ],
        });
        let members: ProfileMembers = serde_json::from_value(json.clone()).unwrap();
        let texts = ProfileTexts::of(&members);
        let shown: Vec<_> =
            fields(&texts, true).iter().map(|field| (field.name, field.value)).collect();
        let mut values = FormValues::with(&shown);
        let read = read(&mut values, Empty::LeftOut);
        assert!(!values.is_faulty());
        assert_eq!(serde_json::to_value(&read).unwrap(), json);
        assert_eq!(texts.facts().count(), json.as_object().unwrap().len());
    }

    #[test]
    fn what_is_empty_is_left_out_or_taken_away() {
        let mut values = FormValues::with(&[("pkce", ""), ("issuer", " ")]);
        assert!(read(&mut values, Empty::LeftOut).issuer.is_absent());
        assert_eq!(read(&mut values, Empty::TakenAway).issuer, Member::Null);
        for (field, text) in [("auth_params", "a"), ("inject", "a=b"), ("refresh_on_status", "x")] {
            let mut values = FormValues::with(&[(field, text)]);
            read(&mut values, Empty::LeftOut);
            assert_eq!(values.faults_of(field).count(), 1, "{field}");
        }
    }
}
