//! Connections of every type under Keyferry's own path; those of types beyond ZIS are made, changed
//! and deleted there (contract §8).

use axum::Json;
use axum::extract::Request;
use http::StatusCode;

use super::refused;
use crate::api::auth::AuthenticatedOperator;
use crate::api::body::{self, PathParam, TypedDocument};
use crate::api::error::Error;
use crate::api::page::{PageQuery, Parameters};
use crate::model::connection::ConnectionType;
use crate::wire::{
    AwsMembers, ConnectionAnswer, CustomMembers, NewTypedConnection, PageMeta, TypedConnection,
    TypedConnectionPage,
};

/// Show connections of every type
///
/// In the order of their names, each with its type.
#[utoipa::path(
    get,
    path = "/api/keyferry/v1/integrations/{integration}/connections",
    operation_id = "list_all_connections",
    tag = "connections",
    params(
        ("integration" = String, Path, description = "Name of the integration", example = "my_integration"),
        Parameters,
    ),
    responses((status = 200, description = "A page of connections", body = TypedConnectionPage))
)]
pub(in crate::api) async fn list(
    operator: AuthenticatedOperator,
    PathParam(integration): PathParam<String>,
    PageQuery(window): PageQuery,
) -> Result<Json<TypedConnectionPage>, Error> {
    let access = operator.read_access(&integration).map_err(refused)?;
    let listing = access.list(&window).await.map_err(refused)?;
    let names = listing.items.iter().map(|connection| connection.name().as_str());
    let meta = PageMeta::of(names, listing.has_more);
    let connections = listing.items.into_iter().map(TypedConnection::from).collect();
    Ok(Json(TypedConnectionPage { connections, meta }))
}

/// Create a connection of a type beyond ZIS
///
/// Its `type` is `custom` or `aws_sigv4`. It is in force when the answer is sent. Connections of ZIS's types have paths of their own.
#[utoipa::path(
    post,
    path = "/api/keyferry/v1/integrations/{integration}/connections",
    operation_id = "create_typed_connection",
    tag = "connections",
    params(
        ("integration" = String, Path, description = "Name of the integration", example = "my_integration"),
    ),
    request_body = NewTypedConnection,
    responses((status = 201, description = "It has been made", body = ConnectionAnswer))
)]
pub(in crate::api) async fn create(
    operator: AuthenticatedOperator,
    PathParam(integration): PathParam<String>,
    request: Request,
) -> Result<(StatusCode, Json<ConnectionAnswer>), Error> {
    let access = operator.write_access(&integration).map_err(refused)?;
    let made = match body::read_typed(request).await? {
        TypedDocument::AwsSigV4(members) => access.create_aws(*members).await,
        TypedDocument::Custom(members) => access.create_custom(*members).await,
    };
    let made = made.map_err(refused)?;
    Ok((StatusCode::CREATED, Json(ConnectionAnswer { connection: made.into() })))
}

/// Show a connection of any type
#[utoipa::path(
    get,
    path = "/api/keyferry/v1/integrations/{integration}/connections/{name}",
    operation_id = "show_any_connection",
    tag = "connections",
    params(
        ("integration" = String, Path, description = "Name of the integration", example = "my_integration"),
        ("name" = String, Path, description = "Name of the connection", example = "example_custom"),
    ),
    responses((status = 200, description = "The connection", body = ConnectionAnswer))
)]
pub(in crate::api) async fn show(
    operator: AuthenticatedOperator,
    PathParam((integration, name)): PathParam<(String, String)>,
) -> Result<Json<ConnectionAnswer>, Error> {
    let access = operator.read_access(&integration).map_err(refused)?;
    let shown = access.show_any(&name).await.map_err(refused)?;
    Ok(Json(ConnectionAnswer { connection: shown.into() }))
}

/// Update a connection of a type beyond ZIS
///
/// The change is in force when the answer is sent. Of a custom one `allowed_domains` and `inject`
/// change only where every secret is entered again; of one to AWS the id of the key, `region`,
/// `service` and `assume_role` only where `secret_access_key` is. The name may be repeated as it is; an option is taken away by null.
#[utoipa::path(
    patch,
    path = "/api/keyferry/v1/integrations/{integration}/connections/{name}",
    operation_id = "update_typed_connection",
    tag = "connections",
    params(
        ("integration" = String, Path, description = "Name of the integration", example = "my_integration"),
        ("name" = String, Path, description = "Name of the connection", example = "example_custom"),
    ),
    request_body(content = NewTypedConnection, example = json!({"secrets": {"key": "MY_NEXT_KEY"}})),
    responses((status = 204, description = "It has been changed"))
)]
pub(in crate::api) async fn update(
    operator: AuthenticatedOperator,
    PathParam((integration, name)): PathParam<(String, String)>,
    request: Request,
) -> Result<StatusCode, Error> {
    let access = operator.write_access(&integration).map_err(refused)?;
    let changed = if access.type_beyond_zis(&name).await.map_err(refused)? == AWS {
        let members = body::read::<AwsMembers>(request).await?;
        access.update_aws(&name, members).await
    } else {
        let members = body::read::<CustomMembers>(request).await?;
        access.update_custom(&name, members).await
    };
    changed.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Delete a connection of a type beyond ZIS
///
/// It is out of force when the answer is sent.
#[utoipa::path(
    delete,
    path = "/api/keyferry/v1/integrations/{integration}/connections/{name}",
    operation_id = "delete_typed_connection",
    tag = "connections",
    params(
        ("integration" = String, Path, description = "Name of the integration", example = "my_integration"),
        ("name" = String, Path, description = "Name of the connection", example = "example_custom"),
    ),
    responses((status = 204, description = "It has been deleted"))
)]
pub(in crate::api) async fn delete(
    operator: AuthenticatedOperator,
    PathParam((integration, name)): PathParam<(String, String)>,
) -> Result<StatusCode, Error> {
    let access = operator.write_access(&integration).map_err(refused)?;
    let kind = access.type_beyond_zis(&name).await.map_err(refused)?;
    access.delete(kind, &name).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

/// A type with members of its own.
const AWS: ConnectionType = ConnectionType::AwsSigV4;
