//! `keyferry audit`: what operators did.

use jiff::Timestamp;
use serde_json::Value;

use super::context::CliContext;
use super::examples;
use super::newest::{follow, newest, parse_time};
use super::output::{self, CliError, OutputFormat, count, printable};
use super::server::{ApiClient, ApiPath, ServerArgs};
use super::table::TextTable;
use crate::wire::{EventCheckAnswer, EventContent, EventPage, EventView};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    filters: Filters,
    /// Goes on, and prints each new event
    #[arg(long)]
    follow: bool,
    /// Largest number of events, of which the newest are shown; 0 for all
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Checks that no event was removed, moved or edited in the database
    #[command(after_help = examples::AUDIT_VERIFY)]
    Verify(VerifyArgs),
}

#[derive(clap::Args)]
struct VerifyArgs {
    /// Head of the chain that an earlier check has printed, which must be in it still
    #[arg(long, value_name = "NUMBER:HASH")]
    head: Option<String>,
}

#[derive(clap::Args)]
struct Filters {
    /// Events from then on: 2027-01-31T12:00:00Z, a day as 2027-01-31, or how long ago, as 2h
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    since: Option<Timestamp>,
    /// Events before then
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    until: Option<Timestamp>,
    #[arg(long, value_name = "NAME", help = INTEGRATION_HELP)]
    integration: Option<String>,
    /// Events about this connection
    #[arg(long, value_name = "NAME")]
    connection: Option<String>,
    /// Events of this operator: the name of a token or a person
    #[arg(long, value_name = "NAME")]
    operator: Option<String>,
    /// Events of this kind, as connection.update, or of all of them, as connection
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
}

pub(super) fn run(arguments: &Arguments, context: &CliContext) -> Result<(), CliError> {
    let api = arguments.server.client(context)?;
    if let Some(Command::Verify(verify_args)) = &arguments.command {
        return verify(&api, verify_args.head.as_deref());
    }
    let path = arguments.filters.path(context);
    let page: EventPage = newest(&api, &path, arguments.limit)?;
    if arguments.follow {
        return follow(&api, &path, page, |event| line(event, context.format));
    }
    show(context, &page)
}

impl Filters {
    /// The path of the events that are wanted.
    fn path(&self, context: &CliContext) -> ApiPath {
        let integration = context.listed_integration(self.integration.as_deref());
        let filters = [
            ("since", self.since.map(|time| time.to_string())),
            ("until", self.until.map(|time| time.to_string())),
            ("integration", integration.map(str::to_owned)),
            ("connection", self.connection.clone()),
            ("operator", self.operator.clone()),
            ("kind", self.kind.clone()),
        ];
        let given = filters.into_iter().filter_map(|(name, value)| Some((name, value?)));
        given.fold(ApiPath::keyferry(&["events"]), |path, (name, value)| path.with(name, &value))
    }
}

fn show(context: &CliContext, page: &EventPage) -> Result<(), CliError> {
    if page.events.is_empty() {
        output::note("no event is like that: look further back, or leave out a filter");
    }
    context.emit(&serde_json::to_string(page)?, || {
        let head = ["ID", "TIME", "OPERATOR", "FROM", "WHAT", "ABOUT", "CHANGED"];
        let mut table = TextTable::new(&head);
        for EventView { id, content } in &page.events {
            let EventContent { time, address, kind, .. } = content;
            let cells = [id, time, &operator(content), address, kind].map(Clone::clone);
            table.add(cells.into_iter().chain([about(content), changed(content)]));
        }
        Ok(table.text())
    })
}

/// An event in a line.
fn line(event: &EventView, format: OutputFormat) -> Result<String, CliError> {
    if format == OutputFormat::Json {
        return Ok(serde_json::to_string(event)?);
    }
    let EventView { id, content } = event;
    let EventContent { time, address, kind, .. } = content;
    let (operator, about, changed) = (operator(content), about(content), changed(content));
    let text = format!("{id} {time} {operator} {address} {kind} {about} {changed}");
    Ok(printable(text.trim_end()))
}

/// The operator. A person, whose name may be that of a token, is marked.
fn operator(content: &EventContent) -> String {
    let EventContent { operator, person, .. } = content;
    if person.is_some() { format!("{operator} (person)") } else { operator.clone() }
}

