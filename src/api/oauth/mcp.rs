//! Clients for MCP servers, and what a client that is not registered says of itself.

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};

use super::PATHS;
use crate::api::ApiState;
use crate::api::auth::AuthenticatedOperator;
use crate::api::body::{self, PathParam};
use crate::api::error::Error;
use crate::management::Refused;
use crate::wire::{ClientMetadata, McpClientAnswer, NewMcpClient};

/// Create an OAuth client for an MCP server
///
/// Finds the server's authorization server (RFC 9728, RFC 8414), registers a client with it
/// (RFC 7591, or a client ID metadata document), and keeps it. A client of the same name for the
/// same server is used again, with 200.
#[utoipa::path(
    post,
    path = "/api/keyferry/v1/integrations/{integration}/mcp-clients",
    operation_id = "create_mcp_client",
    tag = "oauth",
    params(("integration" = String, Path, description = "Name of the integration", example = "my_integration")),
    request_body = NewMcpClient,
    responses(
        (
            status = 201,
            description = "It has been made",
            body = McpClientAnswer,
            headers(("Location" = String, description = "The client's path"))
        ),
        (status = 200, description = "It was there already", body = McpClientAnswer),
    )
)]
pub(in crate::api) async fn create(
    operator: AuthenticatedOperator,
    PathParam(integration): PathParam<String>,
    request: Request,
) -> Result<Response, Error> {
    let access = operator.write_access(&integration).map_err(refused)?;
    let request = body::read::<NewMcpClient>(request).await?;
    let made = Box::pin(access.create_mcp_client(request)).await.map_err(refused)?;
    let is_new = made.is_new;
    let answer = McpClientAnswer {
        client: made.client.into(),
        allowed_domain: made.allowed_domain,
        path: made.path,
    };
    if !is_new {
        return Ok(Json(answer).into_response());
    }
    let client = &answer.client;
    let location = format!("{PATHS}oauth/clients/{}/{}", client.integration, client.uuid);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(answer)).into_response())
}

/// The metadata of a client that is not registered
///
/// An authorization server reads it at the URL that is the client's id.
#[utoipa::path(
    get,
    path = "/oauth-client.json",
    operation_id = "oauth_client_metadata",
    tag = "oauth",
    responses((status = 200, description = "The client", body = ClientMetadata))
)]
pub(in crate::api) async fn metadata(State(state): State<ApiState>) -> Json<ClientMetadata> {
    let management = &state.management;
    Json(ClientMetadata {
        client_id: management.client_metadata_url(),
        client_name: "Keyferry".to_owned(),
        client_uri: management.public_url(),
        redirect_uris: vec![management.callback_url()],
        grant_types: ["authorization_code", "refresh_token"].map(str::to_owned).to_vec(),
        response_types: vec!["code".to_owned()],
        token_endpoint_auth_method: "none".to_owned(),
    })
}

fn refused(refused: Refused) -> Error {
    Error::refused(refused, "Client")
}
