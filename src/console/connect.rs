//! Connections by OAuth: the flow that makes one, and what keeps it.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use form_urlencoded::Serializer;
use http::StatusCode;
use maud::{Markup, html};
use tokio::sync::oneshot;

use super::connection::{self, Found};
use super::create::common;
use super::fields::{Field, Kind, Need, summary};
use super::filled::Filled;
use super::frame::{Answer, Frame, Trouble, see};
use super::outlook;
use super::shell::{self, Tab};
use crate::management::{Authorized, ClientShown, Entry, Form, Refused};
use crate::model::oauth::grant::GrantType;
use crate::secret::Secret;
use crate::store::Window;

/// The fields of a flow.
pub(super) async fn fields(frame: &Frame, filled: &Filled, status: StatusCode) -> Answer {
    let clients = clients(frame).await?;
    if clients.is_empty() {
        let content = html! {
            h1 { "Create a connection: OAuth 2.0" }
            div.empty {
                p { strong { "There is no OAuth client yet." } }
                p { "An OAuth client is how this integration is registered with the provider. Set one up first." }
                p { a.button href=(frame.path("/clients/new")) { "Create OAuth client" } }
            }
        };
        return Ok(frame.page(Tab::Connections, "Create a connection", &content));
    }
    let names: Vec<_> = clients.iter().map(|client| client.record().name.as_str()).collect();
    let choices: Vec<_> = names.iter().map(|name| (*name, *name)).collect();
    let preview = frame.path("/domain");
    let fields: Vec<_> = of_flow(&choices).into_iter().chain(common(&preview)).collect();
    let content = html! {
        p.way {
            a href=(frame.path("/connections")) { "Connections" } " / "
            a href=(frame.path("/connections/new")) { "Create" }
        }
        h1 { "Create a connection: OAuth 2.0" }
        p { "You are led to the provider, sign in there, and come back here. A client with client credentials gets its tokens at once." }
        (summary(filled, &fields))
        form.stack method="post" action=(frame.path("/connections/new/oauth")) {
            (frame.mark())
            @for field in &fields { (field.show(filled)) }
            (offline(filled))
            div.actions {
                button type="submit" { "Connect" }
                a.button.quiet href=(frame.path("/connections")) { "Cancel" }
            }
        }
    };
    Ok(frame.page_with(status, Tab::Connections, "Create a connection", &content))
}

/// Begins a flow with what was filled in.
pub(super) async fn begin(frame: &Frame, mut filled: Filled) -> Answer {
    // The API allows it to be set later; whoever is here can set it now.
    if filled.text("allowed_domain").trim().is_empty() {
        filled.fault("allowed_domain: is missing: without one the connection can’t be used");
    }
    if filled.text("name").trim().is_empty() {
        filled.fault("name: is missing");
    }
    let mut entries = filled.entries(&filled_in(&filled, &FLOW));
    if filled.text("allow_offline_access") == "yes" {
        entries.push(("allow_offline_access".to_owned(), Entry::Flag(true)));
    }
    let name = filled.text("name").to_owned();
    if !filled.is_faulty() {
        match start(frame, &name, entries).await? {
            Ok(response) => return Ok(response),
            Err(refused) => filled.blame(refused).map_err(|refused| frame.refuse(refused))?,
        }
    }
    fields(frame, &filled, StatusCode::BAD_REQUEST).await
}

/// Authorises the connection again, by the client that it has.
pub(super) async fn again(frame: Frame, request: Request) -> Answer {
    frame.read(request).await?;
    let Found::OAuth(authorized) = connection::find(&frame).await? else {
        return Err(frame.refuse(Refused::NotFound));
    };
    let grant = &authorized.grant;
    let text = |text: &str| Entry::Text(Secret::new(text));
    let mut entries = vec![
        ("name".to_owned(), text(authorized.name.as_str())),
        ("oauth_client_uuid".to_owned(), text(&grant.client.to_string())),
        ("grant_type".to_owned(), text(grant.grant_type.as_str())),
    ];
    if !grant.scopes.is_empty() {
        entries.push(("permission_scopes".to_owned(), text(&grant.scopes)));
    }
    if let Some(subdomain) = &grant.subdomain {
        entries.push(("oauth_url_subdomain".to_owned(), text(subdomain.as_str())));
    }
    let started = start(&frame, authorized.name.as_str(), entries).await?;
    started.map_err(|refused| frame.refuse(refused))
}

