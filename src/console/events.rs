//! Events: who changed what, of the integration or of one connection.

mod check;
mod export;

use http::StatusCode;
use jiff::Timestamp;
use maud::{Markup, html};
use serde_json::Value;

pub(super) use self::check::page as check;
pub(super) use self::export::export;
use super::activity::filter::{as_utc, moment as moment_field};
use super::errors::sentence;
use super::layout::Tab;
use super::page_context::{PageContext, PageResult};
use super::status_view;
use crate::management::{EventQuery, EventReader, ListPage, Refused, Scope};
use crate::model::event::EventKind;
use crate::store::PageRange;
use crate::wire::{EventContent, EventPerson, EventView};

pub(super) async fn page(context: PageContext) -> PageResult {
    // 1. The events that are asked for.
    let query = query(&context);
    let after = Some(context.query("after")).filter(|text| !text.is_empty()).map(str::to_owned);
    let window = PageRange { after, before: None, limit: EVENTS_PER_PAGE };
    let listing = match reader(&context) {
        Ok(reader) => reader.list(&query, &window).await,
        Err(refused) => Err(refused),
    };
    let (ListPage { items, has_more }, fault) = match listing {
        Ok(found) => (found, None),
        Err(Refused::Faulty(faults)) => {
            (ListPage { items: Vec::new(), has_more: false }, Some(sentence(&faults)))
        }
        Err(refused) => return Err(context.refuse(refused)),
    };
    // 2. The page, and where the older ones are.
    let oldest = items.last().filter(|_| has_more).map(|event| event.id.clone());
    let status = if fault.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let markup = html! {
        div.head {
            h1 { "Events" }
            @if context.management().keeps() && context.operator.reaches_everything() {
                a.button.quiet href=(context.path("/events/check")) { "Check the chain" }
            }
        }
        p.hint { "What operators created, changed, deleted or were shown. What requests did is on the page Activity." }
        (filters(&context, &query))
        @if let Some(fault) = &fault {
            p.fault role="alert" { (fault) }
        } @else if !context.management().keeps() {
            p.empty { "This server keeps nothing, so there are no events; the log has every change." }
        } @else if items.is_empty() {
            p.empty { "No event is like that." }
        } @else {
            (table(&context, &items))
            nav.pages aria-label="Pages" {
                @if let Some(oldest) = &oldest {
                    a.button.quiet rel="next" href=(filtered(&context, "/events", &[("after", oldest)])) { "Older" }
                }
                span.hint {
                    "Download these, and older ones up to " (export::MAX_EXPORTED) ": "
                    a href=(filtered(&context, "/events/export", &[])) download { "NDJSON" }
                }
            }
        }
    };
    Ok(context.page_with(status, Tab::Events, "Events", &markup))
}

/// The last events of the connection that the path names, for its page; nothing for an operator who
/// may not read them.
pub(super) async fn section(context: &PageContext) -> Markup {
    if !context.operator.may(Scope::Audit) || !context.management().keeps() {
        return html! {};
    }
    // The filters are those of the whole page, for this connection.
    let name = context.place("name");
    let query = EventQuery {
        integration: context.integration().to_owned(),
        connection: name.to_owned(),
        ..EventQuery::default()
    };
    let window = PageRange { after: None, before: None, limit: EVENTS_PER_SECTION };
    let listing = match reader(context) {
        Ok(reader) => reader.list(&query, &window).await,
        Err(refused) => Err(refused),
    };
    let Ok(ListPage { items, has_more }) = listing else { return html! {} };
    let all = context.path(&format!("/events?connection={name}"));
    html! {
        section aria-labelledby="events" {
            h2 #events { "Events" }
            @if items.is_empty() {
                p.empty { "Nothing was changed of it since events are kept." }
            } @else {
                (table(context, &items))
                @if has_more { p { a href=(all) { "All of its events" } } }
            }
        }
    }
}

/// The right to read events.
fn reader(context: &PageContext) -> Result<EventReader<'_>, Refused> {
    context.management().event_reader(&context.operator)
}

/// The filters of the page. One integration's events are shown, unless all are asked for.
fn query(context: &PageContext) -> EventQuery {
    let text = |name: &str| context.query(name).trim().to_owned();
    let integration = if text("of") == "all" { "" } else { context.integration() };
    EventQuery {
        integration: integration.to_owned(),
        connection: text("connection"),
        operator: text("operator"),
        kind: text("kind"),
        since: as_utc(text("since")),
        until: as_utc(text("until")),
    }
}

