//! Placements: the part of a request in which a value is sent, and the template of the value
//! (contract §8, `inject`).

use std::fmt;
use std::sync::Arc;

use http::{HeaderName, header};
use serde::{Deserialize, Serialize};

use super::credential::Template;
use super::field::{CredentialField, is_same_to_servers};
use super::parameter::ParameterName;
use super::{named_enum, parsed_by_name, stored_as_text};

named_enum! {
    /// The part of a request in which a value stands.
    #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
    pub enum Place {
        /// A header field.
        #[default]
        Header = "header",
        /// A parameter of the query.
        Query = "query",
        /// A segment of the path, which takes the place of a placeholder.
        Path = "path",
    }
}

parsed_by_name!(Place);
stored_as_text!(Place);

/// A placement as it is stored and sealed. Today's encoding must be read by every later version.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Placement {
    /// The part of the request.
    #[serde(rename = "in", default, skip_serializing_if = "Place::is_header")]
    pub place: Place,
    /// The name of the field or the parameter, or the placeholder in the path.
    pub name: Box<str>,
    /// The template of the value.
    pub value: Box<str>,
}

/// A placement as people write it, in documents or on a line.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct WrittenPlacement {
    /// The part of the request: `in`.
    pub place: String,
    /// The name of the field or the parameter.
    pub name: Option<String>,
    /// The placeholder in the path.
    pub placeholder: Option<String>,
    /// The template of the value.
    pub value: Option<String>,
}

/// A placement whose name and template follow the rules.
#[derive(Clone, Debug)]
pub enum ParsedPlacement {
    /// A header field.
    Field(HeaderName, Template),
    /// A parameter of the query.
    Parameter(ParameterName, Template),
    /// A placeholder in the path.
    Segment(Placeholder, Template),
}

/// The segment of a caller's path that is replaced: 4 to 128 characters that are never escaped.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Placeholder(Box<str>);

impl Place {
    /// Tells whether it is a header field.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_header(&self) -> bool {
        *self == Self::Header
    }
}

impl Placement {
    /// Reads the name, and the template with secrets out of `secrets`.
    ///
    /// # Errors
    /// The text states the rule that one of them breaks.
    pub fn parse(&self, secrets: &[&str]) -> Result<ParsedPlacement, String> {
        let template = Template::parse(&self.value, secrets);
        let template = || template.map_err(|rule| format!("its value {rule}"));
        let parsed = match self.place {
            Place::Header => ParsedPlacement::Field(field(&self.name)?, template()?),
            Place::Query => {
                let name = ParameterName::parse(&self.name);
                ParsedPlacement::Parameter(
                    name.map_err(|rule| format!("its name {rule}"))?,
                    template()?,
                )
            }
            Place::Path => {
                let placeholder = Placeholder::parse(&self.name);
                ParsedPlacement::Segment(
                    placeholder.map_err(|rule| format!("its placeholder {rule}"))?,
                    template()?,
                )
            }
        };
        if self.place != Place::Header && parsed.template().has_basic() {
            return Err("its value has {basic:…}, which belongs to a header".to_owned());
        }
        Ok(parsed)
    }

    /// Reads it with secrets of any names.
    ///
    /// # Errors
    /// The text states the rule that it breaks.
    pub fn parse_with_any(&self) -> Result<ParsedPlacement, String> {
        let names = Template::names(&self.value);
        self.parse(&names.iter().map(|name| &**name).collect::<Vec<_>>())
    }

    /// Tells whether both put a value in the same place.
    fn is_same_place(&self, other: &Self) -> bool {
        let fold = str::to_ascii_lowercase;
        self.place == other.place && is_same_to_servers(&fold(&self.name), &fold(&other.name))
    }
}

impl WrittenPlacement {
    /// Reads a place on a line: `NAME: VALUE` for a field, `?NAME=VALUE` for a parameter,
    /// `/PLACEHOLDER=VALUE` for a segment.
    ///
    /// # Errors
    /// The text says how a place is written.
    pub fn read_line(line: &str) -> Result<Self, &'static str> {
        let line = line.trim();
        let (place, rest, separator) = match (line.strip_prefix('?'), line.strip_prefix('/')) {
            (Some(rest), _) => (Place::Query, rest, '='),
            (None, Some(rest)) => (Place::Path, rest, '='),
            (None, None) => (Place::Header, line, ':'),
        };
        let (name, value) = rest.split_once(separator).unwrap_or((rest, ""));
        let filled = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let (name, value) = (filled(name), filled(value));
        // A segment may be the only secret.
        if name.is_none() || (value.is_none() && (place != Place::Path || rest.contains('='))) {
            return Err(LINE_RULE);
        }
        let (name, placeholder) = if place == Place::Path { (None, name) } else { (name, None) };
        Ok(Self { place: place.as_str().to_owned(), name, placeholder, value })
    }

    /// The placement. Without a value, a segment is `only_secret`, where there is one alone.
    ///
    /// # Errors
    /// The text states the rule that a member breaks, and begins with its name.
    pub fn parse(self, only_secret: Option<&str>) -> Result<Placement, String> {
        let Self { place, name, placeholder, value } = self;
        let place = Place::parse(&place).map_err(|rule| format!(".in {rule}"))?;
        let (wanted, other) = match place {
            Place::Path => (("placeholder", placeholder), ("name", name)),
            Place::Header | Place::Query => (("name", name), ("placeholder", placeholder)),
        };
        if other.1.is_some() {
            return Err(format!(".{} does not go with in = {}", other.0, place.as_str()));
        }
        let name = wanted.1.ok_or_else(|| format!(".{} is missing", wanted.0))?;
        let alone = || Some(format!("{{{}}}", only_secret?)).filter(|_| place == Place::Path);
        let value = value.or_else(alone).ok_or(".value is missing")?;
        Ok(Placement { place, name: name.into(), value: value.into() })
    }
}

