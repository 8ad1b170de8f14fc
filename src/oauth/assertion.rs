//! The assertions that a client signs with its own key: the grant itself (RFC 7523 §2.1), the
//! client's authentication (§2.2), and the token by which a GitHub App asks for its installation's.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::failure::TokenFailure;
use super::request::{GrantParams, TokenRequest, text};
use super::signing_key::SigningKey;
use crate::model::oauth::assertion::{AssertionProfile, ScopePlace};
use crate::model::oauth::client::{AuthMethod, ClientRecord};
use crate::model::oauth::endpoint::Subdomain;
use crate::model::oauth::params::ParamValues;
use crate::random;
use crate::secret::Secret;

/// The assertions of one request, each of which is valid for a short time and for one use.
#[derive(Debug, Default)]
pub(super) struct Assertions {
    /// The grant, or the token of a GitHub App.
    grant: Option<Secret>,
    /// The client's authentication.
    client: Option<Secret>,
}

/// Everything that an assertion is made of.
struct Signer<'a> {
    client: &'a ClientRecord,
    subdomain: Option<&'a Subdomain>,
    key: SigningKey,
    now: i64,
}

impl Assertions {
    /// Signs what the request needs; nothing for a client without a key. `url` is that of the
    /// endpoint, which is the audience unless the profile names another.
    ///
    /// # Errors
    /// [`TokenFailure`] when the key can't be used.
    pub(super) fn sign(
        token_request: &TokenRequest<'_>,
        secret: &Secret,
        url: &str,
        now: Timestamp,
    ) -> Result<Self, TokenFailure> {
        let TokenRequest { client, subdomain, grant_params, .. } = *token_request;
        if !client.has_key() {
            return Ok(Self::default());
        }
        let key = SigningKey::read(secret).map_err(TokenFailure::Key)?;
        let signer = Signer { client, subdomain, key, now: now.as_second() };
        let grant = match grant_params {
            GrantParams::GithubApp => Some(signer.of_app()?),
            GrantParams::JwtBearer { scopes } => Some(signer.of_grant(scopes, url)?),
            _ => None,
        };
        let authenticates = client.auth_method == AuthMethod::PrivateKeyJwt;
        let client = authenticates.then(|| signer.of_client(url)).transpose()?;
        Ok(Self { grant, client })
    }

    /// Signs the client's authentication alone, for another endpoint than the token endpoint.
    pub(super) fn of_client(
        client: &ClientRecord,
        subdomain: Option<&Subdomain>,
        secret: &Secret,
        url: &str,
        now: Timestamp,
    ) -> Result<Self, TokenFailure> {
        let grant_params = GrantParams::ClientCredentials { scopes: "" };
        let request = TokenRequest { client, subdomain, grant_params, scopes: "" };
        Self::sign(&request, secret, url, now)
    }

    /// The grant as it is sent.
    pub(super) fn grant(&self) -> Result<&str, TokenFailure> {
        self.grant.as_ref().map_or(Err(TokenFailure::Seal), text)
    }

    /// The client's authentication as it is sent.
    pub(super) fn client(&self) -> Result<&str, TokenFailure> {
        self.client.as_ref().map_or(Err(TokenFailure::Seal), text)
    }
}

