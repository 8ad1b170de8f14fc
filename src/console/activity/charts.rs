//! The charts of requests: of the last hour or day, or of the time that the filters select; over
//! time, or by what requests have in common.

use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};

use super::counted::{Grouping, RequestSample, by_code};
use super::filter::{filtered, filtered_at};
use super::reader;
use crate::console::chart::{Past, groups};
use crate::console::page_context::{PageContext, PageError};
use crate::management::{AuditPage, Refused, RequestHistory, RequestQuery, StatsQuery};

/// The stretch of time that is drawn.
struct Stretch {
    since: Timestamp,
    until: Timestamp,
    /// Tells whether the filters select it.
    is_selected: bool,
}

/// The requests that are drawn: as all instances have counted them, or as their entries tell.
enum DrawnRequests {
    Ahead(RequestHistory),
    Entries(RequestSample),
}

/// The charts, and the entries that were read for them where they are the newest that the query
/// selects: nobody need search for these again.
pub(super) async fn section(
    context: &PageContext,
    query: &RequestQuery,
) -> Result<(Markup, Option<AuditPage>), PageError> {
    // 1. The requests. What was counted ahead is exact, but does not tell all.
    let Some(stretch) = stretch(context, query) else { return Ok((html! {}, None)) };
    let grouping = Grouping::parse(context.query("by"));
    if stretch.since >= stretch.until {
        return Ok((choices(context, &stretch, grouping), None));
    }
    let is_told = matches!(grouping, None | Some(Grouping::Code));
    let ahead = if is_told { counted_ahead(context, query, &stretch).await? } else { None };
    let counted = match ahead {
        Some(history) => DrawnRequests::Ahead(history),
        None => match RequestSample::read(context, query, stretch.ends()).await? {
            Some(sample) => DrawnRequests::Entries(sample),
            None => return Ok((choices(context, &stretch, grouping), None)),
        },
    };
    // 2. The charts, whose parts lead to their requests.
    let drawn = match grouping {
        Some(grouping) => {
            let counts = match &counted {
                DrawnRequests::Ahead(history) => by_code(history),
                DrawnRequests::Entries(sample) => sample.by(grouping, &query.path),
            };
            let title = format!("Requests by {}", grouping.as_str());
            html! { div.charts.single { (groups(&title, &grouping.group(context, counts))) } }
        }
        None => over_time(context, &counted, &stretch),
    };
    let markup = html! {
        (choices(context, &stretch, grouping))
        @if let DrawnRequests::Entries(sample) = &counted {
            @if sample.has_more {
                p.hint { "Of the newest " (sample.len()) " requests that the filters select. There are older ones in that time: narrow it to see them." }
            }
        }
        (drawn)
    };
    let newest = match counted {
        DrawnRequests::Entries(sample) if !query.since.is_empty() => Some(sample.found),
        _ => None,
    };
    Ok((markup, newest))
}

fn over_time(context: &PageContext, counted: &DrawnRequests, stretch: &Stretch) -> Markup {
    let of_entries;
    let history = match counted {
        DrawnRequests::Ahead(history) => history,
        DrawnRequests::Entries(sample) => {
            of_entries = sample.history(stretch.ends(), stretch.part_seconds(context));
            &of_entries
        }
    };
    let link = |code: &str| filtered(context, "code", code);
    let link_to_part = |since: Timestamp, until: Timestamp| {
        let (since, until) = (since.to_string(), until.to_string());
        filtered_at(context, "/activity", &[("since", &since), ("until", &until)])
    };
    let past = Past { history, until: stretch.until, link: &link, link_to_part: &link_to_part };
    html! {
        div.charts {
            (past.requests())
            (past.latency())
            (past.refusals())
            // An entry tells of no refresh.
            @if let DrawnRequests::Ahead(_) = counted { (past.refreshes()) }
        }
    }
}

/// The counts that all instances have kept, if they tell of what the filters select, to an operator
/// who may know them.
async fn counted_ahead(
    context: &PageContext,
    query: &RequestQuery,
    stretch: &Stretch,
) -> Result<Option<RequestHistory>, PageError> {
    // 1. What they don't tell is asked of the entries.
    let is_all = query.integration.is_empty() && !query.connection.is_empty();
    let others = [&query.status, &query.method, &query.path];
    if is_all || others.into_iter().any(|filter| !filter.is_empty()) {
        return Ok(None);
    }
    // 2. The counts.
    let stats = StatsQuery {
        integration: query.integration.clone(),
        connection: query.connection.clone(),
        caller: query.caller.clone(),
        since: stretch.since.to_string(),
        until: stretch.until.to_string(),
        by: if stretch.is_by_minute(context) { "minute" } else { "hour" }.to_owned(),
        per: String::new(),
    };
    let history = match reader(context)?.history(&stats).await {
        Ok(history) => history,
        Err(Refused::OutOfReach | Refused::Faulty(_)) => return Ok(None),
        Err(refused) => return Err(context.refuse(refused)),
    };
    let Some(history) = history.selected(query) else { return Ok(None) };
    let joined = joined(history.parts.len());
    Ok(Some(if joined > 1 { history.in_parts_of(joined) } else { history }))
}

/// The number of parts that are joined, so that there are not too many bars.
fn joined(parts: usize) -> usize {
    let joined = parts.div_ceil(MAX_BARS);
    if joined > 1 { joined.next_multiple_of(NICE_BARS) } else { 1 }
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

impl Stretch {
    fn ends(&self) -> (Timestamp, Timestamp) {
        (self.since, self.until)
    }

    /// Counts by the minute are kept for a day; others are by the hour.
    fn is_by_minute(&self, context: &PageContext) -> bool {
        let age = context.management().now().duration_since(self.since);
        age <= SignedDuration::from_hours(24) + SignedDuration::from_mins(1)
    }

    /// The length of a part where entries are counted, in seconds.
    fn part_seconds(&self, context: &PageContext) -> i64 {
        let unit = if self.is_by_minute(context) { 60 } else { 3600 };
        let length = self.until.duration_since(self.since).as_secs();
        let parts = usize::try_from(length / unit).unwrap_or(1);
        unit * i64::try_from(joined(parts)).unwrap_or(1)
    }
}

fn is_day(context: &PageContext) -> bool {
    context.query("span") == "day"
}

/// The links to the usual stretches, and to what requests are grouped by.
fn choices(context: &PageContext, stretch: &Stretch, grouping: Option<Grouping>) -> Markup {
    let usual =
        |word| filtered_at(context, "/activity", &[("span", word), ("since", ""), ("until", "")]);
    let is_current = |of_day| !stretch.is_selected && of_day == is_day(context);
    let by = |word| filtered_at(context, "/activity", &[("by", word)]);
    let each = Grouping::ALL.map(|each| (Some(each), each.as_str()));
    html! {
        div.choosing {
            nav.spans aria-label="Span" {
                @for (of_day, word, name) in [(false, "hour", "Last hour"), (true, "day", "Last day")] {
                    a href=(usual(word)) aria-current=[is_current(of_day).then_some("true")] { (name) }
                }
            }
            nav.spans aria-label="Charts" {
                a href=(by("")) aria-current=[grouping.is_none().then_some("true")] { "Over time" }
                @for (each, word) in each {
                    a href=(by(word)) aria-current=[(each == grouping).then_some("true")] { "By " (word) }
                }
            }
        }
    }
}

/// The largest number of bars of a chart.
const MAX_BARS: usize = 120;

/// Bars are made of a multiple of this number of minutes or hours.
const NICE_BARS: usize = 5;
