//! Custom connections, and connections of every type under one path (contract §8).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::member::{MemberValue, json_member};
use super::options::{each_option_member, with_option_members};
use super::profile::take_member;
use super::secret::in_clear;
use super::{
    AwsConnection, Member, OAuthItem, OptionMembers, PageMeta, PlacementMembers, Redacted, Request,
    RuleMembers, StaticConnection, is_false,
};
use crate::secret::Secret;

with_option_members! {
    /// The members of a custom connection that is to be made or changed.
    #[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
    #[serde(deny_unknown_fields)]
    #[schema(as = NewCustom)]
    pub struct CustomMembers {
        /// `custom`.
        #[serde(rename = "type", skip_serializing_if = "Member::is_absent")]
        #[schema(required = true, value_type = String, pattern = "^custom$")]
        pub kind: Member<String>,
        /// Unique within the integration across all types; never changes.
        #[serde(skip_serializing_if = "Member::is_absent")]
        #[schema(required = true, value_type = String, min_length = 3, max_length = 64, pattern = "^[A-Za-z0-9_-]+$")]
        pub name: Member<String>,
        /// The hosts that the secrets may be sent to. They change only together with every secret.
        #[serde(skip_serializing_if = "Member::is_absent")]
        #[schema(required = true, value_type = Vec<AllowedDomainMembers>, min_items = 1, max_items = 10)]
        pub allowed_domains: Member<Vec<AllowedDomainMembers>>,
        /// The secrets, by the names that the values of `inject` have for them. Of a change, those
        /// that are given replace others.
        #[serde(skip_serializing_if = "Member::is_absent")]
        #[schema(required = true, value_type = BTreeMap<String, String>, example = json!({"key": "MY_KEY"}))]
        pub secrets: Member<SecretMap>,
        /// The places where the secrets stand, at each domain that has none of its own. They change
        /// only together with every secret.
        #[serde(skip_serializing_if = "Member::is_absent")]
        #[schema(value_type = Option<Vec<PlacementMembers>>, max_items = 8, example = json!([
            {"in": "header", "name": "X-Api-Key", "value": "{key}"}
        ]))]
        pub inject: Member<Vec<PlacementMembers>>,
        /// Goes with `allowed_domains` or `inject` of a change: the names of the secrets that no place
        /// has any more, which are forgotten.
        #[serde(skip_serializing_if = "Member::is_absent")]
        #[schema(value_type = Option<Vec<String>>, max_items = 8, example = json!(["old_key"]))]
        pub drop_secrets: Member<Vec<String>>,
        /// Goes with secrets that replace others: the time for which the old ones are kept, and
        /// used once for a request whose new ones the origin answers by 401. From `1s` to `7d`. `0s`,
        /// with a secret or alone, forgets what is kept of an earlier replacement.
        #[serde(skip_serializing_if = "Member::is_absent")]
        #[schema(value_type = Option<String>, example = "10m")]
        pub keep_old_for: Member<String>,
        /// The key of the client certificate, in PEM.
        #[serde(skip_serializing_if = "Member::is_absent")]
        #[schema(value_type = Option<String>, min_length = 1, max_length = 32768, format = Password)]
        pub client_key: Member<Secret>,
    }
}

impl Request for CustomMembers {
    const READ_ONLY: &'static [&'static str] =
        &["created_at", "defect", "not_after", "old_secret_until", "updated_at"];
}

/// Secrets by their names.
#[derive(Clone, Debug, Default)]
pub struct SecretMap(pub BTreeMap<String, Secret>);

/// The names of secrets, each shown with `*****`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RedactedMap(pub BTreeSet<String>);

/// An allowed domain of a custom connection: a host name, or `*.` and a name for it and all names
/// below; alone, or with places of its own.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = AllowedDomain)]
pub enum AllowedDomainMembers {
    /// The domain alone.
    #[schema(example = "api.example.com")]
    Name(String),
    /// The domain, with its places.
    Own(OwnDomainMembers),
}

/// An allowed domain with places of its own.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = OwnDomain)]
pub struct OwnDomainMembers {
    /// The domain.
    #[schema(example = "*.example.org", pattern = "^[^/:@]+$", min_length = 3, max_length = 253)]
    pub domain: String,
    /// The places where secrets stand at this domain.
    #[schema(value_type = Vec<PlacementMembers>, min_items = 1, max_items = 8)]
    pub inject: Vec<PlacementMembers>,
}

