//! What the data plane would do (contract §5).

use axum::Json;
use axum::extract::Request;
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::AuthenticatedOperator;
use super::body;
use super::error::Error;
use crate::management::{self, Refused};

/// The request that is asked about.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"method": "GET", "url": "https://api.example.com/v1", "connection": "example"}))]
#[expect(dead_code, reason = "the form is read by management; this describes it")]
pub(super) struct Question {
    /// The method.
    #[schema(min_length = 1, pattern = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]
    method: String,
    /// The URL, as a caller would write it.
    #[schema(min_length = 1)]
    url: String,
    /// The integration that it would name.
    #[schema(min_length = 1, max_length = 64, pattern = "^[a-z0-9_-]+$")]
    integration: Option<String>,
    /// The connection that it would name.
    #[schema(min_length = 3, max_length = 64, pattern = "^[A-Za-z0-9_-]+$")]
    connection: Option<String>,
}

/// What would be done, and why. No secret is in it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Explanation {
    decision: Decision,
    /// The refusal's code, if it would be refused.
    #[schema(example = "DomainNotAllowed")]
    code: Option<&'static str>,
    /// The refusal's status, if it would be refused.
    #[schema(example = 403)]
    status: Option<u16>,
    /// The rule that refuses, if one does.
    #[schema(example = "domain")]
    rule: Option<&'static str>,
    /// The connection that would be used, also where a later rule refuses.
    #[schema(example = "example")]
    connection: Option<String>,
    /// Where the request would go.
    #[schema(example = "https://api.example.com")]
    origin: Option<String>,
    /// The header that would carry the credential.
    #[schema(example = "authorization")]
    field: Option<String>,
    /// Every rule, in the order in which they decide.
    steps: Vec<Step>,
}

/// Whether the request would be sent.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Decision {
    Allow,
    Refuse,
}

/// One rule's part in it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Step {
    /// The rule's name.
    #[schema(example = "domain")]
    name: &'static str,
    /// `pass`, `refuse`, `at run time`, where only a real request can tell, or `not reached`.
    #[schema(example = "pass")]
    outcome: &'static str,
    /// In words.
    #[schema(example = "covered by *.example.com")]
    detail: String,
}

/// Explain a request
///
/// Says what the data plane would do with a request of the token that asks, rule by rule. Nothing
/// is sent anywhere.
#[utoipa::path(
    post,
    path = "/api/keyferry/v1/explain",
    operation_id = "explain",
    tag = "explain",
    request_body = Question,
    responses((status = 200, description = "What would be done", body = Explanation))
)]
pub(super) async fn explain(
    seat: AuthenticatedOperator,
    request: Request,
) -> Result<Json<Explanation>, Error> {
    let asking = seat.management.explainer(&seat.operator).map_err(refused)?;
    let form = body::form(request).await?;
    let explanation = asking.explain(form).map_err(refused)?;
    Ok(Json(explanation.into()))
}

impl From<management::Explanation> for Explanation {
    fn from(told: management::Explanation) -> Self {
        let step = |management::Step { name, outcome, detail }| Step { name, outcome, detail };
        Self {
            decision: if told.refusal.is_some() { Decision::Refuse } else { Decision::Allow },
            code: told.refusal.map(|(code, _)| code),
            status: told.refusal.map(|(_, status)| status),
            rule: told.rule,
            connection: told.connection,
            origin: told.origin,
            field: told.field,
            steps: told.steps.into_iter().map(step).collect(),
        }
    }
}

fn refused(refused: Refused) -> Error {
    Error::refused(refused, "Explanation")
}
