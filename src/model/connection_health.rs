//! The health of a connection: how its requests of late have ended, as one instance knows it, and
//! the same of all instances together.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::remedy::{FailureRemedy, FailureSubject, code_of};

/// The record of how the requests of a connection have ended.
///
/// The window is the period of the last use and the one before, so that what nobody uses stays as it
/// was. Times are in seconds since the Unix epoch; 0 for none.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct ConnectionHealth {
    /// The last request that was sent, or failed.
    pub last_used: i64,
    /// The status of its answer.
    pub status: u16,
    /// The last failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<LastFailure>,
    /// The time of the first of the failures that go on; 0 while none do.
    pub failing_since: i64,
    /// The number of requests since the last failure that did not fail.
    pub worked_since: u32,
    /// The time of the first of these.
    pub working_since: i64,
    /// The day that `today` counts, in days since the Unix epoch.
    pub day: i64,
    /// The number of requests on that day, in UTC.
    pub today: u32,
    /// The number of the period, since the Unix epoch.
    pub period: i64,
    /// The requests of that period, and of the one before.
    pub windows: [HealthWindow; 2],
    /// The refusals that say nothing of the connection: their callers must change something.
    pub refusals: CallerRefusals,
}

/// Refusals that the caller of the request must act upon. They are counted apart, and leave the
/// window as it is.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct CallerRefusals {
    /// The number of the period, since the Unix epoch.
    pub period: i64,
    /// The number of them in that period, and in the one before.
    pub counts: [u32; 2],
    /// The last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<LastFailure>,
}

/// The last failure of a connection.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LastFailure {
    /// The time.
    pub at: i64,
    /// The cause.
    pub cause: FailureCause,
    /// The id of the request.
    pub request_id: String,
}

/// The requests of a period.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct HealthWindow {
    /// All that count for the connection.
    pub requests: u32,
    /// Those that failed, by cause.
    pub failed: Vec<(FailureCause, u32)>,
}

/// The cause of a failure.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(untagged)]
pub enum FailureCause {
    /// The origin has answered with this status.
    Answered(u16),
    /// The request was refused by a refusal of this kind ([`FailureRemedy::kind`]).
    Refused(Cow<'static, str>),
}

/// A summary of the failures of a connection whose requests fail.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FailureSummary {
    /// The time since when.
    pub since: i64,
    /// The number of requests in the window.
    pub requests: u32,
    /// The number of those that failed.
    pub failed: u32,
    /// The most frequent cause.
    pub mostly: FailureCause,
}

impl ConnectionHealth {
    /// Notes a request that ended at this time. Of one that was refused, `refused` is the kind
    /// ([`FailureRemedy::kind`]).
    pub fn note(
        &mut self,
        at: i64,
        status: u16,
        refused: Option<&'static str>,
        request_id: impl FnOnce() -> String,
    ) {
        // 1. The cause, if it says something of the connection.
        let remedy = match refused {
            Some(kind) => FailureRemedy::of_refusal(kind),
            None => FailureRemedy::of_status(status),
        };
        let cause = match (refused, remedy.map(|remedy| remedy.subject)) {
            (Some(kind), Some(FailureSubject::Connection)) => {
                Some(FailureCause::Refused(kind.into()))
            }
            (Some(kind), Some(FailureSubject::Caller)) => {
                let cause = FailureCause::Refused(kind.into());
                self.refusals.note(LastFailure { at, cause, request_id: request_id() });
                return;
            }
            (Some(_), _) => return,
            (None, Some(FailureSubject::Connection)) => Some(FailureCause::Answered(status)),
            (None, _) if status == 0 => return,
            (None, _) => None,
        };
        // 2. Its count.
        self.enter_period(at.div_euclid(PERIOD_SECONDS));
        // What was refused before it was sent is no use of the connection.
        if refused.is_none() || status >= 500 {
            (self.last_used, self.status) = (at, status);
            let day = at.div_euclid(86_400);
            self.today = if self.day == day { self.today.saturating_add(1) } else { 1 };
            self.day = day;
        }
        let [window, _] = &mut self.windows;
        window.requests = window.requests.saturating_add(1);
        // 3. What follows from it.
        let Some(cause) = cause else {
            if self.worked_since == 0 {
                self.working_since = at;
            }
            self.worked_since = self.worked_since.saturating_add(1);
            if self.failing_since != 0 && self.worked_since >= self.recovery() {
                self.failing_since = 0;
            }
            return;
        };
        window.count(&cause, 1);
        self.worked_since = 0;
        if self.failing_since == 0 {
            self.failing_since = at;
        }
        self.failure = Some(LastFailure { at, cause, request_id: request_id() });
    }

