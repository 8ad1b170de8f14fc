//! A member of a request, as it was given: whether its type is right is told, and nothing is
//! refused yet, so that one answer can list every fault.

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::read::object;
use super::secret::in_clear;
use crate::secret::Secret;

/// A member of a request.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Member<T> {
    /// It was left out, or is null.
    #[default]
    Absent,
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
    fn of_text(_text: String) -> Option<Self> {
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

impl Member<Secret> {
    /// Tells whether it is what stands for a hidden secret.
    pub fn is_redacted(&self) -> bool {
        matches!(self, Self::Given(secret) if secret.expose() == super::REDACTED.as_bytes())
    }
}

impl MemberValue for String {
    const TYPE: &'static str = "a text";

    fn of_text(text: String) -> Option<Self> {
        Some(text)
    }

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl MemberValue for Secret {
    const TYPE: &'static str = "a text";

    fn of_text(text: String) -> Option<Self> {
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
    fn of_text(text: String) -> Option<Self> {
        text.parse().ok()
    }

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(*self)
    }
}

impl MemberValue for Vec<String> {
    const TYPE: &'static str = "a list of texts";

    fn of_json(json: Value) -> Option<Self> {
        serde_json::from_value(json).ok()
    }

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self)
    }
}

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
            Self::Absent | Self::Unfit(_) => serializer.serialize_unit(),
        }
    }
}

impl<'de, T: MemberValue> Deserialize<'de> for Member<T> {
    /// Reads a value whose grammar was checked.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Some(value) = Option::<&RawValue>::deserialize(deserializer)? else {
            return Ok(Self::Absent);
        };
        let json = value.get();
        let (found, fit) = match json.as_bytes().first() {
            Some(b'"') => {
                let text = serde_json::from_str(json).map_err(D::Error::custom)?;
                ("a text", T::of_text(text))
            }
            Some(b't' | b'f') => ("true or false", T::of_flag(json == "true")),
            // What can't be read in one way is what no member holds.
            Some(b'[') => match serde_json::from_str::<Vec<Value>>(json) {
                Ok(list) if list.iter().all(Value::is_string) => {
                    ("a list", T::of_json(Value::Array(list)))
                }
                list => {
                    let fit = list.ok().and_then(|list| T::of_json(Value::Array(list)));
                    ("a list of anything else", fit)
                }
            },
            Some(b'{') => ("an object", object(json).map(Value::Object).and_then(T::of_json)),
            _ => ("a number", json.parse().ok().and_then(T::of_number)),
        };
        Ok(fit.map_or(Self::Unfit(found), Self::Given))
    }
}