/// Has other tokens asked for now.
pub(super) async fn refresh(frame: Frame, request: Request) -> Answer {
    frame.read(request).await?;
    let refreshed = frame.writing()?.refresh(&connection::pointer(&frame)).await;
    refreshed.map_err(|refused| frame.refuse(refused))?;
    Ok(see(&connection::path(&frame, "?done=refreshed")))
}

/// Sets the domain of a connection that has none.
pub(super) async fn bind(frame: Frame, request: Request) -> Answer {
    let mut filled = frame.read(request).await?;
    let form = filled.form(&["allowed_domain"]);
    match frame.writing()?.bind(&connection::pointer(&frame), form).await {
        Ok(_bound) => Ok(see(&connection::path(&frame, "?done=bound"))),
        Err(refused) => {
            filled.blame(refused).map_err(|refused| frame.refuse(refused))?;
            let found = connection::find(&frame).await?;
            Ok(connection::page(&frame, &found, &filled))
        }
    }
}

/// What is known of the grant; never a token.
pub(super) fn facts(frame: &Frame, authorized: &Authorized) -> Markup {
    let (grant, tokens) = (&authorized.grant, authorized.tokens.as_ref());
    let now = frame.desk().now();
    html! {
        dt { "Grant type" } dd { (grant_type(grant.grant_type)) }
        dt { "Requested scopes" } dd { (or_none(&grant.scopes)) }
        @if let Some(tokens) = tokens {
            dt { "Granted scopes" } dd { (or_none(&tokens.scope)) }
            dt { "Access token" }
            dd {
                "kept, and never shown; "
                @if let Some(end) = tokens.expires_at {
                    @if end <= now { "ended " } @else { "ends " } (outlook::time(end))
                } @else { "the provider named no end" }
            }
            dt { "Refresh token" } dd { (if tokens.refresh_token.is_some() { "kept, and never shown" } else { "none" }) }
        }
        dt { "Authorised" } dd { (outlook::time(grant.authorized_at)) " by " (grant.created_by) }
        @if let Some(lapse) = &grant.lapse {
            dt { "Ended" } dd { (outlook::time(lapse.since)) ": " (lapse.reason.as_sentence()) }
        }
    }
}

/// What can be done with a grant.
pub(super) fn section(frame: &Frame, authorized: &Authorized, filled: &Filled) -> Markup {
    let preview = frame.path("/domain");
    let domain = common(&preview).into_iter().filter(|field| field.name == "allowed_domain");
    let client = frame.path(&format!("/clients/{}", authorized.grant.client));
    html! {
        section aria-labelledby="tokens" {
            h2 #tokens { "Tokens" }
            p { "They belong to " a href=(client) { "this OAuth client" } "." }
            @if frame.may_write() {
                div.actions {
                    form method="post" action=(connection::path(frame, "/refresh")) {
                        (frame.mark()) button.quiet type="submit" { "Refresh now" }
                    }
                    form method="post" action=(connection::path(frame, "/again")) {
                        (frame.mark())
                        button class=(if authorized.needs_reauthorization { "" } else { "quiet" }) type="submit" { "Authorise again" }
                    }
                }
                @if authorized.allowed_domain.is_none() {
                    h3 { "Set the allowed domain" }
                    form.stack method="post" action=(connection::path(frame, "/domain")) {
                        (frame.mark())
                        @for field in domain { (field.show(filled)) }
                        div.actions { button type="submit" { "Set" } }
                    }
                }
            }
        }
    }
}

/// What a type of grant is called.
pub(super) fn grant_type(kind: GrantType) -> &'static str {
    match kind {
        GrantType::AuthorizationCode => "Authorization code",
        GrantType::ClientCredentials => "Client credentials",
    }
}

