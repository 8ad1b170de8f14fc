//! The charts of requests: of the last hour or day, or of the time that the filters select.

use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};

use super::filter::{filtered, filtered_at};
use super::reader;
use crate::console::chart::Past;
use crate::console::page_context::{PageContext, PageError};
use crate::management::{Refused, RequestQuery, StatsQuery};

/// The stretch of time that is drawn.
struct Stretch {
    since: Timestamp,
    until: Timestamp,
    /// Tells whether the filters select it.
    is_selected: bool,
}

pub(super) async fn section(
    context: &PageContext,
    query: &RequestQuery,
) -> Result<Markup, PageError> {
    // 1. The counts. Who is not told of all that is counted is shown none.
    let Some(stretch) = stretch(context, query) else { return Ok(html! {}) };
    let is_all = query.integration.is_empty() && !query.connection.is_empty();
    let stats = StatsQuery {
        integration: query.integration.clone(),
        connection: if is_all { String::new() } else { query.connection.clone() },
        caller: query.caller.clone(),
        since: stretch.since.to_string(),
        until: stretch.until.to_string(),
        by: if is_by_minute(context, &stretch) { "minute" } else { "hour" }.to_owned(),
    };
    let history = match reader(context)?.history(&stats).await {
        Ok(history) => history,
        Err(Refused::OutOfReach | Refused::Faulty(_)) => return Ok(spans(context, &stretch)),
        Err(refused) => return Err(context.refuse(refused)),
    };
    let history = if history.parts.len() > MAX_BARS {
        let joined = history.parts.len().div_ceil(MAX_BARS).next_multiple_of(NICE_BARS);
        history.in_parts_of(joined)
    } else {
        history
    };
    // 2. The charts, where each code leads to its requests.
    let link = |code: &str| filtered(context, "code", code);
    let past = Past { history: &history, until: stretch.until, link: &link };
    let others = [&query.code, &query.status, &query.method, &query.path, &query.decision];
    let is_wider = is_all || others.into_iter().any(|filter| !filter.is_empty());
    Ok(html! {
        (spans(context, &stretch))
        @if is_wider { p.hint { "The charts count all requests of that time, integration, connection and caller; the other filters apply to the list." } }
        div.charts {
            (past.requests())
            (past.latency())
            (past.refusals())
            (past.refreshes())
        }
    })
}

/// The time that the filters select, or else the last hour or day; none where they are faulty.
fn stretch(context: &PageContext, query: &RequestQuery) -> Option<Stretch> {
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let read = |text: String| text.parse::<Timestamp>().ok();
    let now = context.management().now();
    let until = given(&query.until).map_or(Some(now), read)?;
    let length = SignedDuration::from_hours(if is_day(context) { 24 } else { 1 });
    let usual = until.saturating_sub(length).unwrap_or(until);
    let since = given(&query.since).map_or(Some(usual), read)?;
    let is_selected = !query.since.is_empty() || !query.until.is_empty();
    Some(Stretch { since, until, is_selected })
}

/// Counts by the minute are kept for a day; others are by the hour.
fn is_by_minute(context: &PageContext, stretch: &Stretch) -> bool {
    let age = context.management().now().duration_since(stretch.since);
    age <= SignedDuration::from_hours(24) + SignedDuration::from_mins(1)
}

fn is_day(context: &PageContext) -> bool {
    context.query("span") == "day"
}

/// The links to the usual stretches.
fn spans(context: &PageContext, stretch: &Stretch) -> Markup {
    let usual =
        |word| filtered_at(context, "/activity", &[("span", word), ("since", ""), ("until", "")]);
    let is_current = |of_day| !stretch.is_selected && of_day == is_day(context);
    html! {
        nav.spans aria-label="Span" {
            @for (of_day, word, name) in [(false, "hour", "Last hour"), (true, "day", "Last day")] {
                a href=(usual(word)) aria-current=[is_current(of_day).then_some("true")] { (name) }
            }
        }
    }
}

/// The largest number of bars of a chart.
const MAX_BARS: usize = 120;

/// Bars are made of a multiple of this number of minutes or hours.
const NICE_BARS: usize = 5;
