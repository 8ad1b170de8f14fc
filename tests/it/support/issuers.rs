//! Token endpoints that take what a client signs, each as strict as the real one: they verify the
//! signature, know the key by its id, and refuse an audience, a time or a scope that is not theirs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::keys::{KeyPair, P256, P384, RSA};
use super::origin::{Origin, Seen, json_answer, ok};

/// An endpoint, and the API that takes its tokens.
pub(crate) struct Issuer {
    pub(crate) host: &'static str,
    /// The server of the endpoint.
    pub(crate) origin: Origin,
    /// The API at `api.example.test`.
    pub(crate) api: Origin,
    books: Arc<Mutex<Books>>,
}

/// The rules of a provider.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Provider {
    Google,
    Salesforce,
    Docusign,
    Okta,
    Github,
    Zoom,
}

/// Everything that an endpoint knows.
struct Books {
    provider: Provider,
    /// The seconds that a token lives, where the provider has no say of its own.
    lifetime: u64,
    /// The keys by their ids.
    keys: BTreeMap<String, &'static KeyPair>,
    ids: BTreeSet<String>,
    tokens: BTreeMap<String, u64>,
    /// The header and the claims of each assertion that was accepted.
    accepted: Vec<(Value, Value)>,
    /// The words of each refusal.
    refused: Vec<String>,
    suspended: bool,
}

/// A status, a code, and words.
type Refusal = (u16, &'static str, &'static str);

