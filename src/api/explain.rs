//! Explains the data plane's decision about a request (contract §5).

use axum::Json;
use axum::extract::Request;

use super::auth::AuthenticatedOperator;
use super::body;
use super::error::Error;
use crate::wire::{ExplainAnswer, ExplainRequest};

/// Explain a request
///
/// Says what the data plane would do with a request of the token that asks, rule by rule. Nothing
/// is sent anywhere.
#[utoipa::path(
    post,
    path = "/api/keyferry/v1/explain",
    operation_id = "explain",
    tag = "explain",
    request_body = ExplainRequest,
    responses((status = 200, description = "What would be done", body = ExplainAnswer))
)]
pub(super) async fn explain(
    operator: AuthenticatedOperator,
    request: Request,
) -> Result<Json<ExplainAnswer>, Error> {
    let explainer = operator.management.explainer(&operator.operator)?;
    let request = body::read::<ExplainRequest>(request).await?;
    Ok(Json(explainer.explain(request)?))
}
