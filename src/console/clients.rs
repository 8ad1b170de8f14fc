//! OAuth clients: how an integration is registered with providers.

use axum::extract::Request;
use axum::response::Response;
use http::StatusCode;
use maud::{Markup, html};

use super::connect::grant_type;
use super::fields::{Field, Kind, Need, summary};
use super::filled::Filled;
use super::frame::{Answer, Frame, see};
use super::outlook;
use super::shell::Tab;
use crate::management::ClientShown;
use crate::model::name::ConnectionName;
use crate::model::oauth::client::ClientRecord;
use crate::model::oauth::endpoint::Template;
use crate::store::Window;

/// All of them.
pub(super) async fn list(frame: Frame) -> Answer {
    let after = Some(frame.query("after")).filter(|name| !name.is_empty()).map(str::to_owned);
    let window = Window { after, before: None, limit: PER_PAGE };
    let listing = frame.reading()?.list_clients(&window).await;
    let listing = listing.map_err(|refused| frame.refuse(refused))?;
    let last = listing.items.last().map(|client| client.record().name.to_string());
    let content = html! {
        div.head {
            h1 { "OAuth clients" }
            @if frame.may_write_all() {
                a.button href=(frame.path("/clients/new")) { "Create OAuth client" }
            }
        }
        @if listing.items.is_empty() {
            div.empty {
                p { strong { "This integration has no OAuth client yet." } }
                p { "A client is how the integration is registered with a provider. Register it there first: you need a client ID, a client secret, and the provider’s URLs." }
                (callback(&frame))
            }
        } @else {
            (table(&frame, &listing.items))
            @if let (true, Some(last)) = (listing.has_more, last) {
                nav.pages aria-label="Pages" {
                    a.button.quiet href=(frame.path(&format!("/clients?after={last}"))) { "Next" }
                }
            }
        }
    };
    Ok(frame.page(Tab::Clients, "OAuth clients", &content))
}

/// The form of a new one.
pub(super) async fn fields(frame: Frame) -> Answer {
    let _may = frame.writing()?;
    Ok(form(&frame, &Filled::default(), StatusCode::OK))
}

/// Makes it.
pub(super) async fn create(frame: Frame, request: Request) -> Answer {
    let mut filled = frame.read(request).await?;
    let names: Vec<_> = of_client().iter().map(|field| field.name).collect();
    match frame.writing()?.create_client(filled.form(&names)).await {
        Ok(made) => {
            let below = format!("/clients/{}?done=client-created", made.record().uuid);
            Ok(see(&frame.path(&below)))
        }
        Err(refused) => {
            filled.blame(refused).map_err(|refused| frame.refuse(refused))?;
            Ok(form(&frame, &filled, StatusCode::BAD_REQUEST))
        }
    }
}

/// One of them.
pub(super) async fn show(frame: Frame) -> Answer {
    page(&frame, &Filled::default()).await
}

/// Changes it.
pub(super) async fn change(frame: Frame, request: Request) -> Answer {
    let mut filled = frame.read(request).await?;
    let form = filled.form_of_filled(&CHANGING);
    match frame.writing()?.update_client(frame.place("uuid"), form).await {
        Ok(_changed) => {
            let below = format!("/clients/{}?done=client-changed", frame.place("uuid"));
            Ok(see(&frame.path(&below)))
        }
        Err(refused) => {
            filled.blame(refused).map_err(|refused| frame.refuse(refused))?;
            page(&frame, &filled).await
        }
    }
}

/// Deletes it and its connections, if its name was typed.
pub(super) async fn delete(frame: Frame, request: Request) -> Answer {
    let mut filled = frame.read(request).await?;
    let uuid = frame.place("uuid");
    let shown = frame.reading()?.show_client(uuid).await;
    let shown = shown.map_err(|refused| frame.refuse(refused))?;
    if filled.text(TYPED).trim() != shown.record().name.as_str() {
        filled
            .fault(&format!("{TYPED}: must be the client’s name, so that nothing goes by mistake"));
        return page(&frame, &filled).await;
    }
    let deleted = frame.writing()?.delete_client(uuid).await;
    deleted.map_err(|refused| frame.refuse(refused))?;
    Ok(see(&frame.path("/clients?done=client-deleted")))
}

