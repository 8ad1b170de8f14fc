//! Counts of requests over some time, as all instances have stored them.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::audit::AuditReader;
use super::fault::{About, Refused};
use super::requests::{RequestQuery, moment};
use crate::model::name::{ConnectionName, IntegrationName};
use crate::model::request_counts::{RequestCounts, STATUS_CLASSES};
use crate::store::{CountQuery, CountRow, CountSpan};
use crate::wire::{CallerStats, LatencyView, StatsAnswer, StatsPart, time};

/// Selects counts. An empty text selects all, or the default.
#[derive(Clone, Debug, Default)]
pub struct StatsQuery {
    /// Those of this integration.
    pub integration: String,
    /// Those of the connection of this name, of one integration.
    pub connection: String,
    /// Those of the caller of this name.
    pub caller: String,
    /// From the part of this time on (RFC 3339); by default an hour, or a day, before the end.
    pub since: String,
    /// Up to this time (RFC 3339); by default now.
    pub until: String,
    /// `minute`, or `hour`.
    pub by: String,
    /// `caller`, where the counts of each caller are wanted too.
    pub per: String,
}

/// The counts of each part of a stretch of time, from the oldest to the newest.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestHistory {
    /// The start of the first part.
    pub start: Timestamp,
    /// The length of each part, in seconds.
    pub seconds: i64,
    /// The counts of each.
    pub parts: Vec<RequestCounts>,
    /// The counts of each caller in all of that time, where they are wanted.
    pub callers: Option<BTreeMap<String, RequestCounts>>,
}

impl AuditReader<'_> {
    /// The counts of requests, to an operator who would be told of each of these.
    ///
    /// # Errors
    /// A parameter is faulty, the counts are out of reach, or the store fails.
    pub async fn history(&self, query: &StatsQuery) -> Result<RequestHistory, Refused> {
        // 1. What is wanted, and may be seen.
        let wanted = self.wanted(query)?;
        let (span, (start, end)) = (wanted.span, wanted.seconds);
        let length = usize::try_from((end - start) / span.seconds()).unwrap_or(0);
        let mut parts = vec![RequestCounts::default(); length];
        let mut callers = BTreeMap::<String, RequestCounts>::new();
        // 2. The rows of all instances, added up.
        if let Ok(persistence) = self.management.persistence() {
            // Callers may have many rows.
            let turn = self.management.long_reads.acquire();
            let _turn = if wanted.by_caller { Some(turn.await) } else { None };
            for CountRow { start: at, caller, counts } in
                persistence.store().counts(&wanted).await?
            {
                let number = usize::try_from((at - start) / span.seconds()).ok();
                if let Some(part) = number.and_then(|number| parts.get_mut(number)) {
                    part.merge(&counts);
                }
                if wanted.by_caller {
                    callers.entry(caller).or_default().merge(&counts);
                }
            }
        }
        let start = Timestamp::from_second(start).unwrap_or_default();
        let callers = wanted.by_caller.then_some(callers);
        Ok(RequestHistory { start, seconds: span.seconds(), parts, callers })
    }

    /// The counts that are wanted, and may be seen.
    fn wanted(&self, query: &StatsQuery) -> Result<CountQuery, Refused> {
        let span = match query.by.as_str() {
            "" | "minute" => CountSpan::Minute,
            "hour" => CountSpan::Hour,
            _ => return Err(Refused::of(About::Request, "by: must be minute or hour")),
        };
        let by_caller = match query.per.as_str() {
            "" => false,
            "caller" => true,
            _ => return Err(Refused::of(About::Request, "per: must be caller")),
        };
        let (integration, connection) = self.subject(query)?;
        Ok(CountQuery {
            span,
            integration: integration.as_ref().map(IntegrationName::to_string),
            connection: connection.as_ref().map(ConnectionName::to_string),
            caller: Some(query.caller.clone()).filter(|caller| !caller.is_empty()),
            by_caller,
            seconds: self.seconds(query, span)?,
        })
    }

    /// The integration and the connection whose counts are wanted.
    fn subject(
        &self,
        query: &StatsQuery,
    ) -> Result<(Option<IntegrationName>, Option<ConnectionName>), Refused> {
        // 1. The integration is the token's own, where it has one.
        let integration = match (self.operator.bound_to(), query.integration.as_str()) {
            (Some(own), "") => Some(own.clone()),
            (None, "") => None,
            (_, named) => Some(self.operator.enter(named)?),
        };
        if query.connection.is_empty() {
            let reaches_all = match &integration {
                None => self.operator.reaches_everything(),
                Some(integration) => self.operator.reaches_all_of(integration),
            };
            return if reaches_all { Ok((integration, None)) } else { Err(Refused::OutOfReach) };
        }
        // 2. The connection is one of it, within reach.
        let Some(of) = &integration else {
            let title = "connection: goes with integration, which says whose it is";
            return Err(Refused::of(About::Request, title));
        };
        let name = ConnectionName::parse(&query.connection)
            .map_err(|rule| Refused::of(About::Name, format!("connection: {rule}")))?;
        if self.operator.reaches(of, &name) {
            Ok((integration, Some(name)))
        } else {
            Err(Refused::OutOfReach)
        }
    }

    /// The start of the first part, and the end of the last.
    fn seconds(&self, query: &StatsQuery, span: CountSpan) -> Result<(i64, i64), Refused> {
        let usual = match span {
            CountSpan::Minute => SignedDuration::from_hours(1),
            CountSpan::Hour => SignedDuration::from_hours(24),
        };
        let until = moment("until", &query.until)?.unwrap_or_else(|| self.management.now());
        let since = moment("since", &query.since)?;
        let length = span.seconds();
        let end = until.as_second().div_euclid(length) * length;
        // The part that is not over yet belongs to it.
        let end =
            if until.as_second() > end || query.until.is_empty() { end + length } else { end };
        let start = match since {
            Some(since) => since.as_second().div_euclid(length) * length,
            None => end - usual.as_secs(),
        };
        // Nothing was counted before the Unix epoch, where a time may have no RFC 3339.
        let start = start.max(0);
        if start >= end || (end - start) / length > MAX_PARTS {
            let title = format!(
                "since: must be before until, by at most {MAX_PARTS} minutes, or hours by the hour"
            );
            return Err(Refused::of(About::Request, title));
        }
        Ok((start, end))
    }
}

