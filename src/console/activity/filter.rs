//! The filters of requests: as the address has them, and the form that asks for them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use maud::{Markup, html};

use crate::console::page_context::PageContext;
use crate::management::RequestQuery;
use crate::model::remedy::FailureRemedy;

/// The query that the page's address asks for. One integration's requests are found, unless all
/// are asked for.
pub(super) fn query(context: &PageContext) -> RequestQuery {
    let text = |name: &str| context.query(name).trim().to_owned();
    let integration = if text("of") == "all" { "" } else { context.integration() };
    RequestQuery {
        since: as_utc(text("since")),
        until: as_utc(text("until")),
        integration: integration.to_owned(),
        connection: text("connection"),
        caller: text("caller"),
        decision: text("decision"),
        code: text("code"),
        status: text("status"),
        method: text("method").to_ascii_uppercase(),
        path: text("path"),
    }
}

/// The form of the filters.
pub(super) fn form(context: &PageContext, query: &RequestQuery) -> Markup {
    let decisions = [
        ("", "All"),
        ("allow", "Sent"),
        ("refuse", "Refused"),
        ("failed", "Refused or answered with an error"),
    ];
    // Who is bound to one integration is not asked which.
    html! {
        form.filters method="get" action=(context.path("/activity")) role="search" aria-label="Requests" {
            (text("connection", "Connection", &query.connection, Some("connections")))
            (text("caller", "Caller", &query.caller, Some("callers")))
            div {
                label for="decision" { "Decision" }
                select #decision name="decision" {
                    @for (value, name) in decisions { option value=(value) selected[query.decision == value] { (name) } }
                }
            }
            @if context.operator.bound_to().is_none() {
                div {
                    label for="of" { "Integration" }
                    select #of name="of" {
                        option value="" { (context.integration()) }
                        option value="all" selected[query.integration.is_empty()] { "All" }
                    }
                }
            }
            (more(context, query))
            @for name in VIEWED { input type="hidden" name=(name) value=(context.query(name)); }
            button type="submit" { "Filter" }
            @if is_filtered(context) { a href=(context.path("/activity")) { "Show all" } }
        }
        (suggestions(context))
    }
}

/// The filters that are not always needed.
fn more(context: &PageContext, query: &RequestQuery) -> Markup {
    let is_open = MORE_FILTERS.into_iter().any(|name| !context.query(name).is_empty());
    html! {
        details open[is_open] {
            summary { "By code, status, method, path, time or id" }
            div.filters {
                div {
                    label for="code" { "Code" }
                    select #code name="code" {
                        option value="" { "All" }
                        @for code in FailureRemedy::codes() { option value=(code) selected[query.code == code] { (code) } }
                    }
                }
                (text("status", "Status", &query.status, Some("statuses")))
                (text("method", "Method", &query.method, Some("methods")))
                (text("path", "Path begins with", &query.path, None))
                (moment("since", "Since (UTC)", &query.since))
                (moment("until", "Until (UTC)", &query.until))
                (text("id", "Request id", context.query("id"), None))
            }
        }
    }
}

fn text(name: &str, label: &str, value: &str, list: Option<&str>) -> Markup {
    html! {
        div { label for=(name) { (label) } input id=(name) name=(name) value=(value) list=[list] autocomplete="off" spellcheck="false" autocapitalize="none"; }
    }
}

/// A field for a time, as browsers ask for it.
pub(in crate::console) fn moment(name: &str, label: &str, value: &str) -> Markup {
    let local = value.parse::<Timestamp>().map(|time| time.strftime("%Y-%m-%dT%H:%M").to_string());
    html! {
        div { label for=(name) { (label) } input id=(name) name=(name) type="datetime-local" value=(local.as_deref().unwrap_or_default()); }
    }
}

/// The values that fields suggest.
fn suggestions(context: &PageContext) -> Markup {
    let management = context.management();
    let access = management.status_access(&context.operator, context.integration());
    let (connections, _) = access.map(|it| it.names(MAX_SUGGESTED)).unwrap_or_default();
    let explainer = management.explainer(&context.operator);
    let callers = explainer.map(|it| it.callers(MAX_SUGGESTED)).unwrap_or_default();
    html! {
        datalist #connections { @for name in &connections { option value=(name.as_str()) {} } }
        datalist #callers { @for name in &callers { option value=(name) {} } }
        datalist #statuses { @for status in STATUSES { option value=(status) {} } }
        datalist #methods { @for method in METHODS { option value=(method) {} } }
    }
}

/// Reads a time that a browser has sent without its zone as one in UTC.
pub(in crate::console) fn as_utc(text: String) -> String {
    if text.parse::<Timestamp>().is_ok() {
        return text;
    }
    let local = text.parse::<DateTime>().and_then(|local| local.to_zoned(TimeZone::UTC));
    local.map_or(text, |zoned| zoned.timestamp().to_string())
}

/// Tells whether the page shows some requests only.
fn is_filtered(context: &PageContext) -> bool {
    FILTERS.into_iter().any(|name| !context.query(name).is_empty())
}

/// The page with one thing changed.
pub(super) fn filtered(context: &PageContext, name: &str, value: &str) -> String {
    filtered_at(context, "/activity", &[(name, value)])
}

/// A path with the page's filters, of which these are others.
pub(super) fn filtered_at(context: &PageContext, below: &str, more: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for name in FILTERS.into_iter().chain(VIEWED) {
        let value = context.query(name);
        if !value.is_empty() && more.iter().all(|(known, _)| *known != name) {
            query.append_pair(name, value);
        }
    }
    query.extend_pairs(more.iter().filter(|(_, value)| !value.is_empty()));
    format!("{}?{}", context.path(below), query.finish())
}

const FILTERS: [&str; 10] = [
    "of",
    "connection",
    "caller",
    "decision",
    "code",
    "status",
    "method",
    "path",
    "since",
    "until",
];

/// The parameters that say which charts are looked at.
const VIEWED: [&str; 2] = ["span", "by"];

const MORE_FILTERS: [&str; 7] = ["code", "status", "method", "path", "since", "until", "id"];

const STATUSES: [&str; 10] = ["2xx", "3xx", "4xx", "5xx", "200", "401", "403", "404", "429", "500"];

const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

/// The number of names that a field suggests; others can be typed.
const MAX_SUGGESTED: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_without_a_zone_is_one_in_utc() {
        for (given, read) in [
            ("2026-11-30T14:02", "2026-11-30T14:02:00Z"),
            ("2026-11-30T14:02:07", "2026-11-30T14:02:07Z"),
            ("2026-11-30T14:02:07+01:00", "2026-11-30T14:02:07+01:00"),
            ("soon", "soon"),
            ("", ""),
        ] {
            assert_eq!(as_utc(given.to_owned()), read);
        }
    }
}
