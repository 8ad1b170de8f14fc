//! One request: what became of it and why, who must act, and what can be done.

use axum::response::Response;
use http::StatusCode;
use jiff::Timestamp;
use maud::{Markup, html};

use super::activity::{self, badge, host};
use super::layout::Tab;
use super::page_context::{PageContext, PageResult, see};
use super::{chart, list, status_view};
use crate::management::{ConnectionStatus, Refused, Scope};
use crate::model::connection::ConnectionType;
use crate::model::name::IntegrationName;
use crate::store::path_at_origin;
use crate::wire::{AuditEntry, RequestView};

pub(super) async fn show(context: PageContext) -> PageResult {
    // 1. The entry. One of another integration is shown there.
    let id = context.place("id");
    let view = match activity::reader(&context)?.show(id).await {
        Ok(view) => view,
        Err(Refused::NotFound) => return Ok(unknown(&context, id)),
        Err(refused) => return Err(context.refuse(refused)),
    };
    let entry = &view.entry;
    let its = IntegrationName::parse(&entry.integration);
    if let Some(its) = its.ok().filter(|its| its.as_str() != context.integration()) {
        return Ok(see(&format!("/console/i/{its}/requests/{}", entry.request_id)));
    }
    // 2. The connection that it names, as it is now.
    let status = match context.read_access() {
        Ok(reading) if !entry.connection.is_empty() => reading.status_of(&entry.connection).await,
        Ok(_) | Err(_) => None,
    };
    // 3. The page.
    let markup = html! {
        p.way { a href=(context.path("/activity")) { "Activity" } }
        div.head {
            h1 { "Request " (entry.request_id) }
            p { span class=(badge(entry)) { (entry.status) } }
        }
        (outcome(&view))
        (ways_on(&context, &view, status.as_ref()))
        (facts(&view, &context, status.as_ref()))
        @if entry.total_ms > 0.0 {
            section aria-labelledby="times" {
                h2 #times { "Where the time went" }
                (times(entry))
            }
        }
    };
    Ok(context.page(Tab::Activity, "Request", &markup))
}

