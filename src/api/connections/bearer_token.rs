//! `bearer_token` connections.

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

/// A bearer token connection. Its secret is never shown.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BearerToken {
    /// Where the secret may be sent.
    #[schema(example = "api.example.com")]
    allowed_domain: String,
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
    /// Its name.
    #[schema(example = "my_bearer_token_connection")]
    name: String,
    /// Always `*****`.
    #[schema(example = "*****")]
    token: &'static str,
    /// When it was last changed (RFC 3339, UTC).
    #[schema(example = "1985-04-12T23:20:50.520000Z", format = DateTime)]
    updated_at: String,
}

/// The answer that has one connection in it.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct BearerTokenAnswer {
    bearer_token: BearerToken,
}

/// A bearer token connection that is to be made.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "my_bearer_token_connection", "token": "MY_BEARER_TOKEN", "allowed_domain": "api.example.com"}))]
#[expect(dead_code, reason = "the form is read by management; this describes it")]
pub(super) struct NewBearerToken {
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
    /// The token, sent as `Authorization: Bearer` and the token.
    #[schema(min_length = 1, max_length = 8192, format = Password)]
    token: String,
}

/// What is to change. The name and the allowed domain may be repeated as they are.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"token": "MY_BEARER_TOKEN"}))]
#[expect(dead_code, reason = "the form is read by management; this describes it")]
pub(super) struct BearerTokenChange {
    /// The new token.
    #[schema(min_length = 1, max_length = 8192, format = Password)]
    token: String,
}

impl From<ConnectionView> for BearerToken {
    fn from(shown: ConnectionView) -> Self {
        Self {
            allowed_domain: shown.allowed_domain.to_string(),
            created_at: time(shown.created_at),
            declared: shown.declared,
            defect: shown.defect.map(|defect| defect.to_string()),
            name: shown.name.to_string(),
            token: REDACTED,
            updated_at: time(shown.updated_at),
        }
    }
}

/// Create a bearer token connection
///
/// It is in force when the answer is sent.
#[utoipa::path(
    post,
    path = "/api/services/zis/integrations/{integration}/connections/bearer_token",
    operation_id = "create_bearer_token",
    tag = "connections",
    params(("integration" = String, Path, description = "Name of the integration", example = "my_integration")),
    request_body = NewBearerToken,
    responses((status = 201, description = "It has been made", body = BearerTokenAnswer))
)]
pub(in crate::api) async fn create(
    seat: AuthenticatedOperator,
    PathParam(integration): PathParam<String>,
    request: Request,
) -> Result<(StatusCode, Json<BearerTokenAnswer>), Error> {
    let shown = super::create(&seat, &integration, KIND, request).await?;
    Ok((StatusCode::CREATED, Json(BearerTokenAnswer { bearer_token: shown.into() })))
}

/// Show a bearer token connection
#[utoipa::path(
    get,
    path = "/api/services/zis/integrations/{integration}/connections/bearer_token/{name}",
    operation_id = "show_bearer_token",
    tag = "connections",
    params(
        ("integration" = String, Path, description = "Name of the integration", example = "my_integration"),
        ("name" = String, Path, description = "Name of the connection", example = "my_bearer_token_connection"),
    ),
    responses((status = 200, description = "The connection", body = BearerTokenAnswer))
)]
pub(in crate::api) async fn show(
    seat: AuthenticatedOperator,
    PathParam(names): PathParam<Names>,
) -> Result<Json<BearerTokenAnswer>, Error> {
    let shown = super::show(&seat, &names, KIND).await?;
    Ok(Json(BearerTokenAnswer { bearer_token: shown.into() }))
}

/// Update a bearer token connection
///
/// The change is in force when the answer is sent.
#[utoipa::path(
    patch,
    path = "/api/services/zis/integrations/{integration}/connections/bearer_token/{name}",
    operation_id = "update_bearer_token",
    tag = "connections",
    params(
        ("integration" = String, Path, description = "Name of the integration", example = "my_integration"),
        ("name" = String, Path, description = "Name of the connection", example = "my_bearer_token_connection"),
    ),
    request_body = BearerTokenChange,
    responses((status = 204, description = "It has been changed"))
)]
pub(in crate::api) async fn update(
    seat: AuthenticatedOperator,
    PathParam(names): PathParam<Names>,
    request: Request,
) -> Result<Response, Error> {
    super::update(&seat, &names, KIND, request).await
}

/// Delete a bearer token connection
///
/// It is out of force when the answer is sent.
#[utoipa::path(
    delete,
    path = "/api/services/zis/integrations/{integration}/connections/bearer_token/{name}",
    operation_id = "delete_bearer_token",
    tag = "connections",
    params(
        ("integration" = String, Path, description = "Name of the integration", example = "my_integration"),
        ("name" = String, Path, description = "Name of the connection", example = "my_bearer_token_connection"),
    ),
    responses((status = 204, description = "It has been deleted"))
)]
pub(in crate::api) async fn delete(
    seat: AuthenticatedOperator,
    PathParam(names): PathParam<Names>,
) -> Result<Response, Error> {
    super::delete(&seat, &names, KIND).await
}

const KIND: ConnectionType = ConnectionType::BearerToken;
