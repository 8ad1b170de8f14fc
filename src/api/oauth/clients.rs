//! OAuth clients (spec §4.5).

use axum::Json;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use super::Numbers;
use crate::api::auth::AuthenticatedOperator;
use crate::api::body::{self, PathParam};
use crate::api::connections::time;
use crate::api::error::Numbered;
use crate::api::page::{Meta, PageQuery, Parameters};
use crate::management::{ClientView, REDACTED};
use crate::model::oauth::endpoint::EndpointTemplate;

/// An OAuth client. Its secret is never shown.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct OAuthClient {
    /// Where the resource owner is asked; null where nobody is.
    #[schema(example = "https://id.example.com/authorize")]
    auth_url: Option<String>,
    /// What the provider calls it.
    #[schema(example = "my_client_id")]
    client_id: String,
    /// Always `*****`.
    #[schema(example = "*****")]
    client_secret: &'static str,
    /// When it was made (RFC 3339, UTC).
    #[schema(example = "1985-04-12T23:20:50.520000Z", format = DateTime)]
    created_at: String,
    /// Who made it.
    #[schema(example = "test_user")]
    created_by: String,
    /// The scopes that are asked for unless a flow says otherwise.
    #[schema(example = "read write")]
    default_scopes: String,
    /// How the grant is given unless a flow says otherwise.
    #[schema(example = "authorization_code")]
    grant_type: &'static str,
    /// The integration.
    #[schema(example = "my_integration")]
    integration: String,
    /// Its name; its uuid where it has no other.
    #[schema(example = "my_oauth_client_name")]
    name: String,
    /// How it shows its secret: `client_secret_post` or `client_secret_basic`.
    #[schema(example = "client_secret_post")]
    token_endpoint_auth_method: &'static str,
    /// Where tokens are asked for.
    #[schema(example = "https://id.example.com/token")]
    token_url: String,
    /// When it was last changed (RFC 3339, UTC).
    #[schema(example = "1985-04-12T23:20:50.520000Z", format = DateTime)]
    updated_at: String,
    /// Which client it is.
    #[schema(format = Uuid, example = "9c81f444-4beb-4ba7-9bcc-6b2d068e7ade")]
    uuid: String,
}

/// A page of clients.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct Clients {
    clients: Vec<OAuthClient>,
    meta: Meta,
}

/// A client that is to be made.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "my_oauth_client_name", "client_id": "my_client_id", "client_secret": "my_client_secret", "auth_url": "https://id.example.com/authorize", "token_url": "https://id.example.com/token", "default_scopes": "read write"}))]
#[expect(dead_code, reason = "the form is read by management; this describes it")]
pub(super) struct NewOAuthClient {
    /// Unique among the integration's clients; never changes. One without a name is called by its
    /// uuid.
    #[schema(pattern = "^([A-Za-z0-9_-][A-Za-z0-9 _-]{1,62}[A-Za-z0-9_-])?$")]
    name: Option<String>,
    /// What the provider calls it.
    #[schema(min_length = 1, max_length = 1024, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]+$")]
    client_id: String,
    /// Its secret, kept as it is.
    #[schema(min_length = 1, max_length = 8192, format = Password)]
    client_secret: String,
    /// Where the resource owner is asked: an https URL, which may have `{subdomain}` in its path or
    /// as the first label of its host.
    #[schema(max_length = 2048, pattern = "^([Hh][Tt][Tt][Pp][Ss]://[!-~]+)?$")]
    auth_url: Option<String>,
    /// Where tokens are asked for: an https URL likewise.
    #[schema(max_length = 2048, pattern = "^[Hh][Tt][Tt][Pp][Ss]://[!-~]+$")]
    token_url: String,
    /// The scopes that are asked for unless a flow says otherwise: space-separated.
    #[schema(max_length = 4096, pattern = "^[ !#-\\[\\]-~]*$")]
    default_scopes: Option<String>,
    /// How the grant is given unless a flow says otherwise.
    #[schema(
        pattern = "^(authorization_code|client_credentials)?$",
        default = "authorization_code"
    )]
    grant_type: Option<String>,
    /// How it shows its secret (RFC 6749 §2.3.1).
    #[schema(
        pattern = "^(client_secret_post|client_secret_basic)?$",
        default = "client_secret_post"
    )]
    token_endpoint_auth_method: Option<String>,
}

