//! A grant: what a connection has been given by which client, and how it stands.

use jiff::Timestamp;
use uuid::Uuid;

use super::endpoint::Subdomain;

/// How a client comes by access tokens (RFC 6749 §4.1, §4.4).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum GrantType {
    /// `authorization_code`
    AuthorizationCode,
    /// `client_credentials`
    ClientCredentials,
}

/// What is known of an OAuth connection beside its tokens; nothing of it is secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Grant {
    /// The client that it was given to.
    pub client: Uuid,
    /// What stands in the place of `{subdomain}` in the client's URLs.
    pub subdomain: Option<Subdomain>,
    /// How it was given.
    pub grant_type: GrantType,
    /// Who began the flow.
    pub created_by: Box<str>,
    /// The scopes that were asked for, space-separated.
    pub scopes: Box<str>,
    /// When the flow that gave it ended.
    pub authorized_at: Timestamp,
    /// How many sets of tokens there have been, this one included.
    pub generation: i64,
    /// Since when, and why, it is of no use any more.
    pub lapse: Option<Lapse>,
}

/// The end of a grant: only a new flow helps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lapse {
    /// Since when.
    pub since: Timestamp,
    /// Why.
    pub reason: LapseReason,
}

/// Why a grant has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LapseReason {
    /// The provider has said `invalid_grant`, and an earlier refresh had been asked for whose
    /// answer never arrived: it may have replaced the refresh token then.
    AnswerLost,
    /// The client's token URL has moved to another host since: what came from the one is not sent
    /// to the other.
    ClientMoved,
    /// The provider has said `invalid_grant`.
    InvalidGrant,
}

impl Grant {
    /// Whether the other says the same tokens of the same flow, however it stands with them.
    #[must_use]
    pub fn is_same_set(&self, other: &Self) -> bool {
        let set = |grant: &Self| (grant.client, grant.authorized_at, grant.generation);
        set(self) == set(other)
    }

    /// Whether another access token can be had without anybody being asked: with the client's own
    /// credentials, or with a refresh token.
    #[must_use]
    pub fn is_renewable(&self, has_refresh_token: bool) -> bool {
        match self.grant_type {
            GrantType::AuthorizationCode => has_refresh_token,
            GrantType::ClientCredentials => true,
        }
    }
}

impl GrantType {
    /// The types by their names.
    pub const ALL: [Self; 2] = [Self::AuthorizationCode, Self::ClientCredentials];

    /// Reads the name of a type.
    ///
    /// # Errors
    /// A sentence, when there is no such type.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or("must be authorization_code or client_credentials")
    }

    /// The name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::ClientCredentials => "client_credentials",
        }
    }
}

impl LapseReason {
    /// Reads the name of a reason.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let all = [Self::AnswerLost, Self::ClientMoved, Self::InvalidGrant];
        all.into_iter().find(|reason| reason.as_str() == text)
    }

    /// The name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AnswerLost => "answer_lost",
            Self::ClientMoved => "client_moved",
            Self::InvalidGrant => "invalid_grant",
        }
    }

    /// What has happened, in a sentence.
    #[must_use]
    pub fn as_sentence(self) -> &'static str {
        match self {
            Self::AnswerLost => {
                "the provider said invalid_grant after an earlier refresh was broken off: it may \
                 have replaced the refresh token in the answer that never arrived"
            }
            Self::ClientMoved => {
                "the client's token URL has moved to another host, and the refresh token is not sent \
                 there"
            }
            Self::InvalidGrant => "the provider said invalid_grant: the grant was revoked or ended",
        }
    }
}
