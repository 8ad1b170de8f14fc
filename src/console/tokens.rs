//! Access tokens: made, shown once, revoked.

use axum::extract::Request;
use axum::response::Response;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};

use super::fields::{Field, Kind, Need, summary};
use super::filled::Filled;
use super::frame::{Answer, Frame, Trouble, see};
use super::outlook;
use super::shell::Tab;
use crate::management::{Administering, Entry, Form, Granted, Refused, TOKEN_NAME_TAKEN};
use crate::model::record::TokenRecord;
use crate::secret::Secret;
use crate::store::Window;

/// Those within reach.
pub(super) async fn list(frame: Frame) -> Answer {
    page(&frame, &Filled::default(), None, StatusCode::OK).await
}

/// Makes one, and shows it this once.
pub(super) async fn create(frame: Frame, request: Request) -> Answer {
    let mut filled = frame.read(request).await?;
    let form = form(&filled, frame.desk().now());
    match administering(&frame)?.create(form).await {
        Ok(granted) => page(&frame, &Filled::default(), Some(&granted), StatusCode::CREATED).await,
        Err(Refused::Taken) => {
            filled.fault(TOKEN_NAME_TAKEN);
            page(&frame, &filled, None, StatusCode::BAD_REQUEST).await
        }
        Err(refused) => {
            filled.blame(refused).map_err(|refused| frame.refuse(refused))?;
            page(&frame, &filled, None, StatusCode::BAD_REQUEST).await
        }
    }
}

/// Revokes one.
pub(super) async fn revoke(frame: Frame, request: Request) -> Answer {
    frame.read(request).await?;
    let revoked = administering(&frame)?.revoke(frame.place("id")).await;
    revoked.map_err(|refused| frame.refuse(refused))?;
    Ok(see(&frame.path("/tokens?done=revoked")))
}

fn administering(frame: &Frame) -> Result<Administering<'_>, Trouble> {
    frame.desk().administering(&frame.operator).map_err(|refused| frame.refuse(refused))
}

/// What was filled in, as the desk reads it.
fn form(filled: &Filled, now: Timestamp) -> Form {
    let mut entries = filled.entries(&["name", "integration"]);
    let scopes = filled.all("scopes").map(str::to_owned).collect();
    entries.push(("scopes".to_owned(), Entry::List(scopes)));
    let names = filled.text("connections").split([' ', ',', '\n', '\r', '\t']);
    let names: Vec<_> = names.filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if !names.is_empty() {
        entries.push(("connections".to_owned(), Entry::List(names)));
    }
    match (filled.text("expires_at"), filled.text("expires_at").parse::<u16>()) {
        ("", _) => {}
        (_, Ok(days)) => {
            let end = now.saturating_add(SignedDuration::from_hours(24 * i64::from(days)));
            let end = end.unwrap_or(Timestamp::MAX).to_string();
            entries.push(("expires_at".to_owned(), Entry::Text(Secret::new(end))));
        }
        // What is none of ours is for the desk to judge, and not a token without end.
        (_, Err(_)) => entries.extend(filled.entries(&["expires_at"])),
    }
    Form::new(entries)
}

async fn page(
    frame: &Frame,
    filled: &Filled,
    granted: Option<&Granted>,
    status: StatusCode,
) -> Result<Response, Trouble> {
    let after = Some(frame.query("after")).filter(|id| !id.is_empty()).map(str::to_owned);
    let window = Window { after, before: None, limit: PER_PAGE };
    let listing = administering(frame)?.list(&window).await;
    let listing = listing.map_err(|refused| frame.refuse(refused))?;
    let last = listing.items.last().map(|token| token.id);
    let content = html! {
        h1 { "Access tokens" }
        @if let Some(granted) = granted { (shown_once(granted)) }
        @if listing.items.is_empty() {
            p.empty { "No token is kept here. The one in admin.token, and those that the configuration declares, are not among them." }
        } @else {
            (table(frame, &listing.items))
            @if let (true, Some(last)) = (listing.has_more, last) {
                nav.pages aria-label="Pages" {
                    a.button.quiet href=(frame.path(&format!("/tokens?after={last}"))) { "Next" }
                }
            }
        }
        (creation(frame, filled))
    };
    Ok(frame.page_with(status, Tab::Tokens, "Access tokens", &content))
}

/// The only page that a new token is ever on.
fn shown_once(granted: &Granted) -> Markup {
    let secret = String::from_utf8_lossy(granted.secret.expose());
    html! {
        div.notice role="status" data-once {
            p { strong { (granted.record.name) } " is made. Copy it now: it is not shown again." }
            p.copy { code { (secret) } }
            @for warning in &granted.warnings { p { "Warning: " (warning) "." } }
        }
    }
}