impl Signer<'_> {
    /// The grant (RFC 7523 §3).
    fn of_grant(&self, scopes: &str, url: &str) -> Result<Secret, TokenFailure> {
        let profile = self.profile();
        let mut claims = self.claims(url)?;
        claims.insert("iss".into(), self.filled(profile.iss.as_deref(), self.client_id()).into());
        if let Some(sub) = &profile.sub {
            claims.insert("sub".into(), self.fill(sub).into());
        }
        let asked = (profile.scope_in == ScopePlace::Claim && !scopes.is_empty()).then_some(scopes);
        if let Some(scope) = profile.scope.as_deref().or(asked) {
            claims.insert("scope".into(), scope.into());
        }
        self.encode(claims)
    }

    /// The client's authentication: it speaks of itself (RFC 7523 §3).
    fn of_client(&self, url: &str) -> Result<Secret, TokenFailure> {
        let mut claims = self.claims(url)?;
        claims.insert("iss".into(), self.client_id().into());
        claims.insert("sub".into(), self.client_id().into());
        claims.insert("nbf".into(), claims.get("iat").cloned().unwrap_or_default());
        if let Some(scope) = &self.profile().scope {
            claims.insert("scope".into(), (&**scope).into());
        }
        self.encode(claims)
    }

    /// The token of a GitHub App, which has three claims.
    fn of_app(&self) -> Result<Secret, TokenFailure> {
        let issuer = self.filled(self.profile().iss.as_deref(), self.client_id());
        let claims = json!({ "iat": self.issued_at(), "exp": self.ends_at(), "iss": issuer });
        let Value::Object(claims) = claims else { return Err(TokenFailure::Seal) };
        self.encode(claims)
    }

    /// The claims of both assertions of RFC 7523.
    fn claims(&self, url: &str) -> Result<Map<String, Value>, TokenFailure> {
        let id = random::bytes::<16>().map_err(|_silent| TokenFailure::Seal)?;
        let profile = self.profile();
        let further = profile.claims.iter();
        let mut claims: Map<String, Value> =
            further.map(|(name, value)| (name.clone(), self.fill(value).into())).collect();
        claims.insert("aud".into(), self.filled(profile.aud.as_deref(), url).into());
        claims.insert("exp".into(), self.ends_at().into());
        claims.insert("iat".into(), self.issued_at().into());
        claims.insert("jti".into(), URL_SAFE_NO_PAD.encode(id).into());
        Ok(claims)
    }

    /// Signs claims (RFC 7515 §7.1).
    fn encode(&self, claims: Map<String, Value>) -> Result<Secret, TokenFailure> {
        let profile = self.profile();
        let algorithm = self.key.algorithm(profile.algorithm).map_err(TokenFailure::Key)?;
        let mut header = Map::new();
        header.insert("alg".into(), algorithm.as_str().into());
        header.insert("typ".into(), "JWT".into());
        if let Some(key_id) = &profile.key_id {
            header.insert("kid".into(), (&**key_id).into());
        }
        if let Some(thumbprint) = &profile.certificate_thumbprint {
            header.insert("x5t#S256".into(), (&**thumbprint).into());
        }
        let part = |part: Map<String, Value>| URL_SAFE_NO_PAD.encode(Value::from(part).to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = self.key.sign(algorithm, signed.as_bytes()).ok_or(TokenFailure::Seal)?;
        Ok(Secret::new(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))))
    }

    fn profile(&self) -> &AssertionProfile {
        &self.client.profile.assertion
    }

    fn client_id(&self) -> &str {
        &self.client.client_id
    }

    /// A little ago: a provider whose clock is late must not take it for the future.
    fn issued_at(&self) -> i64 {
        self.now - ISSUED_BEFORE_SECONDS
    }

    fn ends_at(&self) -> i64 {
        let lifetime = self.profile().lifetime.map(|lifetime| lifetime.length().as_secs());
        let lifetime = lifetime.and_then(|seconds| i64::try_from(seconds).ok());
        self.issued_at() + lifetime.unwrap_or(LIFETIME_SECONDS)
    }

    /// A text of the profile, or what stands for it.
    fn filled(&self, text: Option<&str>, default: &str) -> String {
        text.map_or_else(|| default.to_owned(), |text| self.fill(text))
    }

    fn fill(&self, text: &str) -> String {
        let (client_id, subdomain) = (self.client_id(), self.subdomain);
        ParamValues { client_id, subdomain, access_token: None }.fill(text)
    }
}

/// Within every provider's limit: Salesforce takes three minutes, Auth0 five, GitHub ten.
const LIFETIME_SECONDS: i64 = 150;

const ISSUED_BEFORE_SECONDS: i64 = 30;
