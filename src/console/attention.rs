//! Connections in which somebody must act: since when, why, who, and the way to the cause.

use maud::{Markup, html};

use super::page_context::PageContext;
use super::{activity, list, status_view};
use crate::error::capitalized;
use crate::management::{
    ATTENTION, ConnectionStatus, HealthQuery, RequestQuery, Scope, StatusPage,
};
use crate::store::PageRange;

/// The connections that need somebody, the most frequent failures first.
pub(super) fn section(context: &PageContext, survey: &StatusPage) -> Markup {
    let all = context.path("/connections?state=attention");
    html! {
        @if survey.needing > 0 {
            section.attention aria-labelledby="attention" {
                h2 #attention { "Needs attention" }
                ul.plain { @for item in &survey.attention { li { (one(context, item)) } } }
                @if survey.needing > survey.attention.len() {
                    p { a href=(all) { "All " (survey.needing) " that need attention" } }
                }
            }
        }
    }
}

fn one(context: &PageContext, item: &ConnectionStatus) -> Markup {
    let remedy = item.state.remedy();
    let cause = last_failure(context, item);
    html! {
        p {
            strong {
                @if context.operator.may(Scope::Read) { a href=(list::path(context, item)) { (status_view::breakable(item.name.as_str())) } }
                @else { (status_view::breakable(item.name.as_str())) }
            }
            " " (item.sentence())
        }
        p.aside {
            @if let Some(remedy) = remedy { (must_act(remedy.who.as_str())) " " (remedy.advice) }
            @if let Some(path) = cause { " " a href=(path) { (CAUSE) } }
        }
    }
}

/// The advice at the top of a connection's page, with the way to the last failure where requests
/// fail.
pub(super) fn advice(context: &PageContext, item: &ConnectionStatus) -> Markup {
    let Some(advice) = status_view::advice(item.state) else { return html! {} };
    let is_failing = item.state.name() == "failing";
    let cause = last_failure(context, item).filter(|_| is_failing);
    let remedy = item.state.remedy().filter(|_| is_failing);
    html! {
        div.advice {
            @if is_failing { p { strong { (capitalized(&item.sentence())) "." } } }
            p {
                @if let Some(remedy) = remedy { (must_act(remedy.who.as_str())) " " (remedy.advice) }
                @else { (advice) }
                @if let Some(path) = cause { " " a href=(path) { (CAUSE) } }
            }
        }
    }
}

/// The connections of all integrations that need somebody, at most some; nothing where none does.
pub(super) async fn everywhere(context: &PageContext) -> Markup {
    // They are found by their health, as the API gives it.
    let query = HealthQuery { state: ATTENTION.to_owned(), ..HealthQuery::default() };
    let window = PageRange { after: None, before: None, limit: SHOWN_EVERYWHERE };
    let found = context.management().health(&context.operator, &query, &window).await;
    let Ok(found) = found else { return html! {} };
    let may_read = context.operator.may(Scope::Audit) && context.management().keeps();
    html! {
        @if !found.items.is_empty() {
            section.attention aria-labelledby="attention" {
                h2 #attention { "Needs attention" }
                ul.plain { @for (_, item) in &found.items { li {
                    @let here = format!("/console/i/{}", item.integration);
                    p {
                        strong { a href=(format!("{here}/connections?q={}", item.name)) { (status_view::breakable(&format!("{}.{}", item.integration, item.name))) } }
                        " " (item.summary)
                    }
                    p.aside {
                        @if !item.who.is_empty() { (must_act(&item.who)) " " (item.advice) }
                        @if let Some(failure) = item.last_failure.as_ref().filter(|_| may_read) {
                            " " a href=(format!("{here}/requests/{}", failure.request_id)) { (CAUSE) }
                        }
                    }
                } } }
                @if found.has_more { p { "There are more: see each integration." } }
            }
        }
    }
}

fn must_act(name: &str) -> String {
    let actor = status_view::actor(name);
    let actor = actor.split_once(", which").map_or(actor, |(short, _)| short);
    format!("{} must act.", capitalized(actor))
}

/// The page of the last request that failed, where the failures are the state, for those who may
/// read it.
pub(super) fn last_failure(context: &PageContext, item: &ConnectionStatus) -> Option<String> {
    let failure = item.health.failure.as_ref()?;
    let may_read = context.operator.may(Scope::Audit) && context.management().keeps();
    may_read.then(|| context.path(&format!("/requests/{}", failure.request_id)))
}

/// The last requests by the connection that the path names which failed; nothing for an operator
/// who may not read them.
pub(super) async fn failures(context: &PageContext) -> Markup {
    if !context.operator.may(Scope::Audit) || !context.management().keeps() {
        return html! {};
    }
    // The newest of what Activity shows with the same filters.
    let (name, now) = (context.place("name"), context.management().now());
    let query = RequestQuery {
        integration: context.integration().to_owned(),
        connection: name.to_owned(),
        decision: "failed".to_owned(),
        ..RequestQuery::default()
    };
    let window = PageRange { after: None, before: None, limit: FAILURES_SHOWN };
    let Ok(reader) = activity::reader(context) else { return html! {} };
    let Ok(found) = reader.find(&query, &window).await else { return html! {} };
    let all = context.path(&format!("/activity?connection={name}&decision=failed"));
    html! {
        @if !found.listing.items.is_empty() {
            section aria-labelledby="failures" {
                h2 #failures { "Last failures" }
                table.rows.entries {
                    caption.unseen { "Requests that failed, newest first" }
                    (activity::heads())
                    tbody { @for (_, entry) in &found.listing.items { (activity::row(context, entry, now)) } }
                }
                @if found.listing.has_more { p { a href=(all) { "All that failed" } } }
            }
        }
    }
}

/// The words that lead to the last failure.
const CAUSE: &str = "See the last request that failed.";

const FAILURES_SHOWN: u32 = 5;

const SHOWN_EVERYWHERE: u32 = 10;
