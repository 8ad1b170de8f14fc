//! Making a connection: the type first, then its fields.

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use maud::{Markup, html};

use super::connection::kind;
use super::fields::{Field, Kind, summary};
use super::form_values::FormValues;
use super::layout::{self, Tab};
use super::mcp::{self, MCP};
use super::page_context::{PageContext, PageResult, see};
use super::status_view;
use super::{aws, connect, custom};
use crate::management::{Preset, Refused};
use crate::model::connection::ConnectionType;
use crate::model::domain::AllowedDomain;
use crate::model::origin::HostName;
use crate::wire::StaticMembers;

/// The choice of a type.
pub(super) async fn choose(context: PageContext) -> PageResult {
    let _may = context.write_access()?;
    // 1. The types, each with what it is for.
    let choices = [
        (ConnectionType::ApiKey, "A key in a header of your choice, as X-Api-Key."),
        (ConnectionType::BasicAuth, "A username and a password, in Authorization: Basic."),
        (ConnectionType::BearerToken, "A token, in Authorization: Bearer."),
        (
            ConnectionType::OAuth,
            "Tokens that somebody grants in a browser, or that a client gets by itself; kept fresh. Needs an OAuth client.",
        ),
        (
            ConnectionType::Custom,
            "Several keys, in headers of your choice, in the query or in the path; at several domains.",
        ),
        (
            ConnectionType::AwsSigV4,
            "An access key that signs each request; of its own, or by a role that it assumes.",
        ),
    ];
    // 2. The page, with the form for MCP servers, which are connections by OAuth, and with APIs
    //    whose type is known.
    let markup = html! {
        p.way { a href=(context.path("/connections")) { "Connections" } }
        h1 { "Create a connection" }
        p { "How does the service know its callers? Its API’s documentation says so. The type can’t be changed later." }
        ul.choices { @for (kind, words) in choices {
            li { a href=(context.path(&format!("/connections/new/{}", kind.as_str()))) {
                strong { (status_view::kind(kind)) } span { (words) }
            } }
        }
            li { a href=(context.path(&format!("/connections/new/{MCP}"))) {
                strong { "MCP server" }
                span { "Tools for AI agents at a URL; an OAuth client is registered with the server by itself." }
            } }
        }
        h2 { "Well-known APIs" }
        p { "Their type, header and domain are filled in." }
        ul.choices { @for preset in Preset::all() {
            li { a href=(preset_path(&context, preset)) {
                strong { (preset.title) } span { (preset.secret) }
            } }
        } }
    };
    Ok(context.page(Tab::Connections, "Create a connection", &markup))
}

pub(super) async fn fields(context: PageContext) -> PageResult {
    let _may = context.write_access()?;
    if context.place("type") == MCP {
        return Ok(mcp::fields(&context, &FormValues::default(), StatusCode::OK));
    }
    let kind = kind(&context)?;
    if kind == ConnectionType::OAuth {
        let values = FormValues::with(&[("oauth_client_name", context.query("client"))]);
        return connect::fields(&context, &values, StatusCode::OK).await;
    }
    if kind == ConnectionType::Custom {
        let values = custom::preset_values(preset_of(&context, kind));
        return Ok(custom::fields(&context, &values, StatusCode::OK));
    }
    Ok(shown(&context, kind, &FormValues::default(), StatusCode::OK))
}

/// The well-known API of this type for which the form is.
pub(super) fn preset_of(context: &PageContext, kind: ConnectionType) -> Option<&'static Preset> {
    Preset::find(context.query("preset")).filter(|preset| preset.kind() == kind)
}

/// The remarks on a well-known API.
pub(super) fn preset_words(preset: &Preset) -> Markup {
    html! {
        @if let Some(notes) = &preset.notes { p { (notes) } }
        p { a href=(preset.docs) rel="noreferrer" { "The API’s documentation" } ", as of " (preset.date) }
    }
}

/// The path that takes the form of a type.
pub(super) fn action(
    context: &PageContext,
    kind: ConnectionType,
    preset: Option<&Preset>,
) -> String {
    match preset {
        Some(preset) => preset_path(context, preset),
        None => context.path(&format!("/connections/new/{}", kind.as_str())),
    }
}

