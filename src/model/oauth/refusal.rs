//! The failures of refreshes: the remedy of each, and what is remembered of them.

use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::{named_enum, parsed_by_name, stored_as_text};

named_enum! {
    /// The remedy of a failed refresh, which says who must act.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub enum Remedy {
        /// Nobody: it is tried again by itself.
        Retry = "retry",
        /// The operator: the client, the provider or this server is not as it must be.
        Operator = "operator",
        /// A user with an account at the provider: the grant is dead, and only a new flow helps.
        User = "user",
    }
}

parsed_by_name!(Remedy);
stored_as_text!(Remedy);

/// A provider's error code, for operators: 1 to 64 characters out of `A-Z a-z 0-9 _ . : / ! -` and
/// the space.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct ProviderCode {
    text: [u8; Self::MAX_LEN],
    length: u8,
}

/// The failures of a connection's refreshes since the last one that has brought tokens.
///
/// Its encoding is stored, and read by every later version.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RefreshFailure {
    /// The time of the first.
    #[serde(with = "microseconds")]
    pub since: Timestamp,
    /// The remedy of the last.
    pub remedy: Remedy,
    /// The reason of the last, in our own words.
    pub reason: Box<str>,
    /// The provider's code for the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<ProviderCode>,
    /// The last refusals by the provider, all alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusals: Option<RefusalRow>,
}

/// Refusals of a refresh by a provider, one after the other and all alike.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RefusalRow {
    /// The status of each answer.
    pub status: u16,
    /// The provider's code in each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<ProviderCode>,
    /// The time of the first.
    #[serde(with = "microseconds")]
    pub first: Timestamp,
    /// The time of the last.
    #[serde(with = "microseconds")]
    pub last: Timestamp,
    /// The number of them.
    pub count: u32,
    /// The time before which the provider is not asked again.
    #[serde(with = "microseconds")]
    pub next: Timestamp,
}

impl ProviderCode {
    const MAX_LEN: usize = 64;

    /// Reads a code; `None` when its characters or its length don't fit.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:/!- ".contains(&byte);
        let length = u8::try_from(code.len()).ok().filter(|length| *length > 0)?;
        let mut text = [0; Self::MAX_LEN];
        text.get_mut(..code.len())?.copy_from_slice(code.as_bytes());
        code.bytes().all(is_allowed).then_some(Self { text, length })
    }

    /// The code as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let text = self.text.get(..usize::from(self.length)).unwrap_or_default();
        std::str::from_utf8(text).unwrap_or_default()
    }
}

impl fmt::Display for ProviderCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ProviderCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProviderCode({self})")
    }
}

impl Serialize for ProviderCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ProviderCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("is not a provider's code"))
    }
}

impl RefreshFailure {
    /// Reads an encoded failure; `None` for anything else.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The failure as it is stored; `None` where it can't be, which does not happen.
    #[must_use]
    pub fn encode(&self) -> Option<String> {
        serde_json::to_string(self).ok()
    }

    /// Forgets what was refused before the client was changed: with another secret or URL the same
    /// refresh token may be worth more.
    pub fn forget_before(&mut self, client_changed_at: Timestamp) {
        if self.refusals.is_some_and(|row| row.last < client_changed_at) {
            self.refusals = None;
        }
    }

    /// The refusals for which the provider is not asked again yet; `None` where it may be asked.
    #[must_use]
    pub fn withholding(&self, now: Timestamp) -> Option<RefusalRow> {
        self.refusals.filter(|row| now < row.next && row.last <= now)
    }
}

impl RefusalRow {
    /// The row after one more refusal, at `now`. One that is not like those before begins a new
    /// row. `share` out of 256 spreads the next questions of connections that were refused
    /// together.
    #[must_use]
    pub fn after(
        before: Option<Self>,
        (status, code): (u16, Option<ProviderCode>),
        now: Timestamp,
        share: u8,
    ) -> Self {
        let alike =
            before.filter(|row| row.status == status && row.code == code && row.last <= now);
        let (first, count) = alike.map_or((now, 1), |row| (row.first, row.count.saturating_add(1)));
        let index = usize::try_from(count - 1).unwrap_or(usize::MAX);
        let pause = PAUSES.get(index).copied().unwrap_or(LAST_PAUSE);
        let pause = pause + pause * u32::from(share) / 1024;
        let next = SignedDuration::try_from(pause).ok().and_then(|it| now.checked_add(it).ok());
        Self { status, code, first, last: now, count, next: next.unwrap_or(Timestamp::MAX) }
    }

    /// Tells whether there are enough refusals, over a time that no disturbance lasts, that the
    /// grant may be dead.
    #[must_use]
    pub fn may_mean_dead(&self) -> bool {
        self.count >= MIN_REFUSALS && self.last.duration_since(self.first) >= MIN_REFUSED_FOR
    }

    /// Tells whether these refusals mean that the grant is dead, although the provider has no code
    /// for it that is known: they have come often enough, over a time that no disturbance lasts,
    /// and others' tokens of the same client were refreshed meanwhile.
    #[must_use]
    pub fn means_dead(&self, others_refreshed_at: Option<Timestamp>) -> bool {
        self.may_mean_dead() && others_refreshed_at.is_some_and(|time| time > self.first)
    }
}

