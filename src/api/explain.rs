//! Explains the data plane's decision about a request (contract §5).

use axum::Json;
use axum::extract::Request;

use super::auth::AuthenticatedOperator;
use super::body;
use super::error::Error;
use crate::management::{Explanation, Refused, Step};
use crate::wire::{ExplainAnswer, ExplainRequest, ExplainStep, Verdict};

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
    seat: AuthenticatedOperator,
    request: Request,
) -> Result<Json<ExplainAnswer>, Error> {
    let asking = seat.management.explainer(&seat.operator).map_err(refused)?;
    let request = body::read::<ExplainRequest>(request).await?;
    let explanation = asking.explain(request).map_err(refused)?;
    Ok(Json(explanation.into()))
}

impl From<Explanation> for ExplainAnswer {
    fn from(explanation: Explanation) -> Self {
        let Explanation { refusal, rule, connection, origin, field, steps } = explanation;
        let step = |Step { name, outcome, detail }| ExplainStep {
            name: name.to_owned(),
            outcome: outcome.to_owned(),
            detail,
        };
        Self {
            decision: if refusal.is_some() { Verdict::Refuse } else { Verdict::Allow },
            code: refusal.map(|(code, _)| code.to_owned()),
            status: refusal.map(|(_, status)| status),
            rule: rule.map(str::to_owned),
            connection,
            origin,
            field,
            steps: steps.into_iter().map(step).collect(),
        }
    }
}

fn refused(refused: Refused) -> Error {
    Error::refused(refused, "Explanation")
}