impl Issuer {
    pub(crate) async fn start(provider: Provider) -> Self {
        let (host, keys): (_, &[(&str, &'static KeyPair)]) = match provider {
            Provider::Google => ("oauth2.googleapis.com", &[(GOOGLE_KEY_ID, &RSA)]),
            Provider::Salesforce => ("login.salesforce.com", &[("", &RSA)]),
            Provider::Docusign => ("account-d.docusign.com", &[("", &RSA)]),
            Provider::Okta => (
                "acme.okta.com",
                &[("rsa", &RSA), ("p256", &P256), ("p384", &P384), ("ed", &super::keys::ED)],
            ),
            Provider::Github => ("api.github.com", &[("", &RSA)]),
            Provider::Zoom => ("zoom.us", &[]),
        };
        let books = Arc::new(Mutex::new(Books {
            provider,
            lifetime: 3600,
            keys: keys.iter().map(|(id, key)| ((*id).to_owned(), *key)).collect(),
            ids: BTreeSet::new(),
            tokens: BTreeMap::new(),
            accepted: Vec::new(),
            refused: Vec::new(),
            suspended: false,
        }));
        let (endpoint, api) = (Arc::clone(&books), Arc::clone(&books));
        let origin =
            Origin::answering(&["http/1.1"], move |seen| endpoint.lock().answer(seen)).await;
        let api = Origin::answering(&["http/1.1"], move |seen| {
            let field = seen.field("authorization");
            let token = field.strip_prefix("Bearer ").unwrap_or_default();
            let is_valid = api.lock().tokens.get(token).is_some_and(|end| now() < *end);
            if is_valid {
                ok("ok")
            } else {
                json_answer(401, &json!({"message": "Bad credentials"}))
            }
        });
        Self { host, origin, api: api.await, books }
    }

    /// The seconds that each token lives from now on.
    pub(crate) fn set_lifetime(&self, seconds: u64) {
        self.books.lock().lifetime = seconds;
    }

    /// The provider knows another key in the place of all.
    pub(crate) fn set_key(&self, id: &str, key: &'static KeyPair) {
        self.books.lock().keys = BTreeMap::from([(id.to_owned(), key)]);
    }

    /// The installation is suspended, or not any more.
    pub(crate) fn suspend(&self, suspended: bool) {
        self.books.lock().suspended = suspended;
    }

    /// No token that there is now is any good.
    pub(crate) fn revoke(&self) {
        self.books.lock().tokens.clear();
    }

    /// The header and the claims of each assertion that was accepted.
    pub(crate) fn accepted(&self) -> Vec<(Value, Value)> {
        self.books.lock().accepted.clone()
    }

    /// The words of each refusal.
    pub(crate) fn refused(&self) -> Vec<String> {
        self.books.lock().refused.clone()
    }
}

impl Books {
    fn answer(&mut self, seen: &Seen) -> Response<Full<Bytes>> {
        let outcome = match self.provider {
            Provider::Google => self.google(seen),
            Provider::Salesforce => self.salesforce(seen),
            Provider::Docusign => self.docusign(seen),
            Provider::Okta => self.okta(seen),
            Provider::Github => self.github(seen),
            Provider::Zoom => self.zoom(seen),
        };
        match outcome {
            Ok(body) => {
                json_answer(if self.provider == Provider::Github { 201 } else { 200 }, &body)
            }
            Err((status, code, words)) => {
                self.refused.push(words.to_owned());
                let body = if self.provider == Provider::Github {
                    json!({"message": words, "documentation_url": "https://docs.github.com/rest"})
                } else {
                    json!({"error": code, "error_description": words})
                };
                json_answer(status, &body)
            }
        }
    }

    fn google(&mut self, seen: &Seen) -> Result<Value, Refusal> {
        let form = form_of(seen, "/token", &["grant_type", "assertion"])?;
        if form["grant_type"] != JWT_BEARER {
            return Err((400, "unsupported_grant_type", "Invalid grant_type"));
        }
        let refused = |words| (400, "invalid_grant", words);
        let (header, claims) = self.verified(&form["assertion"], &["RS256"], refused)?;
        let [issued, ends] = times(&claims, refused)?;
        if claims["iss"] != GOOGLE_EMAIL {
            return Err(refused("Invalid grant: account not found"));
        }
        if claims["aud"] != "https://oauth2.googleapis.com/token" {
            return Err(refused("Invalid JWT: Failed audience check."));
        }
        if ends - issued > 3600 || ends <= now() || issued > now() {
            return Err(refused("Invalid JWT: Token must be a short-lived token (60 minutes)"));
        }
        if claims["scope"].as_str().is_none_or(str::is_empty) {
            return Err((
                400,
                "invalid_scope",
                "Invalid OAuth scope or ID token audience provided.",
            ));
        }
        if !claims["sub"].is_null() && claims["sub"] != DELEGATE {
            return Err((
                401,
                "unauthorized_client",
                "Client is unauthorized to retrieve access tokens",
            ));
        }
        self.accept(header, claims, refused)?;
        let token = self.token("ya29");
        Ok(json!({"access_token": token, "expires_in": self.lifetime, "token_type": "Bearer"}))
    }

    fn salesforce(&mut self, seen: &Seen) -> Result<Value, Refusal> {
        let names = ["grant_type", "assertion"];
        let form = form_of(seen, "/services/oauth2/token", &names)?;
        if form["grant_type"] != JWT_BEARER {
            return Err((400, "unsupported_grant_type", "grant type not supported"));
        }
        let refused = |words| (400, "invalid_grant", words);
        let (header, claims) = self.verified(&form["assertion"], &["RS256"], refused)?;
        if claims["iss"] != CLIENT_ID {
            return Err((400, "invalid_client_id", "client identifier invalid"));
        }
        if claims["aud"] != "https://login.salesforce.com" {
            return Err(refused("audience is invalid"));
        }
        let ends = claims["exp"].as_u64().ok_or(refused("expired authorization code"))?;
        if ends <= now() || ends > now() + 180 {
            return Err(refused("expired authorization code"));
        }
        if claims["sub"] != DELEGATE {
            return Err(refused("user hasn't approved this consumer"));
        }
        self.accept(header, claims, refused)?;
        let token = self.token("00Dxx");
        Ok(json!({
            "access_token": token, "scope": "api", "token_type": "Bearer",
            "instance_url": "https://acme.my.salesforce.com",
        }))
    }

    fn docusign(&mut self, seen: &Seen) -> Result<Value, Refusal> {
        let form = form_of(seen, "/oauth/token", &["grant_type", "assertion"])?;
        if form["grant_type"] != JWT_BEARER {
            return Err((400, "unsupported_grant_type", "unsupported_grant_type"));
        }
        let refused = |words| (400, "invalid_grant", words);
        let (header, claims) = self.verified(&form["assertion"], &["RS256"], refused)?;
        let [issued, ends] = times(&claims, refused)?;
        if claims["iss"] != CLIENT_ID || claims["aud"] != "account-d.docusign.com" {
            return Err(refused("issuer_not_found"));
        }
        if ends - issued > 3600 || ends <= now() || issued > now() {
            return Err(refused("expired_or_not_yet_valid"));
        }
        if claims["scope"] != "signature impersonation" {
            return Err((400, "invalid_scope", "invalid_scope"));
        }
        if claims["sub"] != DELEGATE {
            return Err((400, "consent_required", "consent_required"));
        }
        self.accept(header, claims, refused)?;
        let token = self.token("eyJ0");
        Ok(json!({"access_token": token, "token_type": "Bearer", "expires_in": self.lifetime}))
    }

    fn okta(&mut self, seen: &Seen) -> Result<Value, Refusal> {
        let names =
            ["grant_type", "scope", "client_id", "client_assertion_type", "client_assertion"];
        let form = form_of(seen, "/oauth2/v1/token", &names)?;
        if form["grant_type"] != "client_credentials" || form["scope"] != "okta.users.read" {
            return Err((400, "invalid_scope", "One or more scopes are not configured."));
        }
        let refused = |words| (401, "invalid_client", words);
        if form["client_assertion_type"] != CLIENT_ASSERTION
            || seen.headers.contains_key("authorization")
        {
            return Err(refused("The client_assertion_type is invalid."));
        }
        let algorithms = ["RS256", "PS256", "ES256", "ES384", "EdDSA"];
        let (header, claims) = self.verified(&form["client_assertion"], &algorithms, refused)?;
        let [issued, ends] = times(&claims, refused)?;
        let own = [&claims["iss"], &claims["sub"], &json!(form["client_id"])];
        if own.iter().any(|id| **id != CLIENT_ID) {
            return Err(refused("The iss and sub claims must be the client_id."));
        }
        if claims["aud"] != "https://acme.okta.com/oauth2/v1/token" {
            return Err(refused(
                "The audience claim must be the endpoint invoked for the request.",
            ));
        }
        if ends <= now() || ends > now() + 3600 || issued > now() {
            return Err(refused(
                "The client_assertion token has an expiration too far into the future.",
            ));
        }
        self.accept(header, claims, refused)?;
        let token = self.token("eyJraWQ");
        Ok(json!({
            "access_token": token, "token_type": "Bearer", "expires_in": self.lifetime,
            "scope": "okta.users.read",
        }))
    }

    fn github(&mut self, seen: &Seen) -> Result<Value, Refusal> {
        let refused = |words| (401, "", words);
        let field = seen.field("authorization");
        let token = field.strip_prefix("Bearer ");
        let token = token.ok_or(refused("A JSON web token could not be decoded"))?;
        if seen.field("user-agent").is_empty() {
            return Err((403, "", "Request forbidden by administrative rules."));
        }
        let (header, claims) = self.verified(token, &["RS256"], refused)?;
        let [issued, ends] = times(&claims, refused)?;
        if claims["iss"] != CLIENT_ID {
            return Err(refused("Integration must generate a public key"));
        }
        if issued > now() {
            return Err(refused("'Issued at' claim ('iat') must be in the past"));
        }
        if ends <= now() || ends > now() + 600 {
            return Err(refused("'Expiration time' claim ('exp') is too far in the future"));
        }
        if (&*seen.method, &*seen.target) != ("POST", "/app/installations/42/access_tokens") {
            return Err((404, "", "Not Found"));
        }
        if self.suspended {
            return Err((403, "", "This installation has been suspended"));
        }
        if seen.field("content-type") != "application/json" {
            return Err((415, "", "Unsupported 'Content-Type' header"));
        }
        let body: Value =
            serde_json::from_slice(&seen.body).map_err(|_| (400, "", "Problems parsing JSON"))?;
        let body = body.as_object().ok_or((400, "", "Body should be a JSON object"))?;
        let repositories = body.get("repositories").cloned().unwrap_or(json!(["shop", "website"]));
        let names = repositories.as_array().ok_or((422, "", "Invalid request."))?;
        if names.iter().any(|name| name != "shop" && name != "website") {
            return Err((
                422,
                "",
                "There is at least one repository that does not exist or is not accessible",
            ));
        }
        let permissions = body.get("permissions").cloned().unwrap_or(json!({"contents": "write"}));
        let levels = permissions.as_object().ok_or((422, "", "Invalid request."))?;
        let may = |(name, level): (&String, &Value)| {
            name == "contents" && (level == "read" || level == "write")
        };
        if !levels.iter().all(may) {
            return Err((
                422,
                "",
                "The permissions requested are not granted to this installation.",
            ));
        }
        self.accepted.push((header, claims));
        let token = self.token("ghs_");
        let end = jiff::Timestamp::from_second(i64::try_from(now() + self.lifetime).unwrap());
        let is_all = !body.contains_key("repositories");
        Ok(json!({
            "token": token, "expires_at": end.unwrap().to_string(), "permissions": permissions,
            "repository_selection": if is_all { "all" } else { "selected" },
            "repositories": repositories,
        }))
    }

    fn zoom(&mut self, seen: &Seen) -> Result<Value, Refusal> {
        let form = form_of(seen, "/oauth/token", &["grant_type", "account_id"])?;
        let pair = format!("{CLIENT_ID}:{CLIENT_SECRET}");
        if seen.field("authorization") != format!("Basic {}", STANDARD.encode(pair)) {
            return Err((400, "invalid_client", "Invalid client_id or client_secret"));
        }
        if form["grant_type"] != "account_credentials" || form["account_id"] != "AbC_d-1" {
            return Err((400, "unsupported_grant_type", "unsupported grant type"));
        }
        let token = self.token("eyJzdiI6");
        Ok(json!({
            "access_token": token, "token_type": "bearer", "expires_in": self.lifetime,
            "scope": "user:read:admin", "api_url": "https://api.zoom.us",
        }))
    }

    /// The header and the claims of an assertion that one of the keys has signed.
    fn verified(
        &self,
        assertion: &str,
        algorithms: &[&str],
        refused: impl Fn(&'static str) -> Refusal,
    ) -> Result<(Value, Value), Refusal> {
        let parts: Vec<&str> = assertion.split('.').collect();
        let [header, claims, signature] = parts[..] else {
            return Err(refused("Invalid JWT: it has not three parts"));
        };
        let read = |part: &str| {
            let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
            serde_json::from_slice::<Value>(&bytes).ok().filter(Value::is_object)
        };
        let refused_part = || refused("Invalid JWT: a part is not base64url of JSON");
        let (header_json, claims_json) =
            (read(header).ok_or_else(refused_part)?, read(claims).ok_or_else(refused_part)?);
        let algorithm = header_json["alg"].as_str().unwrap_or_default();
        if !algorithms.contains(&algorithm) || header_json["typ"] != "JWT" {
            return Err(refused("Invalid JWT: its algorithm is not allowed"));
        }
        let id = header_json["kid"].as_str().unwrap_or_default();
        let key = self.keys.get(id).ok_or(refused("Invalid JWT: its key is not known"))?;
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
        if !key.has_signed(algorithm, &format!("{header}.{claims}"), &signature) {
            return Err(refused("Invalid JWT Signature."));
        }
        Ok((header_json, claims_json))
    }

    /// Accepts an assertion, this once (RFC 7523 §3, 7).
    fn accept(
        &mut self,
        header: Value,
        claims: Value,
        refused: impl Fn(&'static str) -> Refusal,
    ) -> Result<(), Refusal> {
        let id = claims["jti"].as_str().ok_or(refused("its jti is missing"))?;
        if id.len() < 16 || !self.ids.insert(id.to_owned()) {
            return Err(refused("its jti was used before"));
        }
        self.accepted.push((header, claims));
        Ok(())
    }

    fn token(&mut self, prefix: &str) -> String {
        let token = format!("{prefix}{}", self.tokens.len() + 1);
        self.tokens.insert(token.clone(), now() + self.lifetime);
        token
    }
}

/// The form of a POST to this path, which has these fields, each once, and no other.
fn form_of(seen: &Seen, path: &str, names: &[&str]) -> Result<BTreeMap<String, String>, Refusal> {
    if (&*seen.method, &*seen.target) != ("POST", path) {
        return Err((404, "not_found", "there is nothing here"));
    }
    if seen.field("content-type") != "application/x-www-form-urlencoded" {
        return Err((400, "invalid_request", "the body is not a form"));
    }
    let (form, twice) = seen.form();
    let is_whole = form.len() == names.len() && names.iter().all(|name| form.contains_key(*name));
    if twice.is_some() || !is_whole {
        return Err((400, "invalid_request", "the parameters are not those of the grant"));
    }
    Ok(form)
}

/// The times of an assertion, which are whole numbers.
fn times(claims: &Value, refused: impl Fn(&'static str) -> Refusal) -> Result<[u64; 2], Refusal> {
    match (claims["iat"].as_u64(), claims["exp"].as_u64()) {
        (Some(issued), Some(ends)) => Ok([issued, ends]),
        _ => Err(refused("iat and exp must be integers")),
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The client's id at each provider but Google.
pub(crate) const CLIENT_ID: &str = "Iv23liAcme";
/// Zoom's client has a secret.
pub(crate) const CLIENT_SECRET: &str = "zoom-secret";
/// The user for whom tokens may be asked.
pub(crate) const DELEGATE: &str = "user@acme.example";
pub(crate) const GOOGLE_EMAIL: &str = "robot@acme.iam.gserviceaccount.com";
pub(crate) const GOOGLE_KEY_ID: &str = "0123456789abcdef";

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const CLIENT_ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
