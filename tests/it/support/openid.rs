//! An OpenID provider in the test's own process, as strict as a certified one: it takes no question
//! that is not complete, and it signs what a test wants.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use form_urlencoded::Serializer;
use http::Response;
use http_body_util::Full;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use super::origin::{Origin, Seen, json_answer};
use super::provider::challenge_of;
use super::world::World;

/// The name of the provider.
pub(crate) const HOST: &str = "id.example.test";

/// Its issuer identifier.
pub(crate) const ISSUER: &str = "https://id.example.test";

/// What it calls the server, and the secret that they share. Neither can travel as it is.
pub(crate) const CLIENT: &str = "client of:tests";
pub(crate) const SECRET: &str = "openid+secret/&%=";

/// Where it sends browsers back.
const CALLBACK: &str = "http://127.0.0.1:8081/console/sign-in/callback";

/// The provider; it is gone when this is dropped.
pub(crate) struct OpenId {
    pub(crate) origin: Origin,
    books: Arc<Mutex<Books>>,
}

/// Makes an ID token of these claims, whose key is the provider's or not.
pub(crate) type Forgery = fn(&Key, &Value) -> String;

/// A key with its id.
pub(crate) struct Key {
    pair: EcdsaKeyPair,
    id: &'static str,
}

struct Books {
    key: Key,
    /// The keys that it publishes.
    published: Vec<Value>,
    /// The members of the metadata, and those of the claims, that differ.
    metadata: Map<String, Value>,
    claims: Map<String, Value>,
    /// Makes the ID token of header and claims, where it is not signed as it should be.
    forge: Option<Forgery>,
    /// A code is good any number of times.
    is_lax: bool,
    codes: BTreeMap<String, Code>,
    refused: Vec<String>,
}

struct Code {
    challenge: String,
    nonce: String,
    is_spent: bool,
}

impl Key {
    pub(crate) fn new(id: &'static str) -> Self {
        Self { pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(), id }
    }

    fn jwk(&self) -> Value {
        let public = self.pair.public_key().as_ref();
        let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({
            "kty": "EC", "crv": "P-256", "kid": self.id, "use": "sig", "alg": "ES256",
            "x": number(&public[1..33]), "y": number(&public[33..]),
        })
    }

    /// A JWT with this header.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = self.pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The bytes of the public key.
    pub(crate) fn public(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }
}

impl OpenId {
    pub(crate) async fn start() -> Self {
        let key = Key::new("first");
        let books = Arc::new(Mutex::new(Books {
            published: vec![key.jwk()],
            key,
            metadata: Map::new(),
            claims: Map::new(),
            forge: None,
            is_lax: false,
            codes: BTreeMap::new(),
            refused: Vec::new(),
        }));
        let kept = Arc::clone(&books);
        let origin = Origin::answering(&["http/1.1"], move |seen| kept.lock().answer(seen));
        Self { origin: origin.await, books }
    }

    /// The claims that a person has from now on, beside the usual ones or in their place; null takes
    /// one out.
    pub(crate) fn set_claims(&self, claims: Value) {
        let Value::Object(claims) = claims else { panic!("claims are an object") };
        self.books.lock().claims = claims;
    }

    /// The members of the metadata that differ from now on.
    pub(crate) fn set_metadata(&self, metadata: Value) {
        let Value::Object(metadata) = metadata else { panic!("metadata is an object") };
        self.books.lock().metadata = metadata;
    }

    /// How ID tokens are made from now on.
    pub(crate) fn forge(&self, forge: Option<Forgery>) {
        self.books.lock().forge = forge;
    }

    /// Signs by another key from now on, and publishes it.
    pub(crate) fn rotate(&self, id: &'static str) {
        let mut books = self.books.lock();
        books.key = Key::new(id);
        books.published = vec![books.key.jwk()];
    }

    /// A code is good any number of times from now on.
    pub(crate) fn be_lax(&self) {
        self.books.lock().is_lax = true;
    }

    /// What it has refused.
    pub(crate) fn refused(&self) -> Vec<String> {
        self.books.lock().refused.clone()
    }

    /// How often it was asked for tokens.
    pub(crate) fn asked(&self) -> usize {
        self.origin.seen().iter().filter(|seen| seen.target == "/token").count()
    }