/// Tells whether a text has the form of a request's id.
pub(super) fn is_request_id(text: &str) -> bool {
    let parts = text.split_once('-');
    let is_hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    parts.is_some_and(|(instance, number)| {
        instance.len() == INSTANCE_LEN
            && is_hex(instance)
            && !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// The page of an id that no entry within reach has.
pub(super) fn unknown(context: &PageContext, id: &str) -> Response {
    let is_within = !context.integration().is_empty();
    let here = context.path(&format!("/requests/{id}"));
    let again = is_within && is_request_id(id);
    let markup = html! {
        h1 { "No such request" }
        p { "No entry that is kept, and within your reach, has the id " code { (id) } "." }
        ul {
            li { "An entry is there a second after its request has ended: "
                @if again { a href=(here) { "look again" } "." } @else { "look again then." } }
            li { "The oldest entries are deleted: by age, and where there are too many." }
            li { "Another server may have answered the request. The id is in the field "
                code { "X-Keyferry-Request-Id" } " of every answer." }
        }
        @if is_within { p { a.button href=(context.path("/activity")) { "Look for it in Activity" } } }
        @else { p { a.button href="/console" { "Choose an integration" } } }
    };
    context.page_with(StatusCode::NOT_FOUND, Tab::Activity, "No such request", &markup)
}

/// The outcome in words; where it failed, with the cause and the one who must act.
fn outcome(view: &RequestView) -> Markup {
    let entry = &view.entry;
    let said = match (entry.code.as_str(), entry.status) {
        ("", 0) => "The caller went away before there was an answer.".to_owned(),
        ("", status) => format!("The API answered {status}."),
        (code, status) => format!("Keyferry answered {status}: {code}."),
    };
    html! {
        @if view.reason.is_empty() {
            p { (said) }
            @if !entry.cause.is_empty() { p { "Cause: " (entry.cause) } }
        } @else {
            div.fault-box {
                p { strong { (said) } " In short: " (view.reason) "." }
                @if !entry.cause.is_empty() { p { "Cause: " (entry.cause) } }
            }
            p.advice { strong { "Who must act: " (status_view::actor(&entry.who)) ". " } (view.advice) }
            @if let Some(setting) = setting(entry) {
                p { "In the server’s configuration file, beside what is there already; SIGHUP puts it in force:" }
                pre tabindex="0" data-copy { code { (setting) } }
            }
        }
    }
}

/// The setting that lets such a request pass, where one does.
fn setting(entry: &AuditEntry) -> Option<String> {
    match entry.code.as_str() {
        "AddressProhibited" if !entry.cause.contains("the proxy itself") => {
            let words = entry.cause.split_whitespace();
            let mut words = words.map(|word| word.trim_matches(['(', ')', ',', ';', '.']));
            let address = words.find_map(|word| word.parse::<std::net::IpAddr>().ok())?;
            let bits = if address.is_ipv4() { 32 } else { 128 };
            Some(format!("[upstream]\nallow_networks = [\"{address}/{bits}\"]"))
        }
        "PortNotAllowed" => {
            let (_, port) = host(entry).rsplit_once(':')?;
            let port = port.parse::<u16>().ok()?;
            Some(format!("[proxy]\nallowed_ports = [443, {port}]"))
        }
        "CertificateInvalid" => {
            Some("[upstream]\nextra_roots = [\"/etc/keyferry/private-ca.pem\"]".to_owned())
        }
        _ => None,
    }
}

/// The pages at which something can be done, as far as the operator may open them.
fn ways_on(context: &PageContext, view: &RequestView, status: Option<&ConnectionStatus>) -> Markup {
    let entry = &view.entry;
    let may_read = context.operator.may(Scope::Read);
    let first = remedy(context, entry, status);
    let like_this = like(context, entry);
    html! {
        p.actions {
            @if let Some((path, words)) = first { a.button href=(path) { (words) } }
            @if let Some(status) = status.filter(|_| may_read) {
                a.button.quiet href=(list::path(context, status)) { "Open the connection" }
            }
            @if context.shows_trial() && !entry.origin.is_empty() {
                a.button.quiet href=(trial(context, entry)) { "Try it" }
            }
            a.button.quiet href=(like_this) { "Requests like this" }
        }
    }
}

/// The page at which the failure can be ended, and what is done there.
fn remedy(
    context: &PageContext,
    entry: &AuditEntry,
    status: Option<&ConnectionStatus>,
) -> Option<(String, &'static str)> {
    let may_write = context.may_write();
    // 1. At the connection's own page.
    let at = |section: &str| {
        let status = status.filter(|status| may_write && !status.declared)?;
        Some(format!("{}#{section}", list::path(context, status)))
    };
    let of_kind = |oauth, other| {
        let is_oauth = status.is_some_and(|status| status.kind == ConnectionType::OAuth);
        if is_oauth { oauth } else { other }
    };
    // 2. Elsewhere.
    let create = || Some(context.path("/connections/new")).filter(|_| may_write);
    let tokens = || Some(context.path("/tokens")).filter(|_| context.operator.may(Scope::Admin));
    let (path, words) = match (entry.code.as_str(), entry.status) {
        ("", 401 | 403) => {
            of_kind((at("tokens"), "Authorize again"), (at("replace"), "Replace the secret"))
        }
        ("ReauthorizationNeeded", _) => (at("tokens"), "Authorize again"),
        ("TokenEndpointFailed", _) => (at("tokens"), "See its tokens"),
        ("SealBroken", _) => (at("replace"), "Replace the secret"),
        ("RequestNotAllowed", _) => (at("options"), "Change its rules"),
        ("ConnectionForbidden", _) if status.is_some_and(|status| status.options.disabled) => {
            (at("options"), "Enable the connection")
        }
        ("ConnectionForbidden", _) => (tokens(), "Create a token that may use it"),
        ("CallerUnknown", _) => (tokens(), "Create a token"),
        ("ConnectionNotFound" | "ConnectionRequired" | "DomainNotAllowed", _) => {
            (create(), "Create a connection")
        }
        _ => return None,
    };
    path.map(|path| (path, words))
}

/// The page at which the request can be tried as its caller sent it.
fn trial(context: &PageContext, entry: &AuditEntry) -> String {
    let url =
        format!("{}{}", entry.origin, path_at_origin(&entry.path, &entry.origin, &entry.form));
    let mut query = form_urlencoded::Serializer::new(String::new());
    let values = [
        ("connection", entry.connection.as_str()),
        ("method", entry.method.as_str()),
        ("url", url.as_str()),
        ("caller", entry.caller.as_str()),
    ];
    query.extend_pairs(values.into_iter().filter(|(_, value)| !value.is_empty()));
    format!("{}?{}", context.path("/try"), query.finish())
}

/// The list of requests that ended as this one, by the same connection.
fn like(context: &PageContext, entry: &AuditEntry) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    if entry.integration.is_empty() {
        query.append_pair("of", "all");
    }
    if !entry.connection.is_empty() {
        query.append_pair("connection", &entry.connection);
    }
    if entry.code.is_empty() {
        query.append_pair("status", &entry.status.to_string());
    } else {
        query.append_pair("code", &entry.code);
    }
    format!("{}?{}", context.path("/activity"), query.finish())
}

fn facts(view: &RequestView, context: &PageContext, status: Option<&ConnectionStatus>) -> Markup {
    // What the entry has, and words for what was not known.
    let entry = &view.entry;
    let or_none =
        |text: &str| html! { @if text.is_empty() { span.none { "not known" } } @else { (text) } };
    let name = match (entry.integration.as_str(), entry.connection.as_str()) {
        ("", name) => name.to_owned(),
        (_, "") => String::new(),
        (integration, name) => format!("{integration}.{name}"),
    };
    html! {
        dl.facts {
            dt { "Time" }
            dd {
                @match entry.time.parse::<Timestamp>() { Ok(time) => (status_view::time(time)), Err(_) => {} }
                " " span.none { (entry.time) }
            }
            dt { "Request id" } dd.copy { code { (entry.request_id) } }
            dt { "Caller" } dd { (or_none(&entry.caller)) }
            dt { "Connection" }
            dd {
                @if let Some(status) = status { a href=(list::path(context, status)) { (name) } }
                @else if !name.is_empty() && context.operator.may(Scope::Read) { (name) " (there is none now)" }
                @else { (or_none(&name)) }
            }
            dt { "Method" } dd { (entry.method) }
            dt { "Origin" } dd { (or_none(&entry.origin)) }
            dt { "Path" } dd { code { (entry.path) } }
            dt { "Form" } dd { (or_none(&entry.form)) }
            dt { "Decision" } dd { (entry.decision) @if !entry.rule.is_empty() { " by the rule " code { (entry.rule) } } }
            @if !entry.code.is_empty() { dt { "Code" } dd { code { (entry.code) } ", explained in " code { (view.docs) } } }
            dt { "Status" } dd { @if entry.status == 0 { "none: the caller went away" } @else { (entry.status) } }
            dt { "Request body" } dd { (entry.request_bytes) " bytes" }
            dt { "Response body" } dd { (entry.response_bytes) " bytes" }
            dt { "Instance" } dd { code { (entry.instance) } }
            @if !entry.trace_id.is_empty() { dt { "Trace id" } dd.copy { code { (entry.trace_id) } } }
        }
    }
}

/// The time that it took, as a bar and in words.
fn times(entry: &AuditEntry) -> Markup {
    let own = (entry.total_ms - entry.upstream_ms).max(0.0);
    let parts = [("own", "Keyferry", own), ("origin", "the origin", entry.upstream_ms)];
    chart::split(&parts, entry.total_ms)
}

/// The length of an instance's name in an id.
const INSTANCE_LEN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_requests_are_told_from_names() {
        for id in ["1f45d091-7", "00000000-18446744073709551615"] {
            assert!(is_request_id(id), "{id}");
        }
        for text in ["", "my_integration", "1f45d091", "1f45d091-", "1F45D091-7", "1f45d091-a"] {
            assert!(!is_request_id(text), "{text}");
        }
    }

    #[test]
    fn the_address_that_was_refused_can_be_allowed() {
        let entry = |code: &str, cause: &str| AuditEntry {
            code: code.to_owned(),
            cause: cause.to_owned(),
            origin: "https://api.example.test:8443".to_owned(),
            ..AuditEntry::default()
        };
        let said = setting(&entry("AddressProhibited", "refused: 10.0.0.7 is a private address"));
        assert!(said.unwrap().ends_with("[\"10.0.0.7/32\"]"));
        let own = entry("AddressProhibited", "127.0.0.1:8443 is the proxy itself");
        assert_eq!(setting(&own), None);
        assert!(setting(&entry("PortNotAllowed", "")).unwrap().ends_with("[443, 8443]"));
        assert_eq!(setting(&entry("DomainNotAllowed", "")), None);
    }
}
