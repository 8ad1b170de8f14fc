//! `api_key` connections.

use axum::Json;
use axum::extract::Request;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Names, is_false, time};
use crate::api::auth::AuthenticatedOperator;
use crate::api::body::PathParam;
use crate::api::error::Error;
use crate::management::{ConnectionView, REDACTED};
use crate::model::connection::ConnectionType;
use crate::model::record::Detail;

/// An API key connection. Its secret is never shown.
#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "they are the names of the answer's members")]
pub(super) struct ApiKey {
    /// Where the secret may be sent.
    #[schema(example = "api.example.com")]
    allowed_domain: String,
    /// Always `*****`.
    #[schema(example = "*****")]
    api_key: &'static str,
    /// When it was made (RFC 3339, UTC).
    #[schema(example = "1985-04-12T23:20:50.520000Z", format = DateTime)]
    created_at: String,
    /// Only there, and true, when the configuration declares the connection.
    #[serde(skip_serializing_if = "is_false")]
    declared: bool,
    /// Only there when the connection can't be used: what is wrong with it, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    defect: Option<String>,
    /// The header that carries the key.
    #[schema(example = "x-api-key")]
    header_name: String,
    /// Its name.
    #[schema(example = "example_api_key")]
    name: String,
    /// When it was last changed (RFC 3339, UTC).
    #[schema(example = "1985-04-12T23:20:50.520000Z", format = DateTime)]
    updated_at: String,
}

/// The answer that has one connection in it.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct ApiKeyAnswer {
    api_key: ApiKey,
}

/// An API key connection that is to be made.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "example_api_key", "header_name": "x-api-key", "api_key": "MY_API_KEY", "allowed_domain": "api.example.com"}))]
#[expect(dead_code, reason = "the form is read by management; this describes it")]
pub(super) struct NewApiKey {
    /// Unique within the integration across all types; never changes.
    #[schema(min_length = 3, max_length = 64, pattern = "^[A-Za-z0-9_-]+$")]
    name: String,
    /// Where the secret may be sent: a host name, or `*.` and a name for it and all names below;
    /// never changes.
    #[schema(
        min_length = 3,
        max_length = 253,
        pattern = "^(\\*\\.)?([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\\.)+[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$"
    )]
    allowed_domain: String,
    /// The header that carries the key.
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]
    header_name: String,
    /// The key, sent as it is.
    #[schema(min_length = 1, max_length = 8192, format = Password)]
    api_key: String,
}

/// What is to change: at least one of both. The name and the allowed domain may be repeated as they are.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(min_properties = 1, example = json!({"api_key": "MY_API_KEY"}))]
#[expect(dead_code, reason = "the form is read by management; this describes it")]
pub(super) struct ApiKeyChange {
    /// Another header to carry the key.
    #[schema(
        nullable = false,
        min_length = 1,
        max_length = 128,
        pattern = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"
    )]
    header_name: Option<String>,
    /// The new key.
    #[schema(nullable = false, min_length = 1, max_length = 8192, format = Password)]
    api_key: Option<String>,
}

impl From<ConnectionView> for ApiKey {
    fn from(shown: ConnectionView) -> Self {
        let header_name = match shown.detail {
            Detail::ApiKey { header_name } => header_name.into(),
            Detail::BasicAuth { .. } | Detail::BearerToken | Detail::OAuth(_) => String::new(),
        };
        Self {
            allowed_domain: shown.allowed_domain.to_string(),
            api_key: REDACTED,
            created_at: time(shown.created_at),
            declared: shown.declared,
            defect: shown.defect.map(|defect| defect.to_string()),
            header_name,
            name: shown.name.to_string(),
            updated_at: time(shown.updated_at),
        }
    }
}

/// Create an API key connection
///
/// It is in force when the answer is sent.
#[utoipa::path(
    post,
    path = "/api/services/zis/integrations/{integration}/connections/api_key",
    operation_id = "create_api_key",
    tag = "connections",
    params(("integration" = String, Path, description = "Name of the integration", example = "my_integration")),
    request_body = NewApiKey,
    responses((status = 201, description = "It has been made", body = ApiKeyAnswer))
)]
pub(in crate::api) async fn create(
    seat: AuthenticatedOperator,
    PathParam(integration): PathParam<String>,
    request: Request,
) -> Result<(StatusCode, Json<ApiKeyAnswer>), Error> {
    let shown = super::create(&seat, &integration, KIND, request).await?;
    Ok((StatusCode::CREATED, Json(ApiKeyAnswer { api_key: shown.into() })))
}

/// Show an API key connection
#[utoipa::path(
    get,
    path = "/api/services/zis/integrations/{integration}/connections/api_key/{name}",
    operation_id = "show_api_key",
    tag = "connections",
    params(
        ("integration" = String, Path, description = "Name of the integration", example = "my_integration"),
        ("name" = String, Path, description = "Name of the connection", example = "example_api_key"),
    ),
    responses((status = 200, description = "The connection", body = ApiKeyAnswer))
)]
pub(in crate::api) async fn show(
    seat: AuthenticatedOperator,
    PathParam(names): PathParam<Names>,
) -> Result<Json<ApiKeyAnswer>, Error> {
    let shown = super::show(&seat, &names, KIND).await?;
    Ok(Json(ApiKeyAnswer { api_key: shown.into() }))
}

/// Update an API key connection
///
/// The change is in force when the answer is sent.
#[utoipa::path(
    patch,
    path = "/api/services/zis/integrations/{integration}/connections/api_key/{name}",
    operation_id = "update_api_key",
    tag = "connections",
    params(
        ("integration" = String, Path, description = "Name of the integration", example = "my_integration"),
        ("name" = String, Path, description = "Name of the connection", example = "example_api_key"),
    ),
    request_body = ApiKeyChange,
    responses((status = 204, description = "It has been changed"))
)]
pub(in crate::api) async fn update(
    seat: AuthenticatedOperator,
    PathParam(names): PathParam<Names>,
    request: Request,
) -> Result<Response, Error> {
    super::update(&seat, &names, KIND, request).await
}

/// Delete an API key connection
///
/// It is out of force when the answer is sent.
#[utoipa::path(
    delete,
    path = "/api/services/zis/integrations/{integration}/connections/api_key/{name}",
    operation_id = "delete_api_key",
    tag = "connections",
    params(
        ("integration" = String, Path, description = "Name of the integration", example = "my_integration"),
        ("name" = String, Path, description = "Name of the connection", example = "example_api_key"),
    ),
    responses((status = 204, description = "It has been deleted"))
)]
pub(in crate::api) async fn delete(
    seat: AuthenticatedOperator,
    PathParam(names): PathParam<Names>,
) -> Result<Response, Error> {
    super::delete(&seat, &names, KIND).await
}

const KIND: ConnectionType = ConnectionType::ApiKey;
