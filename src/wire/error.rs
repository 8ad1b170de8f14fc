//! Errors, in the two families of ZIS (ZIS spec §3).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The body of an error.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[schema(as = Errors)]
pub struct ErrorBody {
    /// At least one; a request with several faults is answered with all of them.
    #[schema(min_items = 1)]
    pub errors: Vec<ErrorItem>,
}

/// One error.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[schema(as = Error)]
pub struct ErrorItem {
    /// The kind of error; codes are never renamed.
    #[schema(example = "NotFound")]
    pub code: Cow<'static, str>,
    /// A sentence for people.
    #[schema(example = "Connection does not exist")]
    pub title: String,
}

/// The body of an error of OAuth's paths.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
pub struct NumberedErrors {
    /// At least one; a form with several faults is answered with all of them.
    #[schema(min_items = 1)]
    pub errors: Vec<NumberedError>,
}

/// One error of OAuth's paths.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct NumberedError {
    /// The kind of error: `1200` for who asks, `1300` for how often, `1301` for what can't be
    /// read or is over, `1302` for what is not there, `1303` for a value, `1500` for the server.
    #[schema(example = "1303")]
    pub code: Cow<'static, str>,
    /// A sentence for people.
    #[schema(example = "Invalid value for: Integration. Desc: Integration cannot be nil")]
    pub detail: String,
    /// The status again.
    #[schema(example = "422")]
    pub status: String,
}