fn table(frame: &Frame, clients: &[ClientShown]) -> Markup {
    html! {
        table.rows {
            caption.unseen { "OAuth clients" }
            thead { tr {
                th scope="col" { "Name" }
                th scope="col" { "Grant type" }
                th.wide scope="col" { "Token URL" }
                th.medium scope="col" { "Created" }
            } }
            tbody { @for client in clients {
                @let record = client.record();
                tr {
                    th scope="row" { a href=(frame.path(&format!("/clients/{}", record.uuid))) { (record.name.as_str()) } }
                    td { (grant_type(record.grant_type)) }
                    td.wide { code { (record.token_url.as_str()) } }
                    td.medium { (outlook::time(record.created_at)) }
                }
            } }
        }
    }
}

fn callback(frame: &Frame) -> Markup {
    html! {
        p { "If the provider asks for a callback or redirect URL, give it this one:" }
        p.copy { code { (frame.desk().callback_url()) } }
    }
}

fn form(frame: &Frame, filled: &Filled, status: StatusCode) -> Response {
    let fields = of_client();
    let content = html! {
        p.way { a href=(frame.path("/clients")) { "OAuth clients" } }
        h1 { "Create an OAuth client" }
        (callback(frame))
        (summary(filled, &fields))
        form.stack method="post" action=(frame.path("/clients/new")) {
            (frame.mark())
            @for field in &fields { (field.show(filled)) }
            div.actions {
                button type="submit" { "Save" }
                a.button.quiet href=(frame.path("/clients")) { "Cancel" }
            }
        }
    };
    frame.page_with(status, Tab::Clients, "Create an OAuth client", &content)
}

async fn page(frame: &Frame, filled: &Filled) -> Answer {
    let (reading, uuid) = (frame.reading()?, frame.place("uuid"));
    let shown = reading.show_client(uuid).await.map_err(|refused| frame.refuse(refused))?;
    let going = reading.of_client(uuid).await.map_err(|refused| frame.refuse(refused))?;
    let record = shown.record();
    let name = record.name.as_str();
    let content = html! {
        p.way { a href=(frame.path("/clients")) { "OAuth clients" } }
        div.head {
            h1 { (name) }
            @if frame.may_write() {
                a.button href=(frame.path(&format!("/connections/new/oauth?client={name}"))) { "Connect" }
            }
        }
        (facts(record))
        section aria-labelledby="connections" {
            h2 #connections { "Its connections" }
            (connections(frame, &going))
        }
        @if frame.may_write_all() {
            (changes(frame, record, filled))
            (deletion(frame, going.len(), filled))
        }
    };
    Ok(frame.page(Tab::Clients, name, &content))
}

fn facts(record: &ClientRecord) -> Markup {
    html! {
        dl.facts {
            dt { "Client ID" } dd { code { (record.client_id) } }
            dt { "Client secret" } dd { span.none { "kept, and never shown" } }
            dt { "Grant type" } dd { (grant_type(record.grant_type)) }
            dt { "Authorization URL" } dd { code { (record.auth_url.as_ref().map_or("none", Template::as_str)) } }
            dt { "Token URL" } dd { code { (record.token_url.as_str()) } }
            dt { "Default scopes" } dd { (if record.default_scopes.is_empty() { "none" } else { &record.default_scopes }) }
            dt { "Secret is sent" } dd { (method(record.auth_method.as_str())) }
            dt { "Created" } dd { (outlook::time(record.created_at)) " by " (record.created_by) }
        }
    }
}

fn connections(frame: &Frame, names: &[ConnectionName]) -> Markup {
    html! {
        @if names.is_empty() { p.empty { "None yet." } }
        ul.plain { @for name in names.iter().take(MOST_SHOWN) {
            li { a href=(frame.path(&format!("/connections/oauth/{name}"))) { (name.as_str()) } }
        } }
        @if names.len() > MOST_SHOWN { p { "and " (names.len() - MOST_SHOWN) " more" } }
    }
}

