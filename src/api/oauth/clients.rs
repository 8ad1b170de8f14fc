//! OAuth clients (spec §4.5).

use axum::Json;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};

use super::Numbers;
use crate::api::auth::AuthenticatedOperator;
use crate::api::body::{self, PathParam};
use crate::api::error::Numbered;
use crate::api::page::{PageQuery, Parameters};
use crate::wire::{ClientPage, NewOAuthClient, OAuthClient, OAuthClientChange, PageMeta};

/// List OAuth clients
///
/// In the order of their names.
#[utoipa::path(
    get,
    path = "/api/services/zis/connections/oauth/clients/{integration}",
    operation_id = "list_oauth_clients",
    tag = "oauth",
    params(
        ("integration" = String, Path, description = "Name of the integration", example = "my_integration"),
        Parameters,
    ),
    responses((status = 200, description = "A page of clients", body = ClientPage))
)]
pub(in crate::api) async fn list(
    Numbers(operator): Numbers<AuthenticatedOperator>,
    Numbers(PathParam(integration)): Numbers<PathParam<String>>,
    Numbers(PageQuery(window)): Numbers<PageQuery>,
) -> Result<Json<ClientPage>, Numbered> {
    let access = operator.read_access(&integration).map_err(Numbered::refused)?;
    let listing = access.list_clients(&window).await.map_err(Numbered::refused)?;
    let clients: Vec<OAuthClient> = listing.items.into_iter().map(Into::into).collect();
    let meta = PageMeta::of(clients.iter().map(|client| client.name.as_str()), listing.has_more);
    Ok(Json(ClientPage { clients, meta }))
}

/// Create an OAuth client
#[utoipa::path(
    post,
    path = "/api/services/zis/connections/oauth/clients/{integration}",
    operation_id = "create_oauth_client",
    tag = "oauth",
    params(("integration" = String, Path, description = "Name of the integration", example = "my_integration")),
    request_body = NewOAuthClient,
    responses((
        status = 201,
        description = "It has been made",
        body = OAuthClient,
        headers(("Location" = String, description = "The client's path"))
    ))
)]
pub(in crate::api) async fn create(
    Numbers(operator): Numbers<AuthenticatedOperator>,
    Numbers(PathParam(integration)): Numbers<PathParam<String>>,
    request: Request,
) -> Result<Response, Numbered> {
    let access = operator.write_access(&integration).map_err(Numbered::refused)?;
    let request = body::read::<NewOAuthClient>(request).await?;
    let client: OAuthClient =
        access.create_client(request).await.map_err(Numbered::refused)?.into();
    let location = format!("{}oauth/clients/{}/{}", super::PATHS, client.integration, client.uuid);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(client)).into_response())
}

/// Show an OAuth client
#[utoipa::path(
    get,
    path = "/api/services/zis/connections/oauth/clients/{integration}/{uuid}",
    operation_id = "show_oauth_client",
    tag = "oauth",
    params(
        ("integration" = String, Path, description = "Name of the integration", example = "my_integration"),
        ("uuid" = String, Path, description = "Uuid of the client", format = Uuid),
    ),
    responses((status = 200, description = "The client", body = OAuthClient))
)]
pub(in crate::api) async fn show(
    Numbers(operator): Numbers<AuthenticatedOperator>,
    Numbers(PathParam((integration, uuid))): Numbers<PathParam<(String, String)>>,
) -> Result<Json<OAuthClient>, Numbered> {
    let access = operator.read_access(&integration).map_err(Numbered::refused)?;
    let client = access.show_client(&uuid).await.map_err(Numbered::refused)?;
    Ok(Json(client.into()))
}

/// Update an OAuth client
///
/// Tokens that it has got go on until they end.
#[utoipa::path(
    patch,
    path = "/api/services/zis/connections/oauth/clients/{integration}/{uuid}",
    operation_id = "update_oauth_client",
    tag = "oauth",
    params(
        ("integration" = String, Path, description = "Name of the integration", example = "my_integration"),
        ("uuid" = String, Path, description = "Uuid of the client", format = Uuid),
    ),
    request_body = OAuthClientChange,
    responses((status = 200, description = "The client", body = OAuthClient))
)]
pub(in crate::api) async fn update(
    Numbers(operator): Numbers<AuthenticatedOperator>,
    Numbers(PathParam((integration, uuid))): Numbers<PathParam<(String, String)>>,
    request: Request,
) -> Result<Json<OAuthClient>, Numbered> {
    let access = operator.write_access(&integration).map_err(Numbered::refused)?;
    let request = body::read::<OAuthClientChange>(request).await?;
    let client = access.update_client(&uuid, request).await.map_err(Numbered::refused)?;
    Ok(Json(client.into()))
}

/// Delete an OAuth client
///
/// **Every connection of the client is deleted too.** They are out of force when the answer is sent.
#[utoipa::path(
    delete,
    path = "/api/services/zis/connections/oauth/clients/{integration}/{uuid}",
    operation_id = "delete_oauth_client",
    tag = "oauth",
    params(
        ("integration" = String, Path, description = "Name of the integration", example = "my_integration"),
        ("uuid" = String, Path, description = "Uuid of the client", format = Uuid),
    ),
    responses((
        status = 204,
        description = "It has been deleted, with its connections",
        headers(("X-Keyferry-Revocation" = Option<String>, description = "Where the client has a revocation_url and connections: revoked, failed (the log says why) or pending"))
    ))
)]
pub(in crate::api) async fn delete(
    Numbers(operator): Numbers<AuthenticatedOperator>,
    Numbers(PathParam((integration, uuid))): Numbers<PathParam<(String, String)>>,
) -> Result<Response, Numbered> {
    let access = operator.write_access(&integration).map_err(Numbered::refused)?;
    let deleted = Box::pin(access.delete_client(&uuid)).await;
    Ok(super::deleted(deleted.map_err(Numbered::refused)?))
}
