//! One connection: what is kept of it, how it stands, and what can be done with it.

use maud::{Markup, html};

use super::errors::Story;
use super::filled::Filled;
use super::frame::{Answer, Frame, Trouble};
use super::outlook;
use super::shell::Tab;
use super::{change, connect, snippets};
use crate::management::{Authorized, Pointer, Refused, Shown, Surveyed};
use crate::model::connection::ConnectionType;
use crate::model::record::Detail;

/// A connection of whatever type, as the desk shows it.
pub(super) enum Found {
    OAuth(Box<Authorized>),
    Static(Shown),
}

/// The page of a connection.
pub(super) async fn show(frame: Frame) -> Answer {
    let found = find(&frame).await?;
    Ok(page(&frame, &found, &Filled::default()))
}

/// The connection that the path names.
///
/// # Errors
/// A page that says that there is none.
pub(super) async fn find(frame: &Frame) -> Result<Found, Trouble> {
    let reading = frame.reading()?;
    let kind = kind(frame)?;
    let name = frame.place("name");
    let found = if kind == ConnectionType::OAuth {
        let shown = reading.show_authorized(&pointer(frame)).await;
        shown.map(|shown| Found::OAuth(Box::new(shown)))
    } else {
        reading.show(kind, name).await.map(Found::Static)
    };
    found.map_err(|refused| frame.refuse(refused))
}

/// The type that the path names.
///
/// # Errors
/// A page that says that there is none.
pub(super) fn kind(frame: &Frame) -> Result<ConnectionType, Trouble> {
    let kind = ConnectionType::parse(frame.place("type"));
    kind.ok_or_else(|| frame.refuse(Refused::NotFound))
}

/// The connection by OAuth that the path names.
pub(super) fn pointer(frame: &Frame) -> Pointer {
    Pointer { name: Some(frame.place("name").to_owned()), uuid: None }
}

/// The path of the connection that the path names, and what is below it.
pub(super) fn path(frame: &Frame, below: &str) -> String {
    let (kind, name) = (frame.place("type"), frame.place("name"));
    frame.path(&format!("/connections/{kind}/{name}{below}"))
}

/// The page, with what was filled in of its forms.
pub(super) fn page(frame: &Frame, found: &Found, filled: &Filled) -> axum::response::Response {
    let name = frame.place("name");
    let standing = frame.reading().ok().and_then(|reading| reading.look(name));
    let declared = matches!(found, Found::Static(shown) if shown.declared);
    let content = html! {
        p.way { a href=(frame.path("/connections")) { "Connections" } }
        div.head {
            h1 { (name) }
            @if let Some(standing) = &standing { p { (outlook::state(standing, frame.desk().now())) } }
        }
        @if let Some(advice) = standing.as_ref().and_then(|standing| outlook::advice(standing.state)) {
            p.advice { (advice) }
        }
        @if declared {
            p.advice {
                "The configuration declares this connection: it can be seen and used here, and is changed and deleted in the configuration file."
            }
        }
        (facts(frame, found, standing.as_ref()))
        @if let Found::OAuth(authorized) = found { (connect::section(frame, authorized, filled)) }
        (try_it(frame, found))
        (snippets::section(frame, domain(found).as_deref()))
        @if frame.may_write() && !declared {
            @if let Found::Static(shown) = found { (change::replacement(frame, shown, filled)) }
            (change::deletion(frame, filled))
        }
    };
    frame.page(Tab::Connections, name, &content)
}

/// The way to a request by this connection.
fn try_it(frame: &Frame, found: &Found) -> Markup {
    let host = domain(found).unwrap_or_default();
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("connection", frame.place("name"));
    query.append_pair("url", &format!("https://{}/", host.strip_prefix("*.").unwrap_or(&host)));
    html! {
        p.try { a.button.quiet href=(format!("{}?{}", frame.path("/try"), query.finish())) { "Try it" } }
    }
}

fn domain(found: &Found) -> Option<String> {
    match found {
        Found::OAuth(authorized) => authorized.allowed_domain.as_ref().map(ToString::to_string),
        Found::Static(shown) => Some(shown.allowed_domain.to_string()),
    }
}

fn facts(frame: &Frame, found: &Found, standing: Option<&Surveyed>) -> Markup {
    let kind = ConnectionType::parse(frame.place("type"));
    html! {
        dl.facts {
            dt { "Authentication type" } dd { (kind.map_or("", outlook::kind)) }
            dt { "Allowed domain" }
            dd { @if let Some(domain) = domain(found) { code { (domain) } } @else { "not set" } }
            @match found {
                Found::Static(shown) => (of_static(shown)),
                Found::OAuth(authorized) => (connect::facts(frame, authorized)),
            }
            @if let Some(standing) = standing {
                dt { "Last used" }
                dd {
                    @if let Some(at) = standing.used.at {
                        (outlook::time(at)) ", answered " (standing.used.status)
                    } @else { "not since this server was started" }
                }
                dt { "Requests today" } dd { (standing.used.today) }
            }
        }
    }
}

fn of_static(shown: &Shown) -> Markup {
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
        }
        dt { "Created" } dd { (outlook::time(shown.created_at)) }
        @if shown.updated_at != shown.created_at {
            dt { "Changed" } dd { (outlook::time(shown.updated_at)) }
        }
    }
}

fn hidden() -> Markup {
    html! { span.none { "kept, and never shown" } }
}

/// The page of a connection on which nothing was done, for a reason that is not a field's.
pub(super) fn trouble(frame: &Frame, refused: Refused) -> Trouble {
    frame.tell(&Story::of(refused))
}