    /// The health of a connection whose secret or rules were changed: failures so far say nothing of
    /// it any more.
    #[must_use]
    pub fn afresh(&self) -> Self {
        Self {
            failing_since: 0,
            worked_since: 0,
            working_since: 0,
            windows: Default::default(),
            refusals: CallerRefusals { counts: [0, 0], ..self.refusals.clone() },
            ..self.clone()
        }
    }

    /// The time of the last use, failure or refusal.
    pub fn last_noted(&self) -> i64 {
        self.last_counted().max(self.refusals.last_at())
    }

    /// The time of the last use or failure; 0 where callers were refused alone.
    pub fn last_counted(&self) -> i64 {
        self.last_used.max(self.failed_at())
    }

    /// Adds what another instance knows.
    pub fn merge(&mut self, other: &Self) {
        // 1. The last use, the last failure and the day.
        if (other.last_used, other.status) > (self.last_used, self.status) {
            (self.last_used, self.status) = (other.last_used, other.status);
        }
        let (own_failure, other_failure) = (self.failed_at(), other.failed_at());
        let id = |health: &Self| health.failure.as_ref().map(|it| it.request_id.clone());
        if (other_failure, id(other)) > (own_failure, id(self)) {
            self.failure.clone_from(&other.failure);
        }
        if other.day == self.day {
            self.today = self.today.saturating_add(other.today);
        } else if other.day > self.day {
            (self.day, self.today) = (other.day, other.today);
        }
        // 2. What has worked after the last failure.
        let failed_at = own_failure.max(other_failure);
        let later = |health: &Self, own: i64| {
            let counts = own == failed_at || health.working_since > failed_at;
            let worked = (health.worked_since, health.working_since);
            Some(worked).filter(|_| counts && health.worked_since > 0)
        };
        let worked = [later(self, own_failure), later(other, other_failure)];
        self.worked_since = worked.iter().flatten().fold(0, |sum, (n, _)| sum.saturating_add(*n));
        self.working_since = worked.iter().flatten().map(|(_, at)| *at).min().unwrap_or(0);
        // 3. The window; what was before it says nothing any more.
        let period = self.period.max(other.period);
        self.enter_period(period);
        let mut other = other.clone();
        other.enter_period(period);
        for (window, more) in self.windows.iter_mut().zip(&other.windows) {
            window.merge(more);
        }
        let since = [&*self, &other].map(|health| health.failing_since);
        self.failing_since = since.into_iter().filter(|since| *since != 0).min().unwrap_or(0);
        // 4. What callers must act upon.
        self.refusals.merge(&other.refusals);
    }

    fn failed_at(&self) -> i64 {
        self.failure.as_ref().map_or(0, |failure| failure.at)
    }

    /// The number of requests since midnight UTC, as of this time.
    pub fn used_today(&self, now: i64) -> u32 {
        if self.day == now.div_euclid(86_400) { self.today } else { 0 }
    }

    /// The number of requests in the window, and of those that failed.
    pub fn window_totals(&self) -> (u64, u64) {
        let requests = self.windows.iter().map(|window| u64::from(window.requests)).sum();
        (requests, self.windows.iter().map(|window| u64::from(window.failed_total())).sum())
    }

    /// A summary of the failures; `None` while few requests fail, or those of late don't.
    pub fn failure_summary(&self) -> Option<FailureSummary> {
        let mut window = HealthWindow::default();
        self.windows.iter().for_each(|part| window.merge(part));
        let failed = window.failed_total();
        let mostly = window.failed.iter().max_by_key(|(_, count)| *count)?.0.clone();
        let is_failing = self.failing_since != 0
            && u64::from(failed) * 100 >= u64::from(window.requests) * FAILING_PERCENT
            && self.worked_since < self.recovery();
        let summary =
            FailureSummary { since: self.failing_since, requests: window.requests, failed, mostly };
        is_failing.then_some(summary)
    }

    /// The number of requests in a row that must not fail until it has recovered.
    fn recovery(&self) -> u32 {
        let failed: u32 = self.windows.iter().map(HealthWindow::failed_total).sum();
        failed.clamp(1, MAX_RECOVERY)
    }

    fn enter_period(&mut self, period: i64) {
        if period <= self.period {
            return;
        }
        let [now, before] = &mut self.windows;
        let last = std::mem::take(now);
        *before = if period == self.period + 1 { last } else { HealthWindow::default() };
        self.period = period;
    }
}