/// Times as whole microseconds since 1970.
mod microseconds {
    use jiff::Timestamp;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(time.as_microsecond())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        Timestamp::from_microsecond(i64::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// The number of refusals from which on a grant may be dead.
const MIN_REFUSALS: u32 = 3;

/// The time over which they must have come.
const MIN_REFUSED_FOR: SignedDuration = SignedDuration::from_mins(10);

/// The pauses after the first refusals, made longer by up to a quarter. The fifth question comes
/// between 10 and 12.5 minutes after the first, when the grant may be known to be dead; the sixth
/// not within 15 minutes.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(10),
    Duration::from_secs(50),
    Duration::from_mins(4),
    Duration::from_mins(5),
];

/// The pause after all other refusals.
const LAST_PAUSE: Duration = Duration::from_mins(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn refused(before: Option<RefusalRow>, code: &str, seconds: i64) -> RefusalRow {
        RefusalRow::after(before, (400, ProviderCode::parse(code)), at(seconds), 0)
    }

    #[test]
    fn a_code_is_short_and_plain() {
        let longest = "x".repeat(64);
        for code in ["invalid_grant", "BAD_HUB", "unauthorized.x", "Access Denied", "190", &longest]
        {
            assert_eq!(ProviderCode::parse(code).unwrap().as_str(), code);
        }
        for code in ["", "a\n", "é", "<b>", "a\"", "\u{1b}[2J", &"x".repeat(65), &"x".repeat(300)]
        {
            assert_eq!(ProviderCode::parse(code), None, "{code:?}");
        }
    }

    #[test]
    fn at_most_five_questions_fit_into_a_quarter_of_an_hour() {
        for share in [0, 128, 255] {
            let (mut row, mut now, mut asked) = (None, at(0), Vec::new());
            while now < at(3600) {
                if row.is_none_or(|row: RefusalRow| row.next <= now) {
                    asked.push(now.duration_since(at(0)).as_secs());
                    row = Some(RefusalRow::after(row, (400, None), now, share));
                }
                now = now.checked_add(SignedDuration::from_secs(1)).unwrap();
            }
            for (from, begun) in asked.iter().enumerate() {
                let within = asked[from..].iter().take_while(|time| **time < begun + 900).count();
                assert!(within <= 5, "{asked:?}");
            }
            assert!((600..=760).contains(&asked[4]), "{asked:?}");
        }
    }

    #[test]
    fn refusals_mean_dead_when_they_are_alike_and_last_and_others_are_refreshed() {
        let (mut row, mut dead_at) = (None, Vec::new());
        for seconds in [0, 60, 599, 600] {
            let after = refused(row, "odd", seconds);
            dead_at.push(after.means_dead(Some(at(30))));
            row = Some(after);
        }
        assert_eq!(dead_at, [false, false, false, true]);
        let row = row.unwrap();
        for (others, dead) in [(None, false), (Some(at(0)), false), (Some(at(1)), true)] {
            assert_eq!(row.means_dead(others), dead, "{others:?}");
        }
        let twice = refused(Some(refused(None, "odd", 0)), "odd", 900);
        assert!(!twice.means_dead(Some(at(30))), "two are too few");
        let other = refused(Some(row), "other", 601);
        assert_eq!((other.count, other.first), (1, at(601)), "another code begins a new row");
        let status = RefusalRow::after(Some(row), (403, row.code), at(601), 0);
        assert_eq!(status.count, 1, "another status begins a new row");
    }

    #[test]
    fn a_failure_is_stored_in_one_form() {
        let row = refused(None, "BAD_X", 0);
        let (reason, code) = ("the provider said no".into(), row.code);
        let remedy = Remedy::Operator;
        let failure = RefreshFailure { since: at(0), remedy, reason, code, refusals: Some(row) };
        let stored = r#"{"since":1800000000000000,"remedy":"operator","reason":"the provider said no","code":"BAD_X","refusals":{"status":400,"code":"BAD_X","first":1800000000000000,"last":1800000000000000,"count":1,"next":1800000010000000}}"#;
        assert_eq!(failure.encode().as_deref(), Some(stored));
        assert_eq!(RefreshFailure::decode(stored), Some(failure));
        let bare = r#"{"since":1800000000000000,"remedy":"retry","reason":"x"}"#;
        let read = RefreshFailure::decode(bare).unwrap();
        assert_eq!((read.code, read.refusals, read.encode().as_deref()), (None, None, Some(bare)));
        for odd in ["", "{}", &stored.replace("BAD_X", "<b>"), &stored.replace("operator", "me")] {
            assert_eq!(RefreshFailure::decode(odd), None, "{odd}");
        }
    }

    #[test]
    fn nothing_is_withheld_after_the_client_was_changed_or_the_clock_was_set_back() {
        let row = refused(None, "x", 0);
        let (reason, remedy) = ("".into(), Remedy::Operator);
        let mut failure =
            RefreshFailure { since: at(0), remedy, reason, code: None, refusals: Some(row) };
        assert_eq!(failure.withholding(at(9)), Some(row));
        assert_eq!(failure.withholding(at(10)), None);
        assert_eq!(failure.withholding(at(-1)), None, "the clock was set back");
        failure.forget_before(at(0));
        assert!(failure.refusals.is_some());
        failure.forget_before(at(1));
        assert_eq!(failure.withholding(at(9)), None);
    }
}
