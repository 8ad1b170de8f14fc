//! OpenID Connect: the provider that people sign in with (OpenID Connect Core §3.1, Discovery §4).
//! Nothing secret is sent but to the token endpoint; no redirect is followed.

mod id_token;

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::Value;
use uuid::Uuid;

pub use self::id_token::{IdClaims, IdTokenFault};
use self::id_token::{IdTokenKeys, IdTokenRules};
use super::assertion::Assertions;
use super::discovery::{DiscoveryError, MetadataError, ServerMetadata};
use super::failure::TokenFailure;
use super::provider::Provider;
use super::request::{EncodedRequest, GrantParams, TokenRequest};
use super::response::{AnswerShape, read};
use crate::model::name::{ClientName, IntegrationName, NameError};
use crate::model::oauth::client::{AuthMethod, ClientRecord};
use crate::model::oauth::endpoint::TokenEndpoint;
use crate::model::oauth::grant::GrantType;
use crate::model::oauth::profile::{Issuer, Profile};
use crate::model::openid::OpenIdSettings;
use crate::model::sealed::Sealed;
use crate::secret::Secret;

/// An OpenID provider as it has described itself.
#[derive(Debug)]
pub struct OpenIdProvider {
    /// Its metadata.
    pub metadata: ServerMetadata,
    /// The keys by which it signs ID tokens.
    keys: IdTokenKeys,
    read_at: Instant,
}

/// The provider that was last read.
#[derive(Debug, Default)]
pub struct KnownOpenIdProvider(Mutex<Option<Arc<OpenIdProvider>>>);

/// The answer of the browser's way to the provider, which tokens are asked for.
#[derive(Clone, Copy, Debug)]
pub struct SignInCode<'a> {
    /// The code.
    pub code: &'a Secret,
    /// The URL at which it came in.
    pub redirect_uri: &'a str,
    /// The verifier of the challenge (RFC 7636).
    pub verifier: &'a Secret,
}

