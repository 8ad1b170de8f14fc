//! Trying a request: decided rule by rule, and then really sent.

use axum::extract::Request;
use axum::response::Response;
use http::Method;
use maud::{Markup, html};

use super::chart;
use super::errors::{self, ErrorPage};
use super::fields::{Field, Kind, summary};
use super::form_values::FormValues;
use super::layout::Tab;
use super::page_context::{PageContext, PageResult};
use crate::management::{ProbeRequest, ProbeResponse, Scope};
use crate::model::name::{ConnectionName, IntegrationName};
use crate::wire::{ExplainAnswer, ExplainRequest, Verdict};

pub(super) async fn fields(context: PageContext) -> PageResult {
    let _may = context.read_access()?;
    let values = FormValues::with(&[
        ("connection", context.query("connection")),
        ("method", context.query("method")),
        ("url", context.query("url")),
        ("caller", context.query("caller")),
    ]);
    Ok(page(&context, &values, &html! {}))
}

/// Explains the request, and sends it where that is wanted and allowed.
pub(super) async fn attempt(context: PageContext, request: Request) -> PageResult {
    let mut values = context.read(request).await?;
    let explainer = context
        .management()
        .explainer(&context.operator)
        .map_err(|refused| context.refuse(refused))?;
    // 1. The request is decided.
    let explanation = match explainer.explain(question(&context, &values)) {
        Ok(explanation) => explanation,
        Err(refused) => {
            values.blame(refused).map_err(|refused| context.refuse(refused))?;
            return Ok(page(&context, &values, &html! {}));
        }
    };
    // 2. It is sent, where that was asked for and is allowed: in nobody's name but the person's own.
    let is_wanted = values.text("act") == "send";
    let is_sent = is_wanted && values.text("caller").is_empty();
    if is_sent && !context.operator.may_send() {
        return Err(context.tell(&may_not_send(&context)));
    }
    let sent = if is_sent && explanation.decision == Verdict::Allow {
        Some(send(&context, &values).await)
    } else {
        None
    };
    // 3. Both are shown.
    let refused = refusal(&explanation).filter(|_| is_sent);
    let outcome = html! {
        @if is_wanted && !is_sent {
            p.fault role="alert" { "It was not sent: a request is sent in your own name alone. Empty the caller." }
        }
        @if let Some((code, status)) = refused { (not_sent(&explanation, code, status)) }
        @if let Some(sent) = &sent { (delivered(&context, sent)) }
        (explained(&explanation, is_sent))
    };
    Ok(page(&context, &values, &outcome))
}

fn question(context: &PageContext, values: &FormValues) -> ExplainRequest {
    ExplainRequest {
        method: values.member("method"),
        url: values.member("url"),
        integration: context.integration().into(),
        connection: values.member_if_any("connection"),
        caller: values.member_if_any("caller"),
    }
}

async fn send(context: &PageContext, values: &FormValues) -> Result<ProbeResponse, String> {
    let integration = IntegrationName::parse(context.integration());
    let connection = Some(values.text("connection")).filter(|name| !name.is_empty());
    let body = Some(values.text("body")).filter(|body| !body.is_empty());
    let kind = Some(values.text("content_type")).filter(|kind| !kind.is_empty());
    let request = ProbeRequest {
        caller: context.session.known.principal(),
        method: Method::from_bytes(values.text("method").as_bytes())
            .map_err(|_rule| "That is no method.".to_owned())?,
        url: values.text("url").to_owned(),
        integration: integration.map_err(|rule| rule.to_string())?,
        connection: connection
            .map(ConnectionName::parse)
            .transpose()
            .map_err(|rule| rule.to_string())?,
        body: body.map(|body| (kind.unwrap_or("application/json").to_owned(), body.to_owned())),
    };
    context.management().probe(request).await
}