impl RequestHistory {
    /// The start of each part, with its counts.
    pub fn parts(&self) -> impl Iterator<Item = (Timestamp, &RequestCounts)> {
        let seconds = (0_i64..).map(|number| number * self.seconds);
        let start = |after| Timestamp::from_second(self.start.as_second() + after);
        seconds.map(move |after| start(after).unwrap_or_default()).zip(&self.parts)
    }

    /// The counts of those that a query selects by decision and code, which alone counts tell;
    /// `None` for a decision that is none.
    pub fn selected(mut self, query: &RequestQuery) -> Option<Self> {
        let wants_answers = match (query.decision.as_str(), query.code.as_str()) {
            ("", "") => return Some(self),
            ("allow" | "failed", "") => true,
            ("" | "allow" | "refuse" | "failed", _) => false,
            _ => return None,
        };
        let wants_refusals = query.decision != "allow";
        for part in &mut self.parts {
            if !wants_answers {
                part.answered = Default::default();
            }
            if !wants_answers || query.decision == "failed" {
                // The times of those that failed are not known apart.
                part.took = Default::default();
            }
            if query.decision == "failed" {
                let failed = ["4xx", "5xx"];
                let classes = part.answered.iter_mut().zip(STATUS_CLASSES);
                classes.filter(|(_, class)| !failed.contains(class)).for_each(|(n, _)| *n = 0);
            }
            let is_wanted = |code: &str| query.code.is_empty() || query.code == code;
            part.refused.retain(|(code, _)| wants_refusals && is_wanted(code));
            (part.refreshed, part.not_refreshed) = (0, 0);
        }
        Some(self)
    }

