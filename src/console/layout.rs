//! The frame of every page.

use axum::response::{IntoResponse as _, Response};
use http::header;
use maud::{DOCTYPE, Markup, html};

use super::page_context::PageContext;
use crate::management::Scope;
use crate::model::name::IntegrationName;

/// The part of the console that a page belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Tab {
    Connections,
    Clients,
    Trial,
    Activity,
    Events,
    Tokens,
    System,
    None,
}

/// A page for somebody who has signed in.
pub(super) fn around(context: &PageContext, tab: Tab, title: &str, markup: &Markup) -> Markup {
    let has_place = !context.integration().is_empty();
    let body = html! {
        a.skip href="#main" { "Skip to content" }
        header.top {
            a.brand href="/console" { "Keyferry" }
            (choice(context))
            div.who {
                span title=(holder(context)) { (context.operator.name()) }
                form method="post" action="/console/sign-out" {
                    (context.mark())
                    button.quiet type="submit" { "Sign out" }
                }
            }
        }
        @if has_place { (tabs(context, tab)) }
        main #main tabindex="-1" {
            (done(context.query("done")))
            (markup)
        }
    };
    document(title, &body)
}

/// Says what the name at the top is.
fn holder(context: &PageContext) -> String {
    context.operator.person().map_or_else(
        || "The token that you have signed in with".to_owned(),
        |person| format!("You, as {} has identified you", person.issuer),
    )
}

/// A page for somebody who has not signed in.
pub(super) fn bare(title: &str, markup: &Markup) -> Markup {
    document(title, &html! { main.bare #main { (markup) } })
}

pub(super) fn html(page: &Markup) -> Response {
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page.0.clone()).into_response()
}

pub(super) fn document_with(title: &str, head: &Markup, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en-GB" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " – Keyferry" }
                link rel="icon" href="/console/assets/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/console/assets/console.css";
                script src="/console/assets/console.js" defer {}
                (head)
            }
            body { (body) }
        }
    }
}

fn document(title: &str, body: &Markup) -> Markup {
    document_with(title, &html! {}, body)
}

/// The integration, and where it can be, another one.
fn choice(context: &PageContext) -> Markup {
    let integration = context.integration();
    // Those that are known, and the one that is looked at, which may have no connections yet.
    let known = context.integrations();
    let bound = context.operator.bound_to();
    if let Some(own) = bound.filter(|_| known.len() < 2) {
        return html! { span.integration title="You reach this integration alone" { (own.as_str()) } };
    }
    if integration.is_empty() {
        return html! {};
    }
    let others = known.iter().map(IntegrationName::as_str).filter(|name| *name != integration);
    html! {
        form.integration method="get" action="/console/go" aria-label="Integration" {
            label for="integration" { "Integration" }
            select #integration name="integration" {
                option value=(integration) selected { (integration) }
                @for name in others.take(MAX_OFFERED_INTEGRATIONS) { option value=(name) { (name) } }
                @if bound.is_none() { option value="" { "Another…" } }
            }
            button.quiet type="submit" { "Go" }
        }
    }
}

fn tabs(context: &PageContext, current: Tab) -> Markup {
    let operator = &context.operator;
    let (read, admin) = (operator.may(Scope::Read), operator.may(Scope::Admin));
    let audit = operator.may(Scope::Audit);
    // Who looks at what was done, and changes nothing, is shown the way to that alone.
    let beside = !operator.is_auditor();
    let all = [
        (read || audit, Tab::Connections, "/connections", "Connections"),
        (read && beside, Tab::Clients, "/clients", "OAuth clients"),
        (context.shows_trial(), Tab::Trial, "/try", "Try it"),
        (audit, Tab::Activity, "/activity", "Activity"),
        (audit, Tab::Events, "/events", "Events"),
        (admin, Tab::Tokens, "/tokens", "Tokens"),
        (beside, Tab::System, "/system", "System"),
    ];
    html! {
        nav.tabs aria-label="Console" {
            ul {
                @for (_, tab, path, name) in all.into_iter().filter(|(may, ..)| *may) {
                    li {
                        a href=(context.path(path)) aria-current=[(tab == current).then_some("page")] {
                            (name)
                        }
                    }
                }
            }
        }
    }
}

/// Says what was done just now, by its word in the address.
fn done(word: &str) -> Markup {
    let said = DONE.into_iter().find(|(known, _)| *known == word);
    html! { @if let Some((_, sentence)) = said { p.notice role="status" { (sentence) } } }
}

const DONE: [(&str, &str); 14] = [
    ("created", "The connection is there and in force."),
    ("replaced", "The connection was changed; the change is in force."),
    ("forgotten", "The old secret is forgotten. Requests use the new one alone."),
    ("deleted", "The connection is deleted. Requests that name it are refused."),
    ("connected", "The provider gave tokens; the connection is in force."),
    ("refreshed", "The provider gave new tokens; they are in force."),
    ("bound", "The allowed domain is set. It never changes again."),
    ("all-enabled", "The selected connections are enabled."),
    ("all-disabled", "The selected connections are disabled. Requests that use them are refused."),
    ("all-deleted", "The selected connections are deleted. Requests that name them are refused."),
    ("client-created", "The OAuth client is there. Connect it to make a connection."),
    ("client-changed", "The OAuth client was changed."),
    ("client-deleted", "The OAuth client is deleted, and its connections with it."),
    ("revoked", "The token is revoked. Requests with it are refused from now on."),
];

/// The number of integrations that are offered; another can be looked for.
const MAX_OFFERED_INTEGRATIONS: usize = 200;