impl From<&Placement> for WrittenPlacement {
    fn from(placement: &Placement) -> Self {
        let name = Some(placement.name.to_string());
        let (name, placeholder) =
            if placement.place == Place::Path { (None, name) } else { (name, None) };
        let (place, value) = (placement.place.as_str().to_owned(), placement.value.to_string());
        Self { place, name, placeholder, value: Some(value) }
    }
}

impl fmt::Display for WrittenPlacement {
    /// Writes it on a line, as it is read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.as_deref().or(self.placeholder.as_deref()).unwrap_or_default();
        let value = self.value.as_deref();
        match (Place::parse(&self.place).unwrap_or_default(), value) {
            (Place::Header, value) => write!(f, "{name}: {}", value.unwrap_or_default()),
            (Place::Query, value) => write!(f, "?{name}={}", value.unwrap_or_default()),
            (Place::Path, Some(value)) => write!(f, "/{name}={value}"),
            (Place::Path, None) => write!(f, "/{name}"),
        }
    }
}

impl ParsedPlacement {
    /// The template of the value.
    #[must_use]
    pub fn template(&self) -> &Template {
        match self {
            Self::Field(_, template)
            | Self::Parameter(_, template)
            | Self::Segment(_, template) => template,
        }
    }
}

impl Placeholder {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let fits = (4..=128).contains(&text.len())
            && text.bytes().all(is_unreserved)
            && text.bytes().any(|byte| byte.is_ascii_alphanumeric());
        if fits {
            Ok(Self(text.into()))
        } else {
            Err("must be 4 to 128 letters, digits, or characters out of - . _ ~")
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Reads placements as they are written, by their place in a list.
///
/// # Errors
/// The text states the rule that a member breaks, and begins with where it stands.
pub fn read_written(
    written: Vec<WrittenPlacement>,
    only_secret: Option<&str>,
) -> Result<Vec<Placement>, String> {
    let numbered = written.into_iter().enumerate();
    let placements = numbered.map(|(number, placement)| {
        placement.parse(only_secret).map_err(|rule| format!("[{number}]{rule}"))
    });
    placements.collect()
}

/// Checks all placements of one credential, whose templates have secrets out of `secrets`.
///
/// # Errors
/// The text states the rule that one of them breaks, or all together.
pub fn parse_all(
    placements: &[Placement],
    secrets: &[&str],
) -> Result<Vec<ParsedPlacement>, String> {
    if placements.len() > MAX_PLACEMENTS {
        return Err(format!("has more than {MAX_PLACEMENTS} places"));
    }
    let mut parsed = Vec::with_capacity(placements.len());
    for (number, placement) in placements.iter().enumerate() {
        parsed.push(placement.parse(secrets).map_err(|rule| format!("[{number}]: {rule}"))?);
        let before = placements.get(..number).unwrap_or_default();
        if before.iter().any(|other| other.is_same_place(placement)) {
            return Err(format!("has the {} {} twice", placement.place.noun(), placement.name));
        }
    }
    Ok(parsed)
}

/// The names of the header fields among placements, each once.
#[must_use]
pub fn field_names<'a>(placements: impl IntoIterator<Item = &'a Placement>) -> Arc<[HeaderName]> {
    let fields = placements.into_iter().filter(|placement| placement.place == Place::Header);
    let mut names: Vec<HeaderName> = Vec::new();
    for name in fields.filter_map(|placement| field(&placement.name).ok()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.into()
}

impl Place {
    /// The word for what is there, for people.
    #[must_use]
    pub fn noun(self) -> &'static str {
        match self {
            Self::Header => "field",
            Self::Query => "parameter",
            Self::Path => "placeholder",
        }
    }
}

fn field(name: &str) -> Result<HeaderName, String> {
    if name.eq_ignore_ascii_case(header::AUTHORIZATION.as_str()) {
        return Ok(header::AUTHORIZATION);
    }
    let field = CredentialField::parse_injected(name);
    Ok(field.map_err(|rule| format!("its name {rule}"))?.name().clone())
}

/// The rule of a place on a line.
const LINE_RULE: &str = "a place is NAME: VALUE for a header, ?NAME=VALUE for a parameter of the \
                         query, or /PLACEHOLDER=VALUE for a segment of the path";

/// The most places that one credential has.
pub const MAX_PLACEMENTS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn placement(place: Place, name: &str, value: &str) -> Placement {
        Placement { place, name: name.into(), value: value.into() }
    }

