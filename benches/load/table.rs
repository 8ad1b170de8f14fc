//! The results as Markdown, padded so that they can be read as they are.

use std::fmt::Write as _;

use crate::{
    contender::Contender::{self, Bare, Haproxy, NginxLog},
    load::Load,
    options::Options,
    results::{Figure, Results},
    sample::Sample,
};

/// A table for each load.
pub(crate) fn render(results: &Results, options: &Options) -> String {
    let mut text = String::new();
    for load in &options.loads {
        let rows = rows(*load, results, options);
        write!(text, "\n### {}\n\n{}", load.title(), align(&rows)).unwrap();
    }
    text
}

/// One measurement in a line, to be printed as it happens.
pub(crate) fn line(sample: &Sample) -> String {
    let mut line = String::new();
    for (name, unit) in LINE {
        if let Some(value) = sample.lookup(name) {
            write!(line, "  {unit} {}", round(value)).unwrap();
        }
    }
    line
}

/// A number with three digits that mean something.
pub(crate) fn round(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        large if large >= 10.0 => format!("{value:.1}"),
        large if large >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn rows(load: Load, results: &Results, options: &Options) -> Vec<Vec<String>> {
    let (columns, yardsticks): (&[(&str, &str)], [Contender; 2]) =
        if load.is_bulk() { (&BULK, [Haproxy, Bare]) } else { (&FLOOD, [NginxLog, Bare]) };
    let mut head = vec!["contender".to_owned()];
    head.extend(columns.iter().map(|(_, title)| (*title).to_owned()));
    head.extend(yardsticks.map(|yardstick| format!("CPU ÷ {}'s", yardstick.name())));
    let mut rows = vec![head];
    let cell = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), round);
    for contender in &options.contenders {
        let Some(median) = results.median(load, *contender) else {
            continue;
        };
        let cpu = |contender| Figure(contender, "cpu_ms");
        let ratio = |yardstick| results.ratio(load, cpu(*contender), cpu(yardstick));
        let mut row = vec![contender.name().to_owned()];
        row.extend(columns.iter().map(|(name, _)| cell(median.lookup(name))));
        row.extend(yardsticks.map(|yardstick| cell(ratio(yardstick))));
        rows.push(row);
    }
    rows
}

fn align(rows: &[Vec<String>]) -> String {
    let columns = 0..rows[0].len();
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = columns.map(width).collect();
    let mut lines: Vec<_> = rows.iter().map(|row| spread(row, &widths)).collect();
    let rule = widths.iter().enumerate().map(|(at, width)| {
        let end = if at == 0 { ' ' } else { ':' };
        format!("| {}{end}", "-".repeat(*width))
    });
    lines.insert(1, rule.collect::<String>() + "|\n");
    lines.concat()
}

/// The first column names and reads from the left; the others are numbers.
fn spread(row: &[String], widths: &[usize]) -> String {
    let cells = row.iter().zip(widths).enumerate().map(|(at, (cell, width))| match at {
        0 => format!("| {cell:<width$} "),
        _ => format!("| {cell:>width$} "),
    });
    cells.collect::<String>() + "|\n"
}

const FLOOD: [(&str, &str); 10] = [
    ("requests_per_second", "requests/s"),
    ("p50_ms", "p50 ms"),
    ("p99_ms", "p99 ms"),
    ("cpu_ms", "CPU ms per 1,000"),
    ("cpu_user_ms", "user"),
    ("cpu_system_ms", "system"),
    ("memory_mib", "memory MiB"),
    ("memory_worker_mib", "worker's"),
    ("proxy_busy", "core busy"),
    ("start_ms", "start ms"),
];

const BULK: [(&str, &str); 7] = [
    ("megabytes_per_second", "MB/s"),
    ("cpu_ms", "CPU ms per 100 MB"),
    ("cpu_user_ms", "user"),
    ("cpu_system_ms", "system"),
    ("memory_mib", "memory MiB"),
    ("memory_worker_mib", "worker's"),
    ("proxy_busy", "core busy"),
];

const LINE: [(&str, &str); 11] = [
    ("requests_per_second", "req/s"),
    ("megabytes_per_second", "MB/s"),
    ("p50_ms", "p50"),
    ("p99_ms", "p99"),
    ("cpu_ms", "cpu"),
    ("memory_mib", "MiB"),
    ("proxy_busy", "busy"),
    ("load_busy", "load"),
    ("others_busy", "others"),
    ("errors", "errors"),
    ("rejected", "rejected"),
];
