//! Clients for MCP servers, which are registered by the server itself.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Member, OAuthClient, Request};

/// An MCP server for which a client is wanted.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"url": "https://mcp.example.com/mcp"}))]
pub struct NewMcpClient {
    /// The https URL of the MCP server.
    #[schema(required = true, value_type = String, max_length = 2048, pattern = "^[Hh][Tt][Tt][Pp][Ss]://[!-~]+$")]
    pub url: Member<String>,
    /// The name of the client, unique among the integration's; one made of the host unless given.
    #[schema(value_type = Option<String>, pattern = "^([A-Za-z0-9_-][A-Za-z0-9 _-]{1,62}[A-Za-z0-9_-])?$")]
    pub name: Member<String>,
    /// The scopes to ask for, if not those that the server names: space-separated.
    #[schema(value_type = Option<String>, max_length = 4096, pattern = "^[ !#-\\[\\]-~]*$")]
    pub scopes: Member<String>,
}

impl Request for NewMcpClient {}

/// A client for an MCP server, and what a connection to that server needs.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
pub struct McpClientAnswer {
    /// The client; one that was there already for the same server is used again.
    pub client: OAuthClient,
    /// The allowed domain of a connection to the server.
    #[schema(example = "mcp.example.com")]
    pub allowed_domain: String,
    /// The path of the server, which follows the base URL of the connection.
    #[schema(example = "/mcp")]
    pub path: String,
}

/// The metadata of a client that is known by its URL instead of a registration (RFC 7591 §2).
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[expect(missing_docs, reason = "its members are those of RFC 7591")]
pub struct ClientMetadata {
    pub client_id: String,
    pub client_name: String,
    pub client_uri: String,
    pub redirect_uris: Vec<String>,
    pub grant_types: Vec<String>,
    pub response_types: Vec<String>,
    pub token_endpoint_auth_method: String,
}
