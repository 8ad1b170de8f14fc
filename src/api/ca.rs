//! The interception CA (contract §5).

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::header;

use super::auth::AuthenticatedOperator;
use super::error::Error;
use super::{ApiState, body};
use crate::wire::{CaRotationRequest, NextCaAnswer};

/// The interception CA's certificate
///
/// Certificates to trust, as PEM: the one that signs, and one that will, if there is one.
#[utoipa::path(
    get,
    path = "/ca.pem",
    operation_id = "ca",
    tag = "server",
    responses((
        status = 200,
        description = "The certificates",
        body = String,
        content_type = "application/x-pem-file",
        example = "-----BEGIN CERTIFICATE-----"
    ))
)]
pub(super) async fn certificate(State(state): State<ApiState>) -> Response {
    ([(header::CONTENT_TYPE, "application/x-pem-file")], state.leaves.trusted_pem()).into_response()
}

/// Make another interception CA
///
/// It is published at once, and signs when the overlap is over, so that those who are to trust it
/// can be told before.
#[utoipa::path(
    post,
    path = "/api/keyferry/v1/ca/rotate",
    operation_id = "rotate_ca",
    tag = "ca",
    request_body = CaRotationRequest,
    responses(
        (status = 200, description = "It has been made", body = NextCaAnswer),
        (status = 409, description = "The CA is the configuration's"),
    )
)]
pub(super) async fn rotate(
    operator: AuthenticatedOperator,
    request: Request,
) -> Result<Json<NextCaAnswer>, Error> {
    let request = body::read(request).await?;
    let ca = operator.management.rotate_ca(&operator.operator, request).await?;
    Ok(Json(NextCaAnswer { ca }))
}
