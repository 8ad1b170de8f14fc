//! The token-request profile of an OAuth client: everything by which a provider differs from
//! RFC 6749 (contract §8).

mod values;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::values::{
    Issuer, JsonPointer, Lifetime, Pkce, RefreshStatuses, ScopeSeparator, TokenRequestFormat,
};
use super::assertion::{AssertionProfile, Installation};
use super::domain_template::DomainTemplate;
use super::endpoint::EndpointTemplate;
use super::params::{ACCESS_TOKEN_PLACEHOLDER, has_placeholder};
use crate::model::placement::Placement;

/// The profile of a client. The default is a provider as RFC 6749 has it.
///
/// Its encoding is part of the context for which the client's secret is sealed, so that what is
/// stored today must be encoded in the same way by every later version: a new member needs a
/// default that is left out.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Profile {
    /// The name of the provider's entry in the catalogue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Box<str>>,
    /// Further parameters of the authorization request.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub auth_params: Params,
    /// Further parameters of a request for the first tokens of a grant.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub token_params: Params,
    /// Further parameters of a refresh.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub refresh_params: Params,
    /// The endpoint at which tokens are refreshed, where it is not the token endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_url: Option<EndpointTemplate>,
    /// The endpoint at which tokens are revoked (RFC 7009 §2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revocation_url: Option<EndpointTemplate>,
    /// The format of the token requests' bodies.
    #[serde(skip_serializing_if = "is_default")]
    pub token_request_format: TokenRequestFormat,
    /// The code challenge method.
    #[serde(skip_serializing_if = "is_default")]
    pub pkce: Pkce,
    /// The text between two scopes where the provider is asked.
    #[serde(skip_serializing_if = "is_default")]
    pub scope_separator: ScopeSeparator,
    /// Sends the scopes with a refresh too.
    #[serde(skip_serializing_if = "is_default")]
    pub scope_on_refresh: bool,
    /// The place of the access token in the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_path: Option<JsonPointer>,
    /// The place of the refresh token in the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token_path: Option<JsonPointer>,
    /// The place of the access token's lifetime, or of its end, in the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in_path: Option<JsonPointer>,
    /// The lifetime of an access token where the answer names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_lifetime: Option<Lifetime>,
    /// The lifetime of a refresh token where the answer names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token_lifetime: Option<Lifetime>,
    /// The provider's issuer identifier (RFC 9207 §2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<Issuer>,
    /// Error codes by which the provider says that a grant has ended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dead_grant_codes: Vec<Box<str>>,
    /// The statuses of an origin's answer that call for a refresh.
    #[serde(skip_serializing_if = "RefreshStatuses::is_default")]
    pub refresh_on_status: RefreshStatuses,
    /// The places that carry the access token; none: `Authorization: Bearer`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inject: Vec<Placement>,
    /// The assertions that the client signs, where its secret is a key.
    #[serde(skip_serializing_if = "AssertionProfile::is_default")]
    pub assertion: AssertionProfile,
    /// The installation of a GitHub App.
    #[serde(skip_serializing_if = "Installation::is_default")]
    pub installation: Installation,
    /// The allowed domains that its connections are offered, the first unless another is chosen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_domains: Vec<DomainTemplate>,
    /// The operator who has changed the client's URLs since it was made, until another one enters a
    /// secret for them. It is no member of a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub urls_set_by: Option<Box<str>>,
}

/// Parameters of a request, by name.
pub type Params = BTreeMap<String, String>;

impl Default for Profile {
    fn default() -> Self {
        Self {
            provider: None,
            auth_params: Params::new(),
            token_params: Params::new(),
            refresh_params: Params::new(),
            refresh_url: None,
            revocation_url: None,
            token_request_format: TokenRequestFormat::Form,
            pkce: Pkce::S256,
            scope_separator: ScopeSeparator::default(),
            scope_on_refresh: false,
            token_path: None,
            refresh_token_path: None,
            expires_in_path: None,
            default_lifetime: None,
            refresh_token_lifetime: None,
            issuer: None,
            dead_grant_codes: Vec::new(),
            refresh_on_status: RefreshStatuses::default(),
            inject: Vec::new(),
            assertion: AssertionProfile::default(),
            installation: Installation::default(),
            allowed_domains: Vec::new(),
            urls_set_by: None,
        }
    }
}