    #[test]
    fn the_encoding_of_every_place_stays_as_it_is() {
        for (json, place) in [
            (r#"{"name":"X-Key","value":"{key}"}"#, Place::Header),
            (r#"{"in":"query","name":"key","value":"{key}"}"#, Place::Query),
            (r#"{"in":"path","name":"KEYFERRY","value":"bot{key}"}"#, Place::Path),
        ] {
            let read: Placement = serde_json::from_str(json).unwrap();
            assert_eq!(read.place, place);
            assert_eq!(serde_json::to_string(&read).unwrap(), json);
        }
        assert!(
            serde_json::from_str::<Placement>(r#"{"in":"body","name":"a","value":"b"}"#).is_err()
        );
    }

    #[test]
    fn each_place_has_its_rules() {
        for (place, name, value) in [
            (Place::Header, "authorization", "{basic:'x-access-token',key}"),
            (Place::Header, "X-Api-Key", "{key}"),
            (Place::Query, "key", "{key}"),
            (Place::Path, "bot-KEYFERRY", "bot{key}"),
        ] {
            assert!(placement(place, name, value).parse(&["key"]).is_ok(), "{name}");
        }
        for (place, name, value) in [
            (Place::Header, "Host", "{key}"),
            (Place::Header, "Cookie", "{key}"),
            (Place::Header, "X-Api-Key", "{other}"),
            (Place::Header, "X-Zis-Key", "{key}"),
            (Place::Query, "a b", "{key}"),
            (Place::Query, "key", "{basic:key,''}"),
            (Place::Query, "key", ""),
            (Place::Path, "..", "{key}"),
            (Place::Path, "....", "{key}"),
            (Place::Path, "bot", "{key}"),
            (Place::Path, "a/bot", "{key}"),
            (Place::Path, "{bot}", "{key}"),
            (Place::Path, "KEYFERRY", "{basic:key,''}"),
        ] {
            assert!(placement(place, name, value).parse(&["key"]).is_err(), "{name}: {value}");
        }
    }

    #[test]
    fn a_place_is_written_on_a_line_as_it_is_read() {
        for (line, place, value) in [
            ("X-Key: {key}", "header", Some("{key}")),
            ("Authorization: a: b", "header", Some("a: b")),
            ("?key={key}", "query", Some("{key}")),
            ("/KEYFERRY=bot{key}", "path", Some("bot{key}")),
            ("/KEYFERRY", "path", None),
        ] {
            let read = WrittenPlacement::read_line(line).unwrap();
            assert_eq!((&*read.place, read.value.as_deref()), (place, value));
            assert_eq!(read.to_string(), line);
            let placement = read.clone().parse(Some("key")).unwrap();
            let again = WrittenPlacement::from(&placement);
            assert_eq!((&again.name, &again.placeholder), (&read.name, &read.placeholder));
        }
        for line in ["", "X-Key", "X-Key:", ": x", "?key", "?=x", "/", "/=x", "/KEYFERRY="] {
            assert_eq!(WrittenPlacement::read_line(line), Err(LINE_RULE), "{line}");
        }
    }

    #[test]
    fn each_place_has_its_members() {
        let written =
            |place: &str, name: Option<&str>, other: Option<&str>, value: Option<&str>| {
                let owned = |text: Option<&str>| text.map(str::to_owned);
                let (name, placeholder, value) = (owned(name), owned(other), owned(value));
                let place = place.to_owned();
                let all = vec![WrittenPlacement { place, name, placeholder, value }];
                read_written(all, None).unwrap_err()
            };
        assert_eq!(
            written("body", Some("a"), None, Some("b")),
            "[0].in must be header, query or path"
        );
        assert_eq!(written("query", None, None, Some("b")), "[0].name is missing");
        assert_eq!(written("query", Some("a"), None, None), "[0].value is missing");
        assert_eq!(written("path", None, Some("KEYFERRY"), None), "[0].value is missing");
        assert_eq!(
            written("path", Some("a"), Some("KEYFERRY"), Some("b")),
            "[0].name does not go with in = path"
        );
    }

    #[test]
    fn no_place_stands_twice_in_any_spelling() {
        let twice = |place, one, other| {
            let placements = [placement(place, one, "{key}"), placement(place, other, "{key}")];
            parse_all(&placements, &["key"]).is_err()
        };
        assert!(twice(Place::Header, "X-Api-Key", "x_api-key"));
        assert!(twice(Place::Query, "api_key", "API-Key"));
        assert!(twice(Place::Path, "KEYFERRY", "KEYFERRY"));
        assert!(!twice(Place::Query, "key", "keys"));
        let many = vec![placement(Place::Header, "X-A", "{key}"); 9];
        assert!(parse_all(&many, &["key"]).is_err());
    }
}