    /// What a person agrees to whose browser was led here: gives the query with which it is sent
    /// back.
    pub(crate) fn agree(&self, location: &str) -> String {
        let (endpoint, query) = location.split_once('?').unwrap();
        assert_eq!(endpoint, format!("{ISSUER}/authorize"));
        let mut question = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()).into_owned() {
            assert!(question.insert(name.clone(), value).is_none(), "{name} is there twice");
        }
        let said = |name: &str| question.get(name).map_or("", String::as_str);
        let names: Vec<_> = question.keys().map(String::as_str).collect();
        let known = [
            "client_id",
            "code_challenge",
            "code_challenge_method",
            "nonce",
            "redirect_uri",
            "response_type",
            "scope",
            "state",
        ];
        assert_eq!(names, known);
        assert_eq!(said("client_id"), CLIENT);
        assert_eq!((said("response_type"), said("redirect_uri")), ("code", CALLBACK));
        assert_eq!((said("code_challenge_method"), said("scope")), ("S256", "openid email"));
        for name in ["code_challenge", "nonce", "state"] {
            assert_eq!(said(name).len(), 43, "{name}");
        }
        let (state, code) = (said("state"), format!("code+{}", said("state")));
        let kept = Code {
            challenge: said("code_challenge").to_owned(),
            nonce: said("nonce").to_owned(),
            is_spent: false,
        };
        self.books.lock().codes.insert(code.clone(), kept);
        Serializer::new(String::new())
            .append_pair("code", &code)
            .append_pair("state", state)
            .finish()
    }
}

impl Books {
    fn answer(&mut self, seen: &Seen) -> Response<Full<Bytes>> {
        let is_bare = seen.field("authorization").is_empty() && seen.field("cookie").is_empty();
        match (seen.method.as_str(), seen.target.as_str()) {
            ("GET", "/.well-known/openid-configuration") if is_bare => {
                let mut metadata = json!({
                    "issuer": ISSUER,
                    "authorization_endpoint": format!("{ISSUER}/authorize"),
                    "token_endpoint": format!("{ISSUER}/token"),
                    "jwks_uri": format!("{ISSUER}/keys"),
                    "token_endpoint_auth_methods_supported": ["client_secret_basic"],
                });
                change(&mut metadata, &self.metadata);
                json_answer(200, &metadata)
            }
            ("GET", "/keys") if is_bare => json_answer(200, &json!({"keys": self.published})),
            ("POST", "/token") => match self.token(seen) {
                Ok(answer) => json_answer(200, &answer),
                Err(words) => {
                    self.refused.push(words.to_owned());
                    json_answer(400, &json!({"error": "invalid_grant", "error_description": words}))
                }
            },
            _ => json_answer(404, &json!({"error": "not_found"})),
        }
    }

    fn token(&mut self, seen: &Seen) -> Result<Value, &'static str> {
        let (form, twice) = seen.form();
        if twice.is_some() || form.contains_key("client_secret") {
            return Err("the form has too much");
        }
        if seen.field("authorization") != basic() {
            return Err("the client is another");
        }
        let said = |name: &str| form.get(name).map_or("", String::as_str);
        if (said("grant_type"), said("redirect_uri")) != ("authorization_code", CALLBACK) {
            return Err("the grant is another");
        }
        let code = self.codes.get_mut(said("code")).ok_or("there is no such code")?;
        if code.is_spent && !self.is_lax {
            return Err("the code is spent");
        }
        code.is_spent = true;
        if challenge_of(said("code_verifier")) != code.challenge {
            return Err("the verifier is another");
        }
        let now = Timestamp::now().as_second();
        let mut claims = json!({
            "iss": ISSUER, "aud": CLIENT, "sub": "248289761001", "nonce": code.nonce,
            "iat": now, "exp": now + 300, "email": "ada@example.com", "email_verified": true,
            "groups": ["operators"],
        });
        change(&mut claims, &self.claims);
        let header = json!({"alg": "ES256", "kid": self.key.id});
        let id_token = match self.forge {
            Some(forge) => forge(&self.key, &claims),
            None => self.key.sign(&header, &claims),
        };
        let mut answer = json!({
            "access_token": "canary-access-token", "token_type": "Bearer", "expires_in": 300,
        });
        if !id_token.is_empty() {
            answer["id_token"] = id_token.into();
        }
        Ok(answer)
    }
}

impl World {
    /// People sign in with this provider: `operators` may do everything, `auditors` look at all
    /// that was done, `acme` changes connections of `acme` and sees those of `other`.
    pub(crate) fn signing_in(self, provider: &OpenId) -> Self {
        let groups = "{ operators = { scopes = [\"admin\"], integrations = [\"*\"] }, \
            auditors = { scopes = [\"read\", \"audit\"], integrations = [\"*\"] }, \
            acme = { scopes = [\"read\", \"write\"], integrations = [\"acme\"] }, \
            others = { scopes = [\"read\"], integrations = [\"other\"] } }";
        self.pin(HOST, &provider.origin)
            .set("oidc.issuer", &format!("{ISSUER:?}"))
            .set("oidc.client_id", &format!("{CLIENT:?}"))
            .set("oidc.client_secret", &format!("{SECRET:?}"))
            .set("oidc.groups", groups)
    }
}

/// `Basic` of the client, form-encoded (RFC 6749 §2.3.1).
fn basic() -> String {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    format!("Basic {}", STANDARD.encode(format!("{}:{}", encode(CLIENT), encode(SECRET))))
}

fn change(document: &mut Value, changes: &Map<String, Value>) {
    let members = document.as_object_mut().unwrap();
    for (name, value) in changes {
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
}
