//! The places of a credential in a request (contract §8, `inject`).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::member::json_member;

/// A place that carries a secret: a header field, a parameter of the query, or a segment of the
/// path.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = InjectedFieldMembers)]
pub struct PlacementMembers {
    /// The place: `header`, `query` or `path`.
    #[serde(rename = "in")]
    #[schema(pattern = "^(header|query|path)$", example = "header")]
    pub place: String,
    /// The name of the field or the parameter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = true, example = "X-Shopify-Access-Token")]
    pub name: Option<String>,
    /// Of `path`: the segment of the caller's path that is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = true, pattern = "^[A-Za-z0-9._~-]{4,128}$")]
    pub placeholder: Option<String>,
    /// The value, in which `{NAME}` is a secret, and `{basic:A,B}` the Basic credentials of two. Of
    /// `path` it may be left out where there is one secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = true, example = "{access_token}")]
    pub value: Option<String>,
}

json_member!(Vec<PlacementMembers>, "a list of objects with in, name (or placeholder) and value");
