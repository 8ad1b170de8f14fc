//! Connections to AWS (contract §8, `aws_sigv4`).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::member::json_member;
use super::options::{each_option_member, with_option_members};
use super::profile::take_member;
use super::{
    CustomMembers, Member, OptionMembers, Redacted, RefreshFailureReport, Request, RuleMembers,
    is_false,
};
use crate::secret::Secret;

with_option_members! {
    /// The members of a connection to AWS that is to be made or changed.
    #[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
    #[serde(deny_unknown_fields)]
    #[schema(as = NewAwsSigV4)]
    pub struct AwsMembers {
        /// `aws_sigv4`.
        #[serde(rename = "type", skip_serializing_if = "Member::is_absent")]
        #[schema(required = true, value_type = String, pattern = "^aws_sigv4$")]
        pub kind: Member<String>,
        /// Unique within the integration across all types; never changes.
        #[serde(skip_serializing_if = "Member::is_absent")]
        #[schema(required = true, value_type = String, min_length = 3, max_length = 64, pattern = "^[A-Za-z0-9_-]+$")]
        pub name: Member<String>,
        /// The hosts that may be sent signatures; never changes.
        #[serde(skip_serializing_if = "Member::is_absent")]
        #[schema(required = true, value_type = String, example = "*.amazonaws.com", pattern = "^[^/:@]+$", min_length = 3, max_length = 253)]
        pub allowed_domain: Member<String>,
        /// The id of the access key. It and what follows change only together with
        /// `secret_access_key`.
        #[serde(skip_serializing_if = "Member::is_absent")]
        #[schema(required = true, value_type = String, min_length = 1, max_length = 128, example = "AKIDEXAMPLE")]
        pub access_key_id: Member<String>,
        /// The key that signs. It is never sent.
        #[serde(skip_serializing_if = "Member::is_absent")]
        #[schema(required = true, value_type = String, min_length = 1, max_length = 4096, format = Password)]
        pub secret_access_key: Member<Secret>,
        /// The token of a session's keys, where the access key is one.
        #[serde(skip_serializing_if = "Member::is_absent")]
        #[schema(value_type = Option<String>, min_length = 1, max_length = 4096, format = Password)]
        pub session_token: Member<Secret>,
        /// The region to sign for; without it, the one that the host names.
        #[serde(skip_serializing_if = "Member::is_absent")]
        #[schema(value_type = Option<String>, pattern = "^[A-Za-z0-9-]{1,64}$", example = "us-east-1")]
        pub region: Member<String>,
        /// The service to sign for; without it, the one that the host names.
        #[serde(skip_serializing_if = "Member::is_absent")]
        #[schema(value_type = Option<String>, pattern = "^[A-Za-z0-9-]{1,64}$", example = "s3")]
        pub service: Member<String>,
        /// The role that the keys assume: requests are signed with the keys of a session of it.
        #[serde(skip_serializing_if = "Member::is_absent")]
        #[schema(value_type = Option<AssumeRoleMembers>)]
        pub assume_role: Member<AssumeRoleMembers>,
        /// The key of the client certificate, in PEM.
        #[serde(skip_serializing_if = "Member::is_absent")]
        #[schema(value_type = Option<String>, min_length = 1, max_length = 32768, format = Password)]
        pub client_key: Member<Secret>,
    }
}

impl Request for AwsMembers {
    const READ_ONLY: &'static [&'static str] =
        &["created_at", "defect", "not_after", "refresh_failure", "session_expiry", "updated_at"];
}

/// A role that the keys of a connection to AWS assume.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AssumeRole)]
pub struct AssumeRoleMembers {
    /// The role's ARN.
    #[schema(example = "arn:aws:iam::123456789012:role/reader", max_length = 2048)]
    pub role_arn: String,
    /// The id that the role's owner has agreed on with who assumes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, min_length = 2, max_length = 1224)]
    pub external_id: Option<String>,
    /// The length of a session, from `15m` to `12h`; an hour unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "1h")]
    pub duration: Option<String>,
}

json_member!(AssumeRoleMembers, "an object with role_arn, external_id and duration");

/// A connection that is to be made or changed, of a type beyond ZIS.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = NewTyped)]
#[expect(missing_docs, reason = "the names say it")]
pub enum NewTypedConnection {
    AwsSigV4(AwsMembers),
    Custom(CustomMembers),
}

/// A connection to AWS as it is shown. Its secrets never are.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[schema(as = AwsSigV4)]
pub struct AwsConnection {
    /// The id of the access key.
    pub access_key_id: String,
    /// The hosts that may be sent signatures.
    pub allowed_domain: String,
    /// The role that the keys assume, where they assume one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub assume_role: Option<AssumeRoleMembers>,
    /// Always `*****`, where there is a client certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, nullable = false, example = "*****")]
    pub client_key: Option<Redacted>,
    /// The time at which it was made; of a declared one, at which the configuration was read (RFC
    /// 3339, UTC).
    #[schema(format = DateTime)]
    pub created_at: String,
    /// Only there, and true, when the configuration declares the connection.
    #[serde(default, skip_serializing_if = "is_false")]
    pub declared: bool,
    /// Only there when the connection can't be used: what is wrong with it, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub defect: Option<String>,
    /// Its name.
    pub name: String,
    /// The time at which its client certificate expires (RFC 3339, UTC); only there with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    pub not_after: Option<String>,
    /// Only there when AWS gives no session of the role: who must act, since when, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub refresh_failure: Option<RefreshFailureReport>,
    /// The region to sign for, where it is not the one that the host names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub region: Option<String>,
    /// Always `*****`.
    #[schema(value_type = String, example = "*****")]
    pub secret_access_key: Redacted,
    /// The service to sign for, where it is not the one that the host names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub service: Option<String>,
    /// The time at which the session of the role ends (RFC 3339, UTC); only there with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    pub session_expiry: Option<String>,
    /// The time of the last change (RFC 3339, UTC).
    #[schema(format = DateTime)]
    pub updated_at: String,
    /// Its options, as far as they differ from the default.
    #[serde(flatten)]
    pub options: OptionMembers,
}
