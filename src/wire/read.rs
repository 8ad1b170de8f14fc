//! The reading of a request: a JSON object into its type, and beside it everything in its shape
//! that is wrong. No fault ends the reading, but bytes that are no JSON object.

use std::fmt;

use serde::de::value::MapDeserializer;
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, MapAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// A request of the management API.
pub trait Request: Default + DeserializeOwned {
    /// Members that the server alone sets. A client that sends back an answer asks for no change of
    /// them, so that they are passed over, whatever they are.
    const READ_ONLY: &'static [&'static str] = &[];

    /// The largest number of members, so that all faults fit into an answer.
    const MAX_MEMBERS: usize = 32;
}

/// A request as it was read.
#[derive(Clone, Debug, Default)]
pub struct Document<T> {
    /// Its members.
    pub members: T,
    /// Its shape, as far as its type does not say it.
    pub shape: Shape,
}

/// The shape of a request, as far as its type does not say it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Shape {
    /// There are more members than this, which is more than the request has; those beyond were not
    /// read.
    pub more_than: Option<usize>,
    /// Names that were given more than once, once for each time beyond the first.
    pub repeated: Vec<String>,
    /// Members that are null, read-only ones excepted.
    pub null: Vec<String>,
    /// Members that the type does not have.
    pub unknown: Vec<String>,
    /// A read-only member is there, and is not null.
    pub has_read_only: bool,
}

/// The bytes are no JSON object; the sentence says where that shows, and quotes nothing.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct MalformedBody(String);

impl<T> From<T> for Document<T> {
    fn from(members: T) -> Self {
        Self { members, shape: Shape::default() }
    }
}

/// Reads a request. Of the type's members, only those in `known` are taken for its own, where that
/// is given.
pub fn read<T: Request>(
    bytes: &[u8],
    known: Option<&[&str]>,
) -> Result<Document<T>, MalformedBody> {
    let mut given = members(bytes)?;
    let more_than = (given.len() > T::MAX_MEMBERS).then_some(T::MAX_MEMBERS);
    let mut shape = Shape { more_than, ..Shape::default() };
    given.truncate(T::MAX_MEMBERS);
    // 1. Of members with one name, the first counts.
    let mut first: Vec<(String, &RawValue)> = Vec::new();
    for (name, value) in given {
        if first.iter().any(|(known, _)| *known == name) {
            shape.repeated.push(name);
        } else {
            first.push((name, value));
        }
    }
    // 2. Read-only ones are passed over.
    let is_null = |value: &RawValue| value.get() == "null";
    first.retain(|(name, value)| {
        let is_read_only = T::READ_ONLY.contains(&name.as_str());
        shape.has_read_only |= is_read_only && !is_null(value);
        !is_read_only
    });
    shape.null.extend(first.iter().filter(|(_, v)| is_null(v)).map(|(name, _)| name.clone()));
    // 3. The type takes its own, and the rest is unknown.
    let taking = Taking { given: first, known, unknown: &mut shape.unknown };
    let members = T::deserialize(taking).map_err(|_error| MalformedBody(SURROGATE.to_owned()))?;
    Ok(Document { members, shape })
}

/// The members of a JSON object, as they were written.
fn members(bytes: &[u8]) -> Result<Vec<(String, &RawValue)>, MalformedBody> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_position| MalformedBody("the body is not UTF-8".to_owned()))?;
    if !text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') {
        return Err(MalformedBody("the body must be a JSON object".to_owned()));
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer
        .deserialize_map(Collector)
        .and_then(|members| deserializer.end().map(|()| members))
        .map_err(|error| {
            let (line, column) = (error.line(), error.column());
            MalformedBody(format!("the body is no JSON, as shows at line {line}, column {column}"))
        })
}

struct Collector;

impl<'de> Visitor<'de> for Collector {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}

