//! `keyferry requests`: what requests did, and why one failed.

mod callers;

use std::io;

use jiff::Timestamp;
use rustix::termios::tcgetwinsize;

use super::connection::actor;
use super::context::CliContext;
use super::examples;
use super::newest::{follow, newest, parse_time};
use super::output::{self, CliError, OutputFormat, printable};
use super::server::{ApiClient, ApiPath, ServerArgs};
use super::table::{TextTable, record};
use crate::management::remedy_of;
use crate::store::path_at_origin;
use crate::wire::{AuditEntries, AuditEntry, RequestAnswer, RequestView};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    filters: RequestFilters,
    /// Goes on, and prints each new request
    #[arg(long)]
    follow: bool,
    /// Prints comma-separated values, with all that is known of each request
    #[arg(long, conflicts_with = "follow")]
    csv: bool,
    /// Largest number of requests, of which the newest are shown; 0 for all
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Shows one request: what it did, why it failed, and who must act
    #[command(after_help = examples::REQUESTS_SHOW)]
    Show(ShowArgs),
    /// Counts requests by caller: of the last hour, or of the time that --since and --until select
    #[command(after_help = examples::REQUESTS_CALLERS)]
    Callers,
}

#[derive(clap::Args)]
struct ShowArgs {
    /// Id of the request, which its answer has in X-Keyferry-Request-Id
    #[arg(value_name = "ID", required_unless_present = "last")]
    id: Option<String>,
    /// The newest request that failed, of those that the filters select
    #[arg(long, conflicts_with = "id")]
    last: bool,
}

#[derive(clap::Args)]
struct RequestFilters {
    /// Requests from then on: 2027-01-31T12:00:00Z, a day as 2027-01-31, or how long ago, as 2h
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    since: Option<Timestamp>,
    /// Requests before then
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    until: Option<Timestamp>,
    #[arg(long, value_name = "NAME", help = INTEGRATION_HELP)]
    integration: Option<String>,
    /// Requests that use this connection, or name it
    #[arg(long, value_name = "NAME")]
    connection: Option<String>,
    /// Requests of this caller: the name of its token
    #[arg(long, value_name = "NAME")]
    caller: Option<String>,
    /// Requests that were sent (allow), or not (refuse), or went wrong in any way (failed)
    #[arg(long, value_name = "DECISION")]
    decision: Option<String>,
    #[arg(long, value_name = "CODE", help = CODE_HELP)]
    code: Option<String>,
    /// Requests answered with this status, as 404, or of this class, as 5xx
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// Requests with this method
    #[arg(long, value_name = "METHOD")]
    method: Option<String>,
    /// Requests whose path begins so
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
}

pub(super) fn run(arguments: &Arguments, context: &CliContext) -> Result<(), CliError> {
    // 1. Counts, or one request.
    let api = arguments.server.client(context)?;
    if let Some(Command::Callers) = &arguments.command {
        return callers::list(&arguments.filters, &api);
    }
    if let Some(Command::Show(ShowArgs { id, .. })) = &arguments.command {
        let id = match id {
            Some(id) => id.clone(),
            None => last_failed(&arguments.filters, &api)?,
        };
        let answer = api.find(&ApiPath::keyferry(&["requests", &id]))?;
        let answer = answer.ok_or_else(|| unknown(&id))?;
        let RequestAnswer { request } = answer.read()?;
        return context.emit(answer.text()?, || Ok(shown(&request)));
    }
    // 2. A list of them, in one form or another.
    let path = arguments.filters.path(context);
    let page: AuditEntries = newest(&api, &path, arguments.limit)?;
    if arguments.follow {
        return follow(&api, &path, page, |entry| line(entry, context.format));
    }
    if page.entries.is_empty() {
        note_none();
    }
    if arguments.csv {
        let lines: String = page.entries.iter().map(AuditEntry::csv_line).collect();
        return output::result((AuditEntry::csv_head() + &lines).trim_end());
    }
    context.emit(&serde_json::to_string(&page)?, || Ok(table(&page, terminal_width())))
}

/// The id of the newest request that failed.
fn last_failed(filters: &RequestFilters, api: &ApiClient<'_>) -> Result<String, CliError> {
    let mut path = filters.path(api.context);
    if filters.decision.is_none() {
        path = path.with("decision", "failed");
    }
    let AuditEntries { entries, .. } = newest(api, &path, 1)?;
    let last = entries.into_iter().next();
    last.map(|entry| entry.request_id)
        .ok_or_else(|| CliError::Message("no request that is kept has failed so".to_owned()))
}

fn unknown(id: &str) -> CliError {
    CliError::Message(format!(
        "no request {} is known: it is younger than a second, older than audit.retention, or out \
         of the token's reach; `keyferry requests` lists those that are kept",
        printable(id)
    ))
}

fn note_none() {
    output::note("no request is like that: look further back, or leave out a filter");
}

impl RequestFilters {
    /// The path of the requests that are wanted.
    fn path(&self, context: &CliContext) -> ApiPath {
        let integration = context.listed_integration(self.integration.as_deref());
        let filters = [
            ("since", self.since.map(|time| time.to_string())),
            ("until", self.until.map(|time| time.to_string())),
            ("integration", integration.map(str::to_owned)),
            ("connection", self.connection.clone()),
            ("caller", self.caller.clone()),
            ("decision", self.decision.clone()),
            ("code", self.code.clone()),
            ("status", self.status.clone()),
            ("method", self.method.clone()),
            ("path", self.path.clone()),
        ];
        let given = filters.into_iter().filter_map(|(name, value)| Some((name, value?)));
        given.fold(ApiPath::keyferry(&["requests"]), |path, (name, value)| path.with(name, &value))
    }
}

