//! Trying a request: decided rule by rule, and then really sent.

use axum::extract::Request;
use axum::response::Response;
use http::Method;
use maud::{Markup, html};

use super::errors;
use super::fields::{Field, Kind, summary};
use super::filled::Filled;
use super::frame::{Answer, Frame};
use super::shell::Tab;
use super::{Delivered, Errand};
use crate::management::{Entry, Explanation, Form, Search};
use crate::model::name::{ConnectionName, IntegrationName};
use crate::secret::Secret;
use crate::store::Window;

/// The form.
pub(super) async fn fields(frame: Frame) -> Answer {
    let _may = frame.reading()?;
    let filled =
        Filled::with(&[("connection", frame.query("connection")), ("url", frame.query("url"))]);
    Ok(page(&frame, &filled, &html! {}))
}

/// Explains the request, and sends it where that is wanted and allowed.
pub(super) async fn attempt(frame: Frame, request: Request) -> Answer {
    let mut filled = frame.read(request).await?;
    let asking = frame.desk().asking(&frame.operator).map_err(|refused| frame.refuse(refused))?;
    let explanation = match asking.explain(question(&frame, &filled)) {
        Ok(explanation) => explanation,
        Err(refused) => {
            filled.blame(refused).map_err(|refused| frame.refuse(refused))?;
            return Ok(page(&frame, &filled, &html! {}));
        }
    };
    let is_sent = filled.text("act") == "send";
    if is_sent && !frame.operator.may_send() {
        return Err(frame.tell(&errors::MAY_NOT_SEND));
    }
    let sent = if is_sent && explanation.refusal.is_none() {
        Some(send(&frame, &filled).await)
    } else {
        None
    };
    let refused = explanation.refusal.filter(|_| is_sent);
    let outcome = html! {
        @if let Some((code, status)) = refused { (not_sent(&explanation, code, status)) }
        @if let Some(sent) = &sent { (delivered(sent)) }
        (explained(&explanation, is_sent))
    };
    Ok(page(&frame, &filled, &outcome))
}

fn question(frame: &Frame, filled: &Filled) -> Form {
    let mut entries = filled.entries(&["method", "url"]);
    entries.push(("integration".to_owned(), Entry::Text(Secret::new(frame.integration()))));
    if !filled.text("connection").is_empty() {
        entries.extend(filled.entries(&["connection"]));
    }
    Form::new(entries)
}

async fn send(frame: &Frame, filled: &Filled) -> Result<Delivered, String> {
    let integration = IntegrationName::parse(frame.integration());
    let connection = Some(filled.text("connection")).filter(|name| !name.is_empty());
    let body = Some(filled.text("body")).filter(|body| !body.is_empty());
    let kind = Some(filled.text("content_type")).filter(|kind| !kind.is_empty());
    let errand = Errand {
        caller: frame.session.token,
        method: Method::from_bytes(filled.text("method").as_bytes())
            .map_err(|_rule| "That is no method.".to_owned())?,
        url: filled.text("url").to_owned(),
        integration: integration.map_err(|rule| rule.to_string())?,
        connection: connection
            .map(ConnectionName::parse)
            .transpose()
            .map_err(|rule| rule.to_string())?,
        body: body.map(|body| (kind.unwrap_or("application/json").to_owned(), body.to_owned())),
    };
    frame.hall.rooms.courier.send(errand).await
}

fn page(frame: &Frame, filled: &Filled, outcome: &Markup) -> Response {
    let fields = of_trial();
    let (names, more) = known(frame);
    let content = html! {
        h1 { "Try it" }
        p { "What the proxy would do with a request, rule by rule; and what comes of it. It is sent in the name of your token." }
        (summary(filled, &fields))
        // What came of it is below, out of sight on a small screen.
        form.stack.trial method="post" action=(frame.path("/try#outcome")) {
            (frame.mark())
            div.field {
                label for="connection" { "Connection" }
                input #connection name="connection" value=(filled.text("connection")) list="connections"
                    autocomplete="off" spellcheck="false" aria-describedby="connection-hint";
                datalist #connections { @for name in &names { option value=(name.as_str()) {} } }
                p.hint #connection-hint {
                    "Without a name, the one that covers the host." @if more { " Type a name: only some are offered." }
                }
            }
            @for field in &fields { (field.show(filled)) }
            details open[!filled.text("body").is_empty()] {
                summary { "A body" }
                div.field {
                    label for="content_type" { "Content type" }
                    input #content_type name="content_type" value=(or(filled.text("content_type"), "application/json"));
                }
                div.field {
                    label for="body" { "Body" }
                    textarea #body name="body" rows="6" spellcheck="false" { (filled.text("body")) }
                }
            }
            div.actions {
                @if frame.operator.may_send() { button type="submit" name="act" value="send" { "Send" } }
                button.quiet type="submit" name="act" value="explain" { "Explain only" }
            }
            @if !frame.operator.may_send() {
                p.hint { "Your token can’t send: it lacks the scope proxy." }
            }
        }
        div #outcome tabindex="-1" { (outcome) }
    };
    frame.page(Tab::Trial, "Try it", &content)
}

