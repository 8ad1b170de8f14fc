//! `basic_auth` connections.

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

/// A basic authentication connection. Its secret is never shown.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BasicAuth {
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
    #[schema(example = "example_basic_auth_john")]
    name: String,
    /// Always `*****`.
    #[schema(example = "*****")]
    password: &'static str,
    /// When it was last changed (RFC 3339, UTC).
    #[schema(example = "1985-04-12T23:20:50.520000Z", format = DateTime)]
    updated_at: String,
    /// The user name, which is not secret.
    #[schema(example = "john.doe@example.com")]
    username: String,
}

/// The answer that has one connection in it.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct BasicAuthAnswer {
    basic_auth: BasicAuth,
}

/// A basic authentication connection that is to be made.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "example_basic_auth_john", "username": "john.doe@example.com", "password": "MY_PASSWORD", "allowed_domain": "api.example.com"}))]
#[expect(dead_code, reason = "the form is read by management; this describes it")]
pub(super) struct NewBasicAuth {
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
    /// The user name; it is shown, so it must not be secret.
    #[schema(min_length = 1, max_length = 8192)]
    username: String,
    /// The password.
    #[schema(min_length = 1, max_length = 8192, format = Password)]
    password: String,
}

/// What is to change: at least one of both. The name and the allowed domain may be repeated as they are.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(min_properties = 1, example = json!({"password": "MY_PASSWORD"}))]
#[expect(dead_code, reason = "the form is read by management; this describes it")]
pub(super) struct BasicAuthChange {
    /// The new user name.
    #[schema(nullable = false, min_length = 1, max_length = 8192)]
    username: Option<String>,
    /// The new password.
    #[schema(nullable = false, min_length = 1, max_length = 8192, format = Password)]
    password: Option<String>,
}

impl From<ConnectionView> for BasicAuth {
    fn from(shown: ConnectionView) -> Self {
        let username = match shown.detail {
            Detail::BasicAuth { username } => username.into(),
            Detail::ApiKey { .. } | Detail::BearerToken | Detail::OAuth(_) => String::new(),
        };
        Self {
            allowed_domain: shown.allowed_domain.to_string(),
            created_at: time(shown.created_at),
            declared: shown.declared,
            defect: shown.defect.map(|defect| defect.to_string()),
            name: shown.name.to_string(),
            password: REDACTED,
            updated_at: time(shown.updated_at),
            username,
        }
    }
}

/// Create a basic authentication connection
///
/// It is in force when the answer is sent.
#[utoipa::path(
    post,
    path = "/api/services/zis/integrations/{integration}/connections/basic_auth",
    operation_id = "create_basic_auth",
    tag = "connections",
    params(("integration" = String, Path, description = "Name of the integration", example = "my_integration")),
    request_body = NewBasicAuth,
    responses((status = 201, description = "It has been made", body = BasicAuthAnswer))
)]
pub(in crate::api) async fn create(
    seat: AuthenticatedOperator,
    PathParam(integration): PathParam<String>,
    request: Request,
) -> Result<(StatusCode, Json<BasicAuthAnswer>), Error> {
    let shown = super::create(&seat, &integration, KIND, request).await?;
    Ok((StatusCode::CREATED, Json(BasicAuthAnswer { basic_auth: shown.into() })))
}

/// Show a basic authentication connection
#[utoipa::path(
    get,
    path = "/api/services/zis/integrations/{integration}/connections/basic_auth/{name}",
    operation_id = "show_basic_auth",
    tag = "connections",
    params(
        ("integration" = String, Path, description = "Name of the integration", example = "my_integration"),
        ("name" = String, Path, description = "Name of the connection", example = "example_basic_auth_john"),
    ),
    responses((status = 200, description = "The connection", body = BasicAuthAnswer))
)]
pub(in crate::api) async fn show(
    seat: AuthenticatedOperator,
    PathParam(names): PathParam<Names>,
) -> Result<Json<BasicAuthAnswer>, Error> {
    let shown = super::show(&seat, &names, KIND).await?;
    Ok(Json(BasicAuthAnswer { basic_auth: shown.into() }))
}

/// Update a basic authentication connection
///
/// The change is in force when the answer is sent.
#[utoipa::path(
    patch,
    path = "/api/services/zis/integrations/{integration}/connections/basic_auth/{name}",
    operation_id = "update_basic_auth",
    tag = "connections",
    params(
        ("integration" = String, Path, description = "Name of the integration", example = "my_integration"),
        ("name" = String, Path, description = "Name of the connection", example = "example_basic_auth_john"),
    ),
    request_body = BasicAuthChange,
    responses((status = 204, description = "It has been changed"))
)]
pub(in crate::api) async fn update(
    seat: AuthenticatedOperator,
    PathParam(names): PathParam<Names>,
    request: Request,
) -> Result<Response, Error> {
    super::update(&seat, &names, KIND, request).await
}

/// Delete a basic authentication connection
///
/// It is out of force when the answer is sent.
#[utoipa::path(
    delete,
    path = "/api/services/zis/integrations/{integration}/connections/basic_auth/{name}",
    operation_id = "delete_basic_auth",
    tag = "connections",
    params(
        ("integration" = String, Path, description = "Name of the integration", example = "my_integration"),
        ("name" = String, Path, description = "Name of the connection", example = "example_basic_auth_john"),
    ),
    responses((status = 204, description = "It has been deleted"))
)]
pub(in crate::api) async fn delete(
    seat: AuthenticatedOperator,
    PathParam(names): PathParam<Names>,
) -> Result<Response, Error> {
    super::delete(&seat, &names, KIND).await
}

const KIND: ConnectionType = ConnectionType::BasicAuth;
