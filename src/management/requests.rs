//! Requests are found by what they did, newest first, and one is shown with its way out.

use jiff::Timestamp;

use super::audit::{AuditPage, AuditReader, end_of, position};
use super::fault::{About, Refused};
use super::listing::{ListPage, cut, reads_backwards};
use crate::error::chain;
use crate::model::name::{ConnectionName, IntegrationName};
use crate::model::name_rule;
use crate::model::remedy::FailureRemedy;
use crate::store::{
    AuditPosition, EntryFilter, EntryRange, FoundEntries, PageRange, Store, path_at_origin,
};
use crate::wire::{AuditEntry, RequestView};

/// Selects requests. An empty text selects all.
#[derive(Clone, Debug, Default)]
pub struct RequestQuery {
    /// Those that arrived then or later (RFC 3339).
    pub since: String,
    /// Those that arrived before then (RFC 3339).
    pub until: String,
    /// Those of this integration.
    pub integration: String,
    /// Those of the connection of this name.
    pub connection: String,
    /// Those of the caller of this name.
    pub caller: String,
    /// `allow`, `refuse`, or `failed`: refused, or answered with an error.
    pub decision: String,
    /// Those that were refused with this code.
    pub code: String,
    /// Those with this status, such as `404`, or class, such as `5xx`.
    pub status: String,
    /// Those with this method.
    pub method: String,
    /// Those whose path at the origin begins so.
    pub path: String,
}