fn page(context: &PageContext, values: &FormValues, outcome: &Markup) -> Response {
    let fields = of_trial();
    let (names, more) = known(context);
    let explainer = context.management().explainer(&context.operator);
    let callers = explainer.map(|it| it.callers(MAX_OFFERED_CALLERS)).unwrap_or_default();
    let markup = html! {
        h1 { "Try it" }
        p {
            "What the proxy would do with a request, rule by rule"
            @if context.operator.person().is_none() { "; and what comes of it. It is sent in the name of your token." } @else { "." }
        }
        (summary(values, &fields))
        // What came of it is below, out of sight on a small screen.
        form.stack.trial method="post" action=(context.path("/try#outcome")) {
            (context.mark())
            div.field {
                label for="connection" { "Connection" }
                input #connection name="connection" value=(values.text("connection")) list="connections"
                    autocomplete="off" spellcheck="false" aria-describedby="connection-hint";
                datalist #connections { @for name in &names { option value=(name.as_str()) {} } }
                p.hint #connection-hint {
                    "Without a name, the one that covers the host." @if more { " Type a name: only some are offered." }
                }
            }
            @for field in &fields { (field.show(values)) }
            (caller_field(&callers, values))
            details open[!values.text("body").is_empty()] {
                summary { "A body" }
                div.field {
                    label for="content_type" { "Content type" }
                    input #content_type name="content_type" value=(or(values.text("content_type"), "application/json"));
                }
                div.field {
                    label for="body" { "Body" }
                    textarea #body name="body" rows="6" spellcheck="false" { (values.text("body")) }
                }
            }
            (actions(context))
        }
        div #outcome tabindex="-1" { (outcome) }
    };
    context.page(Tab::Trial, "Try it", &markup)
}

/// The choice of the caller in whose name it is explained.
fn caller_field(callers: &[String], values: &FormValues) -> Markup {
    html! {
        @if !callers.is_empty() || !values.text("caller").is_empty() { div.field {
            label for="caller" { "Caller" }
            input #caller name="caller" value=(values.text("caller")) list="callers"
                autocomplete="off" spellcheck="false" aria-describedby="caller-hint";
            datalist #callers { @for caller in callers { option value=(caller) {} } }
            p.hint #caller-hint {
                "The name of another token, for which it is explained and never sent. Without a name, for you."
            }
        } }
    }
}

/// The buttons, or the reason why one is missing.
fn actions(context: &PageContext) -> Markup {
    let may_send = context.operator.may_send();
    html! {
        div.actions {
            @if may_send { button type="submit" name="act" value="send" { "Send" } }
            button.quiet type="submit" name="act" value="explain" { "Explain only" }
        }
        @if !may_send { (no_sending(context)) }
    }
}

/// Says why somebody can send nothing, and what they can do.
fn no_sending(context: &PageContext) -> Markup {
    let makes_tokens = context.operator.may(Scope::Admin);
    html! {
        @if context.operator.person().is_none() {
            p.hint { "Your token can’t send: it lacks the scope proxy." }
        } @else {
            p.hint {
                "Requests are sent in the name of an access token, so that each entry names a caller whom it can be taken from; you have signed in as a person, and have none. "
                @if makes_tokens {
                    a href=(context.path("/tokens")) { "Create a token" }
                    " with the scopes read and proxy, and sign in with it to send. "
                } @else {
                    "Have an administrator create a token with the scopes read and proxy, and sign in with it to send. "
                }
                "To explain a request for a caller, name it above."
            }
        }
    }
}

/// The page for somebody who may not send.
fn may_not_send(context: &PageContext) -> ErrorPage {
    match context.operator.person() {
        Some(_) => errors::PERSON_SENDS_NOTHING,
        None => ErrorPage::missing_scope("proxy"),
    }
}

fn of_trial() -> [Field<'static>; 2] {
    let hint = "Whole, as https://api.example.com/v1/items. What is in it is sent, and not written down beyond its path.";
    let method = Field::text("method", "Method", "");
    [Field { kind: Kind::One(&METHODS), ..method }, Field::text("url", "URL", hint)]
}

/// The names that are offered, and whether there are more.
fn known(context: &PageContext) -> (Vec<ConnectionName>, bool) {
    let Ok(reading) = context.read_access() else { return (Vec::new(), false) };
    reading.names(MAX_OFFERED_CONNECTIONS)
}