/// Gives a type the members that it has, and keeps the names of the others.
struct Taking<'a, 'de> {
    given: Vec<(String, &'de RawValue)>,
    known: Option<&'a [&'a str]>,
    unknown: &'a mut Vec<String>,
}

impl<'de> Deserializer<'de> for Taking<'_, 'de> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        let given = self.given.into_iter().map(|(name, value)| (name, RawMember(value.get())));
        visitor.visit_map(MapDeserializer::new(given))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        mut self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        let (own, others): (Vec<_>, Vec<_>) = self.given.into_iter().partition(|(name, _)| {
            let name = name.as_str();
            fields.contains(&name) && self.known.is_none_or(|known| known.contains(&name))
        });
        self.unknown.extend(others.into_iter().map(|(name, _)| name));
        self.given = own;
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// The value of a member, whose grammar was checked. What no member holds is not looked into.
struct RawMember<'de>(&'de str);

impl<'de> IntoDeserializer<'de, serde_json::Error> for RawMember<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for RawMember<'de> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self.0.as_bytes().first() {
            Some(b'-' | b'0'..=b'9') => match self.0.parse() {
                Ok(number) => visitor.visit_u64(number),
                Err(_) => visitor.visit_f64(0.0),
            },
            // What can't be read in one way is replaced by what no member holds.
            Some(b'{') => {
                let object = object(self.0);
                let object = object.unwrap_or_else(|| Map::from_iter([Default::default()]));
                Value::Object(object).deserialize_any(visitor)
            }
            Some(b'[') => {
                let list = serde_json::from_str::<Vec<Value>>(self.0);
                let list = list.unwrap_or_else(|_depth| vec![Value::Null]);
                Value::Array(list).deserialize_any(visitor)
            }
            _ => serde_json::Deserializer::from_str(self.0).deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
        ignored_any
    }
}

/// The object of a member; `None` when it has a name twice, is nested too deeply, or has half of a
/// surrogate pair in it.
fn object(json: &str) -> Option<Map<String, Value>> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let members = deserializer.deserialize_map(Collector).ok()?;
    let count = members.len();
    let parse = |(name, value): (String, &RawValue)| {
        Some((name, serde_json::from_str::<Value>(value.get()).ok()?))
    };
    let object: Map<_, _> = members.into_iter().map(parse).collect::<Option<_>>()?;
    (object.len() == count).then_some(object)
}

/// A stranger's name for something, fit to be shown: short, and nothing but what names are made
/// of; else the words for what it is.
pub fn printable_name<'a>(name: &'a str, else_words: &'a str) -> &'a str {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.[]".contains(&byte);
    let fits = (1..=40).contains(&name.len()) && name.bytes().all(plain);
    if fits { name } else { else_words }
}

