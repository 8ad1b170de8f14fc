//! Names of integrations and connections (ZIS spec §1, §5.1, §5.5).

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// The name of a connection: 3 to 64 of `A-Z a-z 0-9 _ -`, case-sensitive.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ConnectionName(Arc<str>);

/// The name of an integration: 1 to 64 of `a-z 0-9 - _`, case-sensitive.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct IntegrationName(Arc<str>);

/// The name of an OAuth client: 3 to 64 of `A-Z a-z 0-9 _ -` and inner spaces, case-sensitive.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ClientName(Arc<str>);

/// A name that was refused. The text states the rule.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the text of each variant says it")]
pub enum NameError {
    #[error("a connection's name is 3 to 64 characters out of A-Z a-z 0-9 _ -")]
    Connection,
    #[error(
        "must be 3 to 64 characters out of A-Z a-z 0-9 _ - and spaces, with no space at an end"
    )]
    Client,
    #[error("an integration's name is 1 to 64 characters out of a-z 0-9 _ -")]
    Integration,
    #[error("the name zendesk is reserved for OAuth connections to Zendesk")]
    Reserved,
}

/// The name that is reserved for OAuth connections to Zendesk (ZIS spec §7.7).
pub const ZENDESK: &str = "zendesk";

/// Makes a type of names: text that its rule allows, and that prints as it was read.
macro_rules! name {
    ($name:ident, $error:ident, $is_allowed:expr) => {
        impl $name {
            /// Reads a name, by the rule of the type.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                let is_allowed: fn(&str) -> bool = $is_allowed;
                if is_allowed(text) { Ok(Self(text.into())) } else { Err(NameError::$error) }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

name!(ConnectionName, Connection, |text| {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    (3..=64).contains(&text.len()) && text.bytes().all(allowed)
});
name!(IntegrationName, Integration, |text| {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(allowed)
});
name!(ClientName, Client, |text| {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_- ".contains(&byte);
    let outer_space = text.starts_with(' ') || text.ends_with(' ');
    (3..=64).contains(&text.len()) && text.bytes().all(allowed) && !outer_space
});

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn client_names_may_have_spaces_within() {
        for valid in ["abc", "My Zendesk client", "a  b", &"n".repeat(64)] {
            assert_eq!(ClientName::parse(valid).unwrap().as_str(), valid);
        }
        for wrong in ["", "ab", " abc", "abc ", "a\tb", "a/b", "a\u{a0}b", &"n".repeat(65)] {
            assert_eq!(ClientName::parse(wrong), Err(NameError::Client), "{wrong:?}");
        }
    }

    #[test]
    fn connection_names_follow_the_vectors() {
        let longest = "n".repeat(64);
        for valid in ["abc", &longest, "A_b-9", "zendesk"] {
            assert!(ConnectionName::parse(valid).is_ok(), "{valid}");
        }
        let too_long = "n".repeat(65);
        for invalid in ["", "ab", &too_long, "a.b", "a b", "é12", "a\0b", "abc\n"] {
            assert_eq!(ConnectionName::parse(invalid), Err(NameError::Connection), "{invalid:?}");
        }
    }

    #[test]
    fn integration_names_are_lower_case() {
        let longest = "n".repeat(64);
        for valid in ["a", "my_integration", "x-9", &longest] {
            assert!(IntegrationName::parse(valid).is_ok(), "{valid}");
        }
        let too_long = "n".repeat(65);
        for invalid in ["", "A", "a.b", "*", "é", &too_long] {
            assert_eq!(IntegrationName::parse(invalid), Err(NameError::Integration), "{invalid:?}");
        }
    }

    proptest! {
        #[test]
        fn a_connection_name_prints_as_it_was_read(text in "[A-Za-z0-9_-]{3,64}") {
            let name = ConnectionName::parse(&text).unwrap();
            prop_assert_eq!(name.as_str(), text);
        }

        #[test]
        fn any_text_is_a_name_exactly_when_the_rule_says_so(text in "\\PC{0,70}") {
            let rule = (3..=64).contains(&text.len())
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
            prop_assert_eq!(ConnectionName::parse(&text).is_ok(), rule);
        }
    }
}
