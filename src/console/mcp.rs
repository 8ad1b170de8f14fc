//! Connections to MCP servers: a client is registered with the server, and then authorized.

use axum::response::Response;
use http::StatusCode;
use maud::html;

use super::connect;
use super::create::CreateForm;
use super::fields::{Field, Kind, Need};
use super::form_values::FormValues;
use super::page_context::{PageContext, PageResult};
use crate::management::{McpClientView, Refused};
use crate::wire::{Member, NewFlow, NewMcpClient};

/// The fields of a connection to an MCP server.
pub(super) fn fields(context: &PageContext, values: &FormValues, status: StatusCode) -> Response {
    // 1. The address that MCP clients are given.
    let proxy = context.state.services.facts.proxies.iter().find(|url| url.starts_with("http"));
    let proxy = proxy.map_or("http://127.0.0.1:8080", String::as_str);
    // 2. The page.
    let form = CreateForm {
        title: "MCP server",
        action: context.path(&format!("/connections/new/{MCP}")),
        words: html! { p { "The server says of itself where it is authorized for, and an OAuth client is registered there. You’ll be redirected, sign in there, and come back here." } },
        fields: &FIELDS,
        before: html! {},
        after: html! {
            p.hint {
                "MCP clients then reach it at " code { (proxy) "/~/NAME" }
                " and the path of its URL, with a caller token in " code { "Authorization: Bearer" } "."
            }
        },
        submit: "Connect",
    };
    form.show(context, values, status)
}

/// Registers a client with the server, and begins the flow of the connection.
pub(super) async fn begin(context: &PageContext, mut values: FormValues) -> PageResult {
    let writing = context.write_access()?;
    let wanted = NewMcpClient {
        url: values.text("url").trim().into(),
        scopes: scopes(&values),
        ..NewMcpClient::default()
    };
    let begun = match Box::pin(writing.create_mcp_client(wanted)).await {
        Ok(made) => connect::start(context, &writing, flow(&values, &made)).await,
        Err(refused) => Err(refused),
    };
    begun.or_else(|refused: Refused| {
        values.blame(refused).map_err(|refused| context.refuse(refused))?;
        Ok(fields(context, &values, StatusCode::BAD_REQUEST))
    })
}

/// The flow for the client that was made. The name of its connection is made of the server's host
/// unless one was entered.
fn flow(values: &FormValues, made: &McpClientView) -> NewFlow {
    let name = match values.text("name").trim() {
        "" => made.allowed_domain.replace('.', "-"),
        entered => entered.to_owned(),
    };
    NewFlow {
        name: name.into(),
        oauth_client_uuid: made.client.record().uuid.to_string().into(),
        allowed_domain: made.allowed_domain.as_str().into(),
        permission_scopes: scopes(values),
        ..NewFlow::default()
    }
}

fn scopes(values: &FormValues) -> Member<String> {
    Some(values.text("scopes").trim()).filter(|scopes| !scopes.is_empty()).into()
}

/// The name that stands for a connection's type in the form's path.
pub(super) const MCP: &str = "mcp";

const FIELDS: [Field<'_>; 3] = [
    field("url", "URL of the server", "As MCP clients are given it, over https.", Need::Always),
    field(
        "name",
        "Name",
        "3 to 64 of A-Z, a-z, 0-9, _ and -; made of the server’s host unless filled in. You can’t change it later.",
        Need::Never,
    ),
    field(
        "scopes",
        "Scopes",
        "Separated by spaces. Without any, those that the server names are asked for.",
        Need::Never,
    ),
];

const fn field(
    name: &'static str,
    label: &'static str,
    hint: &'static str,
    need: Need,
) -> Field<'static> {
    Field { name, label, hint, need, kind: Kind::Text, value: "", placeholder: "" }
}
