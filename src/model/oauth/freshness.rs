//! The freshness of an access token, a pure function of three times and a setting.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// The freshness of an access token, from new to expired.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Freshness {
    /// It is used.
    Fresh,
    /// It is used, and a refresh runs meanwhile.
    Aging,
    /// It expires soon: requests wait for a refresh, and use it only if the refresh fails.
    Late,
    /// It is not used.
    Expired,
}

/// The times at which an access token ages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TokenAges {
    /// The time from which it is refreshed while it is used.
    pub aging: Timestamp,
    /// The time from which requests wait for a refresh.
    pub late: Timestamp,
    /// The time at which it expires.
    pub expired: Timestamp,
    /// The time that is left to requests under way before it is refreshed.
    drain: SignedDuration,
}

/// The refresh of an access token in use. It may end the token that it replaces at once, so that
/// the requests under way are let come to their end before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PlannedRefresh {
    /// The time from which no request leaves that can't be sent again: it waits for the refresh.
    pub draining: Timestamp,
    /// The time at which the provider is asked.
    pub due: Timestamp,
}

impl Freshness {
    /// The freshness at `now` of a token of this lifetime, as [`TokenAges`] has it.
    #[must_use]
    pub fn of(
        issued_at: Timestamp,
        expires_at: Timestamp,
        refresh_before: Duration,
        now: Timestamp,
    ) -> Self {
        // Each request asks, and most ask long before the end: that is a comparison of seconds.
        let left = expires_at.as_second().saturating_sub(now.as_second());
        if u64::try_from(left).is_ok_and(|left| left > refresh_before.as_secs().saturating_add(1)) {
            return Self::Fresh;
        }
        TokenAges::of(issued_at, expires_at, refresh_before).at(now)
    }
}

impl TokenAges {
    /// The times for a token of this lifetime. It ages `refresh_before` its expiry, but at most a
    /// tenth of its lifetime before (contract §6).
    #[must_use]
    pub fn of(issued_at: Timestamp, expires_at: Timestamp, refresh_before: Duration) -> Self {
        let lifetime = expires_at.duration_since(issued_at).max(SignedDuration::ZERO);
        let wanted = SignedDuration::try_from(refresh_before).unwrap_or(SignedDuration::MAX);
        let margin = wanted.min(lifetime / 10);
        let before = |margin| expires_at.checked_sub(margin).unwrap_or(expires_at);
        let late = before((margin / 2).min(LATE_REFRESH_MARGIN));
        let drain = (lifetime / 20).min(MAX_DRAIN);
        Self { aging: before(margin), late, expired: expires_at, drain }
    }

    /// The refresh of a token in use: when it ages, or a little later by a connection's `share` out
    /// of 256, so that those that were given together are not all refreshed together.
    #[must_use]
    pub fn planned_refresh(&self, share: u8) -> PlannedRefresh {
        let spread = self.late.duration_since(self.aging) / 2 * i32::from(share) / 256;
        let due = self.aging.checked_add(spread).unwrap_or(self.aging);
        PlannedRefresh { draining: due.checked_sub(self.drain).unwrap_or(due), due }
    }

    /// The freshness at `now`.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Freshness {
        if now >= self.expired {
            Freshness::Expired
        } else if now >= self.late {
            Freshness::Late
        } else if now >= self.aging {
            Freshness::Aging
        } else {
            Freshness::Fresh
        }
    }
}

/// A token that expires sooner may have expired when it reaches the origin.
const LATE_REFRESH_MARGIN: SignedDuration = SignedDuration::from_secs(5);

/// The most that a request is held for the sake of those under way.
const MAX_DRAIN: SignedDuration = SignedDuration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    #[test]
    fn a_token_ages_a_minute_or_a_tenth_before_its_end() {
        let minute = Duration::from_mins(1);
        let hour = TokenAges::of(at(0), at(3600), minute);
        assert_eq!((hour.aging, hour.late), (at(3540), at(3595)));
        let short = TokenAges::of(at(0), at(60), minute);
        assert_eq!((short.aging, short.late), (at(54), at(57)));
        assert_eq!(short.at(at(53)), Freshness::Fresh);
        assert_eq!(short.at(at(54)), Freshness::Aging);
        assert_eq!(short.at(at(57)), Freshness::Late);
        assert_eq!(short.at(at(60)), Freshness::Expired);
    }

    #[test]
    fn nothing_is_asked_for_early_where_the_operator_says_so() {
        let ages = TokenAges::of(at(0), at(3600), Duration::ZERO);
        assert_eq!((ages.aging, ages.late), (at(3600), at(3600)));
        assert_eq!(ages.at(at(3599)), Freshness::Fresh);
    }

    #[test]
    fn it_is_refreshed_between_aging_and_late_once_what_is_under_way_has_ended() {
        let hour = TokenAges::of(at(0), at(3600), Duration::from_mins(1));
        let planned = |draining, due| PlannedRefresh { draining: at(draining), due: at(due) };
        assert_eq!(hour.planned_refresh(0), planned(3538, 3540));
        assert!(hour.planned_refresh(255).due < at(3568));
        let short = TokenAges::of(at(0), at(20), Duration::from_mins(1));
        assert_eq!(short.planned_refresh(0), planned(17, 18));
    }

    #[test]
    fn a_token_that_is_fresh_at_first_sight_is_fresh() {
        let issued = at(0);
        for lifetime in [-5, 0, 1, 59, 60, 61, 600, 3600] {
            for (margin, now) in
                (0..130).flat_map(|margin| (0..3700).step_by(7).map(move |now| (margin, now)))
            {
                let margin = Duration::from_millis(margin * 700);
                let now = at(now) + SignedDuration::from_millis(lifetime % 7 * 150);
                let exact = TokenAges::of(issued, at(lifetime), margin).at(now);
                assert_eq!(Freshness::of(issued, at(lifetime), margin, now), exact);
            }
        }
    }

    #[test]
    fn a_token_that_ends_before_it_begins_is_expired() {
        let ages = TokenAges::of(at(10), at(0), Duration::from_mins(1));
        assert_eq!(ages.at(at(10)), Freshness::Expired);
    }
}