impl CallerRefusals {
    /// The number of late: in the period of this time and in the one before.
    pub fn of_late(&self, now: i64) -> u32 {
        let mut current = self.clone();
        current.enter_period(now.div_euclid(PERIOD_SECONDS));
        current.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    fn note(&mut self, refusal: LastFailure) {
        self.enter_period(refusal.at.div_euclid(PERIOD_SECONDS));
        let [count, _] = &mut self.counts;
        *count = count.saturating_add(1);
        self.last = Some(refusal);
    }

    fn last_at(&self) -> i64 {
        self.last.as_ref().map_or(0, |last| last.at)
    }

    fn merge(&mut self, other: &Self) {
        let mut other = other.clone();
        let period = self.period.max(other.period);
        self.enter_period(period);
        other.enter_period(period);
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count = count.saturating_add(more);
        }
        let place = |last: &Option<LastFailure>| {
            last.as_ref().map(|last| (last.at, last.request_id.clone()))
        };
        if place(&other.last) > place(&self.last) {
            self.last = other.last;
        }
    }

    fn enter_period(&mut self, period: i64) {
        if period > self.period {
            let [last, _] = self.counts;
            self.counts = [0, if period == self.period + 1 { last } else { 0 }];
            self.period = period;
        }
    }
}

impl HealthWindow {
    fn failed_total(&self) -> u32 {
        self.failed.iter().map(|(_, count)| count).sum()
    }

    fn count(&mut self, cause: &FailureCause, more: u32) {
        let is_full = self.failed.len() >= MAX_CAUSES;
        let known = self.failed.iter().position(|(known, _)| known == cause);
        // Causes beyond the limit are counted with the last.
        let known = known.or_else(|| is_full.then_some(MAX_CAUSES - 1));
        match known.and_then(|known| self.failed.get_mut(known)) {
            Some((_, count)) => *count = count.saturating_add(more),
            None => self.failed.push((cause.clone(), more)),
        }
    }

    fn merge(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        other.failed.iter().for_each(|(cause, count)| self.count(cause, *count));
    }
}

impl FailureCause {
    /// The way out of it.
    pub fn remedy(&self) -> Option<FailureRemedy> {
        match self {
            Self::Answered(status) => FailureRemedy::of_status(*status),
            Self::Refused(kind) => FailureRemedy::of_refusal(kind),
        }
    }
}

impl std::fmt::Display for FailureCause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Answered(status) => write!(f, "{status}"),
            Self::Refused(kind) => f.write_str(code_of(kind)),
        }
    }
}

/// The length of a period, in seconds.
pub const PERIOD_SECONDS: i64 = 900;

/// The percentage of failed requests from which on a connection counts as failing.
const FAILING_PERCENT: u64 = 10;

/// The largest number of requests that must not fail until a connection has recovered.
const MAX_RECOVERY: u32 = 20;