/// Begins a flow, and leads to where it goes on: the provider, or the connection, where nobody need
/// be asked.
async fn start(
    frame: &Frame,
    name: &str,
    mut entries: Vec<(String, Entry)>,
) -> Result<Result<Response, Refused>, Trouble> {
    let landing = Entry::Text(Secret::new(landing(frame, name)));
    entries.push(("origin_oauth_redirect_url".to_owned(), landing));
    let started = match frame.writing()?.start(Form::new(entries)).await {
        Ok(started) => started,
        Err(refused) => return Ok(Err(refused)),
    };
    if let Some((_, code)) = started.redirect_url.split_once("verification_code=") {
        return Ok(exchange(frame, name, code).await);
    }
    let url = &started.redirect_url;
    let content = html! {
        h1 { "To the provider" }
        p { "You are led there now, to sign in and to say yes. Afterwards you come back to the connection." }
        p { a.button href=(url) { "Go to the provider" } }
    };
    // A form may not lead to another site (form-action), so a page does.
    let onwards = html! { meta http-equiv="refresh" content=(format!("0;url={url}")); };
    let body = html! { main.bare #main { (content) } };
    let page = shell::document_with("To the provider", &onwards, &body);
    Ok(Ok(shell::html(&page).into_response()))
}

/// Where the browser comes back to.
fn landing(frame: &Frame, name: &str) -> String {
    let mut query = Serializer::new(String::new());
    query.append_pair("integration", frame.integration()).append_pair("connection", name);
    format!("{}/console/connected?{}", frame.desk().public_url(), query.finish())
}

/// Has a client get its own first tokens. That goes on when whoever has asked goes.
async fn exchange(frame: &Frame, name: &str, code: &str) -> Result<Response, Refused> {
    let (done, result) = oneshot::channel();
    let (desk, operator) = (Arc::clone(frame.desk()), frame.operator.clone());
    let (integration, code) = (frame.integration().to_owned(), code.to_owned());
    frame.hall.rooms.errands.spawn(async move {
        let exchanged = match desk.writing(&operator, &integration) {
            Ok(writing) => Box::pin(writing.exchange(&code)).await.map(|_shown_elsewhere| ()),
            Err(refused) => Err(refused),
        };
        // Nobody may be waiting any more.
        drop(done.send(exchanged));
    });
    result.await.unwrap_or(Err(Refused::Internal))?;
    Ok(see(&frame.path(&format!("/connections/oauth/{name}?done=connected"))))
}

async fn clients(frame: &Frame) -> Result<Vec<ClientShown>, Trouble> {
    let window = Window { after: None, before: None, limit: MOST };
    let listing = frame.reading()?.list_clients(&window).await;
    Ok(listing.map_err(|refused| frame.refuse(refused))?.items)
}

fn of_flow<'a>(choices: &'a [(&'a str, &'a str)]) -> [Field<'a>; 3] {
    [
        Field {
            name: "oauth_client_name",
            label: "OAuth client",
            kind: Kind::One(choices),
            ..Field::default()
        },
        Field {
            name: "permission_scopes",
            label: "Scopes",
            hint: "Separated by spaces. Without any, the client’s default scopes are asked for.",
            need: Need::Never,
            ..Field::default()
        },
        Field {
            name: "oauth_url_subdomain",
            label: "Subdomain",
            hint: "What stands in the place of {subdomain} in the client’s URLs, if it has any.",
            need: Need::Never,
            ..Field::default()
        },
    ]
}

fn offline(filled: &Filled) -> Markup {
    html! {
        div.check {
            input #offline type="checkbox" name="allow_offline_access" value="yes"
                checked[filled.text("allow_offline_access") == "yes"];
            label for="offline" { "Ask for access while nobody is there (access_type=offline)" }
        }
    }
}

fn filled_in<'a>(filled: &Filled, fields: &[&'a str]) -> Vec<&'a str> {
    fields.iter().copied().filter(|field| !filled.text(field).trim().is_empty()).collect()
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

const FLOW: [&str; 5] =
    ["name", "oauth_client_name", "permission_scopes", "oauth_url_subdomain", "allowed_domain"];

/// How many clients can be chosen from.
const MOST: u32 = 500;
