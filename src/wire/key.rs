//! Master keys (contract §5).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The master keys; only their ids are ever shown.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[schema(as = Keys)]
pub struct MasterKeys {
    #[expect(missing_docs, reason = "the name says it")]
    pub keys: Vec<MasterKey>,
}

/// A master key.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[schema(as = Key)]
pub struct MasterKey {
    /// Its id.
    #[schema(example = "k1")]
    pub id: String,
    /// Whether it seals what is new.
    pub active: bool,
    /// Whether the server has it. Records under a key that it does not have can't be used.
    pub present: bool,
    /// Only there where the key file differs from what the server has: whether the file has the key
    /// now. A key that the server alone has is missing from its next start on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub in_file: Option<bool>,
    /// How many records it wraps.
    pub records: u64,
}

/// What a rotation has done.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[schema(as = Rotation)]
pub struct KeyRotation {
    /// The key under which all is wrapped now.
    #[schema(example = "k2")]
    pub key: String,
    /// How many records were under another one.
    pub rewrapped: u64,
    /// How many could not be opened and stay as they are; the server's log names them.
    pub failed: u64,
}