/// The path of the form for a well-known API.
fn preset_path(context: &PageContext, preset: &Preset) -> String {
    let Preset { name, .. } = preset;
    context.path(&format!("/connections/new/{}?preset={name}", preset.kind().as_str()))
}

/// Makes the connection.
pub(super) async fn create(context: PageContext, request: Request) -> PageResult {
    // 1. Those that a flow makes.
    if context.place("type") == MCP {
        let values = context.read(request).await?;
        return mcp::begin(&context, values).await;
    }
    let kind = kind(&context)?;
    let mut values = context.read(request).await?;
    if kind == ConnectionType::OAuth {
        return connect::begin(&context, values).await;
    }
    if kind == ConnectionType::Custom {
        return custom::create(&context, values).await;
    }
    // 2. Those whose secret is entered.
    let writing = context.write_access()?;
    let made = if kind == ConnectionType::AwsSigV4 {
        writing.create_aws(aws::draft(&values)).await
    } else {
        let request = StaticMembers {
            name: values.member("name"),
            allowed_domain: values.member("allowed_domain"),
            ..credential_members(kind, &values)
        };
        writing.create(kind, request).await
    };
    match made {
        Ok(made) => {
            let below = format!("/connections/{}/{}?done=created", kind.as_str(), made.name);
            Ok(see(&context.path(&below)))
        }
        Err(refused) => {
            match taken(&context, &values, &refused).await {
                Some(fault) => values.fault(&fault),
                None => values.blame(refused).map_err(|refused| context.refuse(refused))?,
            }
            values.lift_faults(aws::ROLE);
            Ok(shown(&context, kind, &values, StatusCode::BAD_REQUEST))
        }
    }
}

/// Names what has the name already, as far as the token may see it.
pub(super) async fn taken(
    context: &PageContext,
    values: &FormValues,
    refused: &Refused,
) -> Option<String> {
    let Refused::Taken = refused else { return None };
    let other = context.read_access().ok()?.status_of(values.text("name")).await?;
    Some(format!("name: is taken by a connection of the type {}", status_view::kind(other.kind)))
}

/// Shows the hosts that a domain covers, while it is typed.
pub(super) async fn preview(context: PageContext) -> PageResult {
    let entered = context.query("value").trim();
    let markup = match AllowedDomain::parse(entered) {
        _ if entered.is_empty() => html! {},
        Err(rule) => html! { p.fault { (crate::error::capitalized(&rule.to_string())) "." } },
        Ok(domain) => covered(&domain),
    };
    Ok(layout::html(&markup).into_response())
}

fn covered(domain: &AllowedDomain) -> Markup {
    let base = domain.base();
    let (below, deeper) = (format!("api.{base}"), format!("eu.api.{base}"));
    let foreign = format!("{base}.example.net");
    let hosts = [base, &below, &deeper, &foreign];
    let covers = |host: &str| HostName::parse(host).is_ok_and(|host| domain.covers(&host));
    html! {
        ul.hosts { @for host in hosts {
            @let is_covered = covers(host);
            li class=(if is_covered { "yes" } else { "no" }) {
                span.verdict { (if is_covered { "matches" } else { "does not match" }) } " "
                code { "https://" (host) }
            }
        } }
    }
}

fn shown(
    context: &PageContext,
    kind: ConnectionType,
    values: &FormValues,
    status: StatusCode,
) -> Response {
    let preview = context.path("/domain");
    // The fields that all types have, then the secret's.
    let of_aws = aws::AwsValues::default();
    let own = match kind {
        ConnectionType::AwsSigV4 => of_aws.fields().to_vec(),
        kind => credentials(kind),
    };
    let mut fields: Vec<_> = common(&preview).into_iter().chain(own).collect();
    let preset = preset_of(context, kind);
    if let Some(preset) = preset {
        fill_in(&mut fields, preset);
    }
    let form = CreateForm {
        title: preset.map_or_else(|| status_view::kind(kind), |preset| &preset.title),
        action: action(context, kind, preset),
        words: html! {
            @if kind == ConnectionType::AwsSigV4 { (aws::words()) }
            @if let Some(preset) = preset { (preset_words(preset)) }
        },
        fields: &fields,
        before: html! {},
        after: html! {},
        submit: "Save",
    };
    form.show(context, values, status)
}

