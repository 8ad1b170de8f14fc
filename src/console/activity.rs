//! Requests as they happen, and the last hour and day in charts.

use axum::response::IntoResponse as _;
use http::HeaderName;
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};

use super::chart::Past;
use super::layout::{self, Tab};
use super::page_context::{PageContext, PageError, PageResult};
use super::status_view;
use crate::management::{AuditPosition, AuditReader, StatsQuery};
use crate::store::PageRange;
use crate::wire::AuditEntry;

/// Selects the entries that are shown.
struct Filter<'a> {
    /// Those of this integration, where not all are.
    integration: Option<&'a str>,
    connection: &'a str,
    caller: &'a str,
    decision: &'a str,
}

struct Entries {
    /// Newest first.
    rows: Vec<(AuditPosition, AuditEntry)>,
    /// The cursor at which older ones begin, if there may be any.
    oldest: Option<String>,
    /// Up to where these are all.
    newest: Option<AuditPosition>,
}

pub(super) async fn page(context: PageContext) -> PageResult {
    let filter = Filter::of(&context);
    let entries = entries(&context, &filter).await?;
    let charts = charts(&context, &filter).await?;
    // Only the first page grows while it is looked at.
    let live = context.query("after").is_empty();
    let markup = html! {
        div.head {
            h1 { "Activity" }
            @if live { button.quiet #pause type="button" hidden aria-pressed="false" { "Pause" } }
        }
        (charts)
        section aria-labelledby="requests" {
            h2 #requests { "Requests" }
            (filters(&context, &filter))
            p.count #arrived role="status" {}
            @if !context.management().keeps() {
                p.empty { "This server keeps nothing, so there is no list; the log has every request." }
            } @else {
                @if entries.rows.is_empty() { p.empty #nothing { "No request is like that yet. They are here a second after they have ended." } }
                (table(&context, &entries, live))
                @if let Some(oldest) = &entries.oldest {
                    nav.pages aria-label="Pages" { a.button.quiet rel="next" href=(filtered(&context, "after", oldest)) { "Older" } }
                }
            }
        }
    };
    Ok(context.page(Tab::Activity, "Activity", &markup))
}

/// The rows of what has happened since what the script knows, newest first; the answer's field
/// [`UNTIL`] says up to where that is all.
pub(super) async fn rows(context: PageContext) -> PageResult {
    let (reader, filter) = (audit_reader(&context)?, Filter::of(&context));
    let known = Some(context.query("newer")).filter(|text| !text.is_empty());
    let mut until = known.unwrap_or(BEFORE_ALL).to_owned();
    let (mut rows, mut has_more) = (Vec::new(), true);
    // The page after what is known, and the next ones toward the newest.
    for _page in 0..MAX_PAGES_READ {
        let window = PageRange { after: None, before: Some(until.clone()), limit: AT_ONCE };
        let pages = reader.list(&window).await.map_err(|refused| context.refuse(refused))?;
        until = pages.newest.map_or(until, |newest| newest.to_string());
        let wanted = pages.listing.items.into_iter().filter(|(_, entry)| filter.wants(entry));
        rows.splice(0..0, wanted);
        has_more = pages.listing.has_more;
        if !has_more {
            break;
        }
    }
    // The rows alone, without a page around them.
    let now = context.management().now();
    let markup = html! { @for (_, entry) in &rows { (row(&context, entry, now)) } };
    let told = [(UNTIL, until), (MORE, has_more.to_string())];
    Ok((told, layout::html(&markup)).into_response())
}

impl<'a> Filter<'a> {
    fn of(context: &'a PageContext) -> Self {
        Self {
            integration: (context.query("of") != "all").then(|| context.integration()),
            connection: context.query("connection").trim(),
            caller: context.query("caller").trim(),
            decision: context.query("decision"),
        }
    }

    fn wants(&self, entry: &AuditEntry) -> bool {
        let is = |wanted: &str, found: &str| wanted.is_empty() || found == wanted;
        self.integration.is_none_or(|wanted| entry.integration == wanted)
            && is(self.connection, &entry.connection)
            && is(self.caller, &entry.caller)
            && match self.decision {
                "failed" => entry.decision == "refuse" || entry.status >= 400,
                decision => is(decision, &entry.decision),
            }
    }
}

fn audit_reader(context: &PageContext) -> Result<AuditReader<'_>, PageError> {
    context.management().audit_reader(&context.operator).map_err(|refused| context.refuse(refused))
}

/// The page's entries. A search that finds few is broken off, and goes on with the next page.
async fn entries(context: &PageContext, filter: &Filter<'_>) -> Result<Entries, PageError> {
    let reader = audit_reader(context)?;
    let after = Some(context.query("after")).filter(|text| !text.is_empty()).map(str::to_owned);
    let mut window = PageRange { after, before: None, limit: AT_ONCE };
    let (mut rows, mut newest) = (Vec::new(), None);
    // A filter may pass over many entries, so that it takes several pages of the trail.
    for _page in 0..MAX_PAGES_READ {
        let pages = reader.list(&window).await.map_err(|refused| context.refuse(refused))?;
        newest = newest.or(pages.newest);
        let shown = pages.listing.items.last().map(|(position, _)| *position);
        let last = pages.looked_until.or(shown);
        let has_more = pages.listing.has_more;
        let wanted = pages.listing.items.into_iter().filter(|(_, entry)| filter.wants(entry));
        rows.extend(wanted);
        if let Some((position, _)) = rows.get(PER_PAGE - 1) {
            let oldest = Some(position.to_string());
            rows.truncate(PER_PAGE);
            return Ok(Entries { rows, oldest, newest });
        }
        window.after = last.map(|position| position.to_string());
        if !has_more {
            return Ok(Entries { rows, oldest: None, newest });
        }
        if pages.looked_until.is_some() {
            break;
        }
    }
    Ok(Entries { rows, oldest: window.after, newest })
}

async fn charts(context: &PageContext, filter: &Filter<'_>) -> Result<Markup, PageError> {
    // 1. The counts.
    let reader = audit_reader(context)?;
    let (is_day, now) = (context.query("span") == "day", context.management().now());
    let length = SignedDuration::from_hours(if is_day { 24 } else { 1 });
    let query = StatsQuery {
        integration: filter.integration.unwrap_or_default().to_owned(),
        since: now.saturating_sub(length).unwrap_or(now).to_string(),
        ..StatsQuery::default()
    };
    let Ok(history) = reader.history(&query).await else { return Ok(html! {}) };
    let history = if is_day { history.in_parts_of(MINUTES_OF_A_BAR) } else { history };
    // 2. The charts.
    let past = Past { history: &history, until: now };
    let spans = [(false, "hour", "Last hour"), (true, "day", "Last day")];
    Ok(html! {
        nav.spans aria-label="Span" {
            @for (of_day, word, name) in spans {
                a href=(filtered(context, "span", word)) aria-current=[(of_day == is_day).then_some("true")] { (name) }
            }
        }
        div.charts {
            (past.requests())
            (past.latency())
            (past.refusals())
            (past.refreshes())
        }
    })
}

fn filters(context: &PageContext, filter: &Filter<'_>) -> Markup {
    let decisions = [
        ("", "All"),
        ("allow", "Sent"),
        ("refuse", "Refused"),
        ("failed", "Refused or answered with an error"),
    ];
    let text = |name: &str, label: &str, value: &str| {
        html! {
            div { label for=(name) { (label) } input id=(name) name=(name) value=(value) spellcheck="false" autocapitalize="none"; }
        }
    };
    // Who is bound to one integration is not asked which.
    html! {
        form.filters method="get" action=(context.path("/activity")) role="search" aria-label="Requests" {
            (text("connection", "Connection", filter.connection))
            (text("caller", "Caller", filter.caller))
            div {
                label for="decision" { "Decision" }
                select #decision name="decision" {
                    @for (value, name) in decisions { option value=(value) selected[filter.decision == value] { (name) } }
                }
            }
            @if context.operator.bound_to().is_none() {
                div {
                    label for="of" { "Integration" }
                    select #of name="of" {
                        option value="" { (context.integration()) }
                        option value="all" selected[filter.integration.is_none()] { "All" }
                    }
                }
            }
            input type="hidden" name="span" value=(context.query("span"));
            button type="submit" { "Filter" }
        }
    }
}

