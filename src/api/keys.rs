//! Master keys (contract §5): which there are, and a new one for everything.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::AuthenticatedOperator;
use super::error::Error;
use super::page::NoQuery;
use crate::management::{KeyUse, Refused, Rotated};

/// The master keys; only their ids are ever shown.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Keys {
    keys: Vec<Key>,
}

/// A master key.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Key {
    /// Its id.
    #[schema(example = "k1")]
    id: String,
    /// Whether it seals what is new.
    active: bool,
    /// Whether the server has it. Records under a key that it does not have can't be used.
    present: bool,
    /// Only there where the key file differs from what the server has: whether the file has the key
    /// now. A key that the server alone has is missing from its next start on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    in_file: Option<bool>,
    /// How many records it wraps.
    records: u64,
}

/// What a rotation has done.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Rotation {
    /// The key under which all is wrapped now.
    #[schema(example = "k2")]
    key: String,
    /// How many records were under another one.
    rewrapped: u64,
    /// How many could not be opened and stay as they are; the server's log names them.
    failed: u64,
}

/// List master keys
#[utoipa::path(
    get,
    path = "/api/keyferry/v1/keys",
    operation_id = "list_keys",
    tag = "keys",
    responses((status = 200, description = "The keys", body = Keys))
)]
pub(super) async fn list(seat: AuthenticatedOperator, _none: NoQuery) -> Result<Json<Keys>, Error> {
    let keys = seat.management.keys(&seat.operator).await.map_err(refused)?;
    Ok(Json(Keys { keys: keys.into_iter().map(Key::from).collect() }))
}

/// Wrap all records under the newest master key
///
/// The server reads its master keys anew, which must be all that records need, then wraps record after record under the first of them.
/// Requests go on meanwhile. A rotation that was broken off is taken up by the next one.
#[utoipa::path(
    post,
    path = "/api/keyferry/v1/keys/rotate",
    operation_id = "rotate_keys",
    tag = "keys",
    responses(
        (status = 200, description = "All is under the new key", body = Rotation),
        (status = 409, description = "The master keys come from the environment, or the key file lacks a key that records need; nothing has changed"),
    )
)]
pub(super) async fn rotate(seat: AuthenticatedOperator) -> Result<Json<Rotation>, Error> {
    let Rotated { key, rewrapped, failed } =
        seat.management.rotate(&seat.operator).await.map_err(refused)?;
    Ok(Json(Rotation { key, rewrapped, failed }))
}

impl From<KeyUse> for Key {
    fn from(KeyUse { id, active, present, in_file, records }: KeyUse) -> Self {
        Self { id, active, present, in_file: in_file.filter(|is| *is != present), records }
    }
}

fn refused(refused: Refused) -> Error {
    Error::refused(refused, "Key")
}
