//! The list of connections: all types, searched, filtered and sorted, a page at a time.

mod bulk;
mod order;

use axum::response::Response;
use jiff::Timestamp;
use maud::{Markup, html};

use self::order::{at, heads, order_field};
use super::layout::Tab;
use super::page_context::{PageContext, PageResult};
use super::{attention, status_view};
use crate::management::{
    ATTENTION, ConnectionStatus, Scope, State, StatusFilter, StatusOrder, StatusPage,
};
use crate::model::connection::ConnectionType;
use crate::store::PageRange;

pub(super) use self::bulk::act;

pub(super) async fn list(context: PageContext) -> PageResult {
    let access = context.management().status_access(&context.operator, context.integration());
    let access = access.map_err(|refused| context.refuse(refused))?;
    let search = search(&context);
    let survey = access.status_page(&search).await;
    Ok(shown(&context, &search, &survey))
}

fn search(context: &PageContext) -> StatusFilter<'_> {
    let cursor =
        |name| Some(context.query(name)).filter(|text| !text.is_empty()).map(str::to_owned);
    let is_state = |name: &&str| State::NAMES.contains(name) || *name == ATTENTION;
    let state = Some(context.query("state")).filter(is_state);
    // The first page, before anything is looked for, begins with what needs somebody.
    let is_first = FILTERS.into_iter().all(|name| context.query(name).is_empty());
    StatusFilter {
        text: context.query("q").trim(),
        kind: ConnectionType::parse(context.query("type")).ok(),
        state,
        order: StatusOrder::parse(context.query("sort")).unwrap_or_default(),
        window: PageRange { after: cursor("after"), before: cursor("before"), limit: PER_PAGE },
        attention: if is_first { MAX_ATTENTION } else { 0 },
    }
}

fn shown(context: &PageContext, search: &StatusFilter<'_>, survey: &StatusPage) -> Response {
    let now = context.management().now();
    let markup = html! {
        div.head {
            h1 { "Connections" }
            @if context.may_write() {
                a.button href=(context.path("/connections/new")) { "Create connection" }
            }
        }
        @if survey.all == 0 {
            (nothing(context))
        } @else {
            (attention::section(context, survey))
            (filters(context, search))
            p.count role="status" { (count(survey)) }
            @if survey.page.items.is_empty() {
                p.empty { "No connection is like that. " a href=(context.path("/connections")) { "Show all" } "." }
            } @else {
                (table(context, search, &survey.page.items, now))
                (pages(context, search, survey, now))
                @if context.may_write() { (bulk::form(context, search)) }
            }
        }
    };
    context.page(Tab::Connections, "Connections", &markup)
}

fn count(survey: &StatusPage) -> String {
    if survey.found == survey.all {
        format!("{} in all", survey.all)
    } else {
        format!("{} of {}", survey.found, survey.all)
    }
}

/// Says what to do where there is nothing yet.
fn nothing(context: &PageContext) -> Markup {
    html! {
        div.empty {
            p { strong { "This integration has no connections yet." } }
            p {
                "A connection keeps the credential for one service, and lets requests use it at one allowed domain."
            }
            @if context.may_write() {
                p {
                    a.button href=(context.path("/connections/new")) { "Create the first one" } " "
                    a href=(context.path("/clients")) { "or set up an OAuth client" }
                }
            } @else {
                p { "You may not create one: that needs the scope write." }
            }
        }
    }
}

fn filters(context: &PageContext, search: &StatusFilter<'_>) -> Markup {
    let states = [
        "works",
        "not used yet",
        "failing",
        "needs action",
        "secret can’t be opened",
        "switched off",
    ];
    html! {
        form.filters method="get" action=(context.path("/connections")) role="search" aria-label="Connections" {
            div {
                label for="q" { "Name or domain" }
                input #q type="search" name="q" value=(search.text) spellcheck="false" autocapitalize="none";
            }
            div {
                label for="type" { "Type" }
                select #type name="type" {
                    option value="" { "All types" }
                    @for kind in ConnectionType::ALL {
                        option value=(kind.as_str()) selected[search.kind == Some(kind)] { (status_view::kind(kind)) }
                    }
                }
            }
            div {
                label for="state" { "State" }
                select #state name="state" {
                    option value="" { "All states" }
                    option value=(ATTENTION) selected[search.state == Some(ATTENTION)] { "needs attention" }
                    @for (name, words) in State::NAMES.into_iter().zip(states) {
                        option value=(name) selected[search.state == Some(name)] { (words) }
                    }
                }
            }
            (order_field(search.order))
            button type="submit" { "Search" }
        }
    }
}

