//! Master keys (contract §5).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The master keys; only their ids are ever shown.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[schema(as = Keys)]
pub struct KeyList {
    #[expect(missing_docs, reason = "the name says it")]
    pub keys: Vec<KeyView>,
}

/// A master key.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[schema(as = Key)]
pub struct KeyView {
    /// Its id.
    #[schema(example = "k1")]
    pub id: String,
    /// Tells whether it seals what is new.
    pub active: bool,
    /// Tells whether the server has it. Records under a key that it does not have can't be used.
    pub present: bool,
    /// Only there where the key file differs from what the server has: whether the file has the key
    /// now. A key that the server alone has is missing from its next start on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub in_file: Option<bool>,
    /// The number of records that it wraps.
    pub records: u64,
}

/// The result of a rotation.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[schema(as = Rotation)]
pub struct KeyRotation {
    /// The key under which all is wrapped now.
    #[schema(example = "k2")]
    pub key: String,
    /// The number of records that were under another one.
    pub rewrapped: u64,
    /// The number of records that could not be opened and stay as they are; the server's log names
    /// them.
    pub failed: u64,
}
