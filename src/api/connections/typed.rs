//! Connections of every type under Keyferry's own path; those of types beyond ZIS are made, changed
//! and deleted there (contract §8).

use axum::Json;
use axum::extract::Request;
use http::StatusCode;

use super::refused;
use crate::api::auth::AuthenticatedOperator;
use crate::api::body::{self, PathParam};
use crate::api::error::Error;
use crate::api::page::{PageQuery, Parameters};
use crate::management::{AnyConnection, ConnectionView};
use crate::model::connection::ConnectionType;
use crate::model::custom::{CustomAccess, CustomDomain};
use crate::model::placement::Placement;
use crate::model::record::Detail;
use crate::wire::{
    AllowedDomainMembers, AwsConnection, ConnectionAnswer, CustomConnection, CustomMembers,
    OptionMembers, OwnDomainMembers, PageMeta, PlacementMembers, Redacted, RedactedMap,
    TypedConnection, TypedConnectionPage, time,
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

/// Create a custom connection
///
/// It is in force when the answer is sent. Connections of ZIS's types have paths of their own.
#[utoipa::path(
    post,
    path = "/api/keyferry/v1/integrations/{integration}/connections",
    operation_id = "create_custom_connection",
    tag = "connections",
    params(
        ("integration" = String, Path, description = "Name of the integration", example = "my_integration"),
    ),
    request_body = CustomMembers,
    responses((status = 201, description = "It has been made", body = ConnectionAnswer))
)]
pub(in crate::api) async fn create(
    operator: AuthenticatedOperator,
    PathParam(integration): PathParam<String>,
    request: Request,
) -> Result<(StatusCode, Json<ConnectionAnswer>), Error> {
    let access = operator.write_access(&integration).map_err(refused)?;
    let members = body::read::<CustomMembers>(request).await?;
    let made = access.create_custom(members).await.map_err(refused)?;
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

/// Update a custom connection
///
/// The change is in force when the answer is sent. `allowed_domains` and `inject` change only where
/// every secret is entered again. The name may be repeated as it is; an option is taken away by null.
#[utoipa::path(
    patch,
    path = "/api/keyferry/v1/integrations/{integration}/connections/{name}",
    operation_id = "update_custom_connection",
    tag = "connections",
    params(
        ("integration" = String, Path, description = "Name of the integration", example = "my_integration"),
        ("name" = String, Path, description = "Name of the connection", example = "example_custom"),
    ),
    request_body(content = CustomMembers, example = json!({"secrets": {"key": "MY_NEXT_KEY"}})),
    responses((status = 204, description = "It has been changed"))
)]
pub(in crate::api) async fn update(
    operator: AuthenticatedOperator,
    PathParam((integration, name)): PathParam<(String, String)>,
    request: Request,
) -> Result<StatusCode, Error> {
    let access = operator.write_access(&integration).map_err(refused)?;
    let members = body::read::<CustomMembers>(request).await?;
    access.update_custom(&name, members).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Delete a custom connection
///
/// It is out of force when the answer is sent.
#[utoipa::path(
    delete,
    path = "/api/keyferry/v1/integrations/{integration}/connections/{name}",
    operation_id = "delete_custom_connection",
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
    access.delete(ConnectionType::Custom, &name).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<AnyConnection> for TypedConnection {
    fn from(connection: AnyConnection) -> Self {
        match connection {
            AnyConnection::OAuth(view) => Self::OAuth(Box::new((*view).into())),
            AnyConnection::Static(view) => view.into(),
        }
    }
}

impl From<ConnectionView> for TypedConnection {
    fn from(view: ConnectionView) -> Self {
        match &view.detail {
            Detail::ApiKey { .. } => Self::ApiKey(view.into()),
            Detail::BasicAuth { .. } => Self::BasicAuth(view.into()),
            // None by OAuth is seen as a static one.
            Detail::BearerToken | Detail::OAuth(_) => Self::BearerToken(view.into()),
            Detail::AwsSigV4(access) => Self::AwsSigV4(AwsConnection {
                access_key_id: access.access_key_id.to_string(),
                allowed_domain: view.allowed_domain.to_string(),
                client_key: view.options.client_certificate.is_some().then_some(Redacted),
                created_at: time(view.created_at),
                declared: view.declared,
                defect: view.defect.as_ref().map(ToString::to_string),
                name: view.name.to_string(),
                not_after: view.options.not_after().map(time),
                region: access.region.as_deref().map(str::to_owned),
                secret_access_key: Redacted,
                service: access.service.as_deref().map(str::to_owned),
                updated_at: time(view.updated_at),
                options: OptionMembers::from(&*view.options),
            }),
            Detail::Custom(access) => Self::Custom(custom(&view, access)),
        }
    }
}

fn custom(view: &ConnectionView, access: &CustomAccess) -> CustomConnection {
    let places = |placements: &[Placement]| placements.iter().map(PlacementMembers::from).collect();
    let domain = |CustomDomain { domain, inject }: &CustomDomain| match inject.as_slice() {
        [] => AllowedDomainMembers::Name(domain.to_string()),
        inject => AllowedDomainMembers::Own(OwnDomainMembers {
            domain: domain.to_string(),
            inject: places(inject),
        }),
    };
    CustomConnection {
        allowed_domains: access.domains.iter().map(domain).collect(),
        client_key: view.options.client_certificate.is_some().then_some(Redacted),
        created_at: time(view.created_at),
        declared: view.declared,
        defect: view.defect.as_ref().map(ToString::to_string),
        inject: places(&access.inject),
        name: view.name.to_string(),
        not_after: view.options.not_after().map(time),
        old_secret_until: view.old_secret_until.map(time),
        secrets: RedactedMap(access.secrets.iter().map(ToString::to_string).collect()),
        updated_at: time(view.updated_at),
        options: OptionMembers::from(&*view.options),
    }
}
