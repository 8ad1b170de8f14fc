//! OAuth's tokens: asked for, kept fresh, and never lost (RFC 6749, ZIS spec §7).
//!
//! Owns every exchange with a token endpoint and the refreshing of tokens, promises that a refresh
//! token is spent by one instance at a time and that what it was changed for is kept before it is
//! used, and must never know the request that a token is for.

mod assertion;
mod coding;
mod declared;
mod discovery;
mod failure;
mod handle;
mod keep_alive;
mod life;
mod manager;
mod openid;
mod provider;
mod refresh;
mod refusal;
mod request;
mod response;
mod revocation;
mod signing_key;
mod sts;

pub use self::discovery::{
    DiscoveredResource, DiscoveryError, DiscoveryFailure, MetadataError, RegisteredClient,
    Registration, ResourceMetadata, ServerMetadata,
};
pub use self::failure::TokenFailure;
pub use self::handle::{Cause, RefreshHandle, RefreshRequest};
pub use self::life::refresh_token_life;
pub use self::manager::Manager;
pub use self::openid::{
    IdClaims, IdTokenFault, IdentificationError, KnownOpenIdProvider, OpenIdProvider, SignInCode,
};
pub use self::provider::{Provider, TokenResponse, Unsuccessful};
pub use self::refusal::{Denial, ErrorCode};
pub use self::request::{GrantParams, TokenRequest};
pub use self::response::{AnswerShape, GrantedTokens, read as read_response};
pub use self::revocation::{RevocationFailure, RevocationRequest};
pub use self::signing_key::{EnteredKey, KeyFault, SigningKey};
use crate::model::name::IntegrationName;

/// A step of a flow, or of a client's or a connection's life, as its audit line tells it. No line
/// has a token, a code or a provider's own words in it.
#[derive(Clone, Copy, Debug)]
pub struct OAuthStep<'a> {
    /// The step's name.
    pub step: &'static str,
    /// The name of the operator who took it.
    pub operator: &'a str,
    /// The integration that it was taken in.
    pub integration: &'a IntegrationName,
    /// The client's name, where there is one.
    pub client: Option<&'a str>,
    /// The connection's name, once it is known.
    pub connection: Option<&'a str>,
}

impl OAuthStep<'_> {
    /// Writes the line; `failure` says why the step failed.
    pub fn log(&self, failure: Option<&str>) {
        let OAuthStep { step, operator, integration, client, connection } = *self;
        let integration = integration.as_str();
        let (client, connection) = (client.unwrap_or_default(), connection.unwrap_or_default());
        match failure {
            None => tracing::info!(
                target: TARGET,
                step, operator, integration, client, connection, outcome = "done", "{MESSAGE}"
            ),
            Some(why) => tracing::warn!(
                target: TARGET,
                step, operator, integration, client, connection, outcome = "failed", why,
                "{MESSAGE}"
            ),
        }
    }
}

const TARGET: &str = "keyferry::audit";
const MESSAGE: &str = "an OAuth step";
