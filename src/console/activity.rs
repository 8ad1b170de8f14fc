//! Requests as they happen, and the last hour and day in charts.

use axum::response::IntoResponse as _;
use jiff::Timestamp;
use maud::{Markup, html};

use super::chart::Past;
use super::frame::{Answer, Frame, Trouble};
use super::outlook;
use super::shell::{self, Tab};
use crate::desk::{Audited, Auditing, Position};
use crate::ledger::Lookback;
use crate::store::Window;

/// Which entries are shown.
struct Filter<'a> {
    /// Those of this integration, where not all are.
    integration: Option<&'a str>,
    connection: &'a str,
    caller: &'a str,
    decision: &'a str,
}

/// The page.
pub(super) async fn page(frame: Frame) -> Answer {
    let filter = Filter::of(&frame);
    let (rows, oldest) = entries(&frame, &filter, Some(frame.query("after")), None).await?;
    let live = frame.query("after").is_empty();
    let content = html! {
        div.head {
            h1 { "Activity" }
            @if live { button.quiet #pause type="button" hidden aria-pressed="false" { "Pause" } }
        }
        (charts(&frame, &filter)?)
        section aria-labelledby="requests" {
            h2 #requests { "Requests" }
            (filters(&frame, &filter))
            p.count #arrived role="status" {}
            @if !frame.desk().keeps() {
                p.empty { "This server keeps nothing, so there is no list; the log has every request." }
            } @else {
                @if rows.is_empty() { p.empty #nothing { "No request is like that yet. They are here a second after they have ended." } }
                (table(&frame, &rows, live))
                @if let Some(oldest) = oldest {
                    nav.pages aria-label="Pages" { a.button.quiet rel="next" href=(older(&frame, &oldest)) { "Older" } }
                }
            }
        }
    };
    Ok(frame.page(Tab::Activity, "Activity", &content))
}

/// The rows of what has happened since.
pub(super) async fn rows(frame: Frame) -> Answer {
    let filter = Filter::of(&frame);
    let newer = Some(frame.query("newer")).filter(|at| !at.is_empty());
    let (rows, _) = entries(&frame, &filter, None, newer).await?;
    let now = frame.desk().now();
    let content = html! { @for (position, entry) in &rows { (row(&frame, position, entry, now)) } };
    Ok(shell::html(&content).into_response())
}

impl<'a> Filter<'a> {
    fn of(frame: &'a Frame) -> Self {
        Self {
            integration: (frame.query("of") != "all").then(|| frame.integration()),
            connection: frame.query("connection").trim(),
            caller: frame.query("caller").trim(),
            decision: frame.query("decision"),
        }
    }

    fn wants(&self, entry: &Audited) -> bool {
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

fn auditing(frame: &Frame) -> Result<Auditing<'_>, Trouble> {
    frame.desk().auditing(&frame.operator).map_err(|refused| frame.refuse(refused))
}

/// Entries that are wanted, newest first; and where older ones begin, if there may be any. A search
/// that finds few is broken off, and goes on with the next page.
async fn entries(
    frame: &Frame,
    filter: &Filter<'_>,
    after: Option<&str>,
    newer: Option<&str>,
) -> Result<(Vec<(Position, Audited)>, Option<String>), Trouble> {
    let auditing = auditing(frame)?;
    let cursor = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
    let mut window = Window { after: cursor(after), before: cursor(newer), limit: AT_ONCE };
    let mut found = Vec::new();
    for _page in 0..MOST_PAGES {
        let pages = auditing.list(&window).await.map_err(|refused| frame.refuse(refused))?;
        let shown = pages.listing.items.last().map(|(position, _)| *position);
        let last = pages.looked_until.or(shown);
        let has_more = pages.listing.has_more;
        let wanted = pages.listing.items.into_iter().filter(|(_, entry)| filter.wants(entry));
        found.extend(wanted);
        if let Some((position, _)) = found.get(PER_PAGE - 1) {
            let oldest = position.to_string();
            found.truncate(PER_PAGE);
            return Ok((found, Some(oldest)));
        }
        window.after = last.map(|position| position.to_string());
        if !has_more || newer.is_some() {
            return Ok((found, None));
        }
    }
    Ok((found, window.after))
}

fn charts(frame: &Frame, filter: &Filter<'_>) -> Result<Markup, Trouble> {
    let auditing = auditing(frame)?;
    let how_far = if frame.query("span") == "day" { Lookback::Day } else { Lookback::Hour };
    let metrics = &frame.hall.rooms.metrics;
    let Ok(beats) = auditing.look_back(metrics, filter.integration, how_far) else {
        return Ok(html! {});
    };
    let past = Past { beats: &beats, how_far, until: frame.desk().now() };
    // Refreshes are counted for all integrations as one.
    let all = auditing.look_back(metrics, None, how_far).ok();
    let everywhere = all.as_ref().map(|beats| Past { beats, how_far, until: past.until });
    let spans = [(Lookback::Hour, "hour", "Last hour"), (Lookback::Day, "day", "Last day")];
    Ok(html! {
        nav.spans aria-label="Span" {
            @for (span, word, name) in spans {
                a href=(filtered(frame, "span", word)) aria-current=[(span == how_far).then_some("true")] { (name) }
            }
        }
        div.charts {
            (past.requests())
            (past.latency())
            (past.refusals())
            @if let Some(everywhere) = &everywhere { (everywhere.refreshes()) }
        }
        p.hint { "As this instance has seen it. It was started " (outlook::time(frame.hall.rooms.facts.started)) "." }
    })
}

fn filters(frame: &Frame, filter: &Filter<'_>) -> Markup {
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
    html! {
        form.filters method="get" action=(frame.path("/activity")) role="search" aria-label="Requests" {
            (text("connection", "Connection", filter.connection))
            (text("caller", "Caller", filter.caller))
            div {
                label for="decision" { "Decision" }
                select #decision name="decision" {
                    @for (value, name) in decisions { option value=(value) selected[filter.decision == value] { (name) } }
                }
            }
            @if frame.operator.bound_to().is_none() {
                div {
                    label for="of" { "Integration" }
                    select #of name="of" {
                        option value="" { (frame.integration()) }
                        option value="all" selected[filter.integration.is_none()] { "All" }
                    }
                }
            }
            input type="hidden" name="span" value=(frame.query("span"));
            button type="submit" { "Filter" }
        }
    }
}

fn table(frame: &Frame, rows: &[(Position, Audited)], live: bool) -> Markup {
    let now = frame.desk().now();
    let source = live.then(|| filtered_at(frame, "/activity/rows", &[]));
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
            tbody data-live=[source] { @for (position, entry) in rows { (row(frame, position, entry, now)) } }
        }
    }
}