/// The reason why nobody was identified by an ID token.
#[derive(Debug, thiserror::Error)]
pub enum IdentificationError {
    /// The provider does not describe itself.
    #[error("the OpenID provider can't be used: {0}")]
    Provider(#[from] DiscoveryError),
    /// The provider gives no tokens.
    #[error("the OpenID provider gave no ID token: {0}")]
    Tokens(#[from] TokenFailure),
    /// The ID token does not count.
    #[error("the ID token does not count: {0}")]
    IdToken(#[from] IdTokenFault),
}

impl KnownOpenIdProvider {
    /// The provider with this issuer identifier, if it was read less than this long before `now`.
    fn get(&self, issuer: &Issuer, max_age: Duration, now: Instant) -> Option<Arc<OpenIdProvider>> {
        let is_good = |it: &Arc<OpenIdProvider>| {
            it.metadata.issuer == *issuer && now.saturating_duration_since(it.read_at) < max_age
        };
        self.0.lock().clone().filter(is_good)
    }
}

impl Provider {
    /// The OpenID provider with this issuer identifier, if it need not be asked how it describes
    /// itself.
    pub fn known_open_id(
        &self,
        known: &KnownOpenIdProvider,
        issuer: &Issuer,
    ) -> Option<Arc<OpenIdProvider>> {
        known.get(issuer, MAX_METADATA_AGE, self.clock.instant())
    }

    /// Reads how the OpenID provider with this issuer identifier describes itself, unless that is
    /// known since less than an hour.
    ///
    /// # Errors
    /// [`DiscoveryError`] says what was asked, and why it can't be used.
    pub async fn open_id(
        &self,
        known: &KnownOpenIdProvider,
        issuer: &Issuer,
    ) -> Result<Arc<OpenIdProvider>, DiscoveryError> {
        self.open_id_of(known, issuer, MAX_METADATA_AGE).await
    }

    /// The same with metadata and keys of at most this age.
    async fn open_id_of(
        &self,
        known: &KnownOpenIdProvider,
        issuer: &Issuer,
        max_age: Duration,
    ) -> Result<Arc<OpenIdProvider>, DiscoveryError> {
        let now = self.clock.instant();
        if let Some(known) = known.get(issuer, max_age, now) {
            return Ok(known);
        }
        // 1. The metadata is at the place that OpenID Connect names, and that issuer's to the letter.
        let asking = asking_integration().map_err(|_never| unusable(issuer))?;
        let url = format!("{}{WELL_KNOWN}", issuer.as_str().trim_end_matches('/'));
        let read = |body: &[u8]| {
            let metadata = ServerMetadata::read(issuer, body)?;
            let is_same = metadata.issuer == *issuer;
            if is_same { Ok(metadata) } else { Err(MetadataError::OtherIssuer) }
        };
        let metadata = self.first_document(&asking, &[url], read).await?;
        // 2. The keys by which it signs.
        let missing = || DiscoveryError::new(issuer.as_str(), NO_KEYS.into());
        let keys_url = metadata.keys_url.as_ref().ok_or_else(missing)?;
        let keys = [keys_url.as_str().to_owned()];
        let keys = self.first_document(&asking, &keys, IdTokenKeys::read).await?;
        let provider = Arc::new(OpenIdProvider { metadata, keys, read_at: now });
        *known.0.lock() = Some(Arc::clone(&provider));
        Ok(provider)
    }

    /// Exchanges a code for an ID token, and gives the claims of one that counts.
    ///
    /// Not cancel-safe: the code is spent.
    ///
    /// # Errors
    /// [`IdentificationError`] says why nobody was identified.
    pub async fn identify(
        &self,
        known: &KnownOpenIdProvider,
        settings: &OpenIdSettings,
        code: SignInCode<'_>,
        nonce: &str,
    ) -> Result<IdClaims, IdentificationError> {
        // 1. The ID token, over TLS from the token endpoint itself.
        let issuer = &settings.issuer;
        let mut provider = self.open_id(known, issuer).await?;
        let id_token = self.exchange_code(settings, &provider.metadata, code).await?;
        // 2. The key that has signed it may be newer than the keys that are known. They are read
        // again for no other token than one that the provider itself has given.
        if !provider.keys.have_key_of(&id_token) {
            provider = self.open_id_of(known, issuer, Duration::ZERO).await?;
        }
        // 3. It is genuine, this provider's, for us, for this browser, and fresh.
        let rules = IdTokenRules {
            issuer: issuer.as_str(),
            client_id: &settings.client_id,
            nonce,
            trusts_email: settings.trusts_email,
            now: self.clock.now(),
        };
        Ok(provider.keys.verify(&id_token, &rules)?)
    }

    async fn exchange_code(
        &self,
        settings: &OpenIdSettings,
        metadata: &ServerMetadata,
        code: SignInCode<'_>,
    ) -> Result<Secret, TokenFailure> {
        // 1. The request, by the method that the provider takes.
        let SignInCode { code, redirect_uri, verifier } = code;
        let client = client(settings, metadata).ok_or(UNFIT)?;
        let grant_params =
            GrantParams::AuthorizationCode { code, redirect_uri, verifier: Some(verifier) };
        let request = TokenRequest { client: &client, subdomain: None, grant_params, scopes: "" };
        let secret = settings.secret.clone().unwrap_or_else(|| Secret::new(""));
        let content = EncodedRequest::of(&request, &secret, &Assertions::default())?;
        let endpoint = TokenEndpoint::of_client(&client, None).map_err(TokenFailure::Endpoint)?;
        let asked_at = self.clock.now();
        let answer = self.exchange(endpoint, content, std::future::ready(Ok(()))).await?;
        // 2. Tokens came, as RFC 6749 has it; of them the ID token alone is used.
        let profile = &client.profile;
        let shape = AnswerShape { profile, asked_at, is_refresh: false };
        read(answer.status, answer.body.expose(), &shape)?;
        let body: Value = serde_json::from_slice(answer.body.expose()).unwrap_or_default();
        let id_token = body.get("id_token").and_then(Value::as_str);
        Ok(Secret::new(id_token.ok_or(NO_ID_TOKEN)?))
    }
}

/// Our client at the provider.
fn client(settings: &OpenIdSettings, metadata: &ServerMetadata) -> Option<ClientRecord> {
    let auth_method = match settings.secret {
        None => AuthMethod::None,
        Some(_) if metadata.takes(AuthMethod::ClientSecretBasic) => AuthMethod::ClientSecretBasic,
        Some(_) => AuthMethod::ClientSecretPost,
    };
    let now = jiff::Timestamp::UNIX_EPOCH;
    Some(ClientRecord {
        uuid: Uuid::nil(),
        integration: asking_integration().ok()?,
        name: ClientName::parse(ASKING).ok()?,
        client_id: settings.client_id.clone(),
        auth_url: metadata.auth_url.clone(),
        token_url: metadata.token_url.clone(),
        default_scopes: settings.scopes.clone(),
        grant_type: GrantType::AuthorizationCode,
        auth_method,
        profile: Box::new(Profile::default()),
        created_by: "keyferry".into(),
        sealed: Sealed::default(),
        created_at: now,
        updated_at: now,
    })
}

/// The integration in whose name the provider is asked: its look-ups of names are limited as those
/// of any other.
fn asking_integration() -> Result<IntegrationName, NameError> {
    IntegrationName::parse(ASKING)
}

fn unusable(issuer: &Issuer) -> DiscoveryError {
    DiscoveryError::new(issuer.as_str(), NO_KEYS.into())
}

const ASKING: &str = "sign-in";

const WELL_KNOWN: &str = "/.well-known/openid-configuration";

const NO_KEYS: MetadataError = MetadataError::Endpoint("jwks_uri");

const UNFIT: TokenFailure = TokenFailure::Unfit("its client can't be asked for");

const NO_ID_TOKEN: TokenFailure = TokenFailure::Unusable(
    "its answer has no id_token: the scope openid is missing, or the client is not one of OpenID \
     Connect",
);

/// The time for which metadata and keys are good.
const MAX_METADATA_AGE: Duration = Duration::from_hours(1);
