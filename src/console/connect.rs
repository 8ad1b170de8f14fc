//! Connections by OAuth: the flow that makes one, and what keeps it.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use form_urlencoded::Serializer;
use http::StatusCode;
use maud::{Markup, html};
use tokio::sync::oneshot;

use super::connection::{self, PageForm};
use super::create::{CreateForm, common};
use super::fields::{Field, Kind, Need};
use super::form_values::FormValues;
use super::layout::{self, Tab};
use super::page_context::{PageContext, PageError, PageResult, see};
use super::status_view;
use crate::management::{
    AnyConnection, ClientView, OAuthConnectionView, Refused, StartedFlow, WriteAccess,
};
use crate::model::connection::ConnectionType;
use crate::model::oauth::domain_template::DomainTemplate;
use crate::model::oauth::grant::GrantType;
use crate::store::PageRange;
use crate::wire::{Member, NewFlow, OAuthConnectionChange};

/// The fields of a flow.
pub(super) async fn fields(
    context: &PageContext,
    values: &FormValues,
    status: StatusCode,
) -> PageResult {
    let clients = clients(context).await?;
    // Without a client there is nothing to begin a flow with.
    if clients.is_empty() {
        let markup = html! {
            h1 { "Create a connection: OAuth 2.0" }
            div.empty {
                p { strong { "There is no OAuth client yet." } }
                p { "An OAuth client is how this integration is registered with the provider. Set one up first." }
                p { a.button href=(context.path("/clients/new")) { "Create OAuth client" } }
            }
        };
        return Ok(context.page(Tab::Connections, "Create a connection", &markup));
    }
    let names: Vec<_> = clients.iter().map(|client| client.record().name.as_str()).collect();
    let choices: Vec<_> = names.iter().map(|name| (*name, *name)).collect();
    let preview = context.path("/domain");
    let chosen = chosen(&clients, values);
    let offer = Offer::of(&clients, chosen);
    let mut fields: Vec<_> = of_flow(&choices).into_iter().chain(common(&preview)).collect();
    for field in &mut fields {
        if field.name == "allowed_domain" {
            (field.need, field.value) = (offer.need, &offer.value);
            field.hint = offer.hint.as_deref().unwrap_or(field.hint);
        }
    }
    // A client that was come from stays the one: the domain that is filled in is its own.
    fields.retain(|field| chosen.is_none() || field.name != CLIENT);
    let form = CreateForm {
        title: status_view::kind(ConnectionType::OAuth),
        action: context.path("/connections/new/oauth"),
        words: html! { p { "You’ll be redirected to the provider, sign in there, and come back here. A client with credentials or a key of its own gets its tokens at once." } },
        fields: &fields,
        before: chosen.map(|client| fixed(context, client)).unwrap_or_default(),
        after: offline(values),
        submit: "Connect",
    };
    Ok(form.show(context, values, status))
}

/// Begins a flow with what was filled in.
pub(super) async fn begin(context: &PageContext, mut values: FormValues) -> PageResult {
    // The API allows it to be set later; somebody at this page can set it now.
    let clients = clients(context).await?;
    let offers = chosen(&clients, &values)
        .is_some_and(|client| !client.record().profile.allowed_domains.is_empty());
    if values.text("allowed_domain").trim().is_empty() && !offers {
        values.fault("allowed_domain: is missing: without one the connection can’t be used");
    }
    if values.text("name").trim().is_empty() {
        values.fault("name: is missing");
    }
    if !values.is_faulty() {
        match start(context, &context.write_access()?, request(&values)).await {
            Ok(response) => return Ok(response),
            Err(refused) => values.blame(refused).map_err(|refused| context.refuse(refused))?,
        }
    }
    fields(context, &values, StatusCode::BAD_REQUEST).await
}

/// Starts a flow, and leads to where it goes on.
pub(super) async fn start(
    context: &PageContext,
    writing: &WriteAccess<'_>,
    flow: NewFlow,
) -> Result<Response, Refused> {
    let name = flow.name.value().cloned().unwrap_or_default();
    let flow = NewFlow { origin_oauth_redirect_url: landing(context, &name).into(), ..flow };
    let started = writing.start(flow).await;
    go_on(context, &name, started).await
}

/// The flow that was asked for; a field of spaces counts as empty.
fn request(values: &FormValues) -> NewFlow {
    let member = |field| match values.text(field) {
        text if text.trim().is_empty() => Member::Absent,
        text => text.into(),
    };
    let is_offline = values.text("allow_offline_access") == "yes";
    NewFlow {
        name: member("name"),
        oauth_client_name: member("oauth_client_name"),
        permission_scopes: member("permission_scopes"),
        oauth_url_subdomain: member("oauth_url_subdomain"),
        allowed_domain: member("allowed_domain"),
        allow_offline_access: is_offline.then_some(true).into(),
        ..NewFlow::default()
    }
}

/// Authorizes the connection again, by the client that it has.
pub(super) async fn again(context: PageContext, request: Request) -> PageResult {
    context.read(request).await?;
    let AnyConnection::OAuth(view) = connection::find(&context).await? else {
        return Err(context.refuse(Refused::NotFound));
    };
    let name = view.name.as_str();
    let started = context.write_access()?.start_again(&view, &landing(&context, name)).await;
    go_on(&context, name, started).await.map_err(|refused| context.refuse(refused))
}