/// The only thing that can be wrong with a text whose grammar is right.
const SURROGATE: &str = "a text of the body has half of a surrogate pair in it";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use crate::wire::Member;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Example {
        text: Member<String>,
        secret: Member<Secret>,
        flag: Member<bool>,
        list: Member<Vec<String>>,
    }

    impl Request for Example {
        const READ_ONLY: &'static [&'static str] = &["made_at"];
    }

    fn example(json: &str) -> Document<Example> {
        read(json.as_bytes(), None).unwrap()
    }

    fn text_of(json: &str) -> Option<String> {
        let read = read::<Example>(format!("{{\"text\":{json}}}").as_bytes(), None).ok()?;
        match read.members.text {
            Member::Given(text) => Some(text),
            _ => None,
        }
    }

    #[test]
    fn every_member_is_read_and_everything_else_is_told() {
        let json = r#"{"text": "a", "other": null, "flag": true, "text": 1, "list": ["a"],
            "made_at": 7, "secret": null, "é": {"a": [1e999]}}"#;
        let Document { members, shape } = example(json);
        assert_eq!(members.text, Member::Given("a".to_owned()));
        assert_eq!(members.flag, Member::Given(true));
        assert_eq!(members.list, Member::Given(vec!["a".to_owned()]));
        assert!(matches!(members.secret, Member::Null));
        assert_eq!(shape.repeated, ["text"]);
        assert_eq!(shape.null, ["other", "secret"]);
        assert_eq!(shape.unknown, ["other", "é"]);
        assert!(shape.has_read_only && shape.more_than.is_none());
    }

    #[test]
    fn a_value_of_another_type_is_named_and_ends_nothing() {
        for (value, words) in [
            ("1e999", "a number"),
            ("-1", "a number"),
            ("true", "true or false"),
            ("[]", "a list"),
            ("[\"a\"]", "a list"),
            ("[\"a\", 1]", "a list of anything else"),
            ("[[[]], {}]", "a list of anything else"),
            ("[\"\\ud800\"]", "a list of anything else"),
            ("{\"a\": \"\\ud800\"}", "an object"),
        ] {
            let Document { members, .. } = example(&format!("{{\"text\": {value}}}"));
            assert_eq!(members.text, Member::Unfit(words), "{value}");
        }
        let Document { members, .. } = example(r#"{"flag": "yes", "list": "a"}"#);
        assert_eq!(members.flag, Member::Unfit("a text"));
        assert_eq!(members.list, Member::Unfit("a text"));
    }

    #[test]
    fn what_goes_out_comes_in_again() {
        #[derive(serde::Serialize)]
        struct Sent {
            secret: Member<Secret>,
            flag: Member<bool>,
            #[serde(skip_serializing_if = "Member::is_absent")]
            text: Member<String>,
        }
        let sent =
            Sent { secret: Secret::new("é\"").into(), flag: Member::Null, text: Member::Absent };
        let json = serde_json::to_string(&sent).unwrap();
        assert_eq!(json, r#"{"secret":"é\"","flag":null}"#);
        assert!(!format!("{:?}", sent.secret).contains('é'));
        let read = example(&json).members.secret;
        assert!(matches!(read, Member::Given(secret) if secret.expose() == "é\"".as_bytes()));
    }

    #[test]
    fn every_escape_is_read() {
        let text = text_of(r#""a\"\\\/\b\f\n\r\té\uD83D\uDE00é""#);
        assert_eq!(text.as_deref(), Some("a\"\\/\u{8}\u{c}\n\r\té😀é"));
    }

    #[test]
    fn half_a_surrogate_pair_is_no_text() {
        for json in [r#""\ud800""#, r#""\udc00""#, r#""\ud800x""#, r#""\ud800A""#] {
            let refused = read::<Example>(format!("{{\"text\":{json}}}").as_bytes(), None);
            assert_eq!(refused.unwrap_err().to_string(), SURROGATE, "{json}");
        }
    }

    #[test]
    fn what_is_no_object_is_refused_and_not_quoted() {
        for json in [
            "",
            "[]",
            "\"hunter2\"",
            "{\"hunter2\"}",
            "{\"a\":hunter2}",
            "{} hunter2",
            "{\"a\":1,}",
        ] {
            let refused = read::<Example>(json.as_bytes(), None).unwrap_err();
            assert!(!refused.to_string().contains("hunter"), "{refused}");
        }
        assert!(read::<Example>(b"{\"a\":\"\xff\"}", None).is_err());
        let deep = format!("{{\"a\":{}", "[".repeat(60_000));
        assert!(read::<Example>(deep.as_bytes(), None).is_err());
        let closed = format!("{{\"text\":{}{}}}", "[".repeat(30_000), "]".repeat(30_000));
        assert!(read::<Example>(closed.as_bytes(), None).is_ok());
    }

    proptest! {
        #[test]
        fn a_text_is_read_as_it_was_meant(text in any::<String>()) {
            let json = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(text_of(&json), Some(text));
        }

        #[test]
        fn anything_at_all_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _either = read::<Example>(&bytes, None);
        }
    }
}