/// The rows; where they are live, newer ones are added as they come.
fn table(context: &PageContext, entries: &Entries, live: bool) -> Markup {
    let now = context.management().now();
    let source = live.then(|| filtered_at(context, "/activity/rows", &[]));
    html! {
        table.rows.entries {
            caption.unseen { "Requests, newest first" }
            thead { tr {
                th scope="col" { "Time" }
                th scope="col" { "Status" }
                th scope="col" { "Request" }
                th.medium scope="col" { "Connection" }
                th.medium scope="col" { "Caller" }
                th.wide.number scope="col" { "Took" }
            } }
            tbody data-live=[source] data-newest=[entries.newest] { @for (_, entry) in &entries.rows { (row(context, entry, now)) } }
        }
    }
}

fn row(context: &PageContext, entry: &AuditEntry, now: Timestamp) -> Markup {
    let class = match (entry.decision.as_str(), entry.status) {
        ("refuse", _) => "state bad",
        (_, 400..) => "state warn",
        _ => "state good",
    };
    let took = format!("{:.0} ms, of it {:.0} at the origin", entry.total_ms, entry.upstream_ms);
    html! {
        tr {
            td { (moment(&entry.time, now)) }
            td { span class=(class) { (entry.status) } div.reason.medium { (entry.code) } }
            td.request {
                strong { (entry.method) } " " span.origin-of { (status_view::breakable(host(entry))) } wbr; (status_view::breakable(path(entry)))
                div.narrow.medium-narrow {
                    @if !entry.code.is_empty() { (entry.code) ": " }
                    (connection(context, entry)) @if !entry.caller.is_empty() { " by " (status_view::breakable(&entry.caller)) }
                }
            }
            td.medium { (connection(context, entry)) }
            td.medium { (status_view::breakable(&entry.caller)) }
            td.wide.number title=(took) { (format!("{:.0} ms", entry.total_ms)) }
        }
    }
}

