//! A server, as it tells of itself.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A server, as it tells of itself.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[schema(as = Server)]
pub struct ServerInfo {
    /// Its version.
    #[schema(example = "0.1.0")]
    pub version: String,
    /// The addresses at which callers reach the proxy: `http://`, `https://` or `unix:`.
    #[schema(example = json!(["http://127.0.0.1:8080"]))]
    pub proxy: Vec<String>,
    /// The URL at which browsers reach the API and the console.
    #[schema(example = "http://127.0.0.1:8081")]
    pub public_url: String,
}

/// A server.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
pub struct ServerAnswer {
    #[expect(missing_docs, reason = "the type says it")]
    pub server: ServerInfo,
}

/// Tells whether requests are welcome.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[schema(as = Readiness)]
pub struct ReadyAnswer {
    /// Tells whether they are.
    pub ready: bool,
    /// The reason why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[expect(missing_docs, reason = "the type says it")]
    pub store: StoreReadiness,
}

/// The state of the store: whether it can be read and written.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
pub struct StoreReadiness {
    /// Tells whether it answers. Where it does not, requests go on with what is known.
    pub readable: bool,
    /// Tells whether it can be written. Where it can't, requests go on, but nothing is changed and
    /// no tokens are refreshed.
    pub writable: bool,
    /// The reason why it can't be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
