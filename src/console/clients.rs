//! OAuth clients: how an integration is registered with providers.

mod form;
mod picker;
mod profile;

use axum::extract::Request;
use maud::{Markup, html};

use self::profile::{Empty, ProfileTexts};
use super::client_key::{self, KeyValues};
use super::connect::grant_type;
use super::fields::{Field, Need, summary};
use super::form_values::FormValues;
use super::layout::Tab;
use super::page_context::{PageContext, PageResult, see};
use super::status_view;
use crate::management::{Catalogue, ClientView};
use crate::model::name::ConnectionName;
use crate::model::oauth::client::ClientRecord;
use crate::model::oauth::endpoint::EndpointTemplate;
use crate::store::PageRange;
use crate::wire::{Member, OAuthClientChange, ProfileMembers};

pub(super) use self::form::{create, fields};

/// All of them.
pub(super) async fn list(context: PageContext) -> PageResult {
    let after = Some(context.query("after")).filter(|name| !name.is_empty()).map(str::to_owned);
    let window = PageRange { after, before: None, limit: PER_PAGE };
    // One page of clients, in the order of their names.
    let listing = context.read_access()?.list_clients(&window).await;
    let listing = listing.map_err(|refused| context.refuse(refused))?;
    let last = listing.items.last().map(|client| client.record().name.to_string());
    let markup = html! {
        div.head {
            h1 { "OAuth clients" }
            @if context.may_write_all() {
                a.button href=(context.path("/clients/new")) { "Create OAuth client" }
            }
        }
        @if listing.items.is_empty() {
            div.empty {
                p { strong { "This integration has no OAuth client yet." } }
                p { "A client is how the integration is registered with a provider. Register it there first: you need a client ID, a client secret, and the provider’s URLs." }
                (callback(&context))
            }
        } @else {
            (table(&context, &listing.items))
            @if let (true, Some(last)) = (listing.has_more, last) {
                nav.pages aria-label="Pages" {
                    a.button.quiet href=(context.path(&format!("/clients?after={last}"))) { "Next" }
                }
            }
        }
    };
    Ok(context.page(Tab::Clients, "OAuth clients", &markup))
}

/// One of them.
pub(super) async fn show(context: PageContext) -> PageResult {
    page(&context, &FormValues::default()).await
}

/// Changes it.
pub(super) async fn change(context: PageContext, request: Request) -> PageResult {
    let mut values = context.read(request).await?;
    // The members of a key change in what is there; others have none.
    let shown = context.read_access()?.show_client(context.place("uuid")).await;
    let shown = shown.map_err(|refused| context.refuse(refused))?;
    let before = Some(shown.record()).filter(|record| record.has_key());
    let before = before.map(|record| ProfileMembers::from(&*record.profile));
    let (assertion, installation) = match before {
        Some(ProfileMembers { assertion, installation, .. }) => (
            client_key::assertion(&values, assertion),
            client_key::installation(&mut values, installation),
        ),
        None => (Member::Absent, Member::Absent),
    };
    if values.is_faulty() {
        return page(&context, &values).await;
    }
    let mut request = OAuthClientChange {
        client_id: values.member_if_any("client_id"),
        client_secret: values.secret_if_any("client_secret"),
        auth_url: values.member_if_any("auth_url"),
        token_url: values.member_if_any("token_url"),
        default_scopes: values.member_if_any("default_scopes"),
        token_endpoint_auth_method: values.member_if_any("token_endpoint_auth_method"),
        ..OAuthClientChange::default()
    };
    // A field that was emptied takes its member away.
    if values.all(PROFILE).next().is_some() {
        let profile = profile::read(&mut values, Empty::TakenAway);
        if values.is_faulty() {
            return page(&context, &values).await;
        }
        request.put_profile(profile);
    }
    request.assertion = assertion;
    request.installation = installation;
    match context.write_access()?.update_client(context.place("uuid"), request).await {
        Ok(_changed) => {
            let below = format!("/clients/{}?done=client-changed", context.place("uuid"));
            Ok(see(&context.path(&below)))
        }
        Err(refused) => {
            values.blame(refused).map_err(|refused| context.refuse(refused))?;
            page(&context, &values).await
        }
    }
}

