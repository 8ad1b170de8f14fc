//! Access tokens (contract §5).

use axum::Json;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::AuthenticatedOperator;
use super::body::{self, PathParam};
use super::connections::time;
use super::error::Error;
use super::page::{Meta, Parameters, StrictPageQuery};
use crate::management::{CreatedToken, Refused, TOKEN_NAME_TAKEN};
use crate::model::record::TokenRecord;

/// An access token. Only a digest of its secret is kept.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Token {
    /// By which it is revoked.
    #[schema(example = "ac10a230-0c43-45f8-b221-9e085ce90418", format = Uuid)]
    id: String,
    /// Its name, which logs show.
    #[schema(example = "ci")]
    name: String,
    /// The integration that it belongs to, or `*` for all.
    #[schema(example = "my_integration")]
    integration: String,
    /// What it may do.
    scopes: Vec<&'static str>,
    /// The only connections that it may use: their names, or `integration.name` under `*`; null
    /// when it may use all of them.
    connections: Option<Vec<String>>,
    /// When it was made (RFC 3339, UTC).
    #[schema(example = "1985-04-12T23:20:50.520000Z", format = DateTime)]
    created_at: String,
    /// When it ends (RFC 3339, UTC), if it does.
    #[schema(example = "2030-01-31T12:00:00.000000Z", format = DateTime)]
    expires_at: Option<String>,
    /// When it was last used (RFC 3339, UTC), to the minute or so.
    #[schema(example = "1985-04-12T23:20:50.520000Z", format = DateTime)]
    last_used_at: Option<String>,
}

/// An access token that has just been made, with its secret, which is shown this once.
#[derive(Serialize, ToSchema)]
pub(super) struct NewToken {
    #[serde(flatten)]
    token: Token,
    /// The token itself.
    #[schema(example = "kf_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE", format = Password)]
    secret: String,
}

/// The answer that has a new token in it.
#[derive(Serialize, ToSchema)]
pub(super) struct NewTokenAnswer {
    token: NewToken,
    /// Warnings, such as of listed connections that do not exist yet. Left out where there is nothing
    /// to say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<String>,
}

/// A page of tokens, in the order of their ids.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Tokens {
    tokens: Vec<Token>,
    meta: Meta,
}

/// An access token that is to be made.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "ci", "integration": "my_integration", "scopes": ["read", "proxy"]}))]
#[expect(dead_code, reason = "the form is read by management; this describes it")]
pub(super) struct TokenForm {
    /// Its name, which logs show; no other live token of the integration has it.
    #[schema(min_length = 1, max_length = 64, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]+$")]
    name: String,
    /// The integration that it belongs to, or `*` for all.
    #[schema(pattern = "^(\\*|[a-z0-9_-]{1,64})$")]
    integration: String,
    /// What it may do.
    #[schema(min_items = 1, inline)]
    scopes: Vec<ScopeName>,
    /// The only connections that it may use: their names, or `integration.name` under `*`; it may
    /// use all of them where there is no list.
    #[schema(min_items = 1, max_items = 256)]
    connections: Option<Vec<String>>,
    /// The time when it ends (RFC 3339); without one it does not end. A token that ends
    /// itself makes none that ends later.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

/// A scope: `read`, for GETs; `write`, for everything that changes; `proxy`, for the data plane;
/// `admin`, for all of it, and tokens, keys and the audit trail.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the form is read by management; this describes it")]
pub(super) enum ScopeName {
    #[schema(rename = "read")]
    Read,
    #[schema(rename = "write")]
    Write,
    #[schema(rename = "proxy")]
    Proxy,
    #[schema(rename = "admin")]
    Admin,
    #[schema(rename = "zis:read")]
    ZisRead,
    #[schema(rename = "zis:write")]
    ZisWrite,
}

/// Create an access token
///
/// It is in force when the answer is sent. The answer alone shows the token itself.
#[utoipa::path(
    post,
    path = "/api/keyferry/v1/tokens",
    operation_id = "create_token",
    tag = "tokens",
    request_body = TokenForm,
    responses((
        status = 201,
        description = "It has been made",
        body = NewTokenAnswer,
        headers(("Location" = String, description = "The token's path"))
    ))
)]
pub(super) async fn create(
    seat: AuthenticatedOperator,
    request: Request,
) -> Result<Response, Error> {
    let administering = seat.management.token_admin(&seat.operator).map_err(refused)?;
    let form = body::form(request).await?;
    let CreatedToken { record, secret, warnings } =
        administering.create(form).await.map_err(refused)?;
    let location = format!("/api/keyferry/v1/tokens/{}", record.id);
    // This once: the one who has asked for the token must get it.
    let secret = String::from_utf8_lossy(secret.expose()).into_owned();
    let token = NewToken { token: record.into(), secret };
    let location = [(header::LOCATION, location)];
    Ok((StatusCode::CREATED, location, Json(NewTokenAnswer { token, warnings })).into_response())
}

/// List access tokens
///
/// Those that are stored and reach no further than the one that asks.
#[utoipa::path(
    get,
    path = "/api/keyferry/v1/tokens",
    operation_id = "list_tokens",
    tag = "tokens",
    params(Parameters),
    responses((status = 200, description = "A page of tokens", body = Tokens))
)]
pub(super) async fn list(
    seat: AuthenticatedOperator,
    asked: StrictPageQuery,
) -> Result<Json<Tokens>, Error> {
    let administering = seat.management.token_admin(&seat.operator).map_err(refused)?;
    let StrictPageQuery(window) = asked;
    let listing = administering.list(&window).await.map_err(refused)?;
    let tokens: Vec<Token> = listing.items.into_iter().map(Token::from).collect();
    let meta = Meta::of(tokens.iter().map(|token| token.id.as_str()), listing.has_more);
    Ok(Json(Tokens { tokens, meta }))
}

/// Revoke an access token
///
/// It has ended when the answer is sent; what it has open is cut.
#[utoipa::path(
    delete,
    path = "/api/keyferry/v1/tokens/{id}",
    operation_id = "revoke_token",
    tag = "tokens",
    params(("id" = String, Path, description = "The token's id", format = Uuid)),
    responses((status = 204, description = "It has been revoked"))
)]
pub(super) async fn revoke(
    seat: AuthenticatedOperator,
    PathParam(id): PathParam<String>,
) -> Result<StatusCode, Error> {
    let administering = seat.management.token_admin(&seat.operator).map_err(refused)?;
    administering.revoke(&id).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<TokenRecord> for Token {
    fn from(record: TokenRecord) -> Self {
        Self {
            id: record.id.to_string(),
            name: record.name.into(),
            integration: record.reach.integration().to_owned(),
            scopes: record.scopes.names().collect(),
            connections: record.reach.connections(),
            created_at: time(record.created_at),
            expires_at: record.expires_at.map(time),
            last_used_at: record.last_used_at.map(time),
        }
    }
}

fn refused(refused: Refused) -> Error {
    match refused {
        Refused::Taken => Error::new(StatusCode::CONFLICT, "Conflict", TOKEN_NAME_TAKEN),
        other => Error::refused(other, "Token"),
    }
}
