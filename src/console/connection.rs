//! One connection: what is kept of it, how it stands, and what can be done with it.

use jiff::SignedDuration;
use maud::{Markup, html};

use super::form_values::FormValues;
use super::layout::Tab;
use super::page_context::{PageContext, PageError, PageResult};
use super::status_view;
use super::{attention, change, connect, custom, events, options, snippets};
use crate::error::capitalized;
use crate::management::{AnyConnection, ConnectionRef, ConnectionStatus, ConnectionView, Refused};
use crate::model::connection::ConnectionType;
use crate::model::options::ConnectionOptions;
use crate::model::record::Detail;

pub(super) async fn show(context: PageContext) -> PageResult {
    let found = find(&context).await?;
    Ok(page(&context, &found, None).await)
}

/// The connection that the path names.
pub(super) async fn find(context: &PageContext) -> Result<AnyConnection, PageError> {
    let reading = context.read_access()?;
    let kind = kind(context)?;
    let name = context.place("name");
    let found = if kind == ConnectionType::OAuth {
        let shown = reading.show_authorized(&pointer(context)).await;
        shown.map(|shown| AnyConnection::OAuth(Box::new(shown)))
    } else {
        reading.show(kind, name).await.map(AnyConnection::Static)
    };
    found.map_err(|refused| context.refuse(refused))
}

/// The type that the path names.
pub(super) fn kind(context: &PageContext) -> Result<ConnectionType, PageError> {
    let kind = ConnectionType::parse(context.place("type"));
    kind.map_err(|_rule| context.refuse(Refused::NotFound))
}

/// The connection by OAuth that the path names.
pub(super) fn pointer(context: &PageContext) -> ConnectionRef {
    ConnectionRef { name: Some(context.place("name").to_owned()), uuid: None }
}

/// The path of the connection that the path names, and what is below it.
pub(super) fn path(context: &PageContext, below: &str) -> String {
    let (kind, name) = (context.place("type"), context.place("name"));
    context.path(&format!("/connections/{kind}/{name}{below}"))
}

/// A form of the page.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum PageForm {
    Secret,
    Options,
    Deletion,
    Domain,
}

/// The page. A form that was sent is shown with what was filled in, and with what is wrong.
pub(super) async fn page(
    context: &PageContext,
    found: &AnyConnection,
    sent: Option<(PageForm, &FormValues)>,
) -> axum::response::Response {
    let name = context.place("name");
    let blank = FormValues::default();
    let values = |form| sent.filter(|(of, _)| *of == form).map_or(&blank, |(_, values)| values);
    let now = context.management().now();
    let standing = match context.read_access() {
        Ok(reading) => reading.status_of(name).await,
        Err(_) => None,
    };
    // What the configuration declares is shown, and can't be changed here.
    let declared = matches!(found, AnyConnection::Static(shown) if shown.declared);
    let (failures, events) = (attention::failures(context).await, events::section(context).await);
    let markup = html! {
        p.way { a href=(context.path("/connections")) { "Connections" } }
        div.head {
            h1 { (name) }
            @if let Some(standing) = &standing { p { (status_view::state(standing, now)) } }
        }
        @if let Some(standing) = &standing { (attention::advice(context, standing)) }
        @for notice in options_of(found).expiry_notices(now, SignedDuration::ZERO) {
            p.advice { (capitalized(&notice.to_string())) "." }
        }
        @if declared {
            p.advice {
                "The configuration declares this connection: it can be seen and used here, and is changed and deleted in the configuration file."
            }
        }
        (facts(context, found, standing.as_ref()))
        @if let AnyConnection::OAuth(authorized) = found { (connect::section(context, authorized, values(PageForm::Domain))) }
        @if context.shows_trial() { (try_it(context, found)) }
        (snippets::section(context, domain(found).as_deref(), domains(found) != domain(found)))
        (failures)
        (events)
        @if context.may_write() && !declared {
            @if let AnyConnection::Static(shown) = found {
                (change::replacement(context, shown, values(PageForm::Secret)))
            }
            (options::section(context, options_of(found), values(PageForm::Options)))
            (change::deletion(context, values(PageForm::Deletion)))
        }
    };
    context.page(Tab::Connections, name, &markup)
}

/// The way to a request by this connection.
fn try_it(context: &PageContext, found: &AnyConnection) -> Markup {
    let host = domain(found).unwrap_or_default();
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("connection", context.place("name"));
    query.append_pair("url", &format!("https://{}/", host.strip_prefix("*.").unwrap_or(&host)));
    html! {
        p.try { a.button.quiet href=(format!("{}?{}", context.path("/try"), query.finish())) { "Try it" } }
    }
}