/// Has other tokens asked for now.
pub(super) async fn refresh(context: PageContext, request: Request) -> PageResult {
    context.read(request).await?;
    let refreshed = context.write_access()?.refresh(&connection::pointer(&context)).await;
    refreshed.map_err(|refused| context.refuse(refused))?;
    Ok(see(&connection::path(&context, "?done=refreshed")))
}

/// Sets the domain of a connection that has none.
pub(super) async fn bind(context: PageContext, request: Request) -> PageResult {
    let mut values = context.read(request).await?;
    let request = OAuthConnectionChange {
        allowed_domain: values.member("allowed_domain"),
        ..OAuthConnectionChange::default()
    };
    match context.write_access()?.change_authorized(&connection::pointer(&context), request).await {
        Ok(_bound) => Ok(see(&connection::path(&context, "?done=bound"))),
        Err(refused) => {
            values.blame(refused).map_err(|refused| context.refuse(refused))?;
            let found = connection::find(&context).await?;
            let sent = Some((PageForm::Domain, &values));
            Ok(connection::page(&context, &found, sent).await)
        }
    }
}

/// The facts about a grant; never a token.
pub(super) fn facts(context: &PageContext, authorized: &OAuthConnectionView) -> Markup {
    let (grant, tokens) = (&authorized.grant, authorized.tokens.as_ref());
    let now = context.management().now();
    html! {
        // 1. The tokens.
        dt { "Grant type" } dd { (grant_type(grant.grant_type)) }
        dt { "Requested scopes" } dd { (or_none(&grant.scopes)) }
        @if let Some(tokens) = tokens {
            dt { "Granted scopes" } dd { (or_none(&tokens.scope)) }
            dt { "Access token" }
            dd {
                "kept, and never shown; "
                @if let Some(end) = tokens.expires_at {
                    @if end <= now { "ended " } @else { "ends " } (status_view::time(end))
                } @else { "the provider named no end" }
            }
            dt { "Refresh token" }
            dd {
                @if tokens.refresh_token.is_some() {
                    "kept, and never shown; "
                    @if let Some(life) = &grant.refresh_token_life {
                        @if life.ends <= now { "ended " } @else { "ends " } (status_view::time(life.ends))
                    } @else { "its end is not known" }
                } @else { "none" }
            }
        }
        // 2. The grant's life.
        dt { "Authorized" } dd { (status_view::time(grant.authorized_at)) " by " (grant.created_by) }
        @if let Some(lapse) = &grant.lapse {
            dt { "Ended" } dd { (status_view::time(lapse.since)) ": " (lapse.reason.as_sentence()) }
        }
        @if let Some(standing) = &authorized.standing {
            @if grant.lapse.is_none() {
                dt { "Not refreshed since" } dd { (status_view::time(standing.since)) ": " (standing.reason) }
            }
            @if let Some(code) = standing.code { dt { "The provider’s code" } dd { code { (code) } } }
            dt { "Who must act" } dd { (standing.advice()) }
        }
    }
}

/// The section with the actions on a grant.
pub(super) fn section(
    context: &PageContext,
    authorized: &OAuthConnectionView,
    values: &FormValues,
) -> Markup {
    let preview = context.path("/domain");
    let domain = common(&preview).into_iter().filter(|field| field.name == "allowed_domain");
    let client = context.path(&format!("/clients/{}", authorized.grant.client));
    // What changes the tokens, and the domain where it is not set yet, for those who may write.
    html! {
        section aria-labelledby="tokens" {
            h2 #tokens { "Tokens" }
            p { "They belong to " a href=(client) { "this OAuth client" } "." }
            @if context.may_write() {
                div.actions {
                    form method="post" action=(connection::path(context, "/refresh")) {
                        (context.mark()) button.quiet type="submit" { "Refresh now" }
                    }
                    form method="post" action=(connection::path(context, "/again")) {
                        (context.mark())
                        button class=(if authorized.needs_reauthorization { "" } else { "quiet" }) type="submit" { "Authorize again" }
                    }
                }
                @if authorized.allowed_domain.is_none() {
                    h3 { "Set the allowed domain" }
                    form.stack method="post" action=(connection::path(context, "/domain")) {
                        (context.mark())
                        @for field in domain { (field.show(values)) }
                        div.actions { button type="submit" { "Set" } }
                    }
                }
            }
        }
    }
}

/// The name of a grant type, for people.
pub(super) fn grant_type(kind: GrantType) -> &'static str {
    match kind {
        GrantType::AuthorizationCode => "Authorization code",
        GrantType::ClientCredentials => "Client credentials",
        GrantType::GithubApp => "GitHub App",
        GrantType::JwtBearer => "Signed assertion (JWT bearer)",
    }
}

