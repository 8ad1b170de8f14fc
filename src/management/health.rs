//! The health of connections, over all instances: which work, which fail and why, who must act.

use jiff::Timestamp;

use super::Management;
use super::fault::{About, Refused, Scope};
use super::listing::{ListPage, contains, cut};
use super::operator::Operator;
use super::status::{ConnectionStatus, State};
use crate::model::connection_health::{FailureSummary, LastFailure};
use crate::model::name::IntegrationName;
use crate::model::name_rule;
use crate::model::remedy::{FailureRemedy, FailureSubject, RemedyActor};
use crate::store::PageRange;
use crate::wire::{FailureView, HealthView, time};

/// Selects connections by their health. An empty text selects all.
#[derive(Clone, Debug, Default)]
pub struct HealthQuery {
    /// Those of this integration.
    pub integration: String,
    /// The one of this name.
    pub connection: String,
    /// Those in a state of this name; `attention` for all in which somebody must act, `refused` for
    /// those whose callers were refused of late.
    pub state: String,
}

impl Management {
    /// The connections that were asked for, in the order of their full names, which are the keys of
    /// the page.
    ///
    /// # Errors
    /// The token has neither of the scopes `read` and `audit`, or does not reach the integration; or
    /// a filter is faulty.
    pub async fn health(
        &self,
        operator: &Operator,
        query: &HealthQuery,
        window: &PageRange,
    ) -> Result<ListPage<(String, HealthView)>, Refused> {
        // 1. What is wanted, and may be seen.
        if !operator.may(Scope::Audit) {
            operator.need(Scope::Read)?;
        }
        let is_known = STATES.contains(&query.state.as_str()) || query.state.is_empty();
        if !is_known {
            let title = format!("state: {}", name_rule(&STATES));
            return Err(Refused::of(About::Request, title));
        }
        let integrations = if query.integration.is_empty() {
            self.integrations(operator)
        } else {
            vec![operator.enter(&query.integration)?]
        };
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let (integration, connection) = (given(&query.integration), given(&query.connection));
        // 2. The health of all of them at once.
        let known = self.health_of(integration.as_deref(), connection.as_deref()).await;
        let (registry, now) = (self.registry(), self.clock.now());
        let mut found = Vec::new();
        for integration in &integrations {
            for listing in registry.listed_in(integration.as_str()) {
                let name = listing.connection.name();
                let key = format!("{integration}.{name}");
                let is_named = connection.as_deref().is_none_or(|wanted| wanted == name.as_str());
                if !is_named || !contains(window, &key) || !operator.reaches(integration, name) {
                    continue;
                }
                let status = ConnectionStatus::of(listing, known.of(listing), now);
                if query.state.is_empty() || status.is_among(&query.state, now) {
                    found.push((key, (integration.clone(), status)));
                }
            }
        }
        // 3. The page.
        found.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let page = cut(found, window, false);
        let view = |(key, (of, status)): (String, (IntegrationName, ConnectionStatus))| {
            (key, status.view(&of, now))
        };
        Ok(ListPage { items: page.items.into_iter().map(view).collect(), has_more: page.has_more })
    }
}

impl State {
    /// Tells whether it is among the states of this name.
    pub(super) fn is_among(self, name: &str) -> bool {
        self.name() == name || (name == ATTENTION && self.needs_attention())
    }

    /// Tells whether somebody must act.
    pub fn needs_attention(self) -> bool {
        !matches!(self, Self::Works | Self::Unused | Self::SwitchedOff)
    }

    /// The way out of it; `None` where nobody must act.
    pub fn remedy(self) -> Option<FailureRemedy> {
        use RemedyActor::{Operator, User};
        let (who, reason, advice) = match self {
            Self::Failing(kind) => return FailureRemedy::of_refusal(kind),
            Self::Rejected(status) => return FailureRemedy::of_status(status),
            Self::Works | Self::Unused | Self::SwitchedOff => return None,
            Self::NewSecretRefused => (
                Operator,
                "the API refuses the new secret",
                "See that the new secret is good, or replace it.",
            ),
            Self::CommandFailed => (
                Operator,
                "the command that prints its secret has failed",
                "Read the server's log, which says why, and correct the command.",
            ),
            Self::Defective(_) => (
                Operator,
                "the rules have become stricter",
                "Delete the connection, and create it as its description of the fault says.",
            ),
            Self::KeyMissing(_) => (
                Operator,
                "a master key is missing",
                "Add the master key to the server's; the secret itself is sound.",
            ),
            Self::NeedsAuthorization => {
                (User, "the grant is dead", "Authorize the connection again.")
            }
            Self::NeedsDomain => (Operator, "it has no allowed domain", "Set its allowed domain."),
            Self::SealBroken => (
                Operator,
                "its secret can't be opened",
                "Delete the connection and create it again: its record was changed by hand.",
            ),
        };
        Some(FailureRemedy { reason, advice, who, subject: FailureSubject::Connection })
    }
}

