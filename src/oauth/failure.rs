//! The reasons why there are no other tokens.

use http::StatusCode;

use super::refusal::Denial;
use super::signing_key::KeyFault;
use crate::model::oauth::endpoint::EndpointError;
use crate::model::oauth::grant::LapseReason;
use crate::model::oauth::refusal::Remedy;
use crate::model::sealed::KeyId;
use crate::secret::Secret;
use crate::store;
use crate::vault::OpenError;

/// The reason why there are no other tokens. None of it has a secret, an address or a provider's
/// words in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TokenFailure {
    /// The provider has refused.
    #[error("{0}")]
    Denied(Denial),
    /// The client's URL can't be used.
    #[error("the client's token URL {0}")]
    Endpoint(EndpointError),
    /// The connection is gone.
    #[error("the connection is gone")]
    Gone,
    /// A secret can't be opened for want of this master key.
    #[error("the master key {0} is missing: the operator must add it to the server's master keys")]
    KeyMissing(KeyId),
    /// The client's private key can't be used.
    #[error("the client's private key {0}")]
    Key(KeyFault),
    /// It has taken longer than anybody waits.
    #[error("there were no other tokens in time")]
    Late,
    /// The grant has lapsed: only a new flow helps.
    #[error("the connection needs a new grant: {}", .0.as_sentence())]
    Lapsed(LapseReason),
    /// Another instance has taken the lease, and this one has not asked the provider.
    #[error("another instance has taken the refresh over")]
    Overtaken,
    /// There is no refresh token.
    #[error("there is no refresh token")]
    NoRefreshToken,
    /// The provider could not be reached, and was not asked.
    #[error("the token endpoint can't be reached: {0}")]
    NotSent(&'static str),
    /// The client's port is not one that anything may be sent to.
    #[error("the token endpoint's port is not one of proxy.allowed_ports")]
    Port,
    /// A secret can't be opened or sealed.
    #[error("the secrets that it takes can't be opened")]
    Seal,
    /// The store can't be used just now.
    #[error("the store can't be used")]
    Store,
    /// The store is not as it must be, which does not pass by itself.
    #[error("the store can't be used until its operator has acted; the server's log says why")]
    StoreFaulty,
    /// The provider can't be asked, or answers as none does, and that will not pass by itself.
    #[error("the token endpoint can't be used: {0}")]
    Unfit(&'static str),
    /// The provider was asked, and its answer did not arrive or was of no use.
    #[error("the token endpoint gave no answer that counts: {0}")]
    Unanswered(&'static str),
    /// The provider has answered with tokens that can't be used, and that will not pass by itself.
    /// The code or refresh token that they were got for is spent.
    #[error("the token endpoint can't be used: {0}")]
    Unusable(&'static str),
    /// The provider has refused with this status, by no JSON object.
    #[error("the token endpoint gave no answer that counts: no JSON object, with status {0}")]
    Unreadable(u16),
    /// The provider has refused before, and is not asked again yet.
    #[error("{0}")]
    Withheld(Denial),
}

impl TokenFailure {
    /// The failure of a provider that answers with a status of the class 5xx.
    pub(super) fn of_server_error(status: StatusCode) -> Self {
        Self::Unanswered(match status.as_u16() {
            500 => "it failed, with status 500",
            502 => "it failed, with status 502",
            503 => "it failed, with status 503",
            504 => "it failed, with status 504",
            _ => "it failed",
        })
    }

    /// Logs that the store failed, and tells whether that passes by itself.
    pub(super) fn of_store(error: &store::Error) -> Self {
        let is_transient = error.is_transient();
        let error = error as &dyn std::error::Error;
        if is_transient {
            tracing::warn!(error, "tokens can't be refreshed: the store can't be used");
            return Self::Store;
        }
        tracing::error!(
            error,
            "tokens can't be refreshed: the store can't be used, and that does not pass by itself: \
             its operator must act"
        );
        Self::StoreFaulty
    }

    /// The remedy, which says who must act. The rule is that of the module `refusal`.
    #[must_use]
    pub fn remedy(self) -> Remedy {
        match self {
            Self::Denied(denial) | Self::Withheld(denial) => denial.remedy,
            Self::Lapsed(_) | Self::NoRefreshToken => Remedy::User,
            Self::Endpoint(_)
            | Self::Gone
            | Self::Key(_)
            | Self::KeyMissing(_)
            | Self::Port
            | Self::Seal
            | Self::StoreFaulty
            | Self::Unfit(_)
            | Self::Unusable(_) => Remedy::Operator,
            Self::Late
            | Self::NotSent(_)
            | Self::Overtaken
            | Self::Store
            | Self::Unanswered(_)
            | Self::Unreadable(_) => Remedy::Retry,
        }
    }

    /// The reason as operators are told it: with the status and code of the provider's answer.
    #[must_use]
    pub fn for_operators(self) -> String {
        match self {
            Self::Denied(denial) => denial.for_operators(),
            Self::Withheld(denial) => {
                format!("{}; it is not asked again yet", denial.for_operators())
            }
            other => other.to_string(),
        }
    }

    /// The failure without a code of the provider's that repeats one of these secrets.
    pub(super) fn without(self, secrets: [Option<&Secret>; 3]) -> Self {
        match self {
            Self::Denied(denial) => Self::Denied(denial.without(&secrets)),
            other => other,
        }
    }

    /// The failure of a client that asks for itself.
    pub(super) fn of_client_itself(self) -> Self {
        match self {
            Self::Denied(denial) => Self::Denied(denial.of_client_itself()),
            other => other,
        }
    }

    /// Tells whether the provider was not asked, or has no part in it.
    pub(super) fn is_our_own(self) -> bool {
        matches!(
            self,
            Self::Overtaken
                | Self::Store
                | Self::StoreFaulty
                | Self::Seal
                | Self::Key(_)
                | Self::KeyMissing(_)
                | Self::Withheld(_)
        )
    }

    /// Tells whether the provider may have spent what it was shown, and nothing of use came of it.
    pub(super) fn may_have_spent(self) -> bool {
        matches!(self, Self::Unanswered(_) | Self::Unusable(_))
    }

    /// The outcome's name in the metrics.
    pub(super) fn outcome(self) -> &'static str {
        match self {
            Self::Denied(Denial { remedy: Remedy::Retry, .. }) => "deferred",
            Self::Denied(Denial { remedy: Remedy::Operator, .. }) => "denied",
            Self::Denied(Denial { remedy: Remedy::User, .. }) | Self::Lapsed(_) => "lapsed",
            Self::Gone => "gone",
            Self::NoRefreshToken => "no_refresh_token",
            Self::Endpoint(_) | Self::NotSent(_) | Self::Port | Self::Unfit(_) => "unreachable",
            Self::Late
            | Self::Overtaken
            | Self::Unanswered(_)
            | Self::Unreadable(_)
            | Self::Unusable(_) => "unanswered",
            Self::Key(_) | Self::Seal | Self::KeyMissing(_) => "seal_broken",
            Self::Store | Self::StoreFaulty => "store_unavailable",
            Self::Withheld(_) => "withheld",
        }
    }
}

impl From<OpenError> for TokenFailure {
    fn from(error: OpenError) -> Self {
        error.missing_key().map_or(Self::Seal, Self::KeyMissing)
    }
}