/// The number of causes that are told apart in a period.
const MAX_CAUSES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn note(health: &mut ConnectionHealth, at: i64, status: u16, refused: Option<&'static str>) {
        health.note(at, status, refused, || format!("i-{at}"));
    }

    #[test]
    fn a_single_failure_counts_until_a_request_works() {
        let mut health = ConnectionHealth::default();
        note(&mut health, 1000, 401, None);
        let summary = health.failure_summary().unwrap();
        assert_eq!((summary.since, summary.requests, summary.failed), (1000, 1, 1));
        assert_eq!(summary.mostly, FailureCause::Answered(401));
        note(&mut health, 1001, 200, None);
        assert_eq!((health.failure_summary(), health.failing_since), (None, 0));
        assert_eq!(health.failure.unwrap().request_id, "i-1000");
    }

    #[test]
    fn some_failures_among_many_requests_are_no_failing() {
        let mut health = ConnectionHealth::default();
        for number in 0..100 {
            note(&mut health, 900, if number % 20 == 19 { 503 } else { 200 }, None);
        }
        assert_eq!(health.failure_summary(), None);
        for number in 0..100 {
            note(&mut health, 901, if number % 2 == 1 { 401 } else { 200 }, None);
        }
        let summary = health.failure_summary().unwrap();
        assert_eq!((summary.failed, summary.requests), (55, 200));
        assert_eq!(summary.mostly, FailureCause::Answered(401));
        // Twenty in a row, and it has recovered.
        (0..20).for_each(|_| note(&mut health, 902, 200, None));
        assert_eq!(health.failure_summary(), None);
    }

    #[test]
    fn what_the_caller_did_wrong_says_nothing_of_the_connection() {
        let mut health = ConnectionHealth::default();
        note(&mut health, 900, 0, None);
        note(&mut health, 900, 503, Some("Overloaded"));
        assert_eq!(health, ConnectionHealth::default());
        for (code, status) in
            [("MethodNotAllowed", 405), ("DomainNotAllowed", 403), ("RateLimited", 429)]
        {
            note(&mut health, 900, status, Some(code));
        }
        assert_eq!((health.failure_summary(), health.window_totals()), (None, (0, 0)));
        assert_eq!((health.last_used, health.refusals.of_late(900)), (0, 3));
        note(&mut health, 900, 404, None);
        assert_eq!((health.failure_summary(), health.last_used), (None, 900));
        // What an operator must allow does, though it is no use.
        note(&mut health, 950, 403, Some("ConnectionForbidden"));
        assert_eq!((health.last_used, health.last_noted(), health.today), (900, 950, 1));
        assert!(health.failure_summary().is_some());
    }

    #[test]
    fn refusals_that_callers_must_act_upon_are_counted_apart() {
        let (mut one, mut two) = (ConnectionHealth::default(), ConnectionHealth::default());
        note(&mut one, PERIOD_SECONDS, 401, None);
        note(&mut one, 2 * PERIOD_SECONDS, 403, Some("DomainNotAllowed"));
        note(&mut two, 3 * PERIOD_SECONDS, 429, Some("RateLimited"));
        // 1. They leave what is known of the connection as it is.
        assert_eq!(one.failure_summary().map(|summary| summary.failed), Some(1));
        assert_eq!((one.last_noted(), one.period), (2 * PERIOD_SECONDS, 1));
        // 2. Those of two instances are added up, in whatever order.
        let mut both = one.clone();
        both.merge(&two);
        two.merge(&one);
        assert_eq!(both, two);
        let last = both.refusals.last.as_ref().unwrap();
        assert_eq!(last.cause, FailureCause::Refused("RateLimited".into()));
        // 3. Those that are long over are of no interest.
        let of_late = |period| both.refusals.of_late(period * PERIOD_SECONDS);
        assert_eq!([of_late(3), of_late(4), of_late(5)], [2, 1, 0]);
        assert_eq!(both.afresh().refusals.of_late(3 * PERIOD_SECONDS), 0);
    }

    #[test]
    fn a_failure_that_passes_by_itself_is_told_from_others_of_its_code() {
        let mut health = ConnectionHealth::default();
        note(&mut health, 900, 502, Some("TokenEndpointFailed retry"));
        let text = serde_json::to_string(&health).unwrap();
        let cause = serde_json::from_str::<ConnectionHealth>(&text).unwrap().failure.unwrap().cause;
        assert_eq!(cause.to_string(), "TokenEndpointFailed");
        assert_eq!(cause.remedy().unwrap().who.as_str(), "retry");
    }

    #[test]
    fn what_nobody_uses_stays_as_it_was_and_what_is_old_is_forgotten() {
        let mut health = ConnectionHealth::default();
        note(&mut health, PERIOD_SECONDS, 502, Some("CertificateInvalid"));
        let first = health.failure_summary();
        assert_eq!(first.as_ref().map(|summary| summary.since), Some(PERIOD_SECONDS));
        // The next failure, hours later, goes on with it.
        note(&mut health, 40 * PERIOD_SECONDS, 502, Some("CertificateInvalid"));
        let summary = health.failure_summary().unwrap();
        assert_eq!((summary.since, summary.requests), (PERIOD_SECONDS, 1));
        assert_eq!(health.afresh().failure_summary(), None);
        assert_eq!(health.used_today(40 * PERIOD_SECONDS), 2);
    }

    #[test]
    fn what_instances_know_is_added_up() {
        let (mut one, mut two) = (ConnectionHealth::default(), ConnectionHealth::default());
        (0..10).for_each(|number| note(&mut one, 1000 + number, 200, None));
        (0..10).for_each(|number| note(&mut two, 1000 + number, 401, None));
        let mut both = one.clone();
        both.merge(&two);
        let mut other = two.clone();
        other.merge(&one);
        assert_eq!(both, other);
        let summary = both.failure_summary().unwrap();
        assert_eq!((summary.since, summary.failed, summary.requests), (1000, 10, 20));
        assert_eq!(both.today, 20);
        // What works after the failures counts, wherever it does.
        let mut later = ConnectionHealth::default();
        (0..9).for_each(|number| note(&mut later, 1100 + number, 200, None));
        let mut three = both.clone();
        three.merge(&later);
        assert!(three.failure_summary().is_some());
        note(&mut later, 1110, 200, None);
        both.merge(&later);
        assert_eq!(both.failure_summary(), None);
        // An instance that is long gone says nothing.
        let mut later = ConnectionHealth::default();
        note(&mut later, 1000 + 3 * PERIOD_SECONDS, 200, None);
        two.merge(&later);
        assert_eq!(two.failure_summary(), None);
    }

    #[test]
    fn health_is_read_as_it_was_written() {
        let mut health = ConnectionHealth::default();
        note(&mut health, 1000, 401, None);
        note(&mut health, 1000, 502, Some("CertificateInvalid"));
        let text = serde_json::to_string(&health).unwrap();
        assert_eq!(serde_json::from_str::<ConnectionHealth>(&text).unwrap(), health);
        assert_eq!(
            serde_json::from_str::<ConnectionHealth>("{}").unwrap(),
            ConnectionHealth::default()
        );
    }
}