fn table(frame: &Frame, tokens: &[TokenRecord]) -> Markup {
    html! {
        table.rows {
            caption.unseen { "Access tokens" }
            thead { tr {
                th scope="col" { "Name" }
                th scope="col" { "Scopes" }
                th.medium scope="col" { "Reaches" }
                th.medium scope="col" { "Ends" }
                th.wide scope="col" { "Created" }
                th.wide scope="col" { "Last used" }
                th scope="col" { span.unseen { "Revoke" } }
            } }
            tbody { @for token in tokens { (row(frame, token)) } }
        }
    }
}

fn row(frame: &Frame, token: &TokenRecord) -> Markup {
    let listed = token.reach.connections();
    let scopes: Vec<_> = token.scopes.names().collect();
    let ended = token.expires_at.is_some_and(|end| end <= frame.desk().now());
    html! {
        tr {
            th scope="row" {
                (token.name)
                div.narrow { "created " (outlook::time(token.created_at)) }
            }
            td { (scopes.join(", ")) }
            td.medium {
                (match token.reach.integration() { "*" => "all integrations", one => one })
                @if let Some(names) = &listed { ": " (names.join(", ")) }
            }
            td.medium {
                @if let Some(end) = token.expires_at { (outlook::time(end)) @if ended { " " span.state.idle { "ended" } } } @else { "never" }
            }
            td.wide { (outlook::time(token.created_at)) }
            td.wide { @if let Some(at) = token.last_used_at { (outlook::time(at)) } @else { span.none { "–" } } }
            td.act {
                form method="post" action=(frame.path(&format!("/tokens/{}/revoke", token.id))) {
                    (frame.mark())
                    button.quiet.danger type="submit" data-sure="Revoke for good?" aria-label=(format!("Revoke {}", token.name)) { "Revoke" }
                }
            }
        }
    }
}

fn creation(frame: &Frame, filled: &Filled) -> Markup {
    let own = frame.operator.bound_to().map_or_else(|| frame.integration(), |own| own.as_str());
    let fields = [
        Field {
            name: "name",
            label: "Name",
            hint: "Who or what uses it; Activity and the log show it.",
            ..Field::default()
        },
        Field {
            name: "integration",
            label: "Integration",
            hint: "One, or * for all.",
            value: own,
            ..Field::default()
        },
        Field {
            name: "connections",
            label: "Only these connections",
            hint: "Names, separated by spaces; under * as integration.name. Without any it reaches all.",
            need: Need::Never,
            ..Field::default()
        },
        Field {
            name: "expires_at",
            label: "Ends",
            kind: Kind::One(&LIFETIMES),
            ..Field::default()
        },
    ];
    html! {
        section aria-labelledby="create" {
            h2 #create { "Create a token" }
            (summary(filled, &[fields.as_slice(), &[Field { name: "scopes", ..Field::default() }]].concat()))
            form.stack method="post" action=(frame.path("/tokens")) {
                (frame.mark())
                @for field in fields.get(..2).unwrap_or_default() { (field.show(filled)) }
                (scopes(filled))
                @for field in fields.get(2..).unwrap_or_default() { (field.show(filled)) }
                div.actions { button type="submit" { "Create" } }
            }
        }
    }
}

fn scopes(filled: &Filled) -> Markup {
    let known = [
        ("proxy", "send requests through the proxy"),
        ("read", "see connections"),
        ("write", "create, change and delete connections"),
        ("admin", "everything, tokens included"),
    ];
    let faults: Vec<_> = filled.faults_of("scopes").map(str::to_owned).collect();
    let none = filled.text("name").is_empty();
    html! {
        fieldset {
            legend { "Scopes" }
            @for fault in &faults { p.fault { (crate::error::capitalized(fault)) "." } }
            @for (scope, words) in known {
                @let checked = filled.all("scopes").any(|chosen| chosen == scope) || (none && scope == "proxy");
                div.check {
                    input id=(format!("scope-{scope}")) type="checkbox" name="scopes" value=(scope) checked[checked];
                    label for=(format!("scope-{scope}")) { code { (scope) } " – " (words) }
                }
            }
        }
    }
}

/// In days.
const LIFETIMES: [(&str, &str); 6] = [
    ("", "never"),
    ("1", "in a day"),
    ("7", "in a week"),
    ("30", "in 30 days"),
    ("90", "in 90 days"),
    ("365", "in a year"),
];
const PER_PAGE: u32 = 100;