/// The names of the members that an event has changed.
fn changed(content: &EventContent) -> String {
    let EventContent { before, after, secret_changed, .. } = content;
    let mut names = Vec::new();
    if let (Some(Value::Object(before)), Some(Value::Object(after))) = (before, after) {
        names.extend(after.iter().filter(|(name, is)| before.get(*name) != Some(is)));
        names.extend(before.iter().filter(|(name, _)| !after.contains_key(*name)));
    }
    // The time of the change is the event's own.
    let names = names.into_iter().map(|(name, _)| name.as_str()).filter(|it| *it != "updated_at");
    let secret = secret_changed.then_some("with a new secret");
    names.chain(secret).collect::<Vec<_>>().join(", ")
}

/// The subject of an event, with its integration.
fn about(content: &EventContent) -> String {
    let EventContent { integration, subject, failure, .. } = content;
    let subject = if integration.is_empty() || integration == subject {
        subject.clone()
    } else {
        format!("{integration}.{subject}")
    };
    match failure {
        Some(failure) => format!("{subject} (failed: {failure})"),
        None => subject,
    }
}

fn verify(api: &ApiClient<'_>, head: Option<&str>) -> Result<(), CliError> {
    let path = ApiPath::keyferry(&["events", "verify"]);
    let path = head.map_or_else(|| path.clone(), |head| path.with("head", head));
    let answer = api.get(&path)?;
    let check: EventCheckAnswer = answer.read()?;
    // 1. Nothing is wrong.
    let number = usize::try_from(check.events).unwrap_or(usize::MAX);
    if check.intact {
        return api.context.emit(answer.text()?, || {
            let (events, head) = (count(number, "event"), printable(&check.head));
            Ok(format!(
                "{events} checked: nothing was removed, moved or edited; the head of the chain is \
                 {head}"
            ))
        });
    }
    // 2. Everything that is, and the exit code that says so.
    api.context.emit(answer.text()?, || {
        let line = |id: &str, fault: &str| match id {
            "" => printable(fault),
            id => printable(&format!("event {id}: {fault}")),
        };
        let lines = check.faults.iter().map(|fault| line(&fault.id, &fault.fault));
        Ok(lines.collect::<Vec<_>>().join("\n"))
    })?;
    let faults = count(check.faults.len(), "fault");
    Err(CliError::Message(format!(
        "the chain of events has {faults}: compare the database with a backup, and see who can \
         write to it"
    )))
}

const INTEGRATION_HELP: &str = "Events of this integration, * for all [env: KEYFERRY_INTEGRATION]";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::EventPerson;
    use serde_json::json;

    #[test]
    fn a_person_looks_like_no_token() {
        let token = EventContent { operator: "admin".to_owned(), ..EventContent::default() };
        let person = EventContent { person: Some(EventPerson::default()), ..token.clone() };
        assert_eq!([&token, &person].map(operator), ["admin", "admin (person)"]);
        let view = EventView { id: "7".to_owned(), content: person };
        let line = line(&view, OutputFormat::Text).unwrap_or_default();
        assert!(line.ends_with(" admin (person)"), "{line}");
    }

    #[test]
    fn an_event_is_about_something_of_its_integration() {
        let event = |integration: &str, subject: &str| EventContent {
            integration: integration.to_owned(),
            subject: subject.to_owned(),
            ..EventContent::default()
        };
        assert_eq!(about(&event("acme", "crm")), "acme.crm");
        assert_eq!(about(&event("", "k1")), "k1");
        let failed = EventContent { failure: Some("no".to_owned()), ..event("acme", "acme") };
        assert_eq!(about(&failed), "acme (failed: no)");
    }

    #[test]
    fn an_event_says_what_it_has_changed() {
        let mut event = EventContent {
            before: Some(json!({"name": "crm", "enabled": true, "updated_at": "1", "old": 1})),
            after: Some(json!({"name": "crm", "enabled": false, "updated_at": "2", "new": 1})),
            ..EventContent::default()
        };
        assert_eq!(changed(&event), "enabled, new, old");
        event.secret_changed = true;
        assert_eq!(changed(&event), "enabled, new, old, with a new secret");
        event.before = None;
        event.secret_changed = false;
        assert_eq!(changed(&event), "");
    }
}
