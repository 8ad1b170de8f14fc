//! Connections of one static type: the same four operations for each.

use axum::Json;
use axum::extract::Request;
use axum::routing::{MethodRouter, get, post};
use http::StatusCode;
use utoipa::openapi::path::{HttpMethod, Operation, Paths};
use utoipa_axum::router::UtoipaMethodRouter;

use super::{describe, refused};
use crate::api::ApiState;
use crate::api::auth::AuthenticatedOperator;
use crate::api::body::{self, PathParam};
use crate::api::error::Error;
use crate::model::connection::ConnectionType;
use crate::wire::StaticAnswer;

/// The integration and the connection that a path names.
type ConnectionPath = PathParam<(String, String)>;

pub(in crate::api) const STATIC_TYPES: [ConnectionType; 3] =
    [ConnectionType::BearerToken, ConnectionType::ApiKey, ConnectionType::BasicAuth];

/// The path of a type's connections, and its operation.
pub(in crate::api) fn collection(kind: ConnectionType) -> UtoipaMethodRouter<ApiState> {
    let router =
        post(move |operator, integration, request| create(kind, operator, integration, request));
    routed(
        kind,
        &describe::collection_path(kind),
        router,
        [(HttpMethod::Post, describe::create(kind))],
    )
}

/// The path of one connection of a type, and its operations.
pub(in crate::api) fn item(kind: ConnectionType) -> UtoipaMethodRouter<ApiState> {
    let router = get(move |operator, path| show(kind, operator, path))
        .patch(move |operator, path, request| update(kind, operator, path, request))
        .delete(move |operator, path| delete(kind, operator, path));
    let operations = [
        (HttpMethod::Get, describe::show(kind)),
        (HttpMethod::Patch, describe::update(kind)),
        (HttpMethod::Delete, describe::delete(kind)),
    ];
    routed(kind, &describe::item_path(kind), router, operations)
}

fn routed<const N: usize>(
    kind: ConnectionType,
    path: &str,
    router: MethodRouter<ApiState>,
    operations: [(HttpMethod, Operation); N],
) -> UtoipaMethodRouter<ApiState> {
    let mut paths = Paths::new();
    for (method, operation) in operations {
        paths.add_path_operation(path, vec![method], operation);
    }
    (describe::schemas(kind), paths, router)
}

async fn create(
    kind: ConnectionType,
    operator: AuthenticatedOperator,
    PathParam(integration): PathParam<String>,
    request: Request,
) -> Result<(StatusCode, Json<StaticAnswer>), Error> {
    let access = operator.write_access(&integration).map_err(refused)?;
    let members = body::read_some(request, &describe::members(kind)).await?;
    let made = access.create(kind, members).await.map_err(refused)?;
    let answer = StaticAnswer::from([(kind.as_str().to_owned(), made.into())]);
    Ok((StatusCode::CREATED, Json(answer)))
}

async fn show(
    kind: ConnectionType,
    operator: AuthenticatedOperator,
    PathParam((integration, name)): ConnectionPath,
) -> Result<Json<StaticAnswer>, Error> {
    let access = operator.read_access(&integration).map_err(refused)?;
    let shown = access.show(kind, &name).await.map_err(refused)?;
    Ok(Json(StaticAnswer::from([(kind.as_str().to_owned(), shown.into())])))
}

async fn update(
    kind: ConnectionType,
    operator: AuthenticatedOperator,
    PathParam((integration, name)): ConnectionPath,
    request: Request,
) -> Result<StatusCode, Error> {
    let access = operator.write_access(&integration).map_err(refused)?;
    let members = body::read_some(request, &describe::change_members(kind)).await?;
    access.update(kind, &name, members).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn delete(
    kind: ConnectionType,
    operator: AuthenticatedOperator,
    PathParam((integration, name)): ConnectionPath,
) -> Result<StatusCode, Error> {
    let access = operator.write_access(&integration).map_err(refused)?;
    access.delete(kind, &name).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}