/// The form of a page that makes a connection.
pub(super) struct CreateForm<'a> {
    /// The name of the connection's kind, for people.
    pub(super) title: &'a str,
    /// The path that takes the form.
    pub(super) action: String,
    /// The words above the form.
    pub(super) words: Markup,
    pub(super) fields: &'a [Field<'a>],
    /// The content of the form before its fields, and after them.
    pub(super) before: Markup,
    pub(super) after: Markup,
    /// The label of the button.
    pub(super) submit: &'static str,
}

impl CreateForm<'_> {
    /// Shows the page, with what was filled in.
    pub(super) fn show(
        &self,
        context: &PageContext,
        values: &FormValues,
        status: StatusCode,
    ) -> Response {
        let title = format!("Create a connection: {}", self.title);
        let markup = html! {
            p.way {
                a href=(context.path("/connections")) { "Connections" } " / "
                a href=(context.path("/connections/new")) { "Create" }
            }
            h1 { (title) }
            (self.words)
            (summary(values, self.fields))
            form.stack method="post" action=(self.action) {
                (context.mark())
                (self.before)
                @for field in self.fields { (field.show(values)) }
                (self.after)
                div.actions {
                    button type="submit" { (self.submit) }
                    a.button.quiet href=(context.path("/connections")) { "Cancel" }
                }
            }
        };
        context.page_with(status, Tab::Connections, &title, &markup)
    }
}

/// Fills in what a preset knows, and says what to give for the rest.
fn fill_in(fields: &mut [Field<'_>], preset: &'static Preset) {
    for field in fields {
        let (value, hint) = match field.name {
            "name" => (Some(&preset.name), None),
            "allowed_domain" => (preset.allowed_domain.as_ref(), preset.domain_hint.as_deref()),
            "header_name" => (preset.header_name.as_ref(), None),
            "username" | "access_key_id" => (None, preset.username_hint.as_deref()),
            name if name == preset.kind().secret_member() => {
                field.label = &preset.secret;
                (None, None)
            }
            _ => (None, None),
        };
        field.value = value.map_or(field.value, String::as_str);
        field.hint = hint.unwrap_or(field.hint);
    }
}

/// The fields that every connection has.
pub(super) fn common(preview: &str) -> [Field<'_>; 2] {
    let name = "3 to 64 of A-Z, a-z, 0-9, _ and -. You can’t change it later.";
    let domain = "The one host that the credential may be sent to, always over https; or *. and a domain, for it and all subdomains. You can’t change it later.";
    let domain = Field::text("allowed_domain", "Allowed domain", domain);
    [Field::text("name", "Name", name), Field { kind: Kind::Domain(preview), ..domain }]
}

/// Reads the members that a type has of its own; an empty field counts as none.
pub(super) fn credential_members(kind: ConnectionType, values: &FormValues) -> StaticMembers {
    let mut members = StaticMembers::default();
    match kind {
        ConnectionType::ApiKey => {
            members.header_name = values.member_if_any("header_name");
            members.api_key = values.secret_if_any("api_key");
        }
        ConnectionType::BasicAuth => {
            members.username = values.member_if_any("username");
            members.password = values.secret_if_any("password");
        }
        ConnectionType::BearerToken
        | ConnectionType::OAuth
        | ConnectionType::AwsSigV4
        | ConnectionType::Custom => members.token = values.secret_if_any("token"),
    }
    members
}

/// The fields that a type has beside them.
pub(super) fn credentials(kind: ConnectionType) -> Vec<Field<'static>> {
    let secret = |name, label| {
        let hint = "It is sealed when it is saved, and never shown again.";
        Field { kind: Kind::Secret, ..Field::text(name, label, hint) }
    };
    match kind {
        ConnectionType::ApiKey => {
            let hint = "The header that carries the key; letters, hyphens and underscores.";
            let header = Field::text("header_name", "HTTP header name", hint);
            vec![Field { value: "X-Api-Key", ..header }, secret("api_key", "API key")]
        }
        ConnectionType::BasicAuth => {
            vec![Field::text("username", "Username", ""), secret("password", "Password")]
        }
        ConnectionType::BearerToken
        | ConnectionType::OAuth
        | ConnectionType::AwsSigV4
        | ConnectionType::Custom => vec![secret("token", "Token")],
    }
}