/// Deletes it and its connections, if its name was typed.
pub(super) async fn delete(context: PageContext, request: Request) -> PageResult {
    let mut values = context.read(request).await?;
    let uuid = context.place("uuid");
    let shown = context.read_access()?.show_client(uuid).await;
    let shown = shown.map_err(|refused| context.refuse(refused))?;
    if values.text(TYPED).trim() != shown.record().name.as_str() {
        values
            .fault(&format!("{TYPED}: must be the client’s name, so that nothing goes by mistake"));
        return page(&context, &values).await;
    }
    let deleted = context.write_access()?.delete_client(uuid).await;
    deleted.map_err(|refused| context.refuse(refused))?;
    Ok(see(&context.path("/clients?done=client-deleted")))
}

fn table(context: &PageContext, clients: &[ClientView]) -> Markup {
    html! {
        table.rows {
            caption.unseen { "OAuth clients" }
            thead { tr {
                th scope="col" { "Name" }
                th.medium scope="col" { "Provider" }
                th scope="col" { "Grant type" }
                th.wide scope="col" { "Token URL" }
                th.medium scope="col" { "Created" }
            } }
            tbody { @for client in clients {
                @let record = client.record();
                tr {
                    th scope="row" { a href=(context.path(&format!("/clients/{}", record.uuid))) { (record.name.as_str()) } }
                    td.medium { (title(record)) }
                    td { (grant_type(record.grant_type)) }
                    td.wide { code { (record.token_url.as_str()) } }
                    td.medium { (status_view::time(record.created_at)) }
                }
            } }
        }
    }
}

/// The provider's name, where the client was made of its entry.
fn title(record: &ClientRecord) -> &str {
    let name = record.profile.provider.as_deref().unwrap_or_default();
    Catalogue::built_in().find(name).map_or(name, |entry| entry.title.as_str())
}

fn callback(context: &PageContext) -> Markup {
    html! {
        p { "If the provider asks for a callback or redirect URL, give it this one:" }
        p.copy { code { (context.management().callback_url()) } }
    }
}

async fn page(context: &PageContext, values: &FormValues) -> PageResult {
    let (reading, uuid) = (context.read_access()?, context.place("uuid"));
    // The client, and the connections that go with it when it is deleted.
    let shown = reading.show_client(uuid).await.map_err(|refused| context.refuse(refused))?;
    let going = reading.of_client(uuid).await.map_err(|refused| context.refuse(refused))?;
    let record = shown.record();
    let name = record.name.as_str();
    let markup = html! {
        p.way { a href=(context.path("/clients")) { "OAuth clients" } }
        div.head {
            h1 { (name) }
            @if context.may_write() {
                a.button href=(context.path(&format!("/connections/new/oauth?client={name}"))) { "Connect" }
            }
        }
        (facts(record))
        (provider(record))
        @if record.auth_url.is_some() { (callback(context)) }
        section aria-labelledby="connections" {
            h2 #connections { "Its connections" }
            (connections(context, &going))
        }
        @if context.may_write_all() {
            (changes(context, record, values))
            (deletion(context, going.len(), values))
        }
    };
    Ok(context.page(Tab::Clients, name, &markup))
}

fn facts(record: &ClientRecord) -> Markup {
    html! {
        dl.facts {
            @if !title(record).is_empty() { dt { "Provider" } dd { (title(record)) } }
            dt { "Client ID" } dd { code { (record.client_id) } }
            dt { "Client secret" } dd { span.none { "kept, and never shown" } }
            dt { "Grant type" } dd { (grant_type(record.grant_type)) }
            dt { "Authorization URL" } dd { code { (record.auth_url.as_ref().map_or("none", EndpointTemplate::as_str)) } }
            dt { "Token URL" } dd { code { (record.token_url.as_str()) } }
            @if let Some(operator) = &record.profile.urls_set_by {
                dt { "URLs changed by" } dd { (operator) }
            }
            dt { "Default scopes" } dd { (if record.default_scopes.is_empty() { "none" } else { &record.default_scopes }) }
            @if record.has_key() { (client_key::facts(record)) }
            dt { "Secret is sent" } dd { (method(record)) }
            @for (label, text) in texts(record).facts() {
                dt { (label) } dd { @for line in text.lines() { div { code { (line) } } } }
            }
            dt { "Created" } dd { (status_view::time(record.created_at)) " by " (record.created_by) }
        }
    }
}

/// The members of the profile, as texts.
fn texts(record: &ClientRecord) -> ProfileTexts {
    ProfileTexts::of(&ProfileMembers::from(&*record.profile))
}

