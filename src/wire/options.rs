//! The options of a connection: the members beyond ZIS that every type has (contract §8). They are
//! written once, and are part of several types.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::Member;
use super::member::MemberValue;

/// A rule of the requests that a connection or a token may be used for.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Rule, example = json!({"allow": true, "methods": ["GET"], "paths": ["/v1/**"]}))]
pub struct RuleMembers {
    /// True where the rule allows what it matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<bool>,
    /// True where the rule refuses what it matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deny: Option<bool>,
    /// The methods that it matches; all unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1, max_items = 64)]
    pub methods: Option<Vec<String>>,
    /// The paths that it matches: `*` stands for one segment, `**` for any number; all unless
    /// given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1, max_items = 64)]
    pub paths: Option<Vec<String>>,
}

/// Defines a type that has the options of a connection after its own members.
macro_rules! with_option_members {
    ($(#[$outer:meta])* pub struct $type:ident { $($own:tt)* }) => {
        $(#[$outer])*
        pub struct $type {
            $($own)*
            /// False where every request is refused, and the connection kept; true unless given.
            #[serde(default, skip_serializing_if = "Member::is_absent")]
            #[schema(value_type = Option<bool>, default = true)]
            pub enabled: Member<bool>,
            /// The operator's words about it, in one line.
            #[serde(default, skip_serializing_if = "Member::is_absent")]
            #[schema(value_type = Option<String>, max_length = 500)]
            pub description: Member<String>,
            /// The day on which the secret expires: it is shown and warned of.
            #[serde(default, skip_serializing_if = "Member::is_absent")]
            #[schema(value_type = Option<String>, format = Date, example = "2030-01-31")]
            pub expires_on: Member<String>,
            /// The rules of the requests that it may be used for. The first that matches decides;
            /// with any rule, a request that none matches is refused.
            #[serde(default, skip_serializing_if = "Member::is_absent")]
            #[schema(value_type = Option<Vec<RuleMembers>>, max_items = 64)]
            pub rules: Member<Vec<RuleMembers>>,
            /// Allows GET, HEAD and OPTIONS alone.
            #[serde(default, skip_serializing_if = "Member::is_absent")]
            #[schema(value_type = Option<bool>, default = false)]
            pub read_only: Member<bool>,
            /// Masks the credential in text bodies that an origin sends, too.
            #[serde(default, skip_serializing_if = "Member::is_absent")]
            #[schema(value_type = Option<bool>, default = false)]
            pub mask_echo: Member<bool>,
            /// The client certificate that TLS to the origins presents, with its chain, in PEM. It
            /// needs `client_key`, which is never shown.
            #[serde(default, skip_serializing_if = "Member::is_absent")]
            #[schema(value_type = Option<String>, max_length = 32768)]
            pub client_certificate: Member<String>,
        }

        impl $type {
            /// Takes the options out of it.
            #[must_use]
            pub fn take_options(&mut self) -> $crate::wire::OptionMembers {
                let mut options = $crate::wire::OptionMembers::default();
                each_option_member!(take_member, self, options);
                options
            }

            /// Puts options in the place of its own.
            pub fn put_options(&mut self, options: $crate::wire::OptionMembers) {
                let mut options = options;
                each_option_member!(take_member, options, self);
            }
        }
    };
}
pub(super) use with_option_members;

/// Does something with each option: the name of a macro, and two values that have the members.
macro_rules! each_option_member {
    ($do:ident, $from:expr, $to:expr) => {
        $do!(
            $from,
            $to,
            enabled,
            description,
            expires_on,
            rules,
            read_only,
            mask_echo,
            client_certificate,
        )
    };
}
pub(super) use each_option_member;

use super::profile::{name_member, null_member, take_member};

with_option_members! {
    /// The options of a connection.
    #[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
    pub struct OptionMembers {}
}

impl OptionMembers {
    /// Makes the member of this name null, which takes it away where a connection is changed.
    pub fn take_away(&mut self, name: &str) {
        each_option_member!(null_member, name, self);
    }

    /// Tells whether any is there, null included.
    #[must_use]
    pub fn are_given(&self) -> bool {
        *self != Self::default()
    }
}

impl MemberValue for Vec<RuleMembers> {
    const TYPE: &'static str = "a list of objects with allow or deny, methods and paths";

    fn of_json(json: Value) -> Option<Self> {
        serde_json::from_value(json).ok()
    }

    fn write<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.serialize(serializer)
    }
}

/// The names of the options, in their order.
pub const OPTION_MEMBERS: [&str; 7] = each_option_member!(name_member, (), ());

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_option_is_in_the_list() {
        use utoipa::PartialSchema as _;
        let schema = serde_json::to_value(OptionMembers::schema()).unwrap();
        let names = schema["properties"].as_object().unwrap().keys().map(String::as_str);
        assert_eq!(names.collect::<BTreeSet<_>>(), BTreeSet::from(OPTION_MEMBERS));
    }
}
