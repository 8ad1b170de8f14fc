//! The token-request profile of an OAuth client: everything by which a provider differs from
//! RFC 6749 (contract §8).

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

use http::header;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::endpoint::EndpointTemplate;
use crate::model::field::CredentialField;

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
    /// The header fields that carry the access token; none: `Authorization: Bearer`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inject: Vec<InjectedField>,
}

/// Parameters of a request, by name.
pub type Params = BTreeMap<String, String>;

/// The format of a token request's body.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenRequestFormat {
    /// `application/x-www-form-urlencoded` (RFC 6749 §4.1.3).
    #[default]
    Form,
    /// `application/json`.
    Json,
}

/// The code challenge method (RFC 7636 §4.2).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Pkce {
    /// `S256`
    #[default]
    S256,
    /// No challenge is sent, for a provider that refuses one.
    #[serde(rename = "off")]
    Off,
}

/// The text between two scopes: 1 to 4 printable characters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ScopeSeparator(Box<str>);

/// A JSON Pointer (RFC 6901) to a member of an answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct JsonPointer(Box<str>);

/// The lifetime of a token, in whole seconds: at most ten years.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lifetime(u32);

/// An issuer identifier: an `https` URL without query and fragment (RFC 8414 §2).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Issuer(Box<str>);

/// Statuses of an origin's answer that call for a refresh: 1 to 8 out of 400 to 499.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "Vec<u16>", into = "Vec<u16>")]
pub struct RefreshStatuses(Box<[u16]>);

/// A header field that carries the access token: its name and a template of its value.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct InjectedField {
    /// The name of the field.
    pub name: Box<str>,
    /// The value, in which `{access_token}` and `{client_id}` are replaced.
    pub value: Box<str>,
}

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
        }
    }
}

impl Profile {
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

impl TokenRequestFormat {
    /// Reads the name of a format.
    ///
    /// # Errors
    /// The text states the rule.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "form" => Ok(Self::Form),
            "json" => Ok(Self::Json),
            _ => Err("must be form or json"),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Json => "json",
        }
    }
}

impl Pkce {
    /// Reads the name of a method.
    ///
    /// # Errors
    /// The text states the rule.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "S256" => Ok(Self::S256),
            "off" => Ok(Self::Off),
            _ => Err("must be S256 or off"),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::S256 => "S256",
            Self::Off => "off",
        }
    }
}

impl Default for ScopeSeparator {
    fn default() -> Self {
        Self(" ".into())
    }
}

impl ScopeSeparator {
    /// Reads a separator.
    ///
    /// # Errors
    /// The text states the rule.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let is_printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if (1..=4).contains(&text.len()) && is_printable {
            Ok(Self(text.into()))
        } else {
            Err("must be 1 to 4 printable characters, such as a comma")
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Scopes that are separated by spaces, as the provider wants them.
    #[must_use]
    pub fn join(&self, scopes: &str) -> String {
        scopes.split(' ').filter(|scope| !scope.is_empty()).collect::<Vec<_>>().join(&self.0)
    }
}

impl JsonPointer {
    /// Reads a pointer.
    ///
    /// # Errors
    /// The text states the rule.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let escapes = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        let is_plain = !text.chars().any(char::is_control);
        if text.starts_with('/') && text.len() <= 256 && escapes && is_plain {
            Ok(Self(text.into()))
        } else {
            Err("must be a JSON Pointer (RFC 6901), such as /data/access_token")
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Lifetime {
    /// Reads a lifetime, such as `30m` or `1h 30m`.
    ///
    /// # Errors
    /// The text states the rule.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let length = humantime::parse_duration(text).ok().map(|length| length.as_secs());
        let seconds = length.filter(|seconds| (1..=MAX_LIFETIME_SECONDS).contains(seconds));
        let seconds = seconds.and_then(|seconds| u32::try_from(seconds).ok());
        seconds.map(Self).ok_or("must be a time from 1s to 3650d, such as 30m or 30d")
    }

    /// The length.
    #[must_use]
    pub fn length(self) -> Duration {
        Duration::from_secs(self.0.into())
    }
}

impl fmt::Display for Lifetime {
    /// Writes it in the largest units, such as `1h 30m`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        let mut is_first = true;
        for (seconds, unit) in [(86_400, 'd'), (3600, 'h'), (60, 'm'), (1, 's')] {
            let count = rest / seconds;
            rest %= seconds;
            if count > 0 {
                if !is_first {
                    f.write_char(' ')?;
                }
                write!(f, "{count}{unit}")?;
                is_first = false;
            }
        }
        Ok(())
    }
}

