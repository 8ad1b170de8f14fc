//! The token-request profile of an OAuth client: the members beyond ZIS by which a client is fitted
//! to its provider (contract §8). They are written once, and are part of three types.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Member;
use super::PlacementMembers;
use super::member::json_member;

/// Parameters of a request, by name.
pub type ParamMap = BTreeMap<String, String>;

/// The header and the claims of the assertions that a client with a key signs (RFC 7523).
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AssertionMembers {
    /// The issuer; `client_id` unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// The subject, such as the user for whom tokens are asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "user@example.com")]
    pub sub: Option<String>,
    /// The audience; `token_url` unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "https://login.salesforce.com")]
    pub aud: Option<String>,
    /// The claim `scope`; the flow's scopes unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The place of a grant's scopes: `claim` or `parameter`; `claim` unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^(claim|parameter)?$")]
    pub scope_in: Option<String>,
    /// The id of the key (`kid`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// The signature algorithm; the usual one of the key unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^(RS256|PS256|ES256|ES384|EdDSA)?$")]
    pub algorithm: Option<String>,
    /// The time from an assertion's issue to its end, from 1m to 1h; 2m 30s unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "2m")]
    pub lifetime: Option<String>,
    /// The SHA-256 thumbprint of the key's certificate, in hexadecimal or base64url.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_thumbprint: Option<String>,
    /// Further claims, which are texts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    pub claims: ParamMap,
}

/// The installation of a GitHub App that tokens are for, and the part of its rights that they have.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InstallationMembers {
    /// The installation's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 12_345_678)]
    pub id: Option<u64>,
    /// The names of repositories, without their owner; all of the installation unless given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Option<Vec<String>>, max_items = 500, example = json!(["website"]))]
    pub repositories: Vec<String>,
    /// Permissions, each with its level; all of the installation unless given.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Option<BTreeMap<String, String>>, example = json!({"contents": "read"}))]
    pub permissions: ParamMap,
}