/// Says why a request was not sent.
fn not_sent(explanation: &ExplainAnswer, code: &str, status: u16) -> Markup {
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

fn delivered(context: &PageContext, sent: &Result<ProbeResponse, String>) -> Markup {
    let shows_causes = context.operator.may(Scope::Audit);
    html! {
        section aria-labelledby="answer" {
            h2 #answer { "The answer" }
            @match sent {
                Err(why) => { p.fault role="alert" { "It was not answered: " (why) } }
                Ok(answer) => { (answered(answer, shows_causes)) (entry(context, answer)) }
            }
        }
    }
}

/// The way to the request's entry, for those who may read it.
fn entry(context: &PageContext, answer: &ProbeResponse) -> Markup {
    let id = answer.fields.iter().find(|(name, _)| name == "x-keyferry-request-id");
    let id = id.filter(|_| context.operator.may(Scope::Audit) && context.management().keeps());
    html! {
        @if let Some((_, id)) = id {
            p { "Its entry: " a href=(context.path(&format!("/requests/{id}"))) { "request " (id) } }
        }
    }
}

fn answered(answer: &ProbeResponse, shows_causes: bool) -> Markup {
    let class = if answer.status < 400 { "state good" } else { "state bad" };
    let by = if answer.is_the_origins {
        "by the origin"
    } else {
        "by Keyferry: no answer of the origin came"
    };
    html! {
        p role="status" { span class=(class) { (answer.status) } " " (by) }
        @if let Some(refusal) = &answer.refusal {
            div.fault-box {
                p { strong { (refusal.code) } " at the step " code { (refusal.rule) } }
                // It may tell of the network, as Activity does, which needs the same scope.
                @if let (Some(cause), true) = (&refusal.cause, shows_causes) { p { (cause) } }
            }
        }
        // Of what never came from an origin it is not known where the time went.
        @if answer.is_the_origins { (times(answer)) }
        @else { p.hint { (chart::milliseconds(answer.times.total)) " in all" } }
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

/// Shows the times in words and as a bar.
fn times(answer: &ProbeResponse) -> Markup {
    let times = answer.times;
    let (own, origin) = (times.own.unwrap_or_default(), times.origin.unwrap_or_default());
    let (connect, tls) = (times.connect.unwrap_or_default(), times.tls.unwrap_or_default());
    // The parts are laid side by side, as wide as they took.
    let rest = (times.total - own - connect - tls - origin).max(0.0);
    let parts = [
        ("own", "Keyferry, until it left", own),
        ("connect", "to find the origin and connect to it", connect),
        ("tls", "for TLS with it", tls),
        ("origin", "the origin, until its answer began", origin),
        ("rest", "the rest of the answer", rest),
    ];
    chart::split(&parts, times.total)
}

fn explained(explanation: &ExplainAnswer, is_sent: bool) -> Markup {
    let verdict = match (refusal(explanation), is_sent) {
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
                    td { span class=(badge(&step.outcome)) { (step.outcome) } }
                    td { (step.detail) }
                } } }
            }
        }
    }
}

/// The refusal's code and status, if the request would be refused.
fn refusal(explanation: &ExplainAnswer) -> Option<(&str, u16)> {
    explanation.code.as_deref().zip(explanation.status)
}

fn badge(outcome: &str) -> &'static str {
    match outcome {
        "pass" => "state good",
        "refuse" => "state bad",
        _ => "state",
    }
}

fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}

/// The number of connections that are offered; others can be typed.
const MAX_OFFERED_CONNECTIONS: usize = 200;

/// The number of callers that are offered.
const MAX_OFFERED_CALLERS: usize = 500;

const METHODS: [(&str, &str); 6] = [
    ("GET", "GET"),
    ("HEAD", "HEAD"),
    ("POST", "POST"),
    ("PUT", "PUT"),
    ("PATCH", "PATCH"),
    ("DELETE", "DELETE"),
];
