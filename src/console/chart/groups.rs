//! Requests that have something in common, as a bar each.

use maud::{Markup, html};

use super::{Series, WIDTH, request_series, round, short, stacked};
use crate::model::request_counts::RequestCounts;

/// Requests with the same code, status, method or beginning of their path.
pub(in crate::console) struct Group {
    /// The code, status, method or beginning itself.
    pub(in crate::console) name: String,
    /// The path at which they are shown.
    pub(in crate::console) link: String,
    /// Their counts.
    pub(in crate::console) counts: RequestCounts,
}

/// A bar for each group, the largest first, which leads to its requests.
pub(in crate::console) fn groups(title: &str, groups: &[Group]) -> Markup {
    let series = request_series();
    let most = groups.iter().map(|group| total(&group.counts)).max().unwrap_or(1);
    let left = groups.len().saturating_sub(MAX_SHOWN);
    html! {
        figure.chart {
            figcaption {
                h2 { (title) }
                @for one in &series { span.legend { span.key.(one.class) {} (one.name) } }
            }
            @if groups.is_empty() { p.none { "None." } }
            @else {
                table.bars {
                    caption.unseen { (title) }
                    thead.unseen { tr { th scope="col" { "Group" } th scope="col" { "Requests" } th scope="col" { "Outcome" } } }
                    tbody { @for group in groups.iter().take(MAX_SHOWN) { (row(group, &series, most)) } }
                }
                @if left > 0 { p.hint { "And " (left) " more, with fewer requests." } }
            }
        }
    }
}

fn row(group: &Group, series: &[Series<'_>], most: u32) -> Markup {
    let words = words(group, series);
    html! {
        tr {
            th scope="row" { a href=(group.link) { code { (group.name) } } }
            td.number { (total(&group.counts)) }
            td.bar { a href=(group.link) tabindex="-1" title=(words) aria-label=(words) { (bar(group, series, most)) } }
        }
    }
}

/// The parts of the group, laid side by side.
fn bar(group: &Group, series: &[Series<'_>], most: u32) -> Markup {
    let parts = stacked(series, &group.counts, f64::from(most.max(1)));
    let mut at = 0.0;
    html! {
        svg viewBox="0 0 240 6" preserveAspectRatio="none" aria-hidden="true" {
            @for (class, _, height) in parts {
                @let width = height / super::HEIGHT * WIDTH;
                @if width > 0.0 { rect class=(class) x=(short(at)) y="0" width=(short(width)) height="6" {} }
                ({ at += width; "" })
            }
        }
    }
}

/// The values of a group, as "GET: 12 requests, of these 9 answered well, 3 answered 4xx; half began
/// within 20 ms".
fn words(group: &Group, series: &[Series<'_>]) -> String {
    let Group { name, counts, .. } = group;
    let parts = series.iter().filter_map(|one| {
        let value = (one.value)(counts).filter(|value| *value > 0.0)?;
        Some(format!("{} {}", round(value), one.name))
    });
    let parts = parts.collect::<Vec<_>>().join(", ");
    let half =
        counts.percentile(50).map(|within| format!("; half began within {} ms", round(within)));
    let number = count_of(total(counts));
    format!("{name}: {number}, of these {parts}{}", half.unwrap_or_default())
}

/// `1 request`, `2 requests`.
fn count_of(number: u32) -> String {
    format!("{number} request{}", if number == 1 { "" } else { "s" })
}

fn total(counts: &RequestCounts) -> u32 {
    counts.sent().saturating_add(counts.refused_total())
}

/// The number of groups that are drawn.
const MAX_SHOWN: usize = 20;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_bar_tells_its_values() {
        let mut counts = RequestCounts::default();
        counts.count(200, None, Some(Duration::from_millis(3)));
        counts.count(404, None, Some(Duration::from_millis(3)));
        counts.count(403, Some("DomainNotAllowed"), None);
        let group = Group { name: "GET".to_owned(), link: "/x".to_owned(), counts };
        let drawn = groups("By method", &[group]).0;
        let words = "GET: 3 requests, of these 1 answered well, 1 answered 4xx, 1 refused or \
                     failed; half began within 5 ms";
        assert!(drawn.contains(&format!("title=\"{words}\"")), "{drawn}");
        assert_eq!(drawn.matches("<rect").count(), 3);
        assert!(groups("By method", &[]).0.contains("None."));
    }
}