impl AuditReader<'_> {
    /// The requests within the window, newest first. A page is empty only where nothing older
    /// matches, or where all that could be read at once did not.
    ///
    /// # Errors
    /// A filter or a cursor is faulty, the integration is out of reach, or the store fails.
    pub async fn find(
        &self,
        query: &RequestQuery,
        window: &PageRange,
    ) -> Result<AuditPage, Refused> {
        // 1. What is wanted, and may be seen.
        let filter = self.filter(query)?;
        let backwards = reads_backwards(window);
        let range = EntryRange {
            older_than: position("page[after]", window.after.as_deref())?,
            newer_than: position("page[before]", window.before.as_deref())?,
            oldest_first: backwards,
        };
        let Ok(persistence) = self.management.persistence() else {
            let listing = ListPage { items: Vec::new(), has_more: false };
            return Ok(AuditPage { listing, looked_until: None, newest: None });
        };
        // 2. One more than asked for, to know whether others follow.
        let enough = usize::try_from(window.limit).unwrap_or(usize::MAX).saturating_add(1);
        let Found { mut entries, looked_until, newest } =
            self.search(persistence.store(), &filter, range, enough).await?;
        if backwards {
            entries.reverse();
        }
        let listing = cut(entries, window, looked_until.is_some());
        let shown = listing.items.first().map(|(position, _)| *position);
        let newest = if backwards && listing.has_more {
            shown.into_iter().chain(looked_until).max()
        } else {
            newest.map(end_of)
        };
        Ok(AuditPage { listing, looked_until, newest })
    }

    /// The request with this id, with its way out if it failed.
    ///
    /// # Errors
    /// [`Refused::NotFound`] when none within reach has the id, or none any more; and when the store
    /// fails.
    pub async fn show(&self, request_id: &str) -> Result<RequestView, Refused> {
        let wanted = Some(request_id.to_owned());
        let filter = EntryFilter { request_id: wanted, ..self.filter(&RequestQuery::default())? };
        let store = self.management.persistence()?.store();
        let found = self.search(store, &filter, EntryRange::default(), 1).await?;
        let (_, entry) = found.entries.into_iter().next().ok_or(Refused::NotFound)?;
        Ok(view(entry))
    }

    /// Reads on until there are enough entries, or everything was read, or much.
    async fn search(
        &self,
        store: &Store,
        filter: &EntryFilter,
        mut range: EntryRange,
        enough: usize,
    ) -> Result<Found, Refused> {
        let mut all = Found { entries: Vec::new(), looked_until: None, newest: None };
        for round in 1.. {
            let wanted = enough.saturating_sub(all.entries.len());
            let turn = self.management.long_reads.acquire().await;
            let FoundEntries { lines, searched_until, newest } =
                store.find_entries(filter, range, wanted).await?;
            drop(turn);
            all.newest = all.newest.or(newest);
            // 1. A line that was found is one that is wanted, but for a few.
            let is_short = lines.len() < wanted;
            let entries = lines.iter().filter_map(|(at, line)| Some((*at, read_entry(line)?)));
            let entries =
                entries.filter(|(_, entry)| selects(filter, entry) && self.reaches(entry));
            all.entries.extend(entries.take(wanted));
            // 2. It goes on where the last search has ended, unless that was long.
            let Some(until) = searched_until else { break };
            if all.entries.len() >= enough {
                break;
            }
            let is_long = is_short && (!all.entries.is_empty() || round >= MAX_LONG_SEARCHES);
            if is_long || round >= MAX_SEARCHES {
                all.looked_until = Some(until);
                break;
            }
            if range.oldest_first {
                range.newer_than = Some(until);
            } else {
                range.older_than = Some(until);
            }
        }
        Ok(all)
    }

    /// The connections that a token which names connections reaches, of those that are wanted; none
    /// for a token that reaches all that are.
    fn reached(
        &self,
        integration: Option<&IntegrationName>,
        connection: Option<&str>,
    ) -> Result<Vec<(String, String)>, Refused> {
        let Some(listed) = self.operator.listed_connections() else { return Ok(Vec::new()) };
        let is_wanted = |(of, name): &(IntegrationName, ConnectionName)| {
            integration.is_none_or(|wanted| wanted == of)
                && connection.is_none_or(|wanted| wanted == name.as_str())
        };
        let wanted = listed.into_iter().filter(is_wanted);
        let reached: Vec<_> = wanted.map(|(of, name)| (of.to_string(), name.to_string())).collect();
        if reached.is_empty() { Err(Refused::OutOfReach) } else { Ok(reached) }
    }

    fn filter(&self, query: &RequestQuery) -> Result<EntryFilter, Refused> {
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        // 1. The integration is the token's own, where it has one.
        let integration = match (self.operator.bound_to(), query.integration.as_str()) {
            (Some(own), "") => Some(own.clone()),
            (None, "") => None,
            (_, named) => Some(self.operator.enter(named)?),
        };
        // 2. Who reaches some connections alone is told of those, and of no others that match.
        let connection = given(&query.connection);
        let reached = self.reached(integration.as_ref(), connection.as_deref())?;
        // 3. The code, the status and the path.
        if !query.code.is_empty() && FailureRemedy::of_refusal(&query.code).is_none() {
            let rule = name_rule(&FailureRemedy::codes().collect::<Vec<_>>());
            return Err(Refused::of(About::Request, format!("code: {rule}")));
        }
        let is_refused = match query.decision.as_str() {
            "" | "failed" => None,
            "allow" => Some(false),
            "refuse" => Some(true),
            _ => {
                return Err(Refused::of(
                    About::Request,
                    "decision: must be allow, refuse or failed",
                ));
            }
        };
        let statuses = match (statuses(&query.status)?, query.decision == "failed") {
            (wanted, false) => wanted,
            (None, true) => Some(ERRORS),
            (Some((low, high)), true) => Some((low.max(ERRORS.0), high)),
        };
        if !query.path.is_empty() && !query.path.starts_with('/') {
            return Err(Refused::of(About::Request, "path: must begin with a slash"));
        }
        Ok(EntryFilter {
            since: moment("since", &query.since)?,
            until: moment("until", &query.until)?,
            integration: integration.as_ref().map(IntegrationName::to_string),
            connection,
            reached,
            caller: given(&query.caller),
            code: given(&query.code),
            is_refused,
            statuses,
            method: given(&query.method),
            path: given(&query.path),
            request_id: None,
        })
    }
}

/// The result of a search.
struct Found {
    entries: Vec<(AuditPosition, AuditEntry)>,
    looked_until: Option<AuditPosition>,
    newest: Option<i64>,
}