    /// The same in longer parts, each made of this number of parts.
    #[must_use]
    pub fn in_parts_of(self, number: usize) -> Self {
        let join = |parts: &[RequestCounts]| {
            let mut whole = RequestCounts::default();
            for part in parts {
                whole.merge(part);
            }
            whole
        };
        let seconds = self.seconds * i64::try_from(number).unwrap_or(1);
        let parts = self.parts.chunks(number.max(1)).map(join).collect();
        Self { seconds, parts, ..self }
    }

    /// The answer that tells of it.
    pub fn answer(&self) -> StatsAnswer {
        let by = if self.seconds == CountSpan::Hour.seconds() { "hour" } else { "minute" };
        let stats = self.parts().map(|(start, counts)| part(start, counts)).collect();
        let callers = self.callers.as_ref().map(|callers| {
            let mut all: Vec<_> =
                callers.iter().map(|(name, counts)| caller(name, counts)).collect();
            all.sort_by(|a, b| b.requests.cmp(&a.requests).then_with(|| a.caller.cmp(&b.caller)));
            all
        });
        StatsAnswer { by: by.to_owned(), stats, callers }
    }
}

fn caller(name: &str, counts: &RequestCounts) -> CallerStats {
    let StatsPart { requests, answered, refused, .. } = part(Timestamp::UNIX_EPOCH, counts);
    CallerStats { caller: name.to_owned(), requests, answered, refused }
}

fn part(start: Timestamp, counts: &RequestCounts) -> StatsPart {
    let answered = STATUS_CLASSES.iter().zip(counts.answered).filter(|(_, count)| *count > 0);
    let answered = answered.map(|(class, count)| ((*class).to_owned(), u64::from(count)));
    let refused = counts.refused.iter().map(|(code, n)| (code.to_string(), u64::from(*n)));
    let percentile = |hundredths| counts.percentile(hundredths);
    let latency_ms = percentile(50).zip(percentile(95)).zip(percentile(99));
    StatsPart {
        time: time(start),
        requests: u64::from(counts.sent()) + u64::from(counts.refused_total()),
        answered: answered.collect(),
        refused: refused.collect::<BTreeMap<_, _>>(),
        latency_ms: latency_ms.map(|((p50, p95), p99)| LatencyView { p50, p95, p99 }),
        refreshed: counts.refreshed.into(),
        not_refreshed: counts.not_refreshed.into(),
    }
}

/// The largest number of parts in one answer.
const MAX_PARTS: i64 = 1500;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_history_tells_of_what_a_decision_or_a_code_selects() {
        let mut part = RequestCounts::default();
        for status in [200, 200, 404, 503, 0] {
            part.count(status, None, Some(Duration::from_millis(3)));
        }
        part.count(403, Some("DomainNotAllowed"), None);
        part.count(502, Some("CertificateInvalid"), None);
        part.count_refresh(true);
        let (start, parts) = (Timestamp::UNIX_EPOCH, vec![part]);
        let history = RequestHistory { start, seconds: 60, parts, callers: None };
        let totals = |decision: &str, code: &str| {
            let [decision, code] = [decision, code].map(str::to_owned);
            let query = RequestQuery { decision, code, ..RequestQuery::default() };
            let selected = history.clone().selected(&query)?;
            Some((selected.parts[0].sent(), selected.parts[0].refused_total()))
        };
        for (decision, code, wanted) in [
            ("", "", Some((5, 2))),
            ("allow", "", Some((5, 0))),
            ("refuse", "", Some((0, 2))),
            ("failed", "", Some((2, 2))),
            ("", "DomainNotAllowed", Some((0, 1))),
            ("refuse", "DomainNotAllowed", Some((0, 1))),
            ("allow", "DomainNotAllowed", Some((0, 0))),
            ("sent", "", None),
        ] {
            assert_eq!(totals(decision, code), wanted, "{decision} {code}");
        }
    }
}
