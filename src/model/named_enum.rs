//! Enums whose variants have a name each, by which they are written, listed and read.

/// Declares such an enum, with its variants as `ALL` and their names as `as_str`.
macro_rules! named_enum {
    ($(#[$about:meta])* $visibility:vis enum $enum:ident {
        $($(#[$sentence:meta])* $variant:ident = $name:literal,)+
    }) => {
        $(#[$about])*
        $visibility enum $enum {
            $($(#[$sentence])* $variant,)+
        }

        impl $enum {
            /// All variants, in order.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            /// The variant's name.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

/// Lets such enums be read.
macro_rules! parsed_by_name {
    ($($enum:ident),+) => {$(
        impl $enum {
            /// Reads the name of a variant.
            ///
            /// # Errors
            /// The text states the rule.
            pub fn parse(text: &str) -> Result<Self, String> {
                let found = Self::ALL.into_iter().find(|known| known.as_str() == text);
                found.ok_or_else(|| $crate::model::name_rule(&Self::ALL.map(Self::as_str)))
            }
        }
    )+};
}

/// Lets types be stored as their text: what has `as_str` and `parse`.
macro_rules! stored_as_text {
    ($($type:ident),+) => {$(
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                Self::parse(&text).map_err(<D::Error as serde::de::Error>::custom)
            }
        }
    )+};
}

pub(crate) use {named_enum, parsed_by_name, stored_as_text};

/// The rule of a text that is one of these names.
pub(crate) fn name_rule(names: &[&str]) -> String {
    match names {
        [first @ .., last] if !first.is_empty() => {
            format!("must be {} or {last}", first.join(", "))
        }
        only => format!("must be {}", only.concat()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::connection::ConnectionType;

    #[test]
    fn a_name_is_read_and_any_other_is_told_the_rule() {
        for kind in ConnectionType::ALL {
            assert_eq!(ConnectionType::parse(kind.as_str()), Ok(kind));
        }
        let rule = "must be api_key, basic_auth, bearer_token, oauth, aws_sigv4 or custom";
        assert_eq!(ConnectionType::parse("OAuth"), Err(rule.to_owned()));
        assert_eq!(name_rule(&["oauth"]), "must be oauth");
    }
}