fn changes(frame: &Frame, record: &ClientRecord, filled: &Filled) -> Markup {
    let values = [
        record.client_id.as_ref(),
        "",
        record.auth_url.as_ref().map_or("", Template::as_str),
        record.token_url.as_str(),
        record.default_scopes.as_ref(),
    ];
    let mut fields: Vec<_> =
        of_client().into_iter().filter(|field| CHANGING.contains(&field.name)).collect();
    for (field, value) in fields.iter_mut().zip(values) {
        field.value = value;
        if field.name == "client_secret" {
            field.need = Need::Never;
            field.hint =
                "Leave it empty to keep the one that is there. URLs change only along with it.";
        }
    }
    let typed = filled.faults_of(TYPED).next().is_some();
    html! {
        section aria-labelledby="change" {
            h2 #change { "Replace the secret, or change the client" }
            @if !typed { (summary(filled, &fields)) }
            form.stack method="post" action=(frame.path(&format!("/clients/{}/change", record.uuid))) {
                (frame.mark())
                @for field in &fields { (field.show(filled)) }
                div.actions { button type="submit" { "Save" } }
            }
        }
    }
}

fn deletion(frame: &Frame, going: usize, filled: &Filled) -> Markup {
    let field = Field { name: TYPED, label: "Type the client’s name", ..Field::default() };
    html! {
        section.danger aria-labelledby="delete" {
            h2 #delete { "Delete the client" }
            p {
                @match going {
                    0 => "No connection goes with it.",
                    1 => "The connection above goes with it.",
                    count => { "The " (count) " connections above go with it." }
                }
            }
            form.stack method="post" action=(frame.path(&format!("/clients/{}/delete", frame.place("uuid")))) {
                (frame.mark())
                (field.show(filled))
                div.actions { button.danger type="submit" { "Delete" } }
            }
        }
    }
}

fn of_client() -> Vec<Field<'static>> {
    let field = |name, label, hint| Field { name, label, hint, ..Field::default() };
    let secret = "It is sealed when it is saved, and never shown again.";
    vec![
        field("name", "Name", "3 to 64 of A-Z, a-z, 0-9, _ and -. You can’t change it later."),
        Field {
            name: "grant_type",
            label: "Grant type",
            kind: Kind::One(&[
                ("authorization_code", "Authorization code: somebody signs in and says yes"),
                ("client_credentials", "Client credentials: the client asks for itself"),
            ]),
            ..Field::default()
        },
        field("client_id", "Client ID", "What the provider calls the client."),
        Field { kind: Kind::Secret, ..field("client_secret", "Client secret", secret) },
        Field {
            need: Need::With("authorization code"),
            ..field(
                "auth_url",
                "Authorization URL",
                "Where somebody is asked. {subdomain} may stand in its host.",
            )
        },
        field("token_url", "Token URL", "Where tokens are asked for."),
        Field {
            need: Need::Never,
            ..field(
                "default_scopes",
                "Default scopes",
                "Separated by spaces; asked for unless a connection names others.",
            )
        },
        Field {
            name: "token_endpoint_auth_method",
            label: "How the secret is sent",
            kind: Kind::One(&METHODS),
            ..Field::default()
        },
    ]
}

fn method(name: &str) -> &str {
    METHODS.into_iter().find(|(known, _)| *known == name).map_or(name, |(_, words)| words)
}

const METHODS: [(&str, &str); 2] = [
    ("client_secret_post", "in the request’s body (client_secret_post)"),
    ("client_secret_basic", "in Authorization: Basic (client_secret_basic)"),
];
const CHANGING: [&str; 5] =
    ["client_id", "client_secret", "auth_url", "token_url", "default_scopes"];
const TYPED: &str = "typed_name";
const PER_PAGE: u32 = 100;
const MOST_SHOWN: usize = 100;
