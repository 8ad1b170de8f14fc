//! The list of connections: all types, searched and filtered, a page at a time.

use axum::response::Response;
use jiff::Timestamp;
use maud::{Markup, html};

use super::layout::Tab;
use super::page_context::{PageContext, PageResult};
use super::{attention, status_view};
use crate::management::{ATTENTION, ConnectionStatus, Scope, State, StatusFilter, StatusPage};
use crate::model::connection::ConnectionType;
use crate::store::PageRange;

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
                (table(context, &survey.page.items, now))
                (pages(context, search, survey))
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
                p { "Your token may not create one: it lacks the scope write." }
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
            button type="submit" { "Search" }
        }
    }
}

fn table(context: &PageContext, items: &[ConnectionStatus], now: Timestamp) -> Markup {
    html! {
        table.rows.connections {
            caption.unseen { "Connections" }
            thead { tr {
                th scope="col" { "Name" }
                th.wide scope="col" { "Type" }
                th.wide scope="col" { "Allowed domain" }
                th scope="col" { "State" }
                th.medium scope="col" { "Last used" }
                th.wide scope="col" { "Last error" }
                th.number.medium scope="col" { "Today" }
            } }
            tbody { @for item in items { (row(context, item, now)) } }
        }
    }
}

fn row(context: &PageContext, item: &ConnectionStatus, now: Timestamp) -> Markup {
    let domain = &item.domains;
    html! {
        tr {
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

fn pages(context: &PageContext, search: &StatusFilter<'_>, survey: &StatusPage) -> Markup {
    let backwards = search.window.before.is_some() && search.window.after.is_none();
    let (more, others) = (survey.page.has_more, survey.has_others);
    let (has_next, has_previous) = if backwards { (others, more) } else { (more, others) };
    let link = |cursor: &str, item: Option<&ConnectionStatus>| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("q", search.text);
        query.append_pair("type", search.kind.map_or("", ConnectionType::as_str));
        query.append_pair("state", search.state.unwrap_or_default());
        query.append_pair(cursor, item.map_or("", |item| item.name.as_str()));
        format!("{}?{}", context.path("/connections"), query.finish())
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
