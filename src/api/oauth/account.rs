//! The token proxy: the account's own token endpoint (spec §7.9).

use axum::Json;
use axum::extract::{FromRequestParts, Request, State};
use http::StatusCode;
use http::request::Parts;
use serde::Serialize;
use utoipa::ToSchema;

use super::Numbers;
use crate::api::ApiState;
use crate::api::body::{self, PathParam};
use crate::api::error::{Error, Numbered};
use crate::management::{AccountAnswer, ClientAddr};
use crate::secret::Secret;

/// What the account's token endpoint is asked.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"client_id": "my_client_id", "client_secret": "my_client_secret", "code": "LgwEzL8CA3aRA35r5QYfRbjjMa3Iacsk1CvwcRsnM", "grant_type": "authorization_code", "redirect_uri": "https://client.int/callback", "scope": "read write"}))]
#[expect(dead_code, reason = "the form is read by management; this describes it")]
pub(super) struct AccountQuestion {
    /// The client.
    #[schema(min_length = 1)]
    client_id: String,
    /// Its secret.
    #[schema(min_length = 1, format = Password)]
    client_secret: String,
    /// How the grant is given.
    #[schema(min_length = 1)]
    grant_type: String,
    /// The authorization code.
    code: Option<String>,
    /// The code verifier.
    code_verifier: Option<String>,
    /// Where the browser was sent back to.
    redirect_uri: Option<String>,
    /// The refresh token.
    refresh_token: Option<String>,
    /// The scopes.
    scope: Option<String>,
}

/// Tokens of the account.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct AccountTokens {
    /// The access token.
    access_token: String,
    /// How long it lives, in seconds, if that is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<i64>,
    /// The refresh token, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    /// The scope.
    #[schema(example = "read write")]
    scope: String,
    /// The type of the access token.
    #[schema(example = "bearer")]
    token_type: String,
}

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
    request_body = AccountQuestion,
    responses((status = 200, description = "Tokens", body = AccountTokens))
)]
pub(in crate::api) async fn tokens(
    State(state): State<ApiState>,
    Numbers(Anybody): Numbers<Anybody>,
    Numbers(PathParam(integration)): Numbers<PathParam<String>>,
    request: Request,
) -> Result<Json<AccountTokens>, Numbered> {
    let form = body::form(request).await?;
    let answer = state.management.ask_account(&integration, form).await;
    let granted = match answer.map_err(Numbered::refused)? {
        AccountAnswer::Granted(granted) => granted,
        AccountAnswer::Denied(status) => return Err(denied(status)),
    };
    // They are the caller's own: it has shown the credentials and the code.
    let text = |secret: &Secret| String::from_utf8_lossy(secret.expose()).into_owned();
    Ok(Json(AccountTokens {
        access_token: text(&granted.access_token),
        expires_in: granted.expires_in,
        refresh_token: granted.refresh_token.as_ref().map(text),
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