/// The way out of a request's failure.
pub fn remedy_of(entry: &AuditEntry) -> Option<FailureRemedy> {
    let AuditEntry { code, who, status, .. } = entry;
    if code.is_empty() {
        return FailureRemedy::of_status(*status);
    }
    FailureRemedy::of_refusal(&format!("{code} {who}")).or_else(|| FailureRemedy::of_refusal(code))
}

/// The entry, which names the one who must act: where the API has answered with an error its line
/// does not, nor does a line of an older version.
fn with_actor(mut entry: AuditEntry) -> AuditEntry {
    remedy_of(&entry).map_or("", |remedy| remedy.who.as_str()).clone_into(&mut entry.who);
    entry
}

/// An entry with its way out.
fn view(entry: AuditEntry) -> RequestView {
    let is_refused = !entry.code.is_empty();
    let remedy = remedy_of(&entry);
    let docs = if is_refused { docs_of(&entry.code) } else { String::new() };
    RequestView {
        entry,
        reason: remedy.map_or("", |remedy| remedy.reason).to_owned(),
        advice: remedy.map_or("", |remedy| remedy.advice).to_owned(),
        docs,
    }
}

/// The section of the documentation about a code.
fn docs_of(code: &str) -> String {
    format!("docs/reference/errors.md#{}", code.to_ascii_lowercase())
}

/// Reads a line of the trail; `None` where that can't be done, which is logged.
pub(super) fn read_entry(line: &str) -> Option<AuditEntry> {
    serde_json::from_str(line)
        .inspect_err(|error| {
            tracing::error!(error = %chain(error), "an entry of the audit trail can't be read");
        })
        .ok()
        .map(with_actor)
}

/// Tells whether a filter selects an entry: the index errs now and then.
fn selects(filter: &EntryFilter, entry: &AuditEntry) -> bool {
    let is = |wanted: &Option<String>, found: &str| {
        wanted.as_deref().is_none_or(|wanted| wanted == found)
    };
    let time = entry.time.parse::<Timestamp>().unwrap_or_default();
    filter.since.is_none_or(|since| time >= since)
        && filter.until.is_none_or(|until| time < until)
        && is(&filter.integration, &entry.integration)
        && is(&filter.connection, &entry.connection)
        && is(&filter.caller, &entry.caller)
        && is(&filter.code, &entry.code)
        && filter.is_refused.is_none_or(|wanted| wanted != entry.code.is_empty())
        && filter.statuses.is_none_or(|(low, high)| (low..=high).contains(&entry.status))
        && is(&filter.method, &entry.method)
        && is(&filter.request_id, &entry.request_id)
        && filter.path.as_deref().is_none_or(|path| {
            path_at_origin(&entry.path, &entry.origin, &entry.form).starts_with(path)
        })
}

pub(super) fn moment(parameter: &str, text: &str) -> Result<Option<Timestamp>, Refused> {
    if text.is_empty() {
        return Ok(None);
    }
    let time = text.parse().map_err(|_wordy| {
        let title = format!("{parameter}: must be a time such as 2030-01-31T12:00:00Z (RFC 3339)");
        Refused::of(About::Request, title)
    });
    time.map(Some)
}

/// Reads a status, or a class of them.
fn statuses(text: &str) -> Result<Option<(u16, u16)>, Refused> {
    if text.is_empty() {
        return Ok(None);
    }
    let number = |digits: &str| {
        let is_plain = digits.len() <= 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u16>().ok().filter(|_| is_plain)
    };
    let range = match text.strip_suffix("xx") {
        Some(class) => number(class)
            .filter(|number| class.len() == 1 && (1..=5).contains(number))
            .map(|class| (class * 100, class * 100 + 99)),
        None => number(text).map(|status| (status, status)),
    };
    let rule = "status: must be a status such as 404, or a class such as 5xx";
    range.map(Some).ok_or_else(|| Refused::of(About::Request, rule))
}

/// The statuses of errors.
const ERRORS: (u16, u16) = (400, 999);

/// The number of searches for one page, and of those that read as much as one may.
const MAX_SEARCHES: u32 = 100;

const MAX_LONG_SEARCHES: u32 = 4;
