//! Connections of every type under Keyferry's own path; those of types beyond ZIS are made, changed
//! and deleted there (contract §8).

use std::time::Duration;

use axum::Json;
use axum::extract::Request;
use http::StatusCode;

use super::refused;
use crate::api::auth::AuthenticatedOperator;
use crate::api::body::{self, PathParam, TypedDocument};
use crate::api::error::Error;
use crate::api::page::{PageQuery, Parameters};
use crate::management::{AnyConnection, ConnectionView};
use crate::model::aws::access::AwsAccess;
use crate::model::connection::ConnectionType;
use crate::model::custom::{CustomAccess, CustomDomain};
use crate::model::placement::Placement;
use crate::model::record::Detail;
use crate::wire::{
    AllowedDomainMembers, AssumeRoleMembers, AwsConnection, AwsMembers, ConnectionAnswer,
    CustomConnection, CustomMembers, NewTypedConnection, OptionMembers, OwnDomainMembers, PageMeta,
    PlacementMembers, Redacted, RedactedMap, RefreshFailureReport, TypedConnection,
    TypedConnectionPage, time,
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
            Detail::AwsSigV4(access) => Self::AwsSigV4(Box::new(aws(&view, access))),
            Detail::Custom(access) => Self::Custom(custom(&view, access)),
        }
    }
}

fn aws(view: &ConnectionView, access: &AwsAccess) -> AwsConnection {
    // 1. The role, and its sessions.
    let text = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
    let role = access.assume_role.as_ref().map(|role| AssumeRoleMembers {
        role_arn: role.role_arn.to_string(),
        external_id: text(&role.external_id),
        duration: role.duration.map(|seconds| {
            humantime::format_duration(Duration::from_secs(seconds.into())).to_string()
        }),
    });
    let sessions = view.sessions.as_ref();
    let failure = sessions.and_then(|sessions| sessions.standing.clone());
    // 2. The connection.
    AwsConnection {
        access_key_id: access.access_key_id.to_string(),
        allowed_domain: view.allowed_domain.to_string(),
        assume_role: role,
        client_key: view.options.client_certificate.is_some().then_some(Redacted),
        created_at: time(view.created_at),
        declared: view.declared,
        defect: view.defect.as_ref().map(ToString::to_string),
        name: view.name.to_string(),
        not_after: view.options.not_after().map(time),
        refresh_failure: failure.map(RefreshFailureReport::from),
        region: text(&access.region),
        secret_access_key: Redacted,
        service: text(&access.service),
        session_expiry: sessions.and_then(|sessions| sessions.until).map(time),
        updated_at: time(view.updated_at),
        options: OptionMembers::from(&*view.options),
    }
}

/// A type with members of its own.
const AWS: ConnectionType = ConnectionType::AwsSigV4;

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