impl Profile {
    /// Tells whether a refresh exchanges the access token itself, by a grant type that the profile
    /// names: such tokens are renewed without a refresh token.
    #[must_use]
    pub fn exchanges_access_token(&self) -> bool {
        let params = &self.refresh_params;
        params.contains_key("grant_type") && has_placeholder(params, ACCESS_TOKEN_PLACEHOLDER)
    }

    /// Reads an encoded profile; `None` for anything else.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The profile as it is stored and sealed; `None` for the default one, which a client of
    /// before there were profiles has.
    #[must_use]
    pub fn encode(&self) -> Option<String> {
        if *self == Self::default() { None } else { serde_json::to_string(self).ok() }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The names that a template of a client's `inject` may have.
pub const INJECTED_SECRETS: [&str; 2] = [ACCESS_TOKEN, CLIENT_ID];

/// The name of the access token in a template.
pub const ACCESS_TOKEN: &str = "access_token";

/// The name of the provider's id of the client in a template.
pub const CLIENT_ID: &str = "client_id";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::placement::Place;

    #[test]
    fn the_encoding_of_every_member_stays_as_it_is() {
        let json = concat!(
            r#"{"provider":"p","auth_params":{"a":"1"},"token_params":{"b":"2"},"#,
            r#""refresh_params":{"c":"3"},"refresh_url":"https://id.example.com/r","#,
            r#""revocation_url":"https://id.example.com/v","token_request_format":"json","#,
            r#""pkce":"off","scope_separator":",","scope_on_refresh":true,"#,
            r#""token_path":"/data/access_token","refresh_token_path":"/data/refresh_token","#,
            r#""expires_in_path":"/data/expires","default_lifetime":"1h 30m","#,
            r#""refresh_token_lifetime":"30d","issuer":"https://id.example.com/t","#,
            r#""dead_grant_codes":["BAD"],"refresh_on_status":[401,403],"#,
            r#""inject":[{"name":"X-Token","value":"{access_token}"},"#,
            r#"{"in":"query","name":"token","value":"{access_token}"}],"#,
            r#""assertion":{"iss":"i","sub":"s","aud":"a","scope":"b c","scope_in":"parameter","#,
            r#""key_id":"k","algorithm":"EdDSA","lifetime":"1m","certificate_thumbprint":"t","#,
            r#""claims":{"d":"e"}},"#,
            r#""installation":{"id":7,"repositories":["r"],"permissions":{"contents":"read"}},"#,
            r#""allowed_domains":["{subdomain}.example.com"],"urls_set_by":"o"}"#,
        );
        assert_eq!(Profile::decode(json).unwrap().encode().as_deref(), Some(json));
        assert_eq!(Profile::default().encode(), None);
        assert_eq!(Profile::decode("{}"), Some(Profile::default()));
        assert_eq!(Profile::decode(r#"{"unknown":1}"#), None);
    }

    #[test]
    fn a_lifetime_is_written_as_it_is_read() {
        for text in ["1s", "30m", "1h 30m", "30d", "3650d"] {
            assert_eq!(Lifetime::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "0s", "soon", "3651d", "500ms", "-1s"] {
            assert!(Lifetime::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rules_of_members_are_kept() {
        assert!(ScopeSeparator::parse("").is_err() && ScopeSeparator::parse("\n").is_err());
        assert_eq!(ScopeSeparator::parse(",").unwrap().join("a  b"), "a,b");
        for pointer in ["", "data", "/a~", "/a~2", "/\n"] {
            assert!(JsonPointer::parse(pointer).is_err(), "{pointer}");
        }
        for issuer in ["", "http://id.example.com", "https://id.example.com?x", "https://1.2.3.4"] {
            assert!(Issuer::parse(issuer).is_err(), "{issuer}");
        }
        for statuses in [vec![], vec![200], vec![407], vec![500]] {
            assert!(RefreshStatuses::try_from(statuses.clone()).is_err(), "{statuses:?}");
        }
        let parse = |name: &str, value: &str| {
            let (name, value) = (name.into(), value.into());
            Placement { place: Place::Header, name, value }.parse(&INJECTED_SECRETS)
        };
        for (name, value) in [
            ("Host", "x"),
            ("Idempotency-Key", "x"),
            ("X-A", ""),
            ("X-A", "{token}"),
            ("X-A", "a\nb"),
        ] {
            assert!(parse(name, value).is_err(), "{name}: {value}");
        }
        assert!(parse("Authorization", "token {access_token}").is_ok());
    }
}