/// The names of the secrets of a custom connection; none of another.
pub(super) fn secret_names(found: &AnyConnection) -> Vec<String> {
    match found {
        AnyConnection::Static(ConnectionView { detail: Detail::Custom(access), .. }) => {
            access.secrets.iter().map(ToString::to_string).collect()
        }
        _ => Vec::new(),
    }
}

/// The allowed domain, or all of a custom connection.
fn domains(found: &AnyConnection) -> Option<String> {
    match found {
        AnyConnection::Static(ConnectionView { detail: Detail::Custom(access), .. }) => {
            let names = access.domains.iter().map(|domain| domain.domain.to_string());
            Some(names.collect::<Vec<_>>().join(", "))
        }
        found => domain(found),
    }
}

fn options_of(found: &AnyConnection) -> &ConnectionOptions {
    match found {
        AnyConnection::OAuth(authorized) => &authorized.options,
        AnyConnection::Static(shown) => &shown.options,
    }
}

fn domain(found: &AnyConnection) -> Option<String> {
    match found {
        AnyConnection::OAuth(authorized) => {
            authorized.allowed_domain.as_ref().map(ToString::to_string)
        }
        AnyConnection::Static(shown) => Some(shown.allowed_domain.to_string()),
    }
}

fn facts(
    context: &PageContext,
    found: &AnyConnection,
    standing: Option<&ConnectionStatus>,
) -> Markup {
    let kind = ConnectionType::parse(context.place("type"));
    html! {
        dl.facts {
            dt { "Authentication type" } dd { (kind.map_or("", status_view::kind)) }
            dt { "Allowed domain" }
            dd { @if let Some(domain) = domains(found) { code { (domain) } } @else { "not set" } }
            @match found {
                AnyConnection::Static(shown) => (of_static(shown)),
                AnyConnection::OAuth(authorized) => (connect::facts(context, authorized)),
            }
            (options::facts(options_of(found)))
            @if let Some(standing) = standing {
                dt { "Last used" }
                dd {
                    @if let Some(at) = standing.last_used() {
                        (status_view::time(at)) ", answered " (standing.health.status)
                    } @else { "not yet" }
                }
                dt { "Requests today" } dd { (standing.health.used_today(context.management().now().as_second())) }
                @if standing.echoes > 0 {
                    dt { "Echoes masked" }
                    dd {
                        (standing.echoes)
                        " since this server was started: the API repeats the credential in its answers"
                    }
                }
            }
        }
    }
}

fn of_static(shown: &ConnectionView) -> Markup {
    html! {
        @match &shown.detail {
            Detail::ApiKey { header_name } => {
                dt { "Header name" } dd { code { (header_name) } }
                dt { "API key" } dd { (hidden()) }
            }
            Detail::BasicAuth { username } => {
                dt { "Username" } dd { (username) }
                dt { "Password" } dd { (hidden()) }
            }
            Detail::BearerToken | Detail::OAuth(_) => { dt { "Token" } dd { (hidden()) } }
            Detail::AwsSigV4(access) => {
                dt { "Access key id" } dd { code { (access.access_key_id) } }
                dt { "Secret access key" } dd { (hidden()) }
                dt { "Region" } dd { (access.region.as_deref().unwrap_or(OF_HOST)) }
                dt { "Service" } dd { (access.service.as_deref().unwrap_or(OF_HOST)) }
                @if let Some(role) = &access.assume_role {
                    dt { "Role" } dd { code { (role.role_arn) } }
                    dt { "Session" } dd { (session(shown)) }
                }
            }
            Detail::Custom(access) => { (custom::facts(access)) }
        }
        @if let Some(until) = shown.old_secret_until {
            dt { "Old secret" } dd { "kept until " (status_view::time(until)) }
        }
        dt { "Created" } dd { (status_view::time(shown.created_at)) }
        @if shown.updated_at != shown.created_at {
            dt { "Changed" } dd { (status_view::time(shown.updated_at)) }
        }
    }
}

/// The session of a role, and why there is no other.
fn session(shown: &ConnectionView) -> Markup {
    let sessions = shown.sessions.as_ref();
    let standing = sessions.and_then(|sessions| sessions.standing.as_ref());
    html! {
        @match sessions.and_then(|sessions| sessions.until) {
            Some(until) => { "until " (status_view::time(until)) }
            None => { "begins with the next request" }
        }
        @if let Some(standing) = standing {
            "; AWS gives no other: " (standing.reason) ". " (standing.advice())
        }
    }
}

/// The region or the service of a connection to AWS that has none of its own.
const OF_HOST: &str = "the one that the host names";

pub(super) fn hidden() -> Markup {
    html! { span.none { "kept, and never shown" } }
}
