//! The page at which a flow ends. The browser comes from the provider's site, so it shows no cookie of ours
//! here: this page says how the flow has ended, and leads on, which is then our own site's doing.

use axum::extract::RawQuery;
use axum::response::Response;
use maud::html;

use super::layout;
use crate::model::name::{ConnectionName, IntegrationName};

/// The page, for anybody: it tells nothing but what the address says.
pub(super) async fn page(RawQuery(query): RawQuery) -> Response {
    let pairs: Vec<(String, String)> =
        form_urlencoded::parse(query.as_deref().unwrap_or_default().as_bytes())
            .into_owned()
            .collect();
    let value = |name: &str| {
        pairs.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str())
    };
    let integration = IntegrationName::parse(value("integration")).ok();
    let connection = ConnectionName::parse(value("connection")).ok();
    let (Some(integration), Some(connection)) = (integration, connection) else {
        let markup =
            html! { h1 { "The flow has ended" } p { a href="/console" { "To the console" } } };
        return layout::html(&layout::bare("The flow has ended", &markup));
    };
    // The flow has ended well, or not: either way the page leads on.
    let error = value("error");
    if error.is_empty() {
        let path =
            format!("/console/i/{integration}/connections/oauth/{connection}?done=connected");
        let onwards = html! { meta http-equiv="refresh" content=(format!("0;url={path}")); };
        let body = html! { main.bare #main {
            h1 { "Connected" }
            p { "You’ll be redirected to the connection." }
            p { a.button href=(path) { "Go to " (connection.as_str()) } }
        } };
        return layout::html(&layout::document_with("Connected", &onwards, &body));
    }
    // Whatever else the address says, anybody may have written.
    let said = SAID.into_iter().find(|(code, ..)| *code == error);
    let (words, next) = said.map_or((UNKNOWN, NextStep::Again), |(_, words, next)| (words, next));
    let here = format!("/console/i/{integration}");
    let (below, label) = match next {
        NextStep::Again => ("/connections/new/oauth", "Begin again"),
        NextStep::Client => ("/clients", "Look at the OAuth client"),
    };
    let markup = html! {
        h1 { "Not connected" }
        p { (words) }
        p { "The server’s log says more of it. Nothing was changed." }
        p.actions {
            a.button href={ (here) (below) } { (label) }
            a.button.quiet href={ (here) "/connections" } { "Connections" }
        }
    };
    layout::html(&layout::bare("Not connected", &markup))
}

/// The page at which somebody goes on whose flow has failed.
#[derive(Clone, Copy, Debug)]
enum NextStep {
    /// The flow itself may work the next time.
    Again,
    /// The OAuth client must be corrected first.
    Client,
}

const SAID: [(&str, &str, NextStep); 7] = [
    ("access_denied", "You, or the provider, said no.", NextStep::Again),
    (
        "invalid_client",
        "The provider does not know the OAuth client, or its secret is another: look at the client’s ID and replace its secret.",
        NextStep::Client,
    ),
    ("invalid_grant", "The provider did not take its own code back: begin again.", NextStep::Again),
    (
        "invalid_scope",
        "The provider does not know a scope that was asked for: look at the scopes of the connection and the client.",
        NextStep::Client,
    ),
    (
        "temporarily_unavailable",
        "The provider could not be asked: try again in a while.",
        NextStep::Again,
    ),
    (
        "unauthorized_client",
        "The provider does not let this OAuth client ask in this way: look at its registration there.",
        NextStep::Client,
    ),
    (
        "invalid_request",
        "The provider did not understand the question, or answered wrongly: look at the OAuth client’s URLs.",
        NextStep::Client,
    ),
];
const UNKNOWN: &str = "Something went wrong between the provider and this server.";
