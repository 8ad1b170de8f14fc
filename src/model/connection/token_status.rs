//! The status of an OAuth connection's provider tokens, or of the session of a role at AWS.

use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use foldhash::fast::FixedState;
use jiff::Timestamp;
use uuid::Uuid;

use crate::model::aws::role::RoleSessions;
use crate::model::oauth::freshness::{Freshness, PlannedRefresh, TokenAges};
use crate::model::oauth::grant::Grant;
use crate::model::oauth::life::{GrantLife, Jitter, KeepAlive};
use crate::model::oauth::profile::RefreshStatuses;
use crate::model::oauth::tokens::TokenSet;

/// The status of an OAuth connection's provider tokens, or of the session that a connection's keys
/// have of their role. A connection has one set of tokens: the next set comes with a new connection
/// that replaces it.
#[derive(Debug)]
pub struct TokenStatus {
    /// The connection's record, or a number of a declared one.
    pub uuid: Uuid,
    /// The number of the set of tokens, counted up by each refresh.
    pub generation: i64,
    /// Tells whether a refresh can bring other tokens.
    pub renewable: bool,
    /// Tells whether the grant has lapsed, so that only a new flow helps.
    pub lapsed: bool,
    /// The time at which the tokens were requested.
    pub issued_at: Timestamp,
    /// The time at which the access token expires; `None` when that is unknown.
    pub expires_at: Option<Timestamp>,
    /// The statuses of an origin's answer that call for a refresh.
    pub refresh_on_status: RefreshStatuses,
    /// The life of what the grant is refreshed with, if that is known: when it is over, only a new
    /// flow helps. `None` for a lapsed grant, and for one that needs no user.
    pub grant_life: Option<GrantLife>,
    /// The fingerprint of the token endpoint's origin, by which refreshes are bounded.
    pub provider: u64,
    /// The host of the token endpoint, with its port where that is not the usual one; empty where it
    /// is not known.
    pub provider_host: Box<str>,
    /// Tells whether there is a refresh token beside the access token, which a user has granted.
    has_refresh_token: bool,
    set: TokenSetKind,
    used: AtomicBool,
}

/// The kind of tokens that a connection has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum TokenSetKind {
    /// Those of a grant.
    Granted,
    /// The session of a role.
    Session,
    /// A role, and no session of it yet.
    NoSession,
}

impl TokenStatus {
    pub(super) fn of(uuid: Uuid, grant: &Grant, tokens: &TokenSet) -> Self {
        Self {
            uuid,
            generation: grant.generation,
            renewable: grant.lapse.is_none() && grant.is_renewable(tokens.refresh_token.is_some()),
            lapsed: grant.lapse.is_some(),
            issued_at: tokens.issued_at,
            expires_at: tokens.expires_at,
            refresh_on_status: grant.refresh_on_status.clone(),
            grant_life: grant.life(tokens),
            provider: FixedState::default().hash_one(&tokens.issuer),
            provider_host: tokens.issuer.trim_start_matches("https://").into(),
            has_refresh_token: grant.grant_type.has_user()
                && tokens.refresh_token.is_some()
                && !tokens.is_access_token_exchanged(),
            set: TokenSetKind::Granted,
            used: AtomicBool::new(false),
        }
    }

    /// The status of the sessions of a role.
    pub(super) fn of_sessions(uuid: Uuid, sessions: &RoleSessions) -> Self {
        let session = sessions.current.as_ref();
        Self {
            uuid,
            generation: sessions.generation,
            renewable: true,
            lapsed: false,
            issued_at: session.map_or(Timestamp::UNIX_EPOCH, |session| session.issued_at),
            expires_at: session.map(|session| session.expires_at),
            refresh_on_status: RefreshStatuses::none(),
            grant_life: None,
            provider: 0,
            provider_host: Box::default(),
            has_refresh_token: false,
            set: session.map_or(TokenSetKind::NoSession, |_| TokenSetKind::Session),
            used: AtomicBool::new(false),
        }
    }

    /// Tells whether it is the session of a role: it is good to its end though there is another, and
    /// no answer of an origin calls for the next.
    pub fn is_session(&self) -> bool {
        self.set != TokenSetKind::Granted
    }

    /// The times at which the access token ages; `None` when it never expires.
    pub fn ages(&self, refresh_before: Duration) -> Option<TokenAges> {
        Some(TokenAges::of(self.issued_at, self.expires_at?, refresh_before))
    }

    /// The refresh of tokens that are in use, which all instances plan alike. `None` when the access
    /// token never expires, or nothing can refresh it.
    pub fn planned_refresh(&self, refresh_before: Duration) -> Option<PlannedRefresh> {
        let ages = self.ages(refresh_before).filter(|_| self.renewable)?;
        let share = self.uuid.as_bytes().iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte));
        Some(ages.planned_refresh(share))
    }

    /// The freshness of the access token at `now`.
    pub fn freshness(&self, refresh_before: Duration, now: Timestamp) -> Freshness {
        match self.expires_at {
            _ if self.set == TokenSetKind::NoSession => Freshness::Expired,
            None => Freshness::Fresh,
            Some(end) => Freshness::of(self.issued_at, end, refresh_before, now),
        }
    }

    /// The time at which the grant is refreshed so that it lives though nobody uses it: at least
    /// every `keep_alive`, and before a third of its known life is left. `None` where no refresh
    /// keeps it alive, or it needs none.
    pub fn keep_alive_due(&self, keep_alive: Duration, jitter: Jitter) -> Option<Timestamp> {
        if keep_alive.is_zero() || !self.renewable {
            return None;
        }
        let every = self.has_refresh_token.then_some(keep_alive);
        KeepAlive { refreshed_at: self.issued_at, life: self.grant_life, every }.due(jitter)
    }

    /// Tells whether only a new flow helps at `now`: the grant has lapsed, or the access token has
    /// expired and can't be refreshed.
    pub fn needs_reauthorization(&self, now: Timestamp) -> bool {
        let expired = self.expires_at.is_some_and(|end| now >= end);
        self.lapsed || (expired && !self.renewable)
    }

    /// Notes a use of these tokens. `true` for the first one.
    #[must_use]
    pub fn is_first_use(&self) -> bool {
        !self.used.load(Relaxed) && !self.used.swap(true, Relaxed)
    }
}
