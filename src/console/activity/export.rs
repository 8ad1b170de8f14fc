//! The list of requests as a file: lines of JSON, or of values with commas between them.

use axum::response::IntoResponse as _;
use http::header;

use super::{filter, reader};
use crate::console::errors;
use crate::console::page_context::{PageContext, PageResult};
use crate::store::PageRange;
use crate::wire::AuditEntry;

/// The requests that the filters select, newest first, up to a bound.
pub(in crate::console) async fn export(context: PageContext) -> PageResult {
    // 1. The form of the file.
    let is_csv = match context.query("format") {
        "csv" => true,
        "ndjson" => false,
        _ => return Err(context.tell(&errors::NOWHERE)),
    };
    // 2. The entries, page by page.
    let (reader, query) = (reader(&context)?, filter::query(&context));
    let mut text = if is_csv { AuditEntry::csv_head() } else { String::new() };
    let (mut left, mut after) = (MAX_EXPORTED, None);
    for _round in 0..MAX_ROUNDS {
        let window = PageRange { after, before: None, limit: left.min(ENTRIES_AT_ONCE) };
        let found =
            reader.find(&query, &window).await.map_err(|refused| context.refuse(refused))?;
        let items = &found.listing.items;
        text.extend(
            items.iter().map(|(_, entry)| if is_csv { entry.csv_line() } else { json(entry) }),
        );
        left = left.saturating_sub(u32::try_from(items.len()).unwrap_or(u32::MAX));
        let last = found.looked_until.or_else(|| items.last().map(|(position, _)| *position));
        let Some(last) = last.filter(|_| found.listing.has_more && left > 0) else { break };
        after = Some(last.to_string());
    }
    // 3. The file.
    let (name, kind) = if is_csv {
        ("requests.csv", "text/csv; charset=utf-8; header=present")
    } else {
        ("requests.ndjson", "application/x-ndjson")
    };
    let disposition = format!("attachment; filename=\"{name}\"");
    let fields =
        [(header::CONTENT_TYPE, kind.to_owned()), (header::CONTENT_DISPOSITION, disposition)];
    Ok((fields, text).into_response())
}

fn json(entry: &AuditEntry) -> String {
    // Texts and numbers can always be written as JSON.
    let mut line = serde_json::to_string(entry).unwrap_or_default();
    line.push('\n');
    line
}

/// The largest number of entries in a file.
pub(super) const MAX_EXPORTED: u32 = 10_000;

/// The number of entries that are read at once.
const ENTRIES_AT_ONCE: u32 = 1000;

/// The number of searches for a file; one that finds little reads much.
const MAX_ROUNDS: u32 = 20;