/// Defines a type that has the members of a profile after its own.
macro_rules! with_profile_members {
    ($(#[$outer:meta])* pub struct $type:ident { $($own:tt)* }) => {
        $(#[$outer])*
        pub struct $type {
            $($own)*
            /// The name of the provider's entry in the catalogue.
            #[serde(default, skip_serializing_if = "Member::is_absent")]
            #[schema(value_type = Option<String>, pattern = "^[a-z0-9_]{1,64}$", example = "zendesk")]
            pub provider: Member<String>,
            /// Further parameters of the authorization request. In the values of parameters
            /// `{client_id}` and `{subdomain}` are replaced.
            #[serde(default, skip_serializing_if = "Member::is_absent")]
            #[schema(value_type = Option<BTreeMap<String, String>>, example = json!({"access_type": "offline"}))]
            pub auth_params: Member<ParamMap>,
            /// Further parameters of a request for the first tokens of a grant.
            #[serde(default, skip_serializing_if = "Member::is_absent")]
            #[schema(value_type = Option<BTreeMap<String, String>>, example = json!({"expires_in": "1800"}))]
            pub token_params: Member<ParamMap>,
            /// Further parameters of a refresh, in which `{access_token}` is replaced too. Where
            /// they name a `grant_type`, it is the access token that is exchanged.
            #[serde(default, skip_serializing_if = "Member::is_absent")]
            #[schema(value_type = Option<BTreeMap<String, String>>, example = json!({"expires_in": "1800"}))]
            pub refresh_params: Member<ParamMap>,
            /// The https URL at which tokens are refreshed; `token_url` unless there is one.
            #[serde(default, skip_serializing_if = "Member::is_absent")]
            #[schema(value_type = Option<String>, max_length = 2048, pattern = "^([Hh][Tt][Tt][Pp][Ss]://[!-~]+)?$")]
            pub refresh_url: Member<String>,
            /// The https URL at which tokens are revoked when a connection is deleted (RFC 7009).
            #[serde(default, skip_serializing_if = "Member::is_absent")]
            #[schema(value_type = Option<String>, max_length = 2048, pattern = "^([Hh][Tt][Tt][Pp][Ss]://[!-~]+)?$")]
            pub revocation_url: Member<String>,
            /// The format of the token requests' bodies.
            #[serde(default, skip_serializing_if = "Member::is_absent")]
            #[schema(value_type = Option<String>, pattern = "^(form|json)?$", default = "form")]
            pub token_request_format: Member<String>,
            /// The code challenge method (RFC 7636).
            #[serde(default, skip_serializing_if = "Member::is_absent")]
            #[schema(value_type = Option<String>, pattern = "^(S256|off)?$", default = "S256")]
            pub pkce: Member<String>,
            /// The text between two scopes where the provider is asked.
            #[serde(default, skip_serializing_if = "Member::is_absent")]
            #[schema(value_type = Option<String>, max_length = 4, pattern = "^[ -~]*$", default = " ")]
            pub scope_separator: Member<String>,
            /// Sends the scopes with a refresh too.
            #[serde(default, skip_serializing_if = "Member::is_absent")]
            #[schema(value_type = Option<bool>, default = false)]
            pub scope_on_refresh: Member<bool>,
            /// The JSON Pointer (RFC 6901) of the access token in the answer.
            #[serde(default, skip_serializing_if = "Member::is_absent")]
            #[schema(value_type = Option<String>, max_length = 256, pattern = "^(/.*)?$", default = "/access_token")]
            pub token_path: Member<String>,
            /// The JSON Pointer of the refresh token in the answer.
            #[serde(default, skip_serializing_if = "Member::is_absent")]
            #[schema(value_type = Option<String>, max_length = 256, pattern = "^(/.*)?$", default = "/refresh_token")]
            pub refresh_token_path: Member<String>,
            /// The JSON Pointer of the access token's lifetime, or of its end, in the answer.
            #[serde(default, skip_serializing_if = "Member::is_absent")]
            #[schema(value_type = Option<String>, max_length = 256, pattern = "^(/.*)?$", default = "/expires_in")]
            pub expires_in_path: Member<String>,
            /// The lifetime of an access token where the answer names none.
            #[serde(default, skip_serializing_if = "Member::is_absent")]
            #[schema(value_type = Option<String>, example = "30m")]
            pub default_lifetime: Member<String>,
            /// The lifetime of a refresh token where the answer names none.
            #[serde(default, skip_serializing_if = "Member::is_absent")]
            #[schema(value_type = Option<String>, example = "30d")]
            pub refresh_token_lifetime: Member<String>,
            /// The provider's issuer identifier, which its answers must name exactly (RFC 9207).
            #[serde(default, skip_serializing_if = "Member::is_absent")]
            #[schema(value_type = Option<String>, max_length = 2048, pattern = "^([Hh][Tt][Tt][Pp][Ss]://[!-~]+)?$")]
            pub issuer: Member<String>,
            /// Error codes of the provider by which it says that a grant has ended.
            #[serde(default, skip_serializing_if = "Member::is_absent")]
            #[schema(value_type = Option<Vec<String>>, max_items = 32, example = json!(["BAD_REFRESH_TOKEN"]))]
            pub dead_grant_codes: Member<Vec<String>>,
            /// The statuses of an origin's answer that call for a refresh.
            #[serde(default, skip_serializing_if = "Member::is_absent")]
            #[schema(value_type = Option<Vec<u16>>, max_items = 8, example = json!([401]))]
            pub refresh_on_status: Member<Vec<u16>>,
            /// The places that carry the access token, which is `{access_token}`; `Authorization:
            /// Bearer` unless given.
            #[serde(default, skip_serializing_if = "Member::is_absent")]
            #[schema(value_type = Option<Vec<PlacementMembers>>, max_items = 8)]
            pub inject: Member<Vec<PlacementMembers>>,
            /// The assertions that a client with a key signs.
            #[serde(default, skip_serializing_if = "Member::is_absent")]
            #[schema(value_type = Option<AssertionMembers>)]
            pub assertion: Member<AssertionMembers>,
            /// The installation of a GitHub App.
            #[serde(default, skip_serializing_if = "Member::is_absent")]
            #[schema(value_type = Option<InstallationMembers>)]
            pub installation: Member<InstallationMembers>,
            /// The allowed domains that its connections are offered; the first is that of a new
            /// connection for which none is given. `{subdomain}` may stand as the first label.
            #[serde(default, skip_serializing_if = "Member::is_absent")]
            #[schema(value_type = Option<Vec<String>>, max_items = 10, example = json!(["api.example.com"]))]
            pub allowed_domains: Member<Vec<String>>,
        }

        impl $type {
            /// Takes the members of the profile out of it.
            #[must_use]
            pub fn take_profile(&mut self) -> $crate::wire::ProfileMembers {
                let mut profile = $crate::wire::ProfileMembers::default();
                each_profile_member!(take_member, self, profile);
                profile
            }

            /// Puts members of a profile in the place of its own.
            pub fn put_profile(&mut self, profile: $crate::wire::ProfileMembers) {
                let mut profile = profile;
                each_profile_member!(take_member, profile, self);
            }
        }
    };
}
pub(super) use with_profile_members;

/// Does something with each member of a profile: the name of a macro, and two values that have the
/// members.
macro_rules! each_profile_member {
    ($do:ident, $from:expr, $to:expr) => {
        $do!(
            $from,
            $to,
            provider,
            auth_params,
            token_params,
            refresh_params,
            refresh_url,
            revocation_url,
            token_request_format,
            pkce,
            scope_separator,
            scope_on_refresh,
            token_path,
            refresh_token_path,
            expires_in_path,
            default_lifetime,
            refresh_token_lifetime,
            issuer,
            dead_grant_codes,
            refresh_on_status,
            inject,
            assertion,
            installation,
            allowed_domains,
        )
    };
}
pub(super) use each_profile_member;

macro_rules! take_member {
    ($from:expr, $to:expr, $($member:ident),* $(,)?) => {
        {
            $($to.$member = std::mem::take(&mut $from.$member);)*
        }
    };
}
pub(super) use take_member;

macro_rules! fill_member {
    ($from:expr, $to:expr, $($member:ident),* $(,)?) => {
        {
            $($to.$member.fill($from.$member);)*
        }
    };
}

macro_rules! null_member {
    ($name:expr, $to:expr, $($member:ident),* $(,)?) => {
        {
            $(if $name == stringify!($member) {
                $to.$member = Member::Null;
            })*
        }
    };
}
pub(super) use null_member;

macro_rules! name_member {
    ($_from:expr, $_to:expr, $($member:ident),* $(,)?) => {
        [$(stringify!($member)),*]
    };
}
pub(super) use name_member;

with_profile_members! {
    /// The members of a token-request profile.
    #[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
    pub struct ProfileMembers {}
}

impl ProfileMembers {
    /// Takes from `defaults` each member that is left out here.
    pub fn fill(&mut self, defaults: Self) {
        each_profile_member!(fill_member, defaults, self);
    }

    /// Makes the member of this name null, which takes it away where a client is changed.
    pub fn take_away(&mut self, name: &str) {
        each_profile_member!(null_member, name, self);
    }
}

json_member!(ParamMap, "an object of texts", {
    fn fill(&mut self, defaults: Self) {
        for (name, value) in defaults {
            self.entry(name).or_insert(value);
        }
    }
});
json_member!(Vec<u16>, "a list of statuses");
json_member!(
    AssertionMembers,
    "an object with iss, sub, aud, scope, scope_in, key_id, algorithm, lifetime, \
     certificate_thumbprint and claims, as texts",
    {
        fn fill(&mut self, defaults: Self) {
            let Self { iss, sub, aud, scope, scope_in, key_id, algorithm, lifetime, .. } = self;
            for (member, default) in [
                (iss, defaults.iss),
                (sub, defaults.sub),
                (aud, defaults.aud),
                (scope, defaults.scope),
                (scope_in, defaults.scope_in),
                (key_id, defaults.key_id),
                (algorithm, defaults.algorithm),
                (lifetime, defaults.lifetime),
                (&mut self.certificate_thumbprint, defaults.certificate_thumbprint),
            ] {
                *member = member.take().or(default);
            }
            self.claims.fill(defaults.claims);
        }
    }
);
json_member!(InstallationMembers, "an object with id (a number), repositories and permissions");

/// The names of the members, in their order.
pub const PROFILE_MEMBERS: [&str; 22] = each_profile_member!(name_member, (), ());

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_member_is_on_its_page() {
        let page = include_str!("../../docs/reference/oauth-clients.md");
        for member in PROFILE_MEMBERS {
            assert!(page.contains(&format!("`{member}`")), "{member}");
        }
    }

    #[test]
    fn every_member_is_in_the_list() {
        use utoipa::PartialSchema as _;
        let schema = serde_json::to_value(ProfileMembers::schema()).unwrap();
        let names = schema["properties"].as_object().unwrap().keys().map(String::as_str);
        assert_eq!(names.collect::<BTreeSet<_>>(), BTreeSet::from(PROFILE_MEMBERS));
    }
}
