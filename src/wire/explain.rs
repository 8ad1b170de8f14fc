//! The data plane's decision about a request (contract §5).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Member, Request};

/// The request that is asked about.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Question, example = json!({"method": "GET", "url": "https://api.example.com/v1", "connection": "example"}))]
pub struct ExplainRequest {
    /// The method.
    #[schema(required = true, value_type = String, min_length = 1, pattern = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]
    pub method: Member<String>,
    /// The URL, as a caller would write it.
    #[schema(required = true, value_type = String, min_length = 1)]
    pub url: Member<String>,
    /// The integration that it would name.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 64, pattern = "^[a-z0-9_-]+$")]
    pub integration: Member<String>,
    /// The connection that it would name.
    #[schema(value_type = Option<String>, min_length = 3, max_length = 64, pattern = "^[A-Za-z0-9_-]+$")]
    pub connection: Member<String>,
    /// The name of the token that it would be sent with, which is judged too. Without it, the token
    /// that asks, as if that were good for the data plane.
    #[schema(value_type = Option<String>, min_length = 1)]
    pub caller: Member<String>,
}

impl Request for ExplainRequest {}

/// The decision, and the reason for it. No secret is in it.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[schema(as = Explanation)]
pub struct ExplainAnswer {
    #[expect(missing_docs, reason = "the type says it")]
    pub decision: Verdict,
    /// The refusal's code, if it would be refused.
    #[schema(example = "DomainNotAllowed")]
    pub code: Option<String>,
    /// The refusal's status, if it would be refused.
    #[schema(example = 403)]
    pub status: Option<u16>,
    /// The rule that refuses, if one does.
    #[schema(example = "domain")]
    pub rule: Option<String>,
    /// The connection that would be used, also where a later rule refuses.
    #[schema(example = "example")]
    pub connection: Option<String>,
    /// The origin that the request would go to.
    #[schema(example = "https://api.example.com")]
    pub origin: Option<String>,
    /// The header that would carry the credential.
    #[schema(example = "authorization")]
    pub field: Option<String>,
    /// Every rule, in the order in which they decide.
    pub steps: Vec<ExplainStep>,
}

/// The decision about a request.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = Decision)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Verdict {
    Allow,
    Refuse,
}

/// One rule's part in it.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[schema(as = Step)]
pub struct ExplainStep {
    /// The rule's name.
    #[schema(example = "domain")]
    pub name: String,
    /// `pass`, `refuse`, `at run time`, where only a real request can tell, or `not reached`.
    #[schema(example = "pass")]
    pub outcome: String,
    /// In words.
    #[schema(example = "covered by *.example.com")]
    pub detail: String,
}