fn row(frame: &Frame, position: &Position, entry: &Audited, now: Timestamp) -> Markup {
    let class = match (entry.decision.as_str(), entry.status) {
        ("refuse", _) => "state bad",
        (_, 400..) => "state warn",
        _ => "state good",
    };
    let took = format!("{:.0} ms, of it {:.0} at the origin", entry.total_ms, entry.upstream_ms);
    html! {
        tr data-at=(position) {
            td { (moment(&entry.time, now)) }
            td { span class=(class) { (entry.status) } @if !entry.code.is_empty() { div.reason { (entry.code) } } }
            td.request {
                strong { (entry.method) } " " span.origin-of { (entry.origin) } (path(entry))
                div.narrow.medium-narrow { (entry.connection) @if !entry.caller.is_empty() { " by " (entry.caller) } }
            }
            td.medium {
                @if filtered_integration(frame, entry) { (entry.integration) "." }
                (entry.connection)
            }
            td.medium { (entry.caller) }
            td.wide.number title=(took) { (format!("{:.0} ms", entry.total_ms)) }
        }
    }
}

/// The path at the origin: of a base URL, what follows the connection.
fn path(entry: &Audited) -> &str {
    let below = entry.path.strip_prefix("/~/").filter(|_| !entry.origin.is_empty());
    let at_origin = below.map(|below| below.find('/').and_then(|at| below.get(at..)));
    at_origin.map_or(&entry.path, |path| path.unwrap_or("/"))
}

/// Whether it must be said of which integration an entry is.
fn filtered_integration(frame: &Frame, entry: &Audited) -> bool {
    !entry.integration.is_empty() && entry.integration != frame.integration()
}

fn moment(time: &str, now: Timestamp) -> Markup {
    match time.parse::<Timestamp>() {
        Ok(time) if now.duration_since(time).as_hours() < 24 => outlook::clock(time),
        Ok(time) => outlook::time(time),
        Err(_) => html! { (time) },
    }
}

fn older(frame: &Frame, oldest: &str) -> String {
    filtered(frame, "after", oldest)
}

/// This page with one thing changed.
fn filtered(frame: &Frame, name: &str, value: &str) -> String {
    filtered_at(frame, "/activity", &[(name, value)])
}

fn filtered_at(frame: &Frame, below: &str, more: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for name in ["of", "connection", "caller", "decision", "span"] {
        let value = frame.query(name);
        if !value.is_empty() && more.iter().all(|(known, _)| *known != name) {
            query.append_pair(name, value);
        }
    }
    query.extend_pairs(more);
    format!("{}?{}", frame.path(below), query.finish())
}

const PER_PAGE: usize = 100;
const AT_ONCE: u32 = 200;
const MOST_PAGES: usize = 10;
