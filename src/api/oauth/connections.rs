//! Connections by OAuth: shown, bound to a domain, refreshed, deleted (spec §7.8, §7.10).

use axum::Json;
use axum::extract::Request;
use axum::response::Response;

use super::{Numbers, OnlyGet, Query};
use crate::api::auth::AuthenticatedOperator;
use crate::api::body::{self, PathParam};
use crate::api::error::Numbered;
use crate::management::{ConnectionRef, Refused};
use crate::wire::{OAuthConnection, OAuthConnectionChange};

/// Show an OAuth connection
///
/// By its name or its uuid; both must be the same connection's.
#[utoipa::path(
    get,
    path = "/api/services/zis/connections/{integration}",
    operation_id = "show_oauth_connection",
    tag = "oauth",
    params(
        ("integration" = String, Path, description = "Name of the integration", example = "my_integration"),
        ("name" = Option<String>, Query, description = "Name of the connection"),
        ("uuid" = Option<String>, Query, description = "Uuid of the connection"),
    ),
    responses((status = 200, description = "The connection", body = OAuthConnection))
)]
pub(in crate::api) async fn show(
    Numbers(operator): Numbers<AuthenticatedOperator>,
    Numbers(PathParam(integration)): Numbers<PathParam<String>>,
    Numbers(query): Numbers<Query>,
) -> Result<Json<OAuthConnection>, Numbered> {
    let access = operator.read_access(&integration).map_err(Numbered::refused)?;
    let shown = access.reveal_authorized(&pointer(&query)?).await.map_err(refused)?;
    Ok(Json(shown.into()))
}

/// Bind an OAuth connection to a domain
///
/// Once: a domain that is set never changes.
#[utoipa::path(
    patch,
    path = "/api/services/zis/connections/{integration}",
    operation_id = "bind_oauth_connection",
    tag = "oauth",
    params(
        ("integration" = String, Path, description = "Name of the integration", example = "my_integration"),
        ("name" = Option<String>, Query, description = "Name of the connection"),
        ("uuid" = Option<String>, Query, description = "Uuid of the connection"),
    ),
    request_body = OAuthConnectionChange,
    responses((status = 200, description = "The connection", body = OAuthConnection))
)]
pub(in crate::api) async fn bind(
    Numbers(operator): Numbers<AuthenticatedOperator>,
    Numbers(PathParam(integration)): Numbers<PathParam<String>>,
    Numbers(query): Numbers<Query>,
    request: Request,
) -> Result<Json<OAuthConnection>, Numbered> {
    let access = operator.write_access(&integration).map_err(Numbered::refused)?;
    let pointer = pointer(&query)?;
    let request = body::read::<OAuthConnectionChange>(request).await?;
    let bound = access.change_authorized(&pointer, request).await.map_err(refused)?;
    Ok(Json(bound.into()))
}

/// Delete an OAuth connection
///
/// It is out of force when the answer is sent. Then its provider is asked to revoke its tokens.
#[utoipa::path(
    delete,
    path = "/api/services/zis/connections/{integration}",
    operation_id = "delete_oauth_connection",
    tag = "oauth",
    params(
        ("integration" = String, Path, description = "Name of the integration", example = "my_integration"),
        ("name" = Option<String>, Query, description = "Name of the connection"),
        ("uuid" = Option<String>, Query, description = "Uuid of the connection"),
    ),
    responses((
        status = 204,
        description = "It has been deleted",
        headers(("X-Keyferry-Revocation" = Option<String>, description = "Where the client has a revocation_url: revoked, failed (the log says why) or pending"))
    ))
)]
pub(in crate::api) async fn delete(
    Numbers(operator): Numbers<AuthenticatedOperator>,
    Numbers(PathParam(integration)): Numbers<PathParam<String>>,
    Numbers(query): Numbers<Query>,
) -> Result<Response, Numbered> {
    let access = operator.write_access(&integration).map_err(Numbered::refused)?;
    let deleted = Box::pin(access.delete_authorized(&pointer(&query)?)).await;
    Ok(super::deleted(deleted.map_err(refused)?))
}

/// Refresh an OAuth token
///
/// Asks the provider for other tokens now. They are in force when the answer is sent.
#[utoipa::path(
    get,
    path = "/api/services/zis/connections/refresh/{integration}",
    operation_id = "refresh_oauth_token",
    tag = "oauth",
    params(
        ("integration" = String, Path, description = "Name of the integration", example = "my_integration"),
        ("name" = Option<String>, Query, description = "Name of the connection"),
        ("uuid" = Option<String>, Query, description = "Uuid of the connection"),
    ),
    responses((status = 200, description = "The connection", body = OAuthConnection))
)]
pub(in crate::api) async fn refresh(
    _only: OnlyGet,
    Numbers(operator): Numbers<AuthenticatedOperator>,
    Numbers(PathParam(integration)): Numbers<PathParam<String>>,
    Numbers(query): Numbers<Query>,
) -> Result<Json<OAuthConnection>, Numbered> {
    let access = operator.write_access(&integration).map_err(Numbered::refused)?;
    let refreshed = access.refresh(&pointer(&query)?).await.map_err(refused)?;
    Ok(Json(refreshed.into()))
}

/// The connection that is meant, named in at least one way.
fn pointer(query: &Query) -> Result<ConnectionRef, Numbered> {
    let value = |name| query.value(name).map(str::to_owned);
    match (value("name"), value("uuid")) {
        (None, None) => Err(Numbered::invalid("name", "is missing: give name or uuid")),
        (name, uuid) => Ok(ConnectionRef { name, uuid }),
    }
}

fn refused(refused: Refused) -> Numbered {
    match refused {
        Refused::Malformed => {
            Numbered::invalid("uuid", "is not that of the connection of this name")
        }
        other => Numbered::refused(other),
    }
}