impl ConnectionStatus {
    /// Tells whether it is among the connections of a state of this name.
    fn is_among(&self, name: &str, now: Timestamp) -> bool {
        let is_refused = name == REFUSED && self.health.refusals.of_late(now.as_second()) > 0;
        is_refused || self.state.is_among(name)
    }

    /// The state in a sentence, with the share of requests that fail.
    pub fn sentence(&self) -> String {
        let is_failing = matches!(self.state, State::Failing(_) | State::Rejected(_));
        match self.health.failure_summary().filter(|_| is_failing) {
            Some(summary) => failing_sentence(&summary),
            None => self.state.words(),
        }
    }

    /// The health as the API shows it.
    pub(super) fn view(&self, integration: &IntegrationName, now: Timestamp) -> HealthView {
        let health = &self.health;
        let summary = health.failure_summary();
        let remedy = self.state.remedy();
        let (requests, failed) = health.window_totals();
        HealthView {
            integration: integration.to_string(),
            name: self.name.to_string(),
            state: self.state.name().to_owned(),
            summary: self.sentence(),
            who: remedy.map_or("", |remedy| remedy.who.as_str()).to_owned(),
            advice: remedy.map_or("", |remedy| remedy.advice).to_owned(),
            failing_since: summary.map(|summary| second_text(summary.since)),
            requests,
            failed,
            requests_today: health.used_today(now.as_second()).into(),
            last_used_at: (health.last_used != 0).then(|| second_text(health.last_used)),
            last_failure: health.failure.as_ref().map(failure_view),
            refusals: health.refusals.of_late(now.as_second()).into(),
            last_refusal: health.refusals.last.as_ref().map(failure_view),
        }
    }
}

pub(super) fn failure_view(failure: &LastFailure) -> FailureView {
    FailureView {
        at: second_text(failure.at),
        cause: failure.cause.to_string(),
        reason: failure.cause.remedy().map_or("", |remedy| remedy.reason).to_owned(),
        request_id: failure.request_id.clone(),
    }
}

/// Such as "failing since 2026-11-30 14:02 UTC: 37 % of 120 requests, mostly 401: the API refuses
/// the key".
pub fn failing_sentence(summary: &FailureSummary) -> String {
    let FailureSummary { since, requests, failed, mostly } = summary;
    let since = Timestamp::from_second(*since).unwrap_or_default().strftime("%Y-%m-%d %H:%M UTC");
    let share = match (failed, requests) {
        (_, 1) => "the only request,".to_owned(),
        (failed, requests) if failed == requests => format!("all of {requests} requests, mostly"),
        _ => {
            let percent = (u64::from(*failed) * 100).div_ceil(u64::from(*requests).max(1));
            format!("{percent} % of {requests} requests, mostly")
        }
    };
    let reason = mostly.remedy().map_or("", |remedy| remedy.reason);
    format!("failing since {since}: {share} {mostly}: {reason}")
}

/// A sentence that says how many requests of callers were refused of late, and why the last was.
pub fn refused_sentence(number: u64, last: &FailureView) -> String {
    let requests = if number == 1 { "request" } else { "requests" };
    let FailureView { cause, reason, .. } = last;
    format!("{number} {requests} refused in the last half hour, the last by {cause}: {reason}")
}

fn second_text(second: i64) -> String {
    time(Timestamp::from_second(second).unwrap_or_default())
}

/// The name of all states in which somebody must act.
pub const ATTENTION: &str = "attention";

/// The name of connections whose callers were refused of late, and must act.
pub const REFUSED: &str = "refused";

const STATES: [&str; 8] =
    [ATTENTION, REFUSED, "works", "unused", "failing", "authorize", "broken", "off"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::connection_health::FailureCause;

    #[test]
    fn a_failing_connection_says_since_when_how_much_and_why() {
        let mut summary = FailureSummary {
            since: 1_800_000_120,
            requests: 120,
            failed: 44,
            mostly: FailureCause::Answered(401),
        };
        assert_eq!(
            failing_sentence(&summary),
            "failing since 2027-01-15 08:02 UTC: 37 % of 120 requests, mostly 401: the API refuses \
             the key"
        );
        summary.failed = 120;
        assert!(failing_sentence(&summary).contains(": all of 120 requests, mostly"));
        summary = FailureSummary { requests: 1, failed: 1, ..summary };
        summary.mostly = FailureCause::Refused("CertificateInvalid".into());
        assert!(failing_sentence(&summary).ends_with(
            "UTC: the only request, CertificateInvalid: the API's certificate is not valid"
        ));
    }

    #[test]
    fn every_state_is_known_by_its_name() {
        assert_eq!(STATES[2..], State::NAMES);
    }
}
