//! Master keys (contract §5): which there are, and a new one for everything.

use axum::Json;

use super::auth::AuthenticatedOperator;
use super::error::Error;
use super::page::NoQuery;
use crate::management::{KeyUse, Refused};
use crate::wire::{KeyList, KeyRotation, KeyView};

/// List master keys
#[utoipa::path(
    get,
    path = "/api/keyferry/v1/keys",
    operation_id = "list_keys",
    tag = "keys",
    responses((status = 200, description = "The keys", body = KeyList))
)]
pub(super) async fn list(
    seat: AuthenticatedOperator,
    _none: NoQuery,
) -> Result<Json<KeyList>, Error> {
    let keys = seat.management.keys(&seat.operator).await.map_err(refused)?;
    Ok(Json(KeyList { keys: keys.into_iter().map(KeyView::from).collect() }))
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
    management.rotate(&operator).await.map(Json).map_err(refused)
}

impl From<KeyUse> for KeyView {
    fn from(KeyUse { id, active, present, in_file, records }: KeyUse) -> Self {
        Self { id, active, present, in_file: in_file.filter(|is| *is != present), records }
    }
}

fn refused(refused: Refused) -> Error {
    Error::refused(refused, "Key")
}