/// Leads to where a flow goes on: the provider, or the connection, where nobody need be asked.
async fn go_on(
    context: &PageContext,
    name: &str,
    started: Result<StartedFlow, Refused>,
) -> Result<Response, Refused> {
    let StartedFlow { redirect_url, verification_code } = started?;
    if let Some(code) = verification_code {
        return exchange(context, name, code).await;
    }
    let markup = html! {
        h1 { "To the provider" }
        p { "You’ll be redirected there now, to sign in and to say yes. Afterwards you come back to the connection." }
        p { a.button href=(redirect_url) { "Go to the provider" } }
    };
    // A form may not lead to another site (form-action), so a page does.
    let refresh = html! { meta http-equiv="refresh" content=(format!("0;url={redirect_url}")); };
    let body = html! { main.bare #main { (markup) } };
    let page = layout::document_with("To the provider", &refresh, &body);
    Ok(layout::html(&page).into_response())
}

/// The URL that the browser comes back to.
fn landing(context: &PageContext, name: &str) -> String {
    let mut query = Serializer::new(String::new());
    query.append_pair("integration", context.integration()).append_pair("connection", name);
    format!("{}/console/connected?{}", context.management().public_url(), query.finish())
}

/// Has a client get its own first tokens. That goes on when its caller is gone.
async fn exchange(context: &PageContext, name: &str, code: String) -> Result<Response, Refused> {
    let (done, result) = oneshot::channel();
    let (management, operator) = (Arc::clone(context.management()), context.operator.clone());
    let integration = context.integration().to_owned();
    context.state.services.errands.spawn(async move {
        let exchanged = match management.write_access(&operator, &integration) {
            Ok(writing) => Box::pin(writing.exchange(&code)).await.map(|_shown_elsewhere| ()),
            Err(refused) => Err(refused),
        };
        // Nobody may be waiting any more.
        drop(done.send(exchanged));
    });
    result.await.unwrap_or(Err(Refused::Internal))?;
    Ok(see(&context.path(&format!("/connections/oauth/{name}?done=connected"))))
}

/// The client that the form names, if there is one of that name.
fn chosen<'a>(clients: &'a [ClientView], values: &FormValues) -> Option<&'a ClientView> {
    let name = values.text(CLIENT);
    clients.iter().find(|client| client.record().name.as_str() == name)
}

/// The allowed domain, as far as clients offer one.
struct Offer {
    need: Need,
    value: String,
    hint: Option<String>,
}

impl Offer {
    fn of(clients: &[ClientView], chosen: Option<&ClientView>) -> Self {
        let domains = |client: &ClientView| client.record().profile.allowed_domains.clone();
        let Some(client) = chosen else {
            let is_offered = clients.iter().any(|client| !domains(client).is_empty());
            let hint = "The one host that the credential may be sent to, always over https; or *. and a domain. Leave it empty for the one that the client offers. You can’t change it later.";
            let need = if is_offered { Need::Depends } else { Need::Always };
            let hint = is_offered.then(|| hint.to_owned());
            return Self { need, value: String::new(), hint };
        };
        let offered = domains(client);
        let Some(first) = offered.first() else {
            return Self { need: Need::Always, value: String::new(), hint: None };
        };
        let names: Vec<_> = offered.iter().map(DomainTemplate::as_str).collect();
        let hint = format!(
            "The client offers {}; any other host of the provider’s will do. You can’t change it later.",
            names.join(", ")
        );
        // One with a placeholder is filled in by the flow.
        let value = first.resolve(None).map(|domain| domain.to_string()).unwrap_or_default();
        Self { need: Need::Depends, value, hint: Some(hint) }
    }
}

/// The client that was come from, which is not to be chosen.
fn fixed(context: &PageContext, client: &ClientView) -> Markup {
    let record = client.record();
    html! {
        input type="hidden" name=(CLIENT) value=(record.name.as_str());
        p {
            "OAuth client: "
            a href=(context.path(&format!("/clients/{}", record.uuid))) { (record.name.as_str()) }
            " (" a href=(context.path("/connections/new/oauth")) { "choose another" } ")"
        }
    }
}

async fn clients(context: &PageContext) -> Result<Vec<ClientView>, PageError> {
    let window = PageRange { after: None, before: None, limit: MAX_OFFERED_CLIENTS };
    let listing = context.read_access()?.list_clients(&window).await;
    Ok(listing.map_err(|refused| context.refuse(refused))?.items)
}

fn of_flow<'a>(choices: &'a [(&'a str, &'a str)]) -> [Field<'a>; 3] {
    [
        Field { name: CLIENT, label: "OAuth client", kind: Kind::One(choices), ..Field::default() },
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
            hint: "The value of {subdomain} in the client’s URLs, if they have it.",
            need: Need::Never,
            ..Field::default()
        },
    ]
}

fn offline(values: &FormValues) -> Markup {
    html! {
        div.check {
            input #offline type="checkbox" name="allow_offline_access" value="yes"
                checked[values.text("allow_offline_access") == "yes"];
            label for="offline" { "Ask for access while nobody is there (access_type=offline)" }
        }
    }
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

/// The field that names the client.
const CLIENT: &str = "oauth_client_name";

/// The number of clients that can be chosen from.
const MAX_OFFERED_CLIENTS: u32 = 500;