/// The origin, without the scheme that all have.
fn host(entry: &AuditEntry) -> &str {
    entry.origin.strip_prefix("https://").unwrap_or(&entry.origin)
}

/// The connection, with its integration where it is not the one that is looked at.
fn connection(context: &PageContext, entry: &AuditEntry) -> Markup {
    let elsewhere = !entry.integration.is_empty() && entry.integration != context.integration();
    html! {
        @if elsewhere { (status_view::breakable(&entry.integration)) "." }
        (status_view::breakable(&entry.connection))
    }
}

/// The path at the origin: of a base URL, what follows the connection.
fn path(entry: &AuditEntry) -> &str {
    let below = entry.path.strip_prefix("/~/").filter(|_| !entry.origin.is_empty());
    let at_origin = below.map(|below| below.find('/').and_then(|at| below.get(at..)));
    at_origin.map_or(&entry.path, |path| path.unwrap_or("/"))
}

fn moment(time: &str, now: Timestamp) -> Markup {
    match time.parse::<Timestamp>() {
        Ok(time) if now.duration_since(time).as_hours() < 24 => status_view::clock(time),
        Ok(time) => status_view::time(time),
        Err(_) => html! { (time) },
    }
}

/// This page with one thing changed.
fn filtered(context: &PageContext, name: &str, value: &str) -> String {
    filtered_at(context, "/activity", &[(name, value)])
}

fn filtered_at(context: &PageContext, below: &str, more: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for name in ["of", "connection", "caller", "decision", "span"] {
        let value = context.query(name);
        if !value.is_empty() && more.iter().all(|(known, _)| *known != name) {
            query.append_pair(name, value);
        }
    }
    query.extend_pairs(more);
    format!("{}?{}", context.path(below), query.finish())
}

/// The field that says up to where a script has been told everything.
const UNTIL: HeaderName = HeaderName::from_static("x-keyferry-until");
/// The field that says whether there is more already.
const MORE: HeaderName = HeaderName::from_static("x-keyferry-more");
const BEFORE_ALL: &str = "0-0";
/// The minutes of a bar in the chart of a day.
const MINUTES_OF_A_BAR: usize = 15;
const PER_PAGE: usize = 100;
const AT_ONCE: u32 = 200;
const MAX_PAGES_READ: usize = 10;
