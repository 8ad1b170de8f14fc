//! The interception CA (contract §5).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Member, Request};

/// A rotation of the CA that is to be made.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SuccessionForm, example = json!({"overlap": "7d"}))]
pub struct CaRotationRequest {
    /// The time for which the new CA is published before it signs, as `12h` or `7d`: at most 90
    /// days.
    #[schema(value_type = Option<String>, pattern = "^([1-9]|[1-8][0-9]|90)d$", default = "7d")]
    pub overlap: Member<String>,
}

impl Request for CaRotationRequest {}

/// A CA that was made just now.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[schema(as = Successor)]
pub struct NextCa {
    /// Its certificate, as PEM.
    pub certificate: String,
    /// From when it signs (RFC 3339, UTC).
    #[schema(example = "2030-01-31T12:00:00.000000Z", format = DateTime)]
    pub signs_from: String,
}

/// The answer that has a new CA in it.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[schema(as = SuccessorAnswer)]
pub struct NextCaAnswer {
    #[expect(missing_docs, reason = "the name says it")]
    pub ca: NextCa,
}
