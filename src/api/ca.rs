//! The interception CA (contract §5).

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::header;
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::AuthenticatedOperator;
use super::connections::time;
use super::error::Error;
use super::{ApiState, body};

/// How a CA succeeds.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"overlap": "7d"}))]
#[expect(dead_code, reason = "the form is read by management; this describes it")]
pub(super) struct SuccessionForm {
    /// How long the new CA is published before it signs, as `12h` or `7d`: at most 90 days.
    #[schema(pattern = "^([1-9]|[1-8][0-9]|90)d$", default = "7d")]
    overlap: Option<String>,
}

/// A CA that was made just now.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Successor {
    /// Its certificate, as PEM.
    certificate: String,
    /// From when it signs (RFC 3339, UTC).
    #[schema(example = "2030-01-31T12:00:00.000000Z", format = DateTime)]
    signs_from: String,
}

/// The answer that has a new CA in it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SuccessorAnswer {
    ca: Successor,
}

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
    request_body = SuccessionForm,
    responses(
        (status = 200, description = "It has been made", body = SuccessorAnswer),
        (status = 409, description = "The CA is the configuration's"),
    )
)]
pub(super) async fn rotate(
    seat: AuthenticatedOperator,
    request: Request,
) -> Result<Json<SuccessorAnswer>, Error> {
    let form = body::form(request).await?;
    let successor = seat.management.succeed(&seat.operator, form).await;
    let successor = successor.map_err(|refused| Error::refused(refused, "CA"))?;
    let ca =
        Successor { certificate: successor.certificate, signs_from: time(successor.signs_from) };
    Ok(Json(SuccessorAnswer { ca }))
}
