//! Static connections, in the shapes of ZIS (spec §4.1 to §4.4).

pub(super) mod all;
pub(super) mod api_key;
pub(super) mod basic_auth;
pub(super) mod bearer_token;

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;

use super::auth::AuthenticatedOperator;
use super::body;
use super::error::Error;
use crate::management::{ConnectionView, Refused};
use crate::model::connection::ConnectionType;

/// The integration and the connection that a path names.
type Names = (String, String);

async fn create(
    seat: &AuthenticatedOperator,
    integration: &str,
    kind: ConnectionType,
    request: Request,
) -> Result<ConnectionView, Error> {
    let writing = seat.management.write_access(&seat.operator, integration).map_err(refused)?;
    let form = body::form(request).await?;
    writing.create(kind, form).await.map_err(refused)
}

async fn show(
    seat: &AuthenticatedOperator,
    names: &Names,
    kind: ConnectionType,
) -> Result<ConnectionView, Error> {
    let reading = seat.management.read_access(&seat.operator, &names.0).map_err(refused)?;
    reading.show(kind, &names.1).await.map_err(refused)
}

async fn update(
    seat: &AuthenticatedOperator,
    names: &Names,
    kind: ConnectionType,
    request: Request,
) -> Result<Response, Error> {
    let writing = seat.management.write_access(&seat.operator, &names.0).map_err(refused)?;
    let form = body::form(request).await?;
    writing.update(kind, &names.1, form).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn delete(
    seat: &AuthenticatedOperator,
    names: &Names,
    kind: ConnectionType,
) -> Result<Response, Error> {
    let writing = seat.management.write_access(&seat.operator, &names.0).map_err(refused)?;
    writing.delete(kind, &names.1).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn refused(refused: Refused) -> Error {
    Error::refused(refused, "Connection")
}

/// RFC 3339 in UTC, always with a fraction.
pub(super) fn time(time: Timestamp) -> String {
    DateTimePrinter::new().precision(Some(6)).timestamp_to_string(&time)
}

/// Whether a member that is there only when it is true is left out.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}
