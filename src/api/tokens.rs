//! Access tokens (contract §5).

use axum::Json;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};

use super::auth::AuthenticatedOperator;
use super::body::{self, PathParam};
use super::error::Error;
use super::events::RawParameters;
use super::page::{Parameters, TokenParameters, read_filtered};
use crate::management::{CreatedToken, Refused, TokenQuery};
use crate::model::record::TokenRecord;
use crate::wire::{CreatedTokenAnswer, CreatedTokenView, NewToken, PageMeta, TokenPage, TokenView};

/// Create an access token
///
/// It is in force when the answer is sent. The answer alone shows the token itself.
#[utoipa::path(
    post,
    path = "/api/keyferry/v1/tokens",
    operation_id = "create_token",
    tag = "tokens",
    request_body = NewToken,
    responses((
        status = 201,
        description = "It has been made",
        body = CreatedTokenAnswer,
        headers(("Location" = String, description = "The token's path"))
    ))
)]
pub(super) async fn create(
    operator: AuthenticatedOperator,
    request: Request,
) -> Result<Response, Error> {
    let admin = operator.management.token_admin(&operator.operator).map_err(refused)?;
    let request = body::read::<NewToken>(request).await?;
    let CreatedToken { record, secret, warnings } = admin.create(request).await.map_err(refused)?;
    let location = format!("/api/keyferry/v1/tokens/{}", record.id);
    // This once: the one who has asked for the token must get it.
    let token = CreatedTokenView { token: record.into(), secret };
    let location = [(header::LOCATION, location)];
    Ok((StatusCode::CREATED, location, Json(CreatedTokenAnswer { token, warnings }))
        .into_response())
}

/// List access tokens
///
/// Those that are stored and reach no further than the one that asks.
#[utoipa::path(
    get,
    path = "/api/keyferry/v1/tokens",
    operation_id = "list_tokens",
    tag = "tokens",
    params(Parameters, TokenParameters),
    responses((status = 200, description = "A page of tokens", body = TokenPage))
)]
pub(super) async fn list(
    operator: AuthenticatedOperator,
    RawParameters(query): RawParameters,
) -> Result<Json<TokenPage>, Error> {
    let admin = operator.management.token_admin(&operator.operator).map_err(refused)?;
    let (window, [search, sort]) = read_filtered::<true, 2>(&query, ["search", "sort"])?;
    let query = TokenQuery { search, sort };
    let listing = admin.find_all(&query, &window).await.map_err(refused)?;
    let view = |record: TokenRecord| {
        let defect = admin.defect(&record).map(|defect| defect.to_string());
        TokenView { defect, ..record.into() }
    };
    let tokens: Vec<TokenView> = listing.items.into_iter().map(view).collect();
    let meta = PageMeta::of(tokens.iter().map(|token| token.id.as_str()), listing.has_more);
    Ok(Json(TokenPage { tokens, meta }))
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
    operator: AuthenticatedOperator,
    PathParam(id): PathParam<String>,
) -> Result<StatusCode, Error> {
    let admin = operator.management.token_admin(&operator.operator).map_err(refused)?;
    admin.revoke(&id).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

fn refused(refused: Refused) -> Error {
    match refused {
        Refused::NameTaken(title) => Error::new(StatusCode::CONFLICT, "Conflict", title),
        other => Error::refused(other, "Token"),
    }
}