fn of_trial() -> [Field<'static>; 2] {
    const METHODS: [(&str, &str); 6] = [
        ("GET", "GET"),
        ("HEAD", "HEAD"),
        ("POST", "POST"),
        ("PUT", "PUT"),
        ("PATCH", "PATCH"),
        ("DELETE", "DELETE"),
    ];
    [
        Field { name: "method", label: "Method", kind: Kind::One(&METHODS), ..Field::default() },
        Field {
            name: "url",
            label: "URL",
            hint: "Whole, as https://api.example.com/v1/items. What is in it is sent, and not written down beyond its path.",
            ..Field::default()
        },
    ]
}

/// The names that are offered, and whether there are more.
fn known(frame: &Frame) -> (Vec<ConnectionName>, bool) {
    let Ok(reading) = frame.reading() else { return (Vec::new(), false) };
    let window = Window { after: None, before: None, limit: MOST };
    let survey = reading.survey(&Search { text: "", kind: None, state: None, window });
    let names = survey.page.items.into_iter().map(|item| item.name).collect();
    (names, survey.page.has_more)
}

/// Why a request was not sent that was to be.
fn not_sent(explanation: &Explanation, code: &str, status: u16) -> Markup {
    let rule = explanation.steps.iter().find(|step| step.outcome == "refuse");
    html! {
        section aria-labelledby="refusal" {
            h2 #refusal { "Not sent" }
            div.fault-box role="alert" {
                p { strong { (code) " (" (status) ")" } }
                @if let Some(rule) = rule { p { (rule.detail) } }
            }
        }
    }
}

fn delivered(sent: &Result<Delivered, String>) -> Markup {
    html! {
        section aria-labelledby="answer" {
            h2 #answer { "The answer" }
            @match sent {
                Err(why) => { p.fault role="alert" { "It was not answered: " (why) } }
                Ok(answer) => (answered(answer)),
            }
        }
    }
}

fn answered(answer: &Delivered) -> Markup {
    let class = if answer.status < 400 { "state good" } else { "state bad" };
    let by = if answer.is_the_origins {
        "by the origin"
    } else {
        "by Keyferry: no answer of the origin came"
    };
    html! {
        p role="status" { span class=(class) { (answer.status) } " " (by) }
        // Of what never came from an origin it is not known where the time went.
        @if answer.is_the_origins { (times(answer)) }
        @else { p.hint { (milliseconds(answer.times.total)) " in all" } }
        details {
            summary { "Header fields" }
            dl.facts { @for (name, value) in &answer.fields { dt { code { (name) } } dd { code { (value) } } } }
        }
        h3 { "Body" }
        @match &answer.body.text {
            Some(text) if text.is_empty() => { p.none { "It is empty." } }
            Some(text) => {
                pre tabindex="0" { code { (text) } }
                @if answer.is_the_origins { p.hint { "Wherever the credential stands in it, there are asterisks." } }
                @if answer.body.is_cut { p.hint { "It goes on; this is its beginning." } }
            }
            None => { p.none { (answer.body.bytes) " bytes that are no text, or compressed." } }
        }
    }
}

/// Where the time went: in words, and as a bar.
fn times(answer: &Delivered) -> Markup {
    let times = answer.times;
    let (own, origin) = (times.own.unwrap_or_default(), times.origin.unwrap_or_default());
    let (connect, tls) = (times.connect.unwrap_or_default(), times.tls.unwrap_or_default());
    let rest = (times.total - own - connect - tls - origin).max(0.0);
    let parts = [
        ("own", "Keyferry, until it left", own),
        ("connect", "to find the origin and connect to it", connect),
        ("tls", "for TLS with it", tls),
        ("origin", "the origin, until its answer began", origin),
        ("rest", "the rest of the answer", rest),
    ];
    let width = |part: f64| format!("{:.2}", part / times.total.max(0.001) * 100.0);
    let mut at = 0.0;
    html! {
        svg.split viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true" {
            @for (class, _, part) in parts {
                rect class=(class) x=(width(at)) y="0" width=(width(part)) height="4" {}
                ({ at += part; "" })
            }
        }
        ul.plain.legend {
            @for (class, words, part) in parts {
                li { span.key.(class) {} (milliseconds(part)) " " (words) }
            }
            li { strong { (milliseconds(times.total)) } " in all" }
        }
    }
}

fn explained(explanation: &Explanation, is_sent: bool) -> Markup {
    let verdict = match (explanation.refusal, is_sent) {
        (None, true) => "The rules let it pass.".to_owned(),
        (None, false) => "It would be sent.".to_owned(),
        (Some((code, status)), true) => format!("The rules refuse it: {code} ({status})."),
        (Some((code, status)), false) => format!("It would be refused: {code} ({status})."),
    };
    html! {
        section aria-labelledby="decision" {
            h2 #decision { "The decision" }
            p role=[(!is_sent).then_some("status")] { (verdict) }
            table.rows.rules {
                caption.unseen { "Every rule, in order" }
                thead { tr { th scope="col" { "Rule" } th scope="col" { "Outcome" } th scope="col" { "In words" } } }
                tbody { @for step in &explanation.steps { tr {
                    th scope="row" { (step.name) }
                    td { span class=(badge(step.outcome)) { (step.outcome) } }
                    td { (step.detail) }
                } } }
            }
        }
    }
}

fn badge(outcome: &str) -> &'static str {
    match outcome {
        "pass" => "state good",
        "refuse" => "state bad",
        _ => "state",
    }
}

fn milliseconds(time: f64) -> String {
    if time < 10.0 { format!("{time:.2} ms") } else { format!("{time:.0} ms") }
}

fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}

/// How many connections are offered; others can be typed.
const MOST: u32 = 200;
