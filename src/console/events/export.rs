//! The list of events as a file of lines of JSON.

use axum::response::IntoResponse as _;
use http::header;

use super::{query, reader};
use crate::console::page_context::{PageContext, PageResult};
use crate::store::PageRange;

/// The events that the filters select, newest first, up to a bound.
pub(in crate::console) async fn export(context: PageContext) -> PageResult {
    // 1. The events, page by page.
    let reader = reader(&context).map_err(|refused| context.refuse(refused))?;
    let query = query(&context);
    let (mut text, mut left, mut after) = (String::new(), MAX_EXPORTED, None);
    while left > 0 && text.len() < MAX_FILE_BYTES {
        let window = PageRange { after, before: None, limit: left.min(EVENTS_AT_ONCE) };
        let found =
            reader.list(&query, &window).await.map_err(|refused| context.refuse(refused))?;
        for event in &found.items {
            // Texts and numbers can always be written as JSON.
            text.push_str(&serde_json::to_string(event).unwrap_or_default());
            text.push('\n');
        }
        left = left.saturating_sub(u32::try_from(found.items.len()).unwrap_or(u32::MAX));
        let Some(last) = found.items.last().filter(|_| found.has_more) else { break };
        after = Some(last.id.clone());
    }
    // 2. The file.
    let fields = [
        (header::CONTENT_TYPE, "application/x-ndjson"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"events.ndjson\""),
    ];
    Ok((fields, text).into_response())
}

/// The largest number of events in a file.
pub(super) const MAX_EXPORTED: u32 = 10_000;

/// The length of a file, in bytes, beyond which no further page is added.
const MAX_FILE_BYTES: usize = 16 << 20;

/// The number of events that are read at once.
const EVENTS_AT_ONCE: u32 = 500;