/// The notes of the catalogue on the client's provider.
fn provider(record: &ClientRecord) -> Markup {
    let name = record.profile.provider.as_deref().unwrap_or_default();
    html! {
        @if let Some(entry) = Catalogue::built_in().find(name) {
            p.hint { strong { (entry.title) } ": " (entry.notes) }
        }
    }
}

fn connections(context: &PageContext, names: &[ConnectionName]) -> Markup {
    html! {
        @if names.is_empty() { p.empty { "None yet." } }
        ul.plain { @for name in names.iter().take(MAX_SHOWN_CONNECTIONS) {
            li { a href=(context.path(&format!("/connections/oauth/{name}"))) { (name.as_str()) } }
        } }
        @if names.len() > MAX_SHOWN_CONNECTIONS { p { "and " (names.len() - MAX_SHOWN_CONNECTIONS) " more" } }
    }
}

fn changes(context: &PageContext, record: &ClientRecord, values: &FormValues) -> Markup {
    let current = [
        ("client_id", record.client_id.as_ref()),
        ("client_secret", ""),
        ("auth_url", record.auth_url.as_ref().map_or("", EndpointTemplate::as_str)),
        ("token_url", record.token_url.as_str()),
        ("default_scopes", record.default_scopes.as_ref()),
        ("token_endpoint_auth_method", record.auth_method.as_str()),
    ];
    // The form of a new client, filled with what is kept; but the secret is never shown.
    let mut fields = form::of_client();
    fields.retain(|field| current.iter().any(|(name, _)| *name == field.name));
    for field in &mut fields {
        let kept = current.iter().find(|(name, _)| *name == field.name);
        field.value = kept.map_or("", |(_, value)| value);
        if field.name == "client_secret" {
            field.need = Need::Never;
            field.hint =
                "Leave it empty to keep the current one. URLs and inject change only with it.";
        }
    }
    // A key signs what its own fields say.
    let key = KeyValues::of(record);
    let texts = texts(record);
    let mut more = profile::fields(&texts, true);
    more.extend(key.fields().into_iter().filter(|_field| record.has_key()));
    let all: Vec<_> = fields.iter().chain(&more).copied().collect();
    let typed = values.faults_of(TYPED).next().is_some();
    html! {
        section aria-labelledby="change" {
            h2 #change { "Replace the secret, or change the client" }
            @if !typed { (summary(values, &all)) }
            @if let Some(operator) = &record.profile.urls_set_by {
                p.hint { "The URLs were changed by " strong { (operator) } ". The secret that is entered here is sent to them: see that they are the provider’s." }
            }
            form.stack method="post" action=(context.path(&format!("/clients/{}/change", record.uuid))) {
                (context.mark())
                @for field in &fields { (field.show(values)) }
                (form::details("Where the provider differs from the standard", &more, values))
                div.actions { button type="submit" { "Save" } }
            }
        }
    }
}

fn deletion(context: &PageContext, going: usize, values: &FormValues) -> Markup {
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
            form.stack method="post" action=(context.path(&format!("/clients/{}/delete", context.place("uuid")))) {
                (context.mark())
                (field.show(values))
                div.actions { button.danger type="submit" { "Delete" } }
            }
        }
    }
}

fn method(record: &ClientRecord) -> &'static str {
    let name = record.auth_method.as_str();
    let known = METHODS.into_iter().find(|(known, _)| *known == name);
    match known {
        _ if record.grant_type.is_signed() && !name.ends_with("jwt") => "never: it signs the grant",
        Some((_, words)) => words,
        None => name,
    }
}

const METHODS: [(&str, &str); 6] = [
    ("", "as usual: in the request’s body, or never where it is a key that signs the grant"),
    ("client_secret_post", "in the request’s body (client_secret_post)"),
    ("client_secret_basic", "in Authorization: Basic (client_secret_basic)"),
    ("client_secret_basic_raw", "in Authorization: Basic, not encoded (client_secret_basic_raw)"),
    ("private_key_jwt", "never: it is a key that signs for the client (private_key_jwt)"),
    ("none", "there is none: a public client (none)"),
];
/// The field by which a form says that it has the fields of the profile.
const PROFILE: &str = "profile";
const TYPED: &str = "typed_name";
const PER_PAGE: u32 = 100;
const MAX_SHOWN_CONNECTIONS: usize = 100;