/// What is to change. URLs change only along with the secret.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(min_properties = 1, example = json!({"client_secret": "my_client_secret"}))]
#[expect(dead_code, reason = "the form is read by management; this describes it")]
pub(super) struct OAuthClientChange {
    /// What the provider calls it.
    #[schema(
        nullable = false,
        min_length = 1,
        max_length = 1024,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]+$"
    )]
    client_id: Option<String>,
    /// The new secret.
    #[schema(nullable = false, min_length = 1, max_length = 8192, format = Password)]
    client_secret: Option<String>,
    /// Another URL at which the resource owner is asked; only along with `client_secret`.
    #[schema(nullable = false, max_length = 2048, pattern = "^[Hh][Tt][Tt][Pp][Ss]://[!-~]+$")]
    auth_url: Option<String>,
    /// Another URL at which tokens are asked for; only along with `client_secret`.
    #[schema(nullable = false, max_length = 2048, pattern = "^[Hh][Tt][Tt][Pp][Ss]://[!-~]+$")]
    token_url: Option<String>,
    /// Other scopes.
    #[schema(nullable = false, max_length = 4096, pattern = "^[ !#-\\[\\]-~]*$")]
    default_scopes: Option<String>,
    /// Another way to show the secret.
    #[schema(nullable = false, pattern = "^(client_secret_post|client_secret_basic)$")]
    token_endpoint_auth_method: Option<String>,
}

impl From<ClientView> for OAuthClient {
    fn from(shown: ClientView) -> Self {
        let record = shown.record();
        Self {
            auth_url: record.auth_url.as_ref().map(|url| EndpointTemplate::as_str(url).to_owned()),
            client_id: record.client_id.to_string(),
            client_secret: REDACTED,
            created_at: time(record.created_at),
            created_by: record.created_by.to_string(),
            default_scopes: record.default_scopes.to_string(),
            grant_type: record.grant_type.as_str(),
            integration: record.integration.to_string(),
            name: record.name.to_string(),
            token_endpoint_auth_method: record.auth_method.as_str(),
            token_url: record.token_url.as_str().to_owned(),
            updated_at: time(record.updated_at),
            uuid: record.uuid.to_string(),
        }
    }
}

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
    responses((status = 200, description = "A page of clients", body = Clients))
)]
pub(in crate::api) async fn list(
    Numbers(seat): Numbers<AuthenticatedOperator>,
    Numbers(PathParam(integration)): Numbers<PathParam<String>>,
    Numbers(PageQuery(window)): Numbers<PageQuery>,
) -> Result<Json<Clients>, Numbered> {
    let reading =
        seat.management.read_access(&seat.operator, &integration).map_err(Numbered::refused)?;
    let listing = reading.list_clients(&window).await.map_err(Numbered::refused)?;
    let clients: Vec<OAuthClient> = listing.items.into_iter().map(Into::into).collect();
    let meta = Meta::of(clients.iter().map(|client| client.name.as_str()), listing.has_more);
    Ok(Json(Clients { clients, meta }))
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
    Numbers(seat): Numbers<AuthenticatedOperator>,
    Numbers(PathParam(integration)): Numbers<PathParam<String>>,
    request: Request,
) -> Result<Response, Numbered> {
    let writing =
        seat.management.write_access(&seat.operator, &integration).map_err(Numbered::refused)?;
    let form = body::form(request).await?;
    let client: OAuthClient = writing.create_client(form).await.map_err(Numbered::refused)?.into();
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
    Numbers(seat): Numbers<AuthenticatedOperator>,
    Numbers(PathParam((integration, uuid))): Numbers<PathParam<(String, String)>>,
) -> Result<Json<OAuthClient>, Numbered> {
    let reading =
        seat.management.read_access(&seat.operator, &integration).map_err(Numbered::refused)?;
    let client = reading.show_client(&uuid).await.map_err(Numbered::refused)?;
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
    Numbers(seat): Numbers<AuthenticatedOperator>,
    Numbers(PathParam((integration, uuid))): Numbers<PathParam<(String, String)>>,
    request: Request,
) -> Result<Json<OAuthClient>, Numbered> {
    let writing =
        seat.management.write_access(&seat.operator, &integration).map_err(Numbered::refused)?;
    let form = body::form(request).await?;
    let client = writing.update_client(&uuid, form).await.map_err(Numbered::refused)?;
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
    responses((status = 204, description = "It has been deleted, with its connections"))
)]
pub(in crate::api) async fn delete(
    Numbers(seat): Numbers<AuthenticatedOperator>,
    Numbers(PathParam((integration, uuid))): Numbers<PathParam<(String, String)>>,
) -> Result<StatusCode, Numbered> {
    let writing =
        seat.management.write_access(&seat.operator, &integration).map_err(Numbered::refused)?;
    writing.delete_client(&uuid).await.map_err(Numbered::refused)?;
    Ok(StatusCode::NO_CONTENT)
}