impl Issuer {
    /// Reads an identifier.
    ///
    /// # Errors
    /// The text states the rule.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let is_plain = EndpointTemplate::parse(text).is_ok() && !text.contains(['?', '#', '{']);
        if is_plain {
            Ok(Self(text.into()))
        } else {
            Err("must be an https:// URL without a query and a fragment")
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for RefreshStatuses {
    fn default() -> Self {
        Self(Box::new([401]))
    }
}

impl RefreshStatuses {
    /// Tells whether an answer of this status calls for a refresh.
    #[must_use]
    pub fn contains(&self, status: u16) -> bool {
        self.0.contains(&status)
    }

    /// Tells whether it is 401 alone.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self.0 == [401]
    }
}

impl TryFrom<Vec<u16>> for RefreshStatuses {
    type Error = &'static str;

    fn try_from(statuses: Vec<u16>) -> Result<Self, Self::Error> {
        let fits = |status: &u16| (400..500).contains(status) && *status != 407;
        if (1..=8).contains(&statuses.len()) && statuses.iter().all(fits) {
            Ok(Self(statuses.into()))
        } else {
            Err("must be 1 to 8 statuses out of 400 to 499, without 407")
        }
    }
}

impl From<RefreshStatuses> for Vec<u16> {
    fn from(statuses: RefreshStatuses) -> Self {
        statuses.0.into_vec()
    }
}

impl InjectedField {
    /// Checks the name and the template of a field.
    ///
    /// # Errors
    /// The text states the rule.
    pub fn new(name: &str, value: &str) -> Result<Self, String> {
        if !name.eq_ignore_ascii_case(header::AUTHORIZATION.as_str()) {
            CredentialField::parse(name).map_err(|rule| format!("its name {rule}"))?;
        }
        let rest = value.replace(ACCESS_TOKEN, "").replace(CLIENT_ID, "");
        let is_plain = value.len() <= 1024 && value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if value.is_empty() || !is_plain || rest.contains(['{', '}']) {
            return Err("its value must be printable, with no placeholder but {access_token} and \
                        {client_id}"
                .to_owned());
        }
        Ok(Self { name: name.into(), value: value.into() })
    }
}

/// Types that are stored as their text.
macro_rules! stored_as_text {
    ($($type:ident),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).map_err(D::Error::custom)
            }
        }
    )*};
}

stored_as_text!(EndpointTemplate, ScopeSeparator, JsonPointer, Issuer);

impl Serialize for Lifetime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Lifetime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The placeholder of the access token.
pub const ACCESS_TOKEN: &str = "{access_token}";

/// The placeholder of the provider's id of the client.
pub const CLIENT_ID: &str = "{client_id}";

/// Ten years.
const MAX_LIFETIME_SECONDS: u64 = 3650 * 86_400;

#[cfg(test)]
mod tests {
    use super::*;

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
            r#""inject":[{"name":"X-Token","value":"{access_token}"}]}"#,
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
        for (name, value) in [("Host", "x"), ("X-A", ""), ("X-A", "{token}"), ("X-A", "a\nb")] {
            assert!(InjectedField::new(name, value).is_err(), "{name}: {value}");
        }
        assert!(InjectedField::new("Authorization", "token {access_token}").is_ok());
    }
}
