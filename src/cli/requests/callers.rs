//! `keyferry requests callers`: how many requests each caller has sent.

use jiff::SignedDuration;

use super::RequestFilters;
use crate::cli::output::{self, CliError};
use crate::cli::server::{ApiClient, ApiPath};
use crate::cli::table::TextTable;
use crate::clock::Clock;
use crate::wire::{CallerStats, StatsAnswer};

pub(super) fn list(filters: &RequestFilters, api: &ApiClient<'_>) -> Result<(), CliError> {
    let answer = api.get(&path(filters, api)?)?;
    api.context.emit(answer.text()?, || {
        let head = ["CALLER", "REQUESTS", "2XX", "4XX", "5XX", "REFUSED", "MOSTLY"];
        let mut table = TextTable::new(&head);
        for counted in answer.read::<StatsAnswer>()?.callers.unwrap_or_default() {
            table.add(row(&counted));
        }
        if table.is_empty() {
            output::note("no request is like that: look further back with --since");
        }
        Ok(table.text())
    })
}

/// The path of the counts. Minutes are kept for a day, and hours for longer.
fn path(filters: &RequestFilters, api: &ApiClient<'_>) -> Result<ApiPath, CliError> {
    // 1. What counts do not tell can't be asked of them.
    let RequestFilters { decision, code, status, method, path, .. } = filters;
    if [decision, code, status, method, path].into_iter().any(Option::is_some) {
        return Err(CliError::Usage(
            "callers are counted by --since, --until, --integration, --connection and --caller \
             alone"
                .to_owned(),
        ));
    }
    // 2. The rest.
    let since = filters.since.map(|since| Clock::system().now().duration_since(since));
    let is_long = since.is_some_and(|ago| ago > SignedDuration::from_hours(24));
    let integration = api.context.listed_integration(filters.integration.as_deref());
    let given = [
        ("since", filters.since.map(|time| time.to_string())),
        ("until", filters.until.map(|time| time.to_string())),
        ("integration", integration.map(str::to_owned)),
        ("connection", filters.connection.clone()),
        ("caller", filters.caller.clone()),
        ("by", Some(if is_long { "hour" } else { "minute" }.to_owned())),
        ("per", Some("caller".to_owned())),
    ];
    let given = given.into_iter().filter_map(|(name, value)| Some((name, value?)));
    Ok(given.fold(ApiPath::keyferry(&["stats"]), |path, (name, value)| path.with(name, &value)))
}

fn row(counted: &CallerStats) -> [String; 7] {
    let CallerStats { caller, requests, answered, refused } = counted;
    let of_class = |class: &str| answered.get(class).copied().unwrap_or(0).to_string();
    let mostly = refused.iter().max_by_key(|(_, number)| **number);
    [
        if caller.is_empty() { "(not known)".to_owned() } else { caller.clone() },
        requests.to_string(),
        of_class("2xx"),
        of_class("4xx"),
        of_class("5xx"),
        refused.values().sum::<u64>().to_string(),
        mostly.map_or_else(String::new, |(code, _)| code.clone()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_counted_by_what_became_of_its_requests() {
        let counted = CallerStats {
            caller: "ci".to_owned(),
            requests: 12,
            answered: [("2xx".to_owned(), 9)].into(),
            refused: [("DomainNotAllowed".to_owned(), 1), ("RateLimited".to_owned(), 2)].into(),
        };
        assert_eq!(row(&counted), ["ci", "12", "9", "0", "0", "3", "RateLimited"]);
        let unknown = row(&CallerStats::default());
        assert_eq!((unknown[0].as_str(), unknown[6].as_str()), ("(not known)", ""));
    }
}
