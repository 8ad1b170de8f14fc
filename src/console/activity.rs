//! Requests as they happen and as they were, found by what they did, and counted in charts.

mod charts;
mod counted;
mod export;
pub(super) mod filter;

use axum::response::IntoResponse as _;
use http::{HeaderName, StatusCode};
use jiff::Timestamp;
use maud::{Markup, html};

use self::filter::{filtered, filtered_at};
use super::errors::sentence;
use super::layout::{self, Tab};
use super::page_context::{PageContext, PageError, PageResult, see};
use super::request::is_request_id;
use super::status_view;
use crate::management::{AuditPage, AuditPosition, AuditReader, Refused, RequestQuery};
use crate::store::{PageRange, path_at_origin};
use crate::wire::AuditEntry;

pub(super) use self::export::export;

/// Entries that were found, or the fault of the filters.
#[derive(Default)]
struct Entries {
    /// Newest first.
    rows: Vec<(AuditPosition, AuditEntry)>,
    /// The cursor at which older ones begin, if there may be any.
    oldest: Option<String>,
    /// Up to where these are all.
    newest: Option<AuditPosition>,
    fault: Option<String>,
}

pub(super) async fn page(context: PageContext) -> PageResult {
    // 1. An id leads to its request, and to no list.
    let id = context.query("id").trim();
    if is_request_id(id) {
        return Ok(see(&context.path(&format!("/requests/{id}"))));
    }
    // 2. The counts, and the entries.
    let query = filter::query(&context);
    let (charts, newest) = charts::section(&context, &query).await?;
    let mut entries = match newest.filter(|_| context.query("after").is_empty()) {
        Some(newest) => Entries::first(newest),
        None => entries(&context, &query).await?,
    };
    if !id.is_empty() {
        entries.fault = Some("Request id: must be one such as 1f45d091-7.".to_owned());
    }
    // 3. The page, of which only the first grows while it is looked at.
    let live = context.query("after").is_empty() && query.until.is_empty();
    let markup = html! {
        div.head {
            h1 { "Activity" }
            @if live { button.quiet #pause type="button" hidden aria-pressed="false" { "Pause" } }
        }
        (charts)
        section aria-labelledby="requests" {
            h2 #requests { "Requests" }
            (filter::form(&context, &query))
            p.count #arrived role="status" {}
            @if let Some(fault) = &entries.fault { p.fault role="alert" { (fault) } }
            (list(&context, &entries, live))
        }
    };
    let is_faulty = entries.fault.is_some();
    let status = if is_faulty { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    Ok(context.page_with(status, Tab::Activity, "Activity", &markup))
}

/// The rows of what has happened since what the script knows, newest first; the answer's field
/// [`UNTIL`] says up to where that is all.
pub(super) async fn rows(context: PageContext) -> PageResult {
    let (reader, query) = (reader(&context)?, filter::query(&context));
    let known = Some(context.query("newer")).filter(|text| !text.is_empty());
    let known = known.unwrap_or(BEFORE_ALL).to_owned();
    let window = PageRange { after: None, before: Some(known.clone()), limit: PER_PAGE };
    let found = reader.find(&query, &window).await.map_err(|refused| context.refuse(refused))?;
    let until = found.newest.map_or(known, |newest| newest.to_string());
    // The rows alone, without a page around them.
    let now = context.management().now();
    let markup = html! { @for (_, entry) in &found.listing.items { (row(&context, entry, now)) } };
    let told = [(UNTIL, until), (MORE, found.listing.has_more.to_string())];
    Ok((told, layout::html(&markup)).into_response())
}

/// The right to read what requests did.
pub(super) fn reader(context: &PageContext) -> Result<AuditReader<'_>, PageError> {
    context.management().audit_reader(&context.operator).map_err(|refused| context.refuse(refused))
}

async fn entries(context: &PageContext, query: &RequestQuery) -> Result<Entries, PageError> {
    let after = Some(context.query("after")).filter(|text| !text.is_empty()).map(str::to_owned);
    let window = PageRange { after, before: None, limit: PER_PAGE };
    let found = match reader(context)?.find(query, &window).await {
        Ok(found) => found,
        Err(Refused::Faulty(faults)) => {
            return Ok(Entries { fault: Some(sentence(&faults)), ..Entries::default() });
        }
        Err(refused) => return Err(context.refuse(refused)),
    };
    Ok(Entries::first(found))
}

impl Entries {
    /// The first page of what was found.
    fn first(found: AuditPage) -> Self {
        let AuditPage { listing, looked_until, newest } = found;
        let mut rows = listing.items;
        let is_cut = rows.len() > PER_PAGE as usize;
        rows.truncate(PER_PAGE as usize);
        let shown = rows.last().map(|(position, _)| *position);
        let searched = looked_until.filter(|_| !is_cut).or(shown);
        let oldest = searched.filter(|_| is_cut || listing.has_more);
        Self { rows, oldest: oldest.map(|position| position.to_string()), newest, fault: None }
    }
}

/// The list, with the ways on.
fn list(context: &PageContext, entries: &Entries, live: bool) -> Markup {
    // What is downloaded is what the filters select, and not this page alone.
    let export = |format| filtered_at(context, "/activity/export", &[("format", format)]);
    let none = match &entries.oldest {
        Some(_) => "None of the newest requests is like that; there are older ones.",
        None => "No request is like that yet. They are here a second after they have ended.",
    };
    html! {
        @if !context.management().keeps() {
            p.empty { "This server keeps nothing, so there is no list; the log has every request." }
        } @else if entries.fault.is_none() {
            @if entries.rows.is_empty() { p.empty #nothing { (none) } }
            (table(context, entries, live))
            nav.pages aria-label="Pages" {
                @if let Some(oldest) = &entries.oldest {
                    a.button.quiet rel="next" href=(filtered(context, "after", oldest)) { "Older" }
                }
                @if !entries.rows.is_empty() {
                    span.hint {
                        "Download these, and older ones up to " (export::MAX_EXPORTED) ": "
                        a href=(export("ndjson")) download { "NDJSON" } " "
                        a href=(export("csv")) download { "CSV" }
                    }
                }
            }
        }
    }
}

/// The rows; where they are live, newer ones are added as they come.
fn table(context: &PageContext, entries: &Entries, live: bool) -> Markup {
    let source = live.then(|| filtered_at(context, "/activity/rows", &[]));
    let now = context.management().now();
    html! {
        table.rows.entries {
            caption.unseen { "Requests, newest first" }
            (heads())
            tbody data-live=[source] data-newest=[entries.newest] { @for (_, entry) in &entries.rows { (row(context, entry, now)) } }
        }
    }
}

/// The heads of the columns of requests.
pub(super) fn heads() -> Markup {
    html! {
        thead { tr {
            th scope="col" { "Time" }
            th scope="col" { "Status" }
            th scope="col" { "Request" }
            th.medium scope="col" { "Connection" }
            th.medium scope="col" { "Caller" }
            th.wide.number scope="col" { "Took" }
        } }
    }
}

/// A request, which leads to its page.
pub(super) fn row(context: &PageContext, entry: &AuditEntry, now: Timestamp) -> Markup {
    let took = format!("{:.0} ms, of it {:.0} at the origin", entry.total_ms, entry.upstream_ms);
    let its_page = context.path(&format!("/requests/{}", entry.request_id));
    html! {
        tr {
            td { (moment(&entry.time, now)) }
            td { span class=(badge(entry)) { (entry.status) } div.reason.medium { (entry.code) } }
            td.request {
                a href=(its_page) {
                    strong { (entry.method) } " " span.origin-of { (status_view::breakable(host(entry))) } wbr; (status_view::breakable(path_at_origin(&entry.path, &entry.origin, &entry.form)))
                }
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

/// The class of the badge that shows a request's status.
pub(super) fn badge(entry: &AuditEntry) -> &'static str {
    match (entry.decision.as_str(), entry.status) {
        ("refuse", _) => "state bad",
        (_, 400..) => "state warn",
        _ => "state good",
    }
}

/// The origin, without the scheme that all have.
pub(super) fn host(entry: &AuditEntry) -> &str {
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

fn moment(time: &str, now: Timestamp) -> Markup {
    match time.parse::<Timestamp>() {
        Ok(time) if now.duration_since(time).as_hours() < 24 => status_view::clock(time),
        Ok(time) => status_view::time(time),
        Err(_) => html! { (time) },
    }
}

/// The field that says up to where a script has been told everything.
const UNTIL: HeaderName = HeaderName::from_static("x-keyferry-until");
/// The field that says whether there is more already.
const MORE: HeaderName = HeaderName::from_static("x-keyferry-more");
const BEFORE_ALL: &str = "0-0";
const PER_PAGE: u32 = 100;