/// A custom connection as it is shown. Its secrets never are.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[schema(as = Custom)]
pub struct CustomConnection {
    /// The hosts that the secrets may be sent to.
    pub allowed_domains: Vec<AllowedDomainMembers>,
    /// Always `*****`, where there is a client certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, nullable = false, example = "*****")]
    pub client_key: Option<Redacted>,
    /// The time at which it was made (RFC 3339, UTC).
    #[schema(example = "1985-04-12T23:20:50.520000Z", format = DateTime)]
    pub created_at: String,
    /// Only there, and true, when the configuration declares the connection.
    #[serde(default, skip_serializing_if = "is_false")]
    pub declared: bool,
    /// Only there when the connection can't be used: what is wrong with it, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub defect: Option<String>,
    /// The places where the secrets stand, at each domain that has none of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inject: Vec<PlacementMembers>,
    /// Its name.
    pub name: String,
    /// The time at which its client certificate expires (RFC 3339, UTC); only there with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    pub not_after: Option<String>,
    /// Only there while replaced secrets are kept: the time at which they are forgotten (RFC 3339,
    /// UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    pub old_secret_until: Option<String>,
    /// The names of the secrets, each with `*****`.
    #[schema(value_type = BTreeMap<String, String>, example = json!({"key": "*****"}))]
    pub secrets: RedactedMap,
    /// The time of the last change (RFC 3339, UTC).
    #[schema(example = "1985-04-12T23:20:50.520000Z", format = DateTime)]
    pub updated_at: String,
    /// Its options, as far as they differ from the default.
    #[serde(flatten)]
    pub options: OptionMembers,
}

/// A connection of any type, with its `type`.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(tag = "type")]
#[schema(as = TypedConnection)]
#[expect(missing_docs, reason = "the names say it")]
pub enum TypedConnection {
    #[serde(rename = "api_key")]
    ApiKey(StaticConnection),
    #[serde(rename = "aws_sigv4")]
    AwsSigV4(Box<AwsConnection>),
    #[serde(rename = "basic_auth")]
    BasicAuth(StaticConnection),
    #[serde(rename = "bearer_token")]
    BearerToken(StaticConnection),
    #[serde(rename = "custom")]
    Custom(CustomConnection),
    #[serde(rename = "oauth")]
    OAuth(Box<OAuthItem>),
}

impl TypedConnection {
    /// Its name, and the reason why it can't be used, if it can't.
    #[must_use]
    pub fn into_name_and_defect(self) -> (String, Option<String>) {
        match self {
            Self::ApiKey(it) | Self::BasicAuth(it) | Self::BearerToken(it) => (it.name, it.defect),
            Self::AwsSigV4(it) => (it.name, it.defect),
            Self::Custom(it) => (it.name, it.defect),
            Self::OAuth(it) => (it.name, it.defect),
        }
    }
}

/// The answer that has one connection in it.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct ConnectionAnswer {
    /// The connection.
    pub connection: TypedConnection,
}

/// A page of connections of every type, in the order of their names.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct TypedConnectionPage {
    pub connections: Vec<TypedConnection>,
    pub meta: PageMeta,
}

json_member!(Vec<AllowedDomainMembers>, "a list of domains, or of objects with domain and inject");

impl Serialize for RedactedMap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|name| (name, Redacted)))
    }
}

impl<'de> Deserialize<'de> for RedactedMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members = Map::<String, Value>::deserialize(deserializer)?;
        Ok(Self(members.into_iter().map(|(name, _hidden)| name).collect()))
    }
}

impl MemberValue for SecretMap {
    const TYPE: &'static str = "an object of texts";

    fn of_json(json: Value) -> Option<Self> {
        let Value::Object(members) = json else { return None };
        let secrets = members.into_iter().map(|(name, value)| match value {
            Value::String(text) => Some((name, Secret::new(text))),
            _ => None,
        });
        secrets.collect::<Option<_>>().map(Self)
    }

    /// Writes them in clear: a request is how secrets come to the server.
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct InClear<'a>(#[serde(with = "in_clear")] &'a Secret);
        serializer.collect_map(self.0.iter().map(|(name, secret)| (name, InClear(secret))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_goes_out_comes_in_again() {
        let json = json!({
            "type": "custom", "name": "both",
            "allowed_domains": [
                "a.example.com",
                {"domain": "*.b.com", "inject": [{"in": "query", "name": "k", "value": "{a}"}]},
            ],
            "secrets": {"a": "1\"", "b": "2"},
            "inject": [{"in": "path", "placeholder": "KEYFERRY", "value": "x{b}"}],
            "read_only": true,
        });
        let members: CustomMembers = serde_json::from_value(json.clone()).unwrap();
        assert!(!format!("{members:?}").contains("1\\\""));
        assert_eq!(serde_json::to_value(&members).unwrap(), json);
        for secrets in [json!({"a": 1}), json!(["a"]), json!("a")] {
            let given: Member<SecretMap> = serde_json::from_value(secrets).unwrap();
            assert!(matches!(given, Member::Unfit(_)));
        }
    }

    #[test]
    fn a_connection_says_its_type() {
        let custom = CustomConnection { name: "a".into(), ..CustomConnection::default() };
        let json = serde_json::to_value(TypedConnection::Custom(custom)).unwrap();
        assert_eq!((&json["type"], &json["name"]), (&json!("custom"), &json!("a")));
        assert!(serde_json::from_value::<TypedConnection>(json).is_ok());
    }
}
