//! Master keys (contract §5): which there are, and a new one for everything.

use axum::Json;

use super::auth::AuthenticatedOperator;
use super::error::Error;
use super::page::NoQuery;
use crate::wire::{KeyList, KeyRotation};

/// List master keys
#[utoipa::path(
    get,
    path = "/api/keyferry/v1/keys",
    operation_id = "list_keys",
    tag = "keys",
    responses((status = 200, description = "The keys", body = KeyList))
)]
pub(super) async fn list(
    operator: AuthenticatedOperator,
    _none: NoQuery,
) -> Result<Json<KeyList>, Error> {
    let keys = operator.management.keys(&operator.operator).await?;
    Ok(Json(KeyList { keys }))
}

/// Wrap all records under the newest master key
///
/// The server reads its master keys again, which must be all that records need, then wraps record after record under the first of them.
/// Requests go on meanwhile. A rotation that was broken off is taken up by the next one.
#[utoipa::path(
    post,
    path = "/api/keyferry/v1/keys/rotate",
    operation_id = "rotate_keys",
    tag = "keys",
    responses(
        (status = 200, description = "All is under the new key", body = KeyRotation),
        (status = 409, description = "The master keys come from the environment, or the key file lacks a key that records need; nothing has changed"),
    )
)]
pub(super) async fn rotate(operator: AuthenticatedOperator) -> Result<Json<KeyRotation>, Error> {
    let AuthenticatedOperator { management, operator } = operator;
    Ok(Json(management.rotate(&operator).await?))
}
