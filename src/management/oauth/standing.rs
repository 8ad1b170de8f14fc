//! The standing of a connection's refreshes, as operators are told it: who must act, and since when.

use std::collections::HashMap;

use jiff::Timestamp;
use uuid::Uuid;

use super::connections::OAuthConnectionView;
use crate::management::connections::ReadAccess;
use crate::management::fault::Refused;
use crate::model::oauth::refusal::{ProviderCode, RefreshFailure, Remedy};

/// The reason why a connection's tokens are not refreshed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RefreshStanding {
    /// The remedy, which says who must act.
    pub remedy: Remedy,
    /// The time of the first failure since tokens were got.
    pub since: Timestamp,
    /// The provider's code, where it has one that is short and plain.
    pub code: Option<ProviderCode>,
    /// The reason, in our own words.
    pub reason: Box<str>,
    /// Tells whether it is a role's session that AWS does not give.
    pub is_session: bool,
}

impl RefreshStanding {
    /// The advice to people: who must act, and what is to be done.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self.remedy {
            Remedy::Operator if self.is_session => {
                "the operator must act: check the connection's keys, the role's trust policy and \
                 external id, and this server's clock; then set the keys again"
            }
            Remedy::Retry => "nobody need act: it is tried again by itself",
            Remedy::Operator => {
                "the operator must act: check the OAuth client's id, secret, URLs and profile, and \
                 its registration with the provider; then refresh"
            }
            Remedy::User => {
                "a user with an account at the provider must act: authorize the connection again"
            }
        }
    }
}

impl From<RefreshFailure> for RefreshStanding {
    fn from(failure: RefreshFailure) -> Self {
        let RefreshFailure { since, remedy, reason, code, .. } = failure;
        Self { remedy, since, code, reason, is_session: false }
    }
}

impl OAuthConnectionView {
    /// The standing of its refreshes, where they fail or can't be tried any more: that of its grant
    /// comes before what is remembered.
    pub(in crate::management) fn note_failure(&mut self, remembered: Option<RefreshFailure>) {
        let user = |since, code, reason: &str| {
            let (remedy, reason, is_session) = (Remedy::User, reason.into(), false);
            Some(RefreshStanding { remedy, since, code, reason, is_session })
        };
        let expired = self.tokens.as_ref().and_then(|tokens| tokens.expires_at);
        self.standing = match (&self.grant.lapse, expired) {
            (Some(lapse), _) => user(lapse.since, lapse.code, lapse.reason.as_sentence()),
            (None, Some(end)) if self.needs_reauthorization => user(end, None, EXPIRED),
            _ => remembered.map(RefreshStanding::from),
        };
    }
}

impl ReadAccess<'_> {
    /// The failures that are remembered of one connection's refreshes.
    pub(in crate::management) async fn failure_of(
        &self,
        uuid: Uuid,
    ) -> Result<Option<RefreshFailure>, Refused> {
        let store = self.management.persistence()?.store();
        Ok(store.refresh_failure(uuid).await?)
    }

    /// The failures that are remembered of the integration's connections.
    pub(in crate::management) async fn failures(
        &self,
    ) -> Result<HashMap<Uuid, RefreshFailure>, Refused> {
        let store = self.management.persistence()?.store();
        Ok(store.refresh_failures(&self.integration).await?)
    }
}

const EXPIRED: &str = "the access token has expired, and there is no refresh token";
