//! A provider as strict as a real one: it refuses what the real one refuses, and says so as that one
//! does. What it is strict about is its [`Spec`]; one per provider is in `oauth/providers`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use form_urlencoded::Serializer;
use http::Response;
use http_body_util::Full;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use super::origin::{Origin, Seen, json_answer};
use super::provider::challenge_of;
use super::tls;

/// The client's secret at every strict provider. It can't travel as it is.
pub(crate) const SECRET: &str = "se+cr/et=%~é";

/// The client's id.
pub(crate) const ID: &str = "id.of-acme";

/// The way in which a client must authenticate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Shows {
    /// In the body, and nowhere else.
    Post,
    /// In `Authorization`, form-encoded (RFC 6749 §2.3.1), and nowhere else.
    Basic,
    /// Only its id: it has no secret.
    Nothing,
}

/// The provider's way with a code challenge.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Challenge {
    /// It is asked for.
    Needed,
    /// A verifier is refused as if the client were not known.
    Refused,
}

/// The answer that brings the browser back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Returns {
    /// A redirect.
    ByRedirect,
    /// A form that the browser posts (OAuth 2.0 Form Post Response Mode).
    ByForm,
}

/// The strictness of a provider.
#[derive(Clone)]
pub(crate) struct Spec {
    /// The hosts that it answers at; the API is the last one.
    pub(crate) hosts: Vec<String>,
    pub(crate) authorize: &'static str,
    pub(crate) token: &'static str,
    /// The path at which tokens are refreshed, where it is another.
    pub(crate) refresh: Option<&'static str>,
    /// Parameters that the authorization request must have, as they are.
    pub(crate) asks: Vec<(&'static str, String)>,
    /// Parameters that the first token request must have.
    pub(crate) needs: Vec<(&'static str, String)>,
    /// Parameters that a refresh must have.
    pub(crate) needs_on_refresh: Vec<(&'static str, String)>,
    pub(crate) shows: Shows,
    pub(crate) takes_json: bool,
    pub(crate) challenge: Challenge,
    pub(crate) returns: Returns,
    /// The issuer that it names when it sends the browser back (RFC 9207).
    pub(crate) issuer: Option<String>,
    /// A refresh token is good once.
    pub(crate) rotates: bool,
    /// The access token that came with a refresh token ends with that.
    pub(crate) replaces: bool,
    /// The answer with an access token and perhaps a refresh token, to a request that said this.
    pub(crate) says: fn(&str, Option<&str>, &Map<String, Value>) -> Value,
    /// The answer to a refresh token that is dead.
    pub(crate) dead: (u16, Value),
    /// The fields of a request to the API that has this token.
    pub(crate) carries: fn(&str) -> Vec<(&'static str, String)>,
}

impl Spec {
    /// A provider as RFC 6749 has it, at these hosts.
    pub(crate) fn at(hosts: &[&str]) -> Self {
        Self {
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            authorize: "/authorize",
            token: "/token",
            refresh: None,
            asks: Vec::new(),
            needs: Vec::new(),
            needs_on_refresh: Vec::new(),
            shows: Shows::Post,
            takes_json: false,
            challenge: Challenge::Needed,
            returns: Returns::ByRedirect,
            issuer: None,
            rotates: true,
            replaces: false,
            says: |access, refresh, _said| {
                json!({"access_token": access, "refresh_token": refresh, "token_type": "Bearer",
                    "expires_in": 3600})
            },
            dead: (400, json!({"error": "invalid_grant"})),
            carries: |token| vec![("authorization", format!("Bearer {token}"))],
        }
    }
}

/// A strict provider, and the API that takes its tokens; gone when this is dropped.
pub(crate) struct Strict {
    pub(crate) origin: Origin,
    pub(crate) spec: Spec,
    books: Arc<Mutex<Books>>,
}

#[derive(Default)]
struct Books {
    codes: BTreeMap<String, Code>,
    refresh_tokens: BTreeMap<String, RefreshToken>,
    /// Access tokens, each with its end.
    access_tokens: Vec<(String, Option<Instant>)>,
    is_dead: bool,
    /// The faults of requests, for the test's own eyes.
    complaints: Vec<String>,
    asked: usize,
}

struct RefreshToken {
    is_spent: bool,
    /// The access token that came with it.
    access_token: String,
}

struct Code {
    challenge: Option<String>,
    redirect_uri: String,
}

type Told = (u16, Value);

impl Strict {
    pub(crate) async fn start(spec: Spec) -> Self {
        let books = Arc::new(Mutex::new(Books::default()));
        let names: Vec<_> = spec.hosts.iter().map(String::as_str).collect();
        let config = tls::TRUSTED.leaf(&names).serve(&["http/1.1"]);
        let (kept, told) = (Arc::clone(&books), spec.clone());
        let origin = Origin::answering_as(config, move |seen| answer(&told, &kept, seen)).await;
        Self { origin, spec, books }
    }

    /// Ends every grant: their refresh tokens are dead from now on, and access tokens too.
    pub(crate) fn end_grants(&self) {
        let mut books = self.books.lock();
        books.is_dead = true;
        books.access_tokens.clear();
    }

    /// Gives grants again.
    pub(crate) fn revive(&self) {
        self.books.lock().is_dead = false;
    }

    /// The number of token requests so far.
    pub(crate) fn asked(&self) -> usize {
        self.books.lock().asked
    }

    /// The faults of requests so far.
    pub(crate) fn complaints(&self) -> Vec<String> {
        self.books.lock().complaints.clone()
    }
}

fn answer(spec: &Spec, books: &Mutex<Books>, seen: &Seen) -> Response<Full<Bytes>> {
    let books = &mut *books.lock();
    let (path, query) = seen.target.split_once('?').unwrap_or((&seen.target, ""));
    if path == spec.authorize {
        return authorize(spec, books, query);
    }
    if path == spec.token || Some(path) == spec.refresh {
        books.asked += 1;
        let told = tokens(spec, books, seen, path, query);
        let (status, body) = told.unwrap_or_else(|refused| refused);
        if status >= 400 {
            books.complaints.push(format!("{status} {body}"));
        }
        return json_answer(status, &body);
    }
    // The API: every field that carries the token, and no other that could.
    let now = Instant::now();
    let living = books.access_tokens.iter().filter(|(_, end)| end.is_none_or(|end| now < end));
    let good = living
        .map(|(token, _)| (spec.carries)(token))
        .any(|fields| fields.iter().all(|(name, value)| seen.field(name) == *value));
    json_answer(if good { 200 } else { 401 }, &json!({"path": path}))
}

/// Sends the browser back with a code, if the request is as the provider wants it.
fn authorize(spec: &Spec, books: &mut Books, query: &str) -> Response<Full<Bytes>> {
    let said: BTreeMap<String, String> =
        form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let get = |name: &str| said.get(name).cloned();
    let wrong = spec.asks.iter().find(|(name, value)| get(name).as_ref() != Some(value));
    let has_client = [get("client_id"), get("client_key")].contains(&Some(ID.to_owned()));
    if wrong.is_some() || !has_client || get("response_type").as_deref() != Some("code") {
        books.complaints.push(format!("authorize: {wrong:?} in {query}"));
        return json_answer(400, &json!({"error": "invalid_request"}));
    }
    let challenge = get("code_challenge");
    if challenge.is_none() && spec.challenge == Challenge::Needed {
        books.complaints.push("authorize: no code challenge".to_owned());
        return json_answer(400, &json!({"error": "invalid_request"}));
    }
    let code = format!("code-{}", books.codes.len());
    let redirect_uri = get("redirect_uri").unwrap_or_default();
    books.codes.insert(code.clone(), Code { challenge, redirect_uri: redirect_uri.clone() });
    let mut form = Serializer::new(String::new());
    form.append_pair("code", &code).append_pair("state", &get("state").unwrap_or_default());
    if let Some(issuer) = &spec.issuer {
        form.append_pair("iss", issuer);
    }
    let form = form.finish();
    match spec.returns {
        Returns::ByRedirect => Response::builder()
            .status(302)
            .header("location", format!("{redirect_uri}?{form}"))
            .body(Full::default())
            .unwrap(),
        // The test posts it as a browser does.
        Returns::ByForm => json_answer(200, &json!({"action": redirect_uri, "form": form})),
    }
}

fn tokens(
    spec: &Spec,
    books: &mut Books,
    seen: &Seen,
    path: &str,
    query: &str,
) -> Result<Told, Told> {
    let said = read(spec, seen, query)?;
    let text = |name: &str| said.get(name).and_then(Value::as_str).unwrap_or_default();
    check_client(spec, seen, &said)?;
    let refreshes = text("grant_type") == "refresh_token" || Some(path) == spec.refresh;
    let needs = if refreshes { &spec.needs_on_refresh } else { &spec.needs };
    if let Some((name, value)) = needs.iter().find(|(name, value)| text(name) != value) {
        return Err((400, json!({"error": "invalid_request", "needs": format!("{name}={value}")})));
    }
    if refreshes {
        if spec.refresh.is_some_and(|refresh| refresh != path) {
            return Err((400, json!({"error": "unsupported_grant_type"})));
        }
        let shown = books.refresh_tokens.get_mut(text("refresh_token"));
        let shown = shown.filter(|shown| !shown.is_spent && !books.is_dead);
        let Some(shown) = shown else { return Err(spec.dead.clone()) };
        shown.is_spent = spec.rotates;
        if spec.replaces {
            books.access_tokens.retain(|(token, _)| *token != shown.access_token);
        }
    } else if text("grant_type") == "authorization_code" {
        check_code(spec, books, &said)?;
    } else if books.is_dead {
        return Err(spec.dead.clone());
    }
    // The tokens.
    let number = books.access_tokens.len() + books.refresh_tokens.len();
    let (access, refresh) = (format!("at-{number}-{}", books.asked), format!("rt-{number}"));
    let has_user = refreshes || text("grant_type") == "authorization_code";
    let refresh = (has_user && (spec.rotates || !refreshes)).then_some(refresh);
    if let Some(refresh) = &refresh {
        let token = RefreshToken { is_spent: false, access_token: access.clone() };
        books.refresh_tokens.insert(refresh.clone(), token);
    }
    let answer = (spec.says)(&access, refresh.as_deref(), &said);
    let life = answer.get("expires_in").and_then(Value::as_u64);
    let end = life.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    books.access_tokens.push((access, end));
    Ok((200, answer))
}

/// The request's parameters, if it has the format that the provider takes.
fn read(spec: &Spec, seen: &Seen, query: &str) -> Result<Map<String, Value>, Told> {
    let wanted =
        if spec.takes_json { "application/json" } else { "application/x-www-form-urlencoded" };
    if seen.method != "POST" || seen.field("content-type") != wanted {
        return Err((415, json!({"error": "invalid_request", "wanted": wanted})));
    }
    let mut said: Map<String, Value> = if spec.takes_json {
        serde_json::from_slice(&seen.body).map_err(|_no| (400, json!({"error": "no JSON"})))?
    } else {
        let (form, twice) = seen.form();
        if let Some(name) = twice {
            return Err((400, json!({"error": "invalid_request", "twice": name})));
        }
        form.into_iter().map(|(name, value)| (name, Value::String(value))).collect()
    };
    // Some read the URL's parameters too.
    let of_query = form_urlencoded::parse(query.as_bytes()).into_owned();
    said.extend(of_query.map(|(name, value)| (name, Value::String(value))));
    Ok(said)
}

fn check_client(spec: &Spec, seen: &Seen, said: &Map<String, Value>) -> Result<(), Told> {
    let text = |name: &str| said.get(name).and_then(Value::as_str);
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let basic =
        format!("Basic {}", STANDARD.encode(format!("{}:{}", encoded(ID), encoded(SECRET))));
    let field = seen.field("authorization");
    let (id, secret) = (text("client_id").or(text("client_key")), text("client_secret"));
    let good = match spec.shows {
        Shows::Post => field.is_empty() && id == Some(ID) && secret == Some(SECRET),
        Shows::Basic => field == basic && id.is_none() && secret.is_none(),
        Shows::Nothing => field.is_empty() && id == Some(ID) && secret.is_none(),
    };
    let has_verifier = said.contains_key("code_verifier");
    if good && !(spec.challenge == Challenge::Refused && has_verifier) {
        Ok(())
    } else {
        Err((401, json!({"error": "invalid_client"})))
    }
}

fn check_code(spec: &Spec, books: &mut Books, said: &Map<String, Value>) -> Result<(), Told> {
    let text = |name: &str| said.get(name).and_then(Value::as_str).unwrap_or_default();
    let refused = || (400, json!({"error": "invalid_grant"}));
    let code = books.codes.remove(text("code")).ok_or_else(refused)?;
    let proved = match (&code.challenge, spec.challenge) {
        (_, Challenge::Refused) => code.challenge.is_none(),
        (Some(challenge), _) => *challenge == challenge_of(text("code_verifier")),
        (None, _) => false,
    };
    if proved && code.redirect_uri == text("redirect_uri") { Ok(()) } else { Err(refused()) }
}
