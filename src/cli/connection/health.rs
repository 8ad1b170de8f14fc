//! Connections in which somebody must act: why, and who.

use std::collections::HashMap;

use crate::cli::integration::IntegrationClient;
use crate::cli::output::{self, CliError, printable};
use crate::cli::server::{ApiAnswer, ApiClient, ApiPath};
use crate::cli::table::TextTable;
use crate::management::{ATTENTION, refused_sentence};
use crate::model::name::{ConnectionName, IntegrationName};
use crate::wire::{FailureView, HealthPage, HealthView};

/// The health of those connections in which somebody must act, by name.
#[derive(Default)]
pub(super) struct NeedingConnections(HashMap<String, HealthView>);

impl IntegrationClient<'_> {
    /// The connections of the integration in which somebody must act.
    pub(super) fn needing(&self) -> Result<NeedingConnections, CliError> {
        let page: HealthPage = attention(&self.api, Some(&self.integration))?.read()?;
        let by_name = page.connections.into_iter().map(|health| (health.name.clone(), health));
        Ok(NeedingConnections(by_name.collect()))
    }

    /// The health of the connection of this name.
    pub(super) fn health_of(&self, name: &ConnectionName) -> Result<Option<HealthView>, CliError> {
        let path = ApiPath::keyferry(&["health"])
            .with("integration", self.integration.as_str())
            .with("connection", name.as_str());
        let page: HealthPage = self.api.pages(&path)?.read()?;
        Ok(page.connections.into_iter().next())
    }
}

/// The connections in which somebody must act: of the integration, or of all.
fn attention(
    api: &ApiClient<'_>,
    integration: Option<&IntegrationName>,
) -> Result<ApiAnswer, CliError> {
    let path = ApiPath::keyferry(&["health"]).with("state", ATTENTION);
    let path = integration.iter().fold(path, |path, of| path.with("integration", of.as_str()));
    api.pages(&path)
}

/// Lists the connections in which somebody must act, of the integration or of all.
pub(super) fn list(
    api: &ApiClient<'_>,
    integration: Option<&IntegrationName>,
) -> Result<(), CliError> {
    let answer = attention(api, integration)?;
    api.context.emit(answer.text()?, || {
        let head = ["NAME", "HEALTH", "WHO MUST ACT", "WHAT TO DO", "LAST FAILURE"];
        let mut table = TextTable::new(&head);
        for health in answer.read::<HealthPage>()?.connections {
            let last = health.last_failure.map_or_else(String::new, |it| it.request_id);
            let who = actor(&health.who).to_owned();
            let name = match integration {
                Some(_) => health.name,
                None => format!("{}.{}", health.integration, health.name),
            };
            table.add([name, health.summary, who, health.advice, last]);
        }
        if table.is_empty() {
            let of = integration
                .map_or_else(|| "any integration".to_owned(), |of| format!("the integration {of}"));
            output::note(&format!("nobody must act in a connection of {of}"));
        }
        Ok(table.text())
    })
}

impl NeedingConnections {
    /// The health of the connection of this name, if somebody must act in it.
    pub(super) fn of(&self, name: &str) -> Option<&HealthView> {
        self.0.get(name)
    }

    /// Says on standard error of each of these connections why somebody must act, and who; of some
    /// where there are many.
    pub(super) fn note<'n>(&self, names: impl Iterator<Item = &'n str>) {
        let needing: Vec<_> = names.filter_map(|name| self.of(name)).collect();
        for health in needing.iter().take(MAX_NOTED) {
            output::note(&printable(&format!("keyferry: {}", sentence(health))));
        }
        if let Some(left @ 1..) = needing.len().checked_sub(MAX_NOTED) {
            let connections = output::count(left, "other connection");
            output::note(&format!(
                "keyferry: somebody must act in {connections}: `keyferry connection show NAME` says \
                 why"
            ));
        }
    }
}

/// The state of a connection in which somebody must act, in a word or two.
pub(super) fn word(health: &HealthView) -> String {
    // Since when and how many is a sentence, which no column holds.
    if health.failing_since.is_some() { health.state.clone() } else { health.summary.clone() }
}

/// The lines of a record about such a connection.
pub(super) fn rows(health: Option<&HealthView>) -> [(&'static str, String); 4] {
    let Some(health) = health else { return Default::default() };
    let last = health.last_failure.as_ref().map(place);
    [
        ("health", health.summary.clone()),
        ("who must act", actor(&health.who).to_owned()),
        ("what to do", health.advice.clone()),
        ("last failure", last.unwrap_or_default()),
    ]
}

/// Tells whether somebody must act in the connection.
pub(super) fn needs_somebody(health: &HealthView) -> bool {
    !matches!(health.state.as_str(), "works" | "unused" | "off")
}

/// The lines of a record about what was refused to the callers of a connection.
pub(super) fn refusals(health: Option<&HealthView>) -> [(&'static str, String); 2] {
    let refused = health.filter(|health| health.refusals > 0);
    let last = refused.and_then(|health| Some((health.refusals, health.last_refusal.as_ref()?)));
    let Some((number, last)) = last else { return Default::default() };
    [("refused", refused_sentence(number, last)), ("last refusal", place(last))]
}

/// A failure with the request that failed.
fn place(failure: &FailureView) -> String {
    format!("{} at {}, request {}", failure.cause, failure.at, failure.request_id)
}

fn sentence(health: &HealthView) -> String {
    let HealthView { name, summary, who, advice, .. } = health;
    match actor(who) {
        "" => format!("{name}: {summary}"),
        "nobody" => format!("{name}: {summary}; nobody need act: {advice}"),
        actor => format!("{name}: {summary}; {actor} must act: {advice}"),
    }
}

/// The one who must act, as people call them.
pub(in crate::cli) fn actor(who: &str) -> &str {
    match who {
        "caller" => "the caller",
        "operator" => "the operator",
        "caller_or_operator" => "the caller or the operator",
        "api" => "the operator of the API",
        "user" => "a user with an account at the provider",
        "retry" => "nobody",
        unknown => unknown,
    }
}

/// The number of connections of which it is said; of others it is asked for.
const MAX_NOTED: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_connection_says_why_and_who_must_act() {
        let mut health = HealthView {
            name: "crm".to_owned(),
            state: "failing".to_owned(),
            summary: "failing since 2026-11-30 14:02 UTC: 37 % of 120 requests".to_owned(),
            who: "caller_or_operator".to_owned(),
            advice: "Send fewer requests.".to_owned(),
            failing_since: Some("2026-11-30T14:02:00Z".to_owned()),
            ..HealthView::default()
        };
        assert_eq!(
            sentence(&health),
            "crm: failing since 2026-11-30 14:02 UTC: 37 % of 120 requests; the caller or the \
             operator must act: Send fewer requests."
        );
        assert_eq!(word(&health), "failing");
        health.failing_since = None;
        health.summary = "its secret’s command failed".to_owned();
        assert_eq!(word(&health), "its secret’s command failed");
    }
}
