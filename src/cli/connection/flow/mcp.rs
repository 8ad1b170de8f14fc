//! The client of a connection to an MCP server, which the server gets by itself.

use crate::cli::integration::IntegrationClient;
use crate::cli::output::{self, CliError};
use crate::cli::server::ApiPath;
use crate::wire::{McpClientAnswer, NewFlow, NewMcpClient, OAuthConnection, ServerAnswer};

/// Has the server find out how the MCP server is authorized for, and register a client with it; the
/// flow takes the name and domain that it has no others for.
pub(super) fn prepare(
    client: &IntegrationClient<'_>,
    url: &str,
    scopes: Option<&str>,
    request: &mut NewFlow,
) -> Result<McpClientAnswer, CliError> {
    let wanted = NewMcpClient { url: url.into(), scopes: scopes.into(), ..NewMcpClient::default() };
    let segments = ["integrations", client.integration.as_str(), "mcp-clients"];
    let answer = client.api.post(&ApiPath::keyferry(&segments), &wanted);
    let made: McpClientAnswer = answer.map_err(|error| error.by_options(&OPTIONS))?.read()?;
    request.name.fill_blank(Some(&made.allowed_domain.replace('.', "-")));
    request.allowed_domain.fill_blank(Some(&made.allowed_domain));
    Ok(made)
}

/// Says where an MCP client finds the server from now on.
pub(super) fn note_address(
    client: &IntegrationClient<'_>,
    connection: &OAuthConnection,
    path: &str,
) -> Result<(), CliError> {
    let ServerAnswer { server } = client.api.get(&ApiPath::keyferry(&["server"]))?.read()?;
    let proxy = server.proxy.iter().find(|address| address.starts_with("http"));
    let proxy = proxy.map_or("the proxy's address", String::as_str);
    let path = if path == "/" { "" } else { path };
    output::note(&format!(
        "MCP clients now reach it at {}, with a caller token in Authorization: Bearer",
        output::printable(&format!("{proxy}/~/{}{path}", connection.name))
    ));
    Ok(())
}

/// The members of the request, and the options that fill them.
const OPTIONS: [(&str, &str); 2] = [("url", "--mcp"), ("scopes", "--scopes")];
