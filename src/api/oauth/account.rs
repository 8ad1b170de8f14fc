//! The token proxy: the account's own token endpoint (spec §7.9).

use axum::Json;
use axum::extract::{FromRequestParts, Request, State};
use http::StatusCode;
use http::request::Parts;

use super::Numbers;
use crate::api::ApiState;
use crate::api::body::{self, PathParam};
use crate::api::error::{Error, Numbered};
use crate::management::{AccountAnswer, ClientAddr};
use crate::wire::{AccountTokenRequest, AccountTokens};

/// Anybody may ask, but no address may ask without end: the client's credentials could be guessed.
pub(in crate::api) struct Anybody;

impl FromRequestParts<ApiState> for Anybody {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Error> {
        let source = parts.extensions.get::<ClientAddr>().and_then(|source| source.0);
        state.rate_limits.count_stranger(source).map_err(Error::too_many)?;
        Ok(Self)
    }
}

/// The account's own token endpoint
///
/// Passes a question on to `https://{zis.subdomain}.zendesk.com/oauth/tokens`. It has its credentials
/// in it, so no token is needed.
#[utoipa::path(
    post,
    path = "/api/services/zis/connections/oauth/tokens/{integration}",
    operation_id = "account_token",
    tag = "oauth",
    params(("integration" = String, Path, description = "Name of the integration", example = "my_integration")),
    request_body = AccountTokenRequest,
    responses((status = 200, description = "Tokens", body = AccountTokens))
)]
pub(in crate::api) async fn tokens(
    State(state): State<ApiState>,
    Numbers(Anybody): Numbers<Anybody>,
    Numbers(PathParam(integration)): Numbers<PathParam<String>>,
    request: Request,
) -> Result<Json<AccountTokens>, Numbered> {
    let request = body::read(request).await?;
    let answer = state.management.ask_account(&integration, request).await;
    let granted = match answer.map_err(Numbered::refused)? {
        AccountAnswer::Granted(granted) => granted,
        AccountAnswer::Denied(status) => return Err(denied(status)),
    };
    // They are the caller's own: it has shown the credentials and the code.
    Ok(Json(AccountTokens {
        access_token: granted.access_token,
        expires_in: granted.expires_in,
        refresh_token: granted.refresh_token,
        refresh_token_expires_in: granted.refresh_token_expires_in,
        scope: granted.scope.map(Into::into).unwrap_or_default(),
        token_type: granted.token_type.into(),
    }))
}

fn denied(status: u16) -> Numbered {
    match StatusCode::from_u16(status) {
        Ok(StatusCode::UNAUTHORIZED) => Numbered::unauthorized(),
        Ok(StatusCode::FORBIDDEN) => Numbered::forbidden(),
        _ => Numbered::invalid(
            "request",
            &format!("the account's token endpoint answered it with status {status}"),
        ),
    }
}