/// The requests, a line each; with reasons where a line of this many columns holds them.
fn table(page: &AuditEntries, width: Option<usize>) -> String {
    let head = ["TIME", "STATUS", "REQUEST", "CONNECTION", "CALLER", "ID", "REASON"];
    let made = |columns: usize| {
        let mut table = TextTable::new(head.get(..columns).unwrap_or(&head));
        for entry in &page.entries {
            let AuditEntry { time, request_id, caller, .. } = entry;
            let (outcome, target, connection) = (outcome(entry), target(entry), connection(entry));
            let reason = reason(entry).to_owned();
            let cells = [time, &outcome, &target, &connection, caller, request_id, &reason];
            table.add(cells.into_iter().take(columns).cloned());
        }
        table.text()
    };
    let whole = made(head.len());
    let fits = |width| whole.lines().all(|line| line.chars().count() <= width);
    if width.is_none_or(fits) { whole } else { made(head.len() - 1) }
}

/// The columns of the terminal that standard output is; `None` where it is none.
fn terminal_width() -> Option<usize> {
    let size = tcgetwinsize(io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// A few words for what went wrong; empty where nothing did.
fn reason(entry: &AuditEntry) -> &'static str {
    remedy_of(entry).map_or("", |remedy| remedy.reason)
}

/// A request in a line.
fn line(entry: &AuditEntry, format: OutputFormat) -> Result<String, CliError> {
    if format == OutputFormat::Json {
        return Ok(serde_json::to_string(entry)?);
    }
    let AuditEntry { time, request_id, caller, .. } = entry;
    let (outcome, target, connection) = (outcome(entry), target(entry), connection(entry));
    Ok(printable(&format!("{time} {outcome} {target} {connection} {caller} {request_id}")))
}

/// All that is known of a request.
fn shown(request: &RequestView) -> String {
    let RequestView { entry, reason, advice, docs } = request;
    let who = &entry.who;
    let took = format!("{} ms, of it {} at the API", entry.total_ms, entry.upstream_ms);
    let sizes = format!("{} bytes sent, {} received", entry.request_bytes, entry.response_bytes);
    record(&[
        ("id", entry.request_id.clone()),
        ("time", entry.time.clone()),
        ("request", target(entry)),
        ("connection", connection(entry)),
        ("caller", entry.caller.clone()),
        ("decision", format!("{}, by the rule {}", entry.decision, entry.rule)),
        ("status", outcome(entry)),
        ("reason", reason.clone()),
        ("cause", entry.cause.clone()),
        ("who must act", actor(who).to_owned()),
        ("what to do", advice.clone()),
        ("more about it", docs.clone()),
        ("took", took),
        ("bodies", sizes),
        ("form", entry.form.clone()),
        ("instance", entry.instance.clone()),
        ("trace", entry.trace_id.clone()),
    ])
}

fn outcome(entry: &AuditEntry) -> String {
    format!("{} {}", entry.status, entry.code).trim_end().to_owned()
}

fn target(entry: &AuditEntry) -> String {
    let AuditEntry { method, origin, path, .. } = entry;
    format!("{method} {origin}{}", path_at_origin(path, origin, &entry.form))
}

fn connection(entry: &AuditEntry) -> String {
    match (entry.integration.as_str(), entry.connection.as_str()) {
        (integration, "") => integration.to_owned(),
        ("", connection) => connection.to_owned(),
        (integration, connection) => format!("{integration}.{connection}"),
    }
}

const CODE_HELP: &str = "Requests that were refused with this code, as DomainNotAllowed";

const INTEGRATION_HELP: &str =
    "Requests of this integration, * for all [env: KEYFERRY_INTEGRATION]";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_who_must_act() {
        let entry = AuditEntry {
            request_id: "1f45-7".to_owned(),
            method: "GET".to_owned(),
            origin: "https://api.example.com".to_owned(),
            path: "/v1".to_owned(),
            integration: "shop".to_owned(),
            connection: "crm".to_owned(),
            decision: "refuse".to_owned(),
            rule: "connection".to_owned(),
            code: "ConnectionForbidden".to_owned(),
            status: 403,
            cause: "The token may not use the connection crm.".to_owned(),
            who: "operator".to_owned(),
            ..AuditEntry::default()
        };
        let request = RequestView {
            entry,
            reason: "the token may not use it".to_owned(),
            ..RequestView::default()
        };
        let text = shown(&request);
        for line in [
            "id            1f45-7",
            "request       GET https://api.example.com/v1",
            "connection    shop.crm",
            "status        403 ConnectionForbidden",
            "who must act  the operator",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{text}");
        }
        assert!(!text.contains("caller") && !text.contains("what to do"), "{text}");
    }

    #[test]
    fn reasons_are_listed_where_there_is_room() {
        let entry = AuditEntry {
            time: "2026-11-30T19:00:01.250Z".to_owned(),
            request_id: "1f45-7".to_owned(),
            method: "GET".to_owned(),
            origin: "https://api.example.com".to_owned(),
            path: "/~/crm/v1".to_owned(),
            form: "base_url".to_owned(),
            connection: "crm".to_owned(),
            status: 401,
            ..AuditEntry::default()
        };
        let page = AuditEntries { entries: vec![entry], ..AuditEntries::default() };
        let whole = table(&page, None);
        assert!(whole.ends_with("  1f45-7  the API refuses the key"), "{whole}");
        assert!(whole.contains("  GET https://api.example.com/v1  crm "), "{whole}");
        let width = whole.lines().map(str::len).max().unwrap();
        assert_eq!(table(&page, Some(width)), whole);
        let narrow = table(&page, Some(width - 1));
        assert!(narrow.ends_with("1f45-7") && !narrow.contains("REASON"), "{narrow}");
    }
}
