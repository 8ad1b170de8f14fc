//! The life of a refresh token, and when an unused grant is refreshed so that it does not end: pure
//! functions of times and settings.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// The life of what a grant is refreshed with: of its refresh token, or of an access token that is
/// exchanged for the next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct GrantLife {
    /// The time at which the token was issued.
    pub began: Timestamp,
    /// The time at which it expires.
    pub ends: Timestamp,
}

/// The times by which an unused grant is kept alive.
#[derive(Clone, Copy, Debug)]
pub struct KeepAlive {
    /// The time of the last refresh, or of the flow.
    pub refreshed_at: Timestamp,
    /// The life of what it is refreshed with, if that is known.
    pub life: Option<GrantLife>,
    /// The longest time between two refreshes; `None` where only the life counts.
    pub every: Option<Duration>,
}

/// The places of a connection, and of this instance, in the span over which refreshes that are due
/// together are spread: 0 to 1023 each.
#[derive(Clone, Copy, Debug, Default)]
pub struct Jitter {
    /// The connection's place, the same on every instance.
    pub connection: u16,
    /// The place of this instance for this connection: the instance that is due first refreshes.
    pub instance: u16,
}

impl GrantLife {
    /// The time from which operators are warned: the last tenth of the life; the last day at least
    /// where it is longer than a week.
    pub fn warned_from(self) -> Timestamp {
        let life = self.ends.duration_since(self.began).max(SignedDuration::ZERO);
        let margin = if life > WEEK { (life / 10).max(DAY) } else { life / 10 };
        before(self.ends, margin)
    }
}

impl KeepAlive {
    /// The time at which the grant is refreshed if nobody has used it until then: between 7/8 and
    /// 8/8 of `every` after the last refresh, and when between 1/2 and 5/8 of the life that was
    /// left then is over. `None` where nothing is known of an end, or a refresh won't put it off.
    pub fn due(&self, jitter: Jitter) -> Option<Timestamp> {
        let spread = u32::from(jitter.connection.min(1023)) + u32::from(jitter.instance.min(1023));
        let after = |whole: SignedDuration, parts: i32| {
            // Each of the two places takes a sixteenth.
            let sixteenth = whole / 16;
            let spread = (sixteenth / 1024).saturating_mul(i32::try_from(spread).unwrap_or(0));
            let wait = sixteenth.saturating_mul(parts).saturating_add(spread);
            self.refreshed_at.checked_add(wait).ok()
        };
        let every =
            self.every.map(|every| SignedDuration::try_from(every).unwrap_or(SignedDuration::MAX));
        let by_period = every.and_then(|every| after(every, 14));
        // A life that has ended, or in whose last part a refresh has not renewed it, is no reason.
        let life = self.life.filter(|life| self.refreshed_at < life.warned_from());
        let left = life.map(|life| life.ends.duration_since(self.refreshed_at));
        let by_life = left.and_then(|left| after(left, 8));
        [by_period, by_life].into_iter().flatten().min()
    }
}

fn before(time: Timestamp, margin: SignedDuration) -> Timestamp {
    time.checked_sub(margin).unwrap_or(time)
}

const DAY: SignedDuration = SignedDuration::from_hours(24);

const WEEK: SignedDuration = SignedDuration::from_hours(24 * 7);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn life(began: i64, ends: i64) -> GrantLife {
        GrantLife { began: at(began), ends: at(ends) }
    }

    #[test]
    fn its_end_is_warned_of_in_its_last_tenth_or_day() {
        const HOUR: i64 = 3600;
        for (length, margin) in [
            (60, 6),
            (24 * HOUR, 24 * 360),
            (7 * 24 * HOUR, 7 * 24 * 360),
            (8 * 24 * HOUR, 24 * HOUR),
            (30 * 24 * HOUR, 3 * 24 * HOUR),
            (0, 0),
        ] {
            assert_eq!(life(0, length).warned_from(), at(length - margin), "{length}");
        }
        assert_eq!(life(9, 0).warned_from(), at(0), "one that ends before it begins");
    }

    #[test]
    fn a_token_that_a_refresh_does_not_renew_is_asked_for_less_and_less_and_then_no_more() {
        let (mut now, mut refreshes) = (at(0), 0);
        let whole = life(0, 30 * 86_400);
        let due = |refreshed_at| {
            KeepAlive { refreshed_at, life: Some(whole), every: None }.due(Jitter::default())
        };
        while let Some(due) = due(now) {
            assert!(due > now && due < whole.ends);
            (now, refreshes) = (due, refreshes + 1);
        }
        assert!(refreshes <= 5, "{refreshes}");
        assert_eq!(due(at(31 * 86_400)), None);
    }

    proptest! {
        #[test]
        fn it_is_due_within_the_period_and_before_a_third_of_its_life_is_left(
            every in prop::option::of(16_u32..10_000_000),
            length in prop::option::of(16_u32..10_000_000),
            (connection, instance) in (0_u16..1024, 0_u16..1024),
        ) {
            let due = KeepAlive {
                refreshed_at: at(0),
                life: length.map(|length| life(0, length.into())),
                every: every.map(|every| Duration::from_secs(every.into())),
            }
            .due(Jitter { connection, instance });
            prop_assert_eq!(due.is_some(), every.is_some() || length.is_some());
            let wait = due.map_or(0.0, |due| due.duration_since(at(0)).as_secs_f64());
            if let Some(length) = length {
                prop_assert!(wait < f64::from(length) * 2.0 / 3.0);
            }
            if let Some(every) = every {
                prop_assert!(wait <= f64::from(every));
            }
            let least = every.map_or(f64::MAX, |every| f64::from(every) * 0.87);
            let least = least.min(length.map_or(f64::MAX, |length| f64::from(length) * 0.49));
            prop_assert!(due.is_none() || wait >= least);
        }
    }
}
