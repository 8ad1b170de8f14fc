//! Grants: the authorization that a connection has, and its end.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::endpoint::Subdomain;
use super::life::GrantLife;
use super::profile::RefreshStatuses;
use super::refusal::ProviderCode;
use super::tokens::TokenSet;
use crate::model::placement::Placement;
use crate::model::{named_enum, parsed_by_name};

named_enum! {
    /// The grant type by which a client gets access tokens.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub enum GrantType {
        /// `authorization_code` (RFC 6749 §4.1)
        AuthorizationCode = "authorization_code",
        /// `client_credentials` (RFC 6749 §4.4)
        ClientCredentials = "client_credentials",
        /// `jwt_bearer`: an assertion that the client signs (RFC 7523 §2.1).
        JwtBearer = "jwt_bearer",
        /// `github_app`: the tokens of an installation, for an assertion in a field.
        GithubApp = "github_app",
    }
}

/// The facts of an OAuth connection beside its tokens. None of them is secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Grant {
    /// The client to which it was granted.
    pub client: Uuid,
    /// The value of `{subdomain}` in the client's URLs.
    pub subdomain: Option<Subdomain>,
    /// The grant type.
    pub grant_type: GrantType,
    /// The operator who has started the flow.
    pub created_by: Box<str>,
    /// The requested scopes, separated by spaces.
    pub scopes: Box<str>,
    /// The time at which its flow has ended.
    pub authorized_at: Timestamp,
    /// The number of sets of tokens so far, this one included.
    pub generation: i64,
    /// The life of its refresh token, as far as it is known.
    pub refresh_token_life: Option<GrantLife>,
    /// The end of the grant; `None` while it is valid.
    pub lapse: Option<Lapse>,
    /// The places that carry the access token, as the client had them when the tokens were got;
    /// `None` for `Authorization: Bearer`.
    pub injection: Option<Box<Injection>>,
    /// The statuses of an origin's answer that call for a refresh, likewise.
    pub refresh_on_status: RefreshStatuses,
}

/// The places that carry an access token.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Injection {
    /// The places.
    #[serde(rename = "fields")]
    pub placements: Vec<Placement>,
    /// The provider's id of the client.
    pub client_id: Box<str>,
}

/// The end of a grant: only a new flow helps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lapse {
    /// The time of the end.
    pub since: Timestamp,
    /// The reason.
    pub reason: LapseReason,
    /// The provider's code for it, for operators.
    pub code: Option<ProviderCode>,
}

named_enum! {
    /// The reason why a grant has ended.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub enum LapseReason {
        /// The provider has answered `invalid_grant` after an earlier refresh that had no usable
        /// answer, so that the refresh token may have been replaced then. A server error (5xx)
        /// counts too: a gateway may have lost the answer.
        AnswerLost = "answer_lost",
        /// The client's token URL has another host now. A refresh token is only sent to the host
        /// that has issued it.
        ClientMoved = "client_moved",
        /// The provider has answered `invalid_grant`, in whatever words.
        InvalidGrant = "invalid_grant",
        /// The provider has refused again and again in the same way, while it refreshed other
        /// connections of the client.
        Refused = "refused",
    }
}

parsed_by_name!(GrantType, LapseReason);

impl Grant {
    /// Tells whether both are of the same set of tokens of the same flow.
    #[must_use]
    pub fn is_same_set(&self, other: &Self) -> bool {
        let set = |grant: &Self| (grant.client, grant.authorized_at, grant.generation);
        set(self) == set(other)
    }

    /// The life of what it is refreshed with, if that is known: of its refresh token, or without
    /// one of its access token, with which the grant ends. `None` once it has lapsed, and where the
    /// client gets tokens by itself.
    pub fn life(&self, tokens: &TokenSet) -> Option<GrantLife> {
        if self.lapse.is_some() || !self.grant_type.has_user() {
            return None;
        }
        if tokens.refresh_token.is_some() {
            return self.refresh_token_life;
        }
        tokens.expires_at.map(|ends| GrantLife { began: tokens.issued_at, ends })
    }

    /// Tells whether a refresh can bring another access token: by the client's own credentials, or
    /// by a refresh token.
    #[must_use]
    pub fn is_renewable(&self, has_refresh_token: bool) -> bool {
        !self.grant_type.has_user() || has_refresh_token
    }
}

impl GrantType {
    /// Tells whether a user has said yes to it in a browser, and can say so again. Otherwise the
    /// client's own credentials bring each access token, and there is no refresh token.
    #[must_use]
    pub fn has_user(self) -> bool {
        matches!(self, Self::AuthorizationCode)
    }

    /// Tells whether the client's secret is the key by which it signs the grant itself.
    #[must_use]
    pub fn is_signed(self) -> bool {
        matches!(self, Self::GithubApp | Self::JwtBearer)
    }
}

impl LapseReason {
    /// The reason as a sentence for operators.
    #[must_use]
    pub fn as_sentence(self) -> &'static str {
        match self {
            Self::AnswerLost => {
                "the provider said invalid_grant after an earlier refresh that had no usable \
                 answer (none at all, or a server error): it may have replaced the refresh token \
                 then all the same"
            }
            Self::ClientMoved => {
                "the client's token URL has moved to another host, and the refresh token is not sent \
                 there: authorize the connection again, or set the URL back and refresh the \
                 connection"
            }
            Self::InvalidGrant => "the provider said invalid_grant: the grant was revoked or ended",
            Self::Refused => {
                "the provider has refused the refresh token for ten minutes or more, while it \
                 refreshed other connections of the client: the grant was revoked or ended"
            }
        }
    }
}