fn filters(context: &PageContext, query: &EventQuery) -> Markup {
    let kinds = EventKind::GROUPS.into_iter().chain(EventKind::ALL.map(EventKind::as_str));
    let text = |name: &str, label: &str, value: &str| {
        html! {
            div { label for=(name) { (label) } input id=(name) name=(name) value=(value) spellcheck="false" autocapitalize="none"; }
        }
    };
    // Who is bound to one integration is not asked which.
    html! {
        form.filters method="get" action=(context.path("/events")) role="search" aria-label="Events" {
            (text("connection", "Connection", &query.connection))
            (text("operator", "Operator", &query.operator))
            div {
                label for="kind" { "Kind" }
                select #kind name="kind" {
                    option value="" { "All kinds" }
                    @for kind in kinds { option value=(kind) selected[query.kind == kind] { (kind) } }
                }
            }
            (moment_field("since", "Since (UTC)", &query.since))
            (moment_field("until", "Until (UTC)", &query.until))
            @if context.operator.bound_to().is_none() {
                div {
                    label for="of" { "Integration" }
                    select #of name="of" {
                        option value="" { (context.integration()) }
                        option value="all" selected[query.integration.is_empty()] { "All" }
                    }
                }
            }
            button type="submit" { "Filter" }
        }
    }
}

fn table(context: &PageContext, events: &[EventView]) -> Markup {
    let now = context.management().now();
    html! {
        table.rows.entries.events {
            caption.unseen { "Events, newest first" }
            thead { tr {
                th scope="col" { "Time" }
                th scope="col" { "What" }
                th scope="col" { "About" }
                th.medium scope="col" { "Operator" }
                th.wide scope="col" { "From" }
            } }
            tbody { @for event in events { (row(context, &event.content, now)) } }
        }
    }
}

fn row(context: &PageContext, event: &EventContent, now: Timestamp) -> Markup {
    let elsewhere = !event.integration.is_empty() && event.integration != context.integration();
    let changes = changes(event);
    // On a narrow screen the less important cells are left out.
    html! {
        tr {
            td { (moment(&event.time, now)) }
            td {
                (status_view::breakable(&event.kind))
                @if let Some(failure) = &event.failure { div.reason { "failed: " (failure) } }
            }
            td {
                @if elsewhere { (status_view::breakable(&event.integration)) "." }
                (status_view::breakable(&event.subject))
                @if event.secret_changed { div.reason { "with a new secret" } }
                @if !changes.is_empty() {
                    details {
                        summary { "What changed" }
                        dl.facts { @for (member, before, after) in &changes {
                            dt { (member) }
                            dd { @if let Some(before) = before { del { (before) } " " } @if let Some(after) = after { ins { (after) } } }
                        } }
                    }
                }
                div.narrow { "by " (operator(event)) }
            }
            td.medium { (operator(event)) }
            td.wide { (event.address) }
        }
    }
}

/// The operator. A person, whose name may be that of a token, is told from one by more.
fn operator(event: &EventContent) -> Markup {
    html! {
        (status_view::breakable(&event.operator))
        @if let Some(EventPerson { issuer, subject, .. }) = &event.person {
            details {
                summary { "Person" }
                dl.facts {
                    dt { "Provider" } dd { (issuer) }
                    dt { "Identifier" } dd { (subject) }
                }
            }
        }
    }
}

/// The members that differ before and after.
fn changes(event: &EventContent) -> Vec<(String, Option<String>, Option<String>)> {
    let members = |side: &Option<Value>| match side {
        Some(Value::Object(members)) => members.clone(),
        _ => serde_json::Map::new(),
    };
    let (before, after) = (members(&event.before), members(&event.after));
    let mut names: Vec<_> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    let differing = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    let shown = differing.filter(|name| !UNTOLD.contains(&name.as_str()));
    shown.map(|name| (name.clone(), text(before.get(name)), text(after.get(name)))).collect()
}

/// A value in words; nothing for one that is not there.
fn text(value: Option<&Value>) -> Option<String> {
    let text = match value? {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let is_long = text.chars().count() > MAX_VALUE_LEN;
    let cut: String = text.chars().take(MAX_VALUE_LEN).collect();
    Some(if is_long { format!("{cut}…") } else { text })
}

fn moment(time: &str, now: Timestamp) -> Markup {
    match time.parse::<Timestamp>() {
        Ok(time) if now.duration_since(time).as_hours() < 24 => status_view::clock(time),
        Ok(time) => status_view::time(time),
        Err(_) => html! { (time) },
    }
}

/// A path with the page's filters, and with this beside.
fn filtered(context: &PageContext, below: &str, more: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for name in ["of", "connection", "operator", "kind", "since", "until"] {
        let value = context.query(name);
        if !value.is_empty() {
            query.append_pair(name, value);
        }
    }
    query.extend_pairs(more);
    format!("{}?{}", context.path(below), query.finish())
}

/// The members that say nothing beside the event's own time.
const UNTOLD: [&str; 2] = ["created_at", "updated_at"];

/// The longest value that is shown whole, in characters.
const MAX_VALUE_LEN: usize = 200;

const EVENTS_PER_PAGE: u32 = 100;

const EVENTS_PER_SECTION: u32 = 10;
