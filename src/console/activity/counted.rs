//! Requests that are counted out of their entries, where no counts were kept for what is asked:
//! over time, and by what they have in common.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

use super::filter::filtered_at;
use super::reader;
use crate::console::chart::Group;
use crate::console::page_context::{PageContext, PageError};
use crate::management::{AuditPage, Refused, RequestHistory, RequestQuery};
use crate::model::remedy::FailureRemedy;
use crate::model::request_counts::{RequestCounts, STATUS_CLASSES};
use crate::store::{PageRange, path_at_origin};
use crate::wire::AuditEntry;

/// The fact by which requests are grouped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Grouping {
    /// By the code of their refusal, or else by the class of the answer's status.
    Code,
    /// By the status of their answer.
    Status,
    /// By their method.
    Method,
    /// By the next segment of their path.
    Path,
}

/// The newest requests that a query selects.
pub(super) struct RequestSample {
    pub(super) found: AuditPage,
    /// Tells whether the query selects older ones too.
    pub(super) has_more: bool,
}

impl Grouping {
    pub(super) const ALL: [Self; 4] = [Self::Code, Self::Status, Self::Method, Self::Path];

    /// Its word in an address.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Status => "status",
            Self::Method => "method",
            Self::Path => "path",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == text)
    }

    /// The group of a request, within the paths that begin so.
    fn name(self, entry: &AuditEntry, within: &str) -> String {
        match self {
            Self::Code if entry.code.is_empty() => class(entry.status).to_owned(),
            Self::Code => entry.code.clone(),
            Self::Status => entry.status.to_string(),
            Self::Method => entry.method.clone(),
            Self::Path => {
                beginning(path_at_origin(&entry.path, &entry.origin, &entry.form), within)
                    .to_owned()
            }
        }
    }

    /// The path at which the requests of a group are shown.
    pub(super) fn link(self, context: &PageContext, name: &str) -> String {
        let is_class = STATUS_CLASSES.contains(&name);
        match self {
            // Those whose caller had gone have no status.
            Self::Code if is_class && !name.ends_with("xx") => {
                filtered_at(context, "/activity", &[("status", "0"), ("decision", "allow")])
            }
            Self::Code if is_class => {
                filtered_at(context, "/activity", &[("status", name), ("decision", "allow")])
            }
            _ => filtered_at(context, "/activity", &[(self.as_str(), name)]),
        }
    }

    /// The groups of requests that are counted already.
    pub(super) fn group(
        self,
        context: &PageContext,
        counted: impl IntoIterator<Item = (String, RequestCounts)>,
    ) -> Vec<Group> {
        let group = |(name, counts): (String, RequestCounts)| {
            let link = self.link(context, &name);
            Group { name, link, counts }
        };
        let mut groups: Vec<_> = counted.into_iter().map(group).collect();
        let total =
            |group: &Group| group.counts.sent().saturating_add(group.counts.refused_total());
        groups.sort_by(|a, b| total(b).cmp(&total(a)).then_with(|| a.name.cmp(&b.name)));
        groups
    }
}

/// The counts of a history by code, or else by the class of the answer's status.
pub(super) fn by_code(history: &RequestHistory) -> Vec<(String, RequestCounts)> {
    let mut whole = RequestCounts::default();
    history.parts.iter().for_each(|part| whole.merge(part));
    let refused = whole.refused.iter().map(|(code, number)| {
        let refused = vec![(code.clone(), *number)];
        (code.to_string(), RequestCounts { refused, ..RequestCounts::default() })
    });
    let answered = STATUS_CLASSES.iter().zip(whole.answered).enumerate();
    let answered = answered.filter(|(_, (_, number))| *number > 0).map(|(at, (class, number))| {
        let mut counts = RequestCounts::default();
        if let Some(count) = counts.answered.get_mut(at) {
            *count = number;
        }
        ((*class).to_owned(), counts)
    });
    refused.chain(answered).collect()
}

impl RequestSample {
    /// Reads the newest requests of a query; nothing where it is faulty.
    pub(super) async fn read(
        context: &PageContext,
        query: &RequestQuery,
        (since, until): (Timestamp, Timestamp),
    ) -> Result<Option<Self>, PageError> {
        let (since, until) = (since.to_string(), until.to_string());
        let query = RequestQuery { since, until, ..query.clone() };
        let window = PageRange { after: None, before: None, limit: MAX_COUNTED };
        let found = match reader(context)?.find(&query, &window).await {
            Ok(found) => found,
            Err(Refused::OutOfReach | Refused::Faulty(_)) => return Ok(None),
            Err(refused) => return Err(context.refuse(refused)),
        };
        let has_more = found.listing.has_more || found.looked_until.is_some();
        Ok(Some(Self { found, has_more }))
    }

    /// The number of requests.
    pub(super) fn len(&self) -> usize {
        self.found.listing.items.len()
    }

    fn entries(&self) -> impl Iterator<Item = &AuditEntry> {
        self.found.listing.items.iter().map(|(_, entry)| entry)
    }

    /// The counts over a stretch of time, in parts of this many seconds.
    pub(super) fn history(
        &self,
        (since, until): (Timestamp, Timestamp),
        seconds: i64,
    ) -> RequestHistory {
        let start = since.as_second().div_euclid(seconds) * seconds;
        let length = (until.as_second() - start).max(1);
        let number = usize::try_from((length - 1) / seconds + 1).unwrap_or(1);
        let mut parts = vec![RequestCounts::default(); number];
        for entry in self.entries() {
            let at = entry.time.parse::<Timestamp>().unwrap_or_default().as_second();
            let part = usize::try_from((at - start).div_euclid(seconds)).ok();
            if let Some(part) = part.and_then(|number| parts.get_mut(number)) {
                count(part, entry);
            }
        }
        let start = Timestamp::from_second(start).unwrap_or_default();
        RequestHistory { start, seconds, parts, callers: None }
    }

