//! A member of a request, as it was given: whether its type is right is told, and nothing is
//! refused yet, so that one answer can list every fault.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::secret::in_clear;
use crate::secret::Secret;

/// A member of a request.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Member<T> {
    /// It was left out.
    #[default]
    Absent,
    /// It is null.
    Null,
    /// It has a value of its type.
    Given(T),
    /// It has a value of another type, which the words name.
    Unfit(&'static str),
}

/// A value that a member can have.
pub trait MemberValue: Sized {
    /// The type of such values, in words.
    const TYPE: &'static str;

    /// The value that a text stands for.
    fn of_text(_text: &str) -> Option<Self> {
        None
    }

    /// The value that a whole number stands for.
    fn of_number(_number: u64) -> Option<Self> {
        None
    }

    /// The value that true or false stands for.
    fn of_flag(_flag: bool) -> Option<Self> {
        None
    }

    /// The value that a list or an object stands for.
    fn of_json(_json: Value) -> Option<Self> {
        None
    }

    /// Takes from `defaults` the parts that it lacks, if it has parts.
    fn fill(&mut self, _defaults: Self) {}

    /// Writes the value.
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;
}

impl<T> Member<T> {
    /// Tells whether it was left out.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// Tells whether there is anything but null.
    pub fn is_given(&self) -> bool {
        matches!(self, Self::Given(_) | Self::Unfit(_))
    }
}

impl<T> Member<T> {
    /// The value, where there is one of its type.
    pub fn value(&self) -> Option<&T> {
        if let Self::Given(value) = self { Some(value) } else { None }
    }
}

impl Member<String> {
    /// The text, where there is one that is not empty.
    pub fn filled(&self) -> Option<&str> {
        self.value().map(String::as_str).filter(|text| !text.is_empty())
    }

    /// Tells whether it says nothing: it is left out, null or empty.
    pub fn is_blank(&self) -> bool {
        self.filled().is_none() && !matches!(self, Self::Unfit(_))
    }

    /// Takes the text where it says nothing. A value of another type stays, so that it is told.
    pub fn fill_blank(&mut self, text: Option<&str>) {
        if self.is_blank() && text.is_some() {
            *self = text.into();
        }
    }
}

impl<T: MemberValue> Member<T> {
    /// Takes what is left out here from `defaults`; null is left as it is.
    pub fn fill(&mut self, defaults: Self) {
        match (&mut *self, defaults) {
            (Self::Given(value), Self::Given(defaults)) => value.fill(defaults),
            (Self::Absent, defaults) => *self = defaults,
            _ => {}
        }
    }
}

impl Member<Secret> {
    /// Tells whether it is what stands for a hidden secret.
    pub fn is_redacted(&self) -> bool {
        matches!(self, Self::Given(secret) if secret.expose() == super::REDACTED.as_bytes())
    }
}

impl MemberValue for String {
    const TYPE: &'static str = "a text";

    fn of_text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl MemberValue for Secret {
    const TYPE: &'static str = "a text";

    fn of_text(text: &str) -> Option<Self> {
        Some(Self::new(text))
    }

    /// Writes it in clear: a request is how a secret comes to the server.
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        in_clear::serialize(self, serializer)
    }
}

impl MemberValue for bool {
    const TYPE: &'static str = "true or false";

    fn of_flag(flag: bool) -> Option<Self> {
        Some(flag)
    }

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(*self)
    }
}

impl MemberValue for u64 {
    const TYPE: &'static str = "a whole number";

    fn of_number(number: u64) -> Option<Self> {
        Some(number)
    }

    /// Some programs write numbers as texts.
    fn of_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(*self)
    }
}

/// Makes values of lists or objects: the type, the words for it, and what else it does.
macro_rules! json_member {
    ($type:ty, $words:literal $(, { $($rest:tt)* })?) => {
        impl $crate::wire::member::MemberValue for $type {
            const TYPE: &'static str = $words;

            fn of_json(json: serde_json::Value) -> Option<Self> {
                serde_json::from_value(json).ok()
            }

            $($($rest)*)?

            fn write<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serde::Serialize::serialize(self, serializer)
            }
        }
    };
}
pub(super) use json_member;

json_member!(Vec<String>, "a list of texts");

impl<T: MemberValue> From<T> for Member<T> {
    fn from(value: T) -> Self {
        Self::Given(value)
    }
}

impl<T: MemberValue> From<Option<T>> for Member<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Absent, Self::Given)
    }
}

impl From<&str> for Member<String> {
    fn from(text: &str) -> Self {
        Self::Given(text.to_owned())
    }
}

impl From<Option<&str>> for Member<String> {
    fn from(text: Option<&str>) -> Self {
        text.map_or(Self::Absent, Self::from)
    }
}

impl<T: MemberValue> Serialize for Member<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Given(value) => value.write(serializer),
            Self::Absent | Self::Null | Self::Unfit(_) => serializer.serialize_unit(),
        }
    }
}

impl<'de, T: MemberValue> Deserialize<'de> for Member<T> {
    /// A member that is left out is asked for as an option, and so is none.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_option(MemberVisitor(PhantomData))
    }
}

struct MemberVisitor<T>(PhantomData<T>);

impl<'de, T: MemberValue> Visitor<'de> for MemberVisitor<T> {
    type Value = Member<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_none<E>(self) -> Result<Member<T>, E> {
        Ok(Member::Absent)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Member<T>, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_unit<E>(self) -> Result<Member<T>, E> {
        Ok(Member::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Member<T>, E> {
        Ok(T::of_flag(flag).map_or(Member::Unfit("true or false"), Member::Given))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Member<T>, E> {
        Ok(T::of_number(number).map_or(Member::Unfit("a number"), Member::Given))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Member<T>, E> {
        let given = u64::try_from(number).ok().and_then(T::of_number);
        Ok(given.map_or(Member::Unfit("a number"), Member::Given))
    }

    fn visit_f64<E>(self, _number: f64) -> Result<Member<T>, E> {
        Ok(Member::Unfit("a number"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Member<T>, E> {
        Ok(T::of_text(text).map_or(Member::Unfit("a text"), Member::Given))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Member<T>, A::Error> {
        let list = Vec::<Value>::deserialize(SeqAccessDeserializer::new(list))?;
        let words =
            if list.iter().all(Value::is_string) { "a list" } else { "a list of anything else" };
        Ok(T::of_json(Value::Array(list)).map_or(Member::Unfit(words), Member::Given))
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Member<T>, A::Error> {
        let object = Map::deserialize(MapAccessDeserializer::new(object))?;
        Ok(T::of_json(Value::Object(object)).map_or(Member::Unfit("an object"), Member::Given))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_member_is_read_from_any_format() {
        type Read = Member<Vec<String>>;
        assert_eq!(Read::deserialize(json!(["a"])).unwrap(), Member::Given(vec!["a".to_owned()]));
        assert_eq!(Read::deserialize(json!(null)).unwrap(), Member::Absent);
        assert_eq!(Read::deserialize(json!("a")).unwrap(), Member::Unfit("a text"));
        let list = toml::Value::Array(vec!["a".into()]);
        assert_eq!(Read::deserialize(list).unwrap(), Member::Given(vec!["a".to_owned()]));
    }
}
