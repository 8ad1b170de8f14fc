//! Connections in which somebody must act: since when, why, who, and the way to the cause.

use jiff::Timestamp;
use maud::{Markup, html};

use super::page_context::PageContext;
use super::{activity, list, status_view};
use crate::error::capitalized;
use crate::management::{
    ATTENTION, ConnectionStatus, HealthQuery, ListPage, REFUSED, RequestQuery, Scope, StatusPage,
    refused_sentence,
};
use crate::store::PageRange;
use crate::wire::{FailureView, HealthView};

/// The connections that need somebody, the most frequent failures first.
pub(super) fn section(context: &PageContext, survey: &StatusPage) -> Markup {
    let all = context.path("/connections?state=attention");
    let now = context.management().now();
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
        @if !survey.refused.is_empty() {
            (refused_callers(&html! { @for item in &survey.refused { li {
                p { (connection(context, item)) " " (refusals(context, item, now)) }
            } } }))
        }
    }
}

/// The connections whose callers were refused, which is no failure of theirs.
fn refused_callers(items: &Markup) -> Markup {
    html! {
        section.attention.mild aria-labelledby="refused" {
            h2 #refused { "Refused callers" }
            p.hint { "Nothing is wrong with these connections: what was asked of them is not allowed." }
            ul.plain { (items) }
        }
    }
}

/// The refusals to the callers of a connection, with the way to the last.
fn refusals(context: &PageContext, item: &ConnectionStatus, now: Timestamp) -> Markup {
    let Some((sentence, last)) = item.refusals(now) else { return html! {} };
    let remedy = last.cause.remedy();
    html! {
        (sentence) "."
        @if let Some(remedy) = remedy { " " (must_act(remedy.who.as_str())) " " (remedy.advice) }
        @if may_read_requests(context) {
            " " a href=(context.path(&format!("/requests/{}", last.request_id))) { (REFUSAL) }
        }
    }
}

/// The name, which leads to the connection's page.
fn connection(context: &PageContext, item: &ConnectionStatus) -> Markup {
    let name = status_view::breakable(item.name.as_str());
    html! {
        strong {
            @if context.operator.may(Scope::Read) { a href=(list::path(context, item)) { (name) } }
            @else { (name) }
        }
    }
}

fn may_read_requests(context: &PageContext) -> bool {
    context.operator.may(Scope::Audit) && context.management().keeps()
}

fn one(context: &PageContext, item: &ConnectionStatus) -> Markup {
    let remedy = item.state.remedy();
    let cause = last_failure(context, item);
    html! {
        p { (connection(context, item)) " " (item.sentence()) }
        p.aside {
            @if let Some(remedy) = remedy { (must_act(remedy.who.as_str())) " " (remedy.advice) }
            @if let Some(path) = cause { " " a href=(path) { (CAUSE) } }
        }
    }
}

/// The advice at the top of a connection's page, with the way to the last failure where requests
/// fail.
pub(super) fn advice(context: &PageContext, item: &ConnectionStatus) -> Markup {
    let refusals = refusals(context, item, context.management().now());
    let refusals = html! { @if !refusals.0.is_empty() { p.advice { (refusals) } } };
    let Some(advice) = status_view::advice(item.state) else { return refusals };
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
        (refusals)
    }
}

/// The connections of all integrations that need somebody, or whose callers do, at most some of
/// each; nothing where none does.
pub(super) async fn everywhere(context: &PageContext) -> Markup {
    // They are found by their health, as the API gives it.
    let (needing, refused) = tokio::join!(of_state(context, ATTENTION), of_state(context, REFUSED));
    html! {
        @if !needing.items.is_empty() {
            section.attention aria-labelledby="attention" {
                h2 #attention { "Needs attention" }
                ul.plain { @for (_, item) in &needing.items { li {
                    p { (elsewhere(item)) " " (item.summary) }
                    p.aside {
                        @if !item.who.is_empty() { (must_act(&item.who)) " " (item.advice) }
                        (last_of(context, item, item.last_failure.as_ref(), CAUSE))
                    }
                } } }
                @if needing.has_more { p { "There are more: see each integration." } }
            }
        }
        @if !refused.items.is_empty() {
            (refused_callers(&html! { @for (_, item) in &refused.items { li { p {
                (elsewhere(item))
                @if let Some(last) = &item.last_refusal { " " (refused_sentence(item.refusals, last)) "." }
                (last_of(context, item, item.last_refusal.as_ref(), REFUSAL))
            } } } }))
        }
    }
}

async fn of_state(context: &PageContext, state: &str) -> ListPage<(String, HealthView)> {
    let query = HealthQuery { state: state.to_owned(), ..HealthQuery::default() };
    let window = PageRange { after: None, before: None, limit: SHOWN_EVERYWHERE };
    let found = context.management().health(&context.operator, &query, &window).await;
    found.unwrap_or(ListPage { items: Vec::new(), has_more: false })
}

/// The full name of a connection, which leads to it.
fn elsewhere(item: &HealthView) -> Markup {
    let path = format!("/console/i/{}/connections?q={}", item.integration, item.name);
    let name = format!("{}.{}", item.integration, item.name);
    html! { strong { a href=(path) { (status_view::breakable(&name)) } } }
}

/// The way to the last request, for those who may read it.
fn last_of(
    context: &PageContext,
    item: &HealthView,
    last: Option<&FailureView>,
    words: &str,
) -> Markup {
    let here = format!("/console/i/{}", item.integration);
    html! {
        @if let Some(last) = last.filter(|_| may_read_requests(context)) {
            " " a href=(format!("{here}/requests/{}", last.request_id)) { (words) }
        }
    }
}

fn must_act(name: &str) -> String {
    let actor = status_view::actor(name);
    let actor = actor.split_once(", which").map_or(actor, |(short, _)| short);
    let verb = if name == "retry" { "need" } else { "must" };
    format!("{} {verb} act.", capitalized(actor))
}

/// The page of the last request that failed, where the failures are the state, for those who may
/// read it.
pub(super) fn last_failure(context: &PageContext, item: &ConnectionStatus) -> Option<String> {
    let failure = item.health.failure.as_ref()?;
    may_read_requests(context).then(|| context.path(&format!("/requests/{}", failure.request_id)))
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

/// The words that lead to the last refusal.
const REFUSAL: &str = "See the last request that was refused.";

const FAILURES_SHOWN: u32 = 5;

const SHOWN_EVERYWHERE: u32 = 10;