    /// The counts by what requests have in common.
    pub(super) fn by(&self, grouping: Grouping, within: &str) -> Vec<(String, RequestCounts)> {
        let mut groups = HashMap::<String, RequestCounts>::new();
        for entry in self.entries() {
            count(groups.entry(grouping.name(entry, within)).or_default(), entry);
        }
        groups.into_iter().collect()
    }
}

fn count(counts: &mut RequestCounts, entry: &AuditEntry) {
    let refused = FailureRemedy::codes().find(|code| *code == entry.code);
    let answered = refused.is_none() && entry.status > 0;
    let took = answered.then(|| Duration::try_from_secs_f64(entry.upstream_ms / 1000.0).ok());
    counts.count(entry.status, refused, took.flatten());
}

/// The class of a status, as counts name it.
fn class(status: u16) -> &'static str {
    let class = usize::from(status / 100).checked_sub(1);
    let known =
        class.and_then(|class| STATUS_CLASSES.get(class)).filter(|name| name.ends_with("xx"));
    known.copied().unwrap_or("other")
}

/// The beginning of a path: as much as is known of it, and up to the end of the next segment.
fn beginning<'p>(path: &'p str, within: &str) -> &'p str {
    let from = if path.starts_with(within) { within.len() } else { 0 };
    // A slash at the very place belongs to the segment that begins there.
    let from = from + usize::from(path.get(from..).is_some_and(|rest| rest.starts_with('/')));
    let end = path.get(from..).and_then(|rest| rest.find('/'));
    end.and_then(|end| path.get(..=from + end)).unwrap_or(path)
}

/// The number of entries that are counted for a chart.
const MAX_COUNTED: u32 = 2000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::management::{AuditPosition, ListPage};

    fn entry(second: i64, status: u16, code: &str, path: &str) -> AuditEntry {
        AuditEntry {
            time: Timestamp::from_second(second).unwrap().to_string(),
            origin: "https://api.example.test".to_owned(),
            path: path.to_owned(),
            status,
            code: code.to_owned(),
            upstream_ms: 3.0,
            ..AuditEntry::default()
        }
    }

    fn sample() -> RequestSample {
        let entries = vec![
            entry(1000, 200, "", "/v1/orders/7"),
            entry(1061, 404, "", "/v1/orders/8"),
            entry(1062, 403, "DomainNotAllowed", "/v2"),
            entry(1130, 0, "", "/v1"),
        ];
        let at = |line| AuditPosition { batch: 1, line };
        let items = entries.into_iter().enumerate().map(|(line, entry)| (at(line), entry));
        let listing = ListPage { items: items.collect(), has_more: false };
        let found = AuditPage { listing, looked_until: None, newest: None };
        RequestSample { found, has_more: false }
    }

    #[test]
    fn entries_are_counted_in_their_part_of_the_time() {
        let stretch = [980, 1140].map(|second| Timestamp::from_second(second).unwrap());
        let history = sample().history(stretch.into(), 60);
        let parts: Vec<_> =
            history.parts.iter().map(|part| (part.sent(), part.refused_total())).collect();
        assert_eq!((history.start.as_second(), parts), (960, vec![(1, 0), (1, 1), (1, 0)]));
        assert_eq!(history.parts[0].percentile(50), Some(5.0));
    }

    #[test]
    fn requests_are_grouped_by_what_they_have_in_common() {
        let names = |grouping, within: &str| {
            let mut names: Vec<_> = sample().by(grouping, within).into_iter().collect();
            names.sort_by(|(one, _), (other, _)| one.cmp(other));
            names.into_iter().map(|(name, counts)| (name, counts.sent())).collect::<Vec<_>>()
        };
        let pair = |name: &str, sent| (name.to_owned(), sent);
        let codes = [pair("2xx", 1), pair("4xx", 1), pair("DomainNotAllowed", 0), pair("other", 1)];
        assert_eq!(names(Grouping::Code, ""), codes);
        let paths = [pair("/v1", 1), pair("/v1/", 2), pair("/v2", 0)];
        assert_eq!(names(Grouping::Path, ""), paths);
        let paths = [pair("/v1", 1), pair("/v1/orders/", 2), pair("/v2", 0)];
        assert_eq!(names(Grouping::Path, "/v1/"), paths);
        let statuses = [pair("0", 1), pair("200", 1), pair("403", 0), pair("404", 1)];
        assert_eq!(names(Grouping::Status, ""), statuses);
    }

    #[test]
    fn a_path_begins_up_to_the_next_segments_end() {
        for (path, within, found) in [
            ("/v1/orders/7", "", "/v1/"),
            ("/v1/orders/7", "/", "/v1/"),
            ("/v1/orders/7", "/v1", "/v1/orders/"),
            ("/v1/orders/7", "/v1/", "/v1/orders/"),
            ("/v1/orders/7", "/v1/or", "/v1/orders/"),
            ("/v1/orders/7", "/v1/orders/", "/v1/orders/7"),
            ("/v1//x", "/v1/", "/v1//x"),
            ("/", "", "/"),
            ("", "", ""),
            ("/é/x", "", "/é/"),
        ] {
            assert_eq!(beginning(path, within), found, "{path} within {within}");
        }
    }
}
