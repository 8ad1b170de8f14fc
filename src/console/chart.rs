//! Charts, as drawings that the server makes.

mod groups;

use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};

pub(super) use self::groups::{Group, groups};
use super::status_view;
use crate::management::RequestHistory;
use crate::model::request_counts::RequestCounts;

/// The history of a stretch of time, from the oldest to the newest part.
pub(super) struct Past<'a> {
    pub(super) history: &'a RequestHistory,
    pub(super) until: Timestamp,
    /// The path at which the requests of a code are shown.
    pub(super) link: &'a dyn Fn(&str) -> String,
    /// The path at which the requests between these times are shown.
    pub(super) link_to_part: &'a dyn Fn(Timestamp, Timestamp) -> String,
}

/// One part of each bar, or one line.
struct Series<'a> {
    class: &'static str,
    name: &'static str,
    value: &'a dyn Fn(&RequestCounts) -> Option<f64>,
}

impl Past<'_> {
    /// The number of requests.
    pub(super) fn requests(&self) -> Markup {
        let series = request_series();
        self.figure("Requests", &series, &self.bars(&series, true), "")
    }

    /// The times until answers began.
    pub(super) fn latency(&self) -> Markup {
        let series = [
            Series { class: "p50", name: "median", value: &|bucket| bucket.percentile(50) },
            Series { class: "p95", name: "p95", value: &|bucket| bucket.percentile(95) },
            Series { class: "p99", name: "p99", value: &|bucket| bucket.percentile(99) },
        ];
        self.figure("Time until the answer began", &series, &self.lines(&series), " ms")
    }

    pub(super) fn refreshes(&self) -> Markup {
        let series = [
            Series {
                class: "sent",
                name: "worked",
                value: &|bucket| Some(f64::from(bucket.refreshed)),
            },
            Series {
                class: "refused",
                name: "failed",
                value: &|bucket| Some(f64::from(bucket.not_refreshed)),
            },
        ];
        self.figure("Refreshes of tokens", &series, &self.bars(&series, false), "")
    }

    /// Refusals by their reason, most first.
    pub(super) fn refusals(&self) -> Markup {
        let mut whole = RequestCounts::default();
        self.history.parts.iter().for_each(|bucket| whole.merge(bucket));
        let mut reasons = whole.refused;
        reasons.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let most = reasons.first().map_or(1, |(_, count)| *count);
        html! {
            figure.chart {
                figcaption { h2 { "Refusals and failures by reason" } }
                @if reasons.is_empty() { p.none { "None." } }
                @else {
                    table.bars {
                        caption.unseen { "Refusals and failures by reason" }
                        tbody { @for (code, count) in reasons.iter().take(MOST_REASONS) { tr {
                            th scope="row" { a href=((self.link)(code)) { code { (code) } } }
                            td.number { (count) }
                            td.bar { (bar(*count, most)) }
                        } } }
                    }
                }
            }
        }
    }

    fn figure(&self, title: &str, series: &[Series<'_>], drawn: &Markup, unit: &str) -> Markup {
        let most = self.most(series);
        html! {
            figure.chart {
                figcaption {
                    h2 { (title) }
                    @for one in series { span.legend { span.key.(one.class) {} (one.name) } }
                }
                @if most <= 0.0 {
                    p.none { "None." }
                } @else {
                    p.scale {
                        @if unit.is_empty() { "at most " (round(most)) " in " (self.length()) }
                        @else { "at most " (round(most)) (unit) }
                    }
                    svg viewBox="0 0 240 60" preserveAspectRatio="none" role="group" aria-label=(self.told(title, series, unit)) {
                        (drawn)
                    }
                    p.axis { (self.edge(self.history.parts.len())) span { (self.edge(self.history.parts.len() / 2)) } (self.edge(0)) }
                }
            }
        }
    }

    /// The length of a part, for people.
    fn length(&self) -> String {
        match self.history.seconds {
            60 => "a minute".to_owned(),
            3600 => "an hour".to_owned(),
            seconds if seconds % 3600 == 0 => format!("{} hours", seconds / 3600),
            seconds => format!("{} minutes", seconds / 60),
        }
    }

    /// A moment that many parts ago.
    fn edge(&self, back: usize) -> Markup {
        let back = i64::try_from(back).unwrap_or(0);
        let back = SignedDuration::from_secs(self.history.seconds.saturating_mul(back));
        let time = self.until.saturating_sub(back).unwrap_or(self.until);
        html! { span.moment { @if self.is_long() { (status_view::time(time)) } @else { (status_view::minute(time)) } } }
    }

    /// Tells whether the time of day does not say which moment is meant.
    fn is_long(&self) -> bool {
        let parts = i64::try_from(self.history.parts.len()).unwrap_or(i64::MAX);
        self.history.seconds.saturating_mul(parts) > 25 * 3600
    }

    /// The values of a part, for those who point at it; nothing where all are zero.
    fn pointed_at(
        &self,
        start: Timestamp,
        bucket: &RequestCounts,
        (series, unit): (&[Series<'_>], &str),
    ) -> Option<String> {
        let values = series.iter().filter_map(|one| (one.value)(bucket).map(|value| (one, value)));
        let values = values.filter(|(_, value)| *value > 0.0);
        let words: Vec<_> =
            values.map(|(one, value)| format!("{}{unit} {}", round(value), one.name)).collect();
        let format = if self.is_long() { "%Y-%m-%d %H:%M UTC" } else { "%H:%M UTC" };
        (!words.is_empty()).then(|| format!("{}: {}", start.strftime(format), words.join(", ")))
    }

    /// The same in words, for those who don't see it.
    fn told(&self, title: &str, series: &[Series<'_>], unit: &str) -> String {
        let told = series.iter().filter_map(|one| {
            let values: Vec<_> = self.history.parts.iter().filter_map(one.value).collect();
            let (sum, most) =
                (values.iter().sum::<f64>(), values.iter().copied().fold(0.0, f64::max));
            let words = if unit.is_empty() {
                let length = self.length();
                format!("{} {}, at most {} in {length}", round(sum), one.name, round(most))
            } else {
                format!("{}: at most {}{unit}", one.name, round(most))
            };
            (sum > 0.0).then_some(words)
        });
        format!("{title}: {}", told.collect::<Vec<_>>().join("; "))
    }

    fn most(&self, series: &[Series<'_>]) -> f64 {
        let stacked = series.first().is_some_and(|one| one.class == "sent");
        let value = |bucket: &RequestCounts| {
            let values = series.iter().filter_map(|one| (one.value)(bucket));
            if stacked { values.sum() } else { values.fold(0.0, f64::max) }
        };
        self.history.parts.iter().map(value).fold(0.0, f64::max)
    }

    /// Bars of what is counted. Those of requests lead to the requests of their part.
    fn bars(&self, series: &[Series<'_>], are_requests: bool) -> Markup {
        let (most, step) = (self.most(series).max(1.0), WIDTH / count(self.history.parts.len()));
        let drawn = |number: usize, bucket: &RequestCounts| {
            html! {
                @for (class, top, height) in stacked(series, bucket, most) {
                    @if height > 0.0 {
                        rect class=(class) x=(short(count(number) * step + step * 0.1)) y=(short(top))
                            width=(short(step * 0.8)) height=(short(height)) {}
                    }
                }
            }
        };
        html! {
            @for (number, (start, bucket)) in self.history.parts().enumerate() {
                @if let Some(words) = self.pointed_at(start, bucket, (series, "")) {
                    (self.part(are_requests, number, start, (&words, &drawn(number, bucket))))
                }
            }
        }
    }

    fn lines(&self, series: &[Series<'_>]) -> Markup {
        let (most, step) = (self.most(series).max(0.001), WIDTH / count(self.history.parts.len()));
        let path = |one: &Series<'_>| {
            let mut path = String::new();
            let mut is_down = false;
            for (number, bucket) in self.history.parts.iter().enumerate() {
                let Some(value) = (one.value)(bucket) else {
                    is_down = false;
                    continue;
                };
                let (x, y) = (count(number) * step, HEIGHT - value / most * (HEIGHT - 2.0));
                // As wide as its part: one that stands alone is seen too.
                let letter = if is_down { "L" } else { "M" };
                let (from, to) = (short(x), short(x + step));
                path.extend([letter, &from, " ", &short(y), "H", &to]);
                is_down = true;
            }
            path
        };
        html! {
            @for one in series { path.line.(one.class) d=(path(one)) {} }
            @for (number, (start, bucket)) in self.history.parts().enumerate() {
                @if let Some(words) = self.pointed_at(start, bucket, (series, " ms")) {
                    (self.part(true, number, start, (&words, &html! {})))
                }
            }
        }
    }

    /// A part of the time, over its whole height, with its values for those who point at it. It
    /// leads to its requests, unless it is all that is drawn.
    fn part(
        &self,
        leads_on: bool,
        number: usize,
        start: Timestamp,
        (words, drawn): (&str, &Markup),
    ) -> Markup {
        let step = WIDTH / count(self.history.parts.len());
        let inside = html! {
            title { (words) }
            (drawn)
            rect.pointed x=(short(count(number) * step)) y="0" width=(short(step)) height="60" {}
        };
        let length = SignedDuration::from_secs(self.history.seconds);
        let end = start.saturating_add(length).unwrap_or(start);
        html! {
            @if leads_on && self.history.parts.len() > 1 {
                a href=((self.link_to_part)(start, end)) aria-label=(words) { (inside) }
            } @else { g { (inside) } }
        }
    }
}

/// The parts of bars of requests: those that were sent, with errors of the origin apart, and those
/// that were refused.
fn request_series() -> [Series<'static>; 5] {
    let one = |class, name, value| Series { class, name, value };
    [
        one("sent", "answered well", &|bucket| Some(answered(bucket, &[0, 1, 2]))),
        one("fourth", "answered 4xx", &|bucket| Some(answered(bucket, &[3]))),
        one("fifth", "answered 5xx", &|bucket| Some(answered(bucket, &[4]))),
        one("gone", "given up", &|bucket| Some(answered(bucket, &[5]))),
        one("refused", "refused or failed", &|bucket| Some(f64::from(bucket.refused_total()))),
    ]
}

/// The number of answers with a status of these classes.
fn answered(bucket: &RequestCounts, classes: &[usize]) -> f64 {
    let counts = classes.iter().filter_map(|class| bucket.answered.get(*class));
    counts.map(|count| f64::from(*count)).sum()
}

/// A bar of the parts of a time, laid side by side, each with its class, its words and its length in
/// milliseconds; and the same in words.
pub(super) fn split(parts: &[(&'static str, &'static str, f64)], total: f64) -> Markup {
    let width = |part: f64| short(part / total.max(0.001) * 100.0);
    let mut at = 0.0;
    html! {
        svg.split viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true" {
            @for (class, _, part) in parts {
                rect class=(class) x=(width(at)) y="0" width=(width(*part)) height="4" {}
                ({ at += part; "" })
            }
        }
        ul.plain.legend {
            @for (class, words, part) in parts {
                li { span.key.(class) {} (milliseconds(*part)) " " (words) }
            }
            li { strong { (milliseconds(total)) } " in all" }
        }
    }
}

pub(super) fn milliseconds(time: f64) -> String {
    if time < 10.0 { format!("{time:.2} ms") } else { format!("{time:.0} ms") }
}

/// The parts of a bar from the bottom up: what each is, its top, and its height.
fn stacked(
    series: &[Series<'_>],
    bucket: &RequestCounts,
    most: f64,
) -> Vec<(&'static str, f64, f64)> {
    let mut floor = HEIGHT;
    let part = |one: &Series<'_>| {
        let height = (one.value)(bucket).unwrap_or_default() / most * HEIGHT;
        floor -= height;
        (one.class, floor, height)
    };
    series.iter().map(part).collect()
}

fn bar(count: u32, most: u32) -> Markup {
    let width = f64::from(count) / f64::from(most.max(1)) * 100.0;
    html! {
        svg viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true" {
            rect.refused x="0" y="0" width=(short(width)) height="6" {}
        }
    }
}

fn short(number: f64) -> String {
    format!("{number:.2}")
}

fn round(number: f64) -> String {
    format!("{number:.0}")
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

const WIDTH: f64 = 240.0;
const HEIGHT: f64 = 60.0;
const MOST_REASONS: usize = 12;