fn table(
    context: &PageContext,
    search: &StatusFilter<'_>,
    items: &[ConnectionStatus],
    now: Timestamp,
) -> Markup {
    html! {
        table.rows.connections {
            caption.unseen { "Connections" }
            (heads(context, search))
            tbody { @for item in items { (row(context, item, now)) } }
        }
    }
}

fn row(context: &PageContext, item: &ConnectionStatus, now: Timestamp) -> Markup {
    // 1. The share of failures, in numbers for those who point at it.
    let domain = &item.domains;
    let (requests, failed) = item.health.window_totals();
    let of_these = format!("{failed} of the last {requests} requests");
    // 2. The cells.
    html! {
        tr {
            @if context.may_write() { td.pick { @if !item.declared { (bulk::pick(item)) } } }
            th scope="row" {
                @if context.operator.may(Scope::Read) {
                    a href=(path(context, item)) { (status_view::breakable(item.name.as_str())) }
                } @else { (status_view::breakable(item.name.as_str())) }
                @if item.declared { " " span.tag title="The configuration declares it; it can’t be changed here" { "declared" } }
                div.narrow { (status_view::kind(item.kind)) " · " (status_view::breakable(domain)) }
            }
            td.wide.kind { (status_view::kind(item.kind)) }
            td.wide { code { (status_view::breakable(domain)) } }
            td { (status_view::state(item, now)) }
            td.medium { @if let Some(at) = item.last_used() { (status_view::time(at)) } @else { span.none { "–" } } }
            td.wide { (last_error(context, item)) }
            td.number.widest title=[(requests > 0).then_some(of_these)] {
                @if requests > 0 { ((failed * 100).div_ceil(requests)) " %" } @else { span.none { "–" } }
            }
            td.number.medium { (item.health.used_today(now.as_second())) }
        }
    }
}

/// The last failure, which leads to its request.
fn last_error(context: &PageContext, item: &ConnectionStatus) -> Markup {
    let failure = item.health.failure.as_ref();
    let moment = failure.and_then(|failure| Timestamp::from_second(failure.at).ok());
    html! {
        @if let Some((failure, moment)) = failure.zip(moment) {
            @match attention::last_failure(context, item) {
                Some(path) => { a href=(path) { (failure.cause.to_string()) } }
                None => { (failure.cause.to_string()) }
            }
            " " span.aside { (status_view::time(moment)) }
        } @else { span.none { "–" } }
    }
}

/// The path at which a connection is shown.
pub(super) fn path(context: &PageContext, item: &ConnectionStatus) -> String {
    context.path(&format!("/connections/{}/{}", item.kind.as_str(), item.name))
}

fn pages(
    context: &PageContext,
    search: &StatusFilter<'_>,
    survey: &StatusPage,
    now: Timestamp,
) -> Markup {
    let backwards = search.window.before.is_some() && search.window.after.is_none();
    let (more, others) = (survey.page.has_more, survey.has_others);
    let (has_next, has_previous) = if backwards { (others, more) } else { (more, others) };
    let link = |name: &str, item: Option<&ConnectionStatus>| {
        let place = item.map(|item| search.order.cursor(item, now)).unwrap_or_default();
        at(context, search, search.order, Some((name, &place)))
    };
    html! {
        @if has_next || has_previous {
            nav.pages aria-label="Pages" {
                @if has_previous { a.button.quiet rel="prev" href=(link("before", survey.page.items.first())) { "Previous" } }
                @if has_next { a.button.quiet rel="next" href=(link("after", survey.page.items.last())) { "Next" } }
            }
        }
    }
}

/// The parameters that say what is looked for.
const FILTERS: [&str; 5] = ["q", "type", "state", "after", "before"];

const MAX_ATTENTION: usize = 10;
const PER_PAGE: u32 = 100;
