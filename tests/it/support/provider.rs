//! A provider: an authorization server in the test's own process (RFC 6749, RFC 7636). It rotates
//! refresh tokens and knows them again, and it answers as badly as a test wants.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use form_urlencoded::Serializer;
use futures_util::stream;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use keyferry::clock::Clock;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::origin::{Memory, Origin, Seen, listen, ok};
use super::{soon, tls};

/// The name of the provider; a test pins it to [`Provider::origin`].
pub(crate) const HOST: &str = "id.example.test";

/// The name of another one.
pub(crate) const OTHER_HOST: &str = "id2.example.test";

/// What the provider calls the client.
pub(crate) const CLIENT_ID: &str = "client:of acme";

/// The client's secret, at first. Neither can travel as it is.
pub(crate) const CLIENT_SECRET: &str = "client-secret +&%:é";

/// A provider; it is gone when this is dropped.
pub(crate) struct Provider {
    /// Its server.
    pub(crate) origin: Origin,
    host: &'static str,
    desk: Arc<Desk>,
}

/// What the token endpoint was asked.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    /// The parameters: of a form, or of a JSON object.
    pub(crate) form: BTreeMap<String, String>,
    /// Whether something stood in the form twice.
    repeats: bool,
}

/// What becomes of a refresh token that is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refreshing {
    /// It is spent, and another one given. Shown again, it ends the whole grant (RFC 9700 §4.14.2).
    Rotates,
    /// It stays good, and no other one is given.
    Keeps,
    /// There never was one: none is given with the first tokens.
    Never,
}

/// How a question is answered.
#[derive(Clone, Debug)]
pub(crate) enum Manner {
    /// By the book.
    Well,
    /// By the book, but the body has a byte order mark and this content coding: `gzip` or
    /// `deflate`.
    Coded(&'static str),
    /// With this status, content type and body. Nothing is issued or spent.
    Saying(u16, &'static str, String),
    /// By a redirection of this status to this URL. Nothing is issued or spent.
    Leading(u16, String),
    /// By the book, as far as the provider knows; but the conn ends in the place of the answer.
    Silently,
    /// Not at all: the conn ends, and nothing is issued or spent.
    Hanging,
    /// By the book, with a pause before each byte of the body.
    Slowly(Duration),
    /// By the book, but for a body that would go on to 256 MiB.
    Endlessly,
}

type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;

/// Where questions come in.
struct Desk {
    books: Mutex<Books>,
    asked: watch::Sender<usize>,
    holds: watch::Sender<bool>,
}

/// All that the provider knows.
struct Books {
    client_secret: String,
    /// What the name of each token and code ends with.
    mark: String,
    expires_in: Value,
    refreshing: Refreshing,
    /// The time that a refresh token is still good after it was spent.
    grace: Duration,
    /// The seconds that a refresh token lives, by this clock.
    refresh_life: Option<(Clock, i64)>,
    denial: Option<(String, String)>,
    issuer: Option<String>,
    takes_pkce: bool,
    shape: fn(Value) -> Value,
    next: VecDeque<Manner>,
    always: Manner,
    questions: Vec<Question>,
    invitations: Vec<BTreeMap<String, String>>,
    codes: BTreeMap<String, Code>,
    grants: Vec<Grant>,
    refresh_tokens: BTreeMap<String, RefreshToken>,
    access_tokens: BTreeMap<String, AccessToken>,
    reused: usize,
}

struct Code {
    challenge: String,
    redirect_uri: String,
    scope: String,
    /// What it was exchanged for.
    grant: Option<usize>,
}

struct Grant {
    scope: String,
    revoked: bool,
}

struct RefreshToken {
    grant: usize,
    ends: Option<Timestamp>,
    spent: Option<Instant>,
}

struct AccessToken {
    grant: usize,
    /// For ever where nothing was said.
    ends: Option<Instant>,
    revoked: bool,
}

/// A status, and a code of RFC 6749 §5.2.
type Denial = (u16, &'static str);

impl Provider {
    /// A provider called [`HOST`], which gives tokens for an hour.
    pub(crate) async fn start() -> Self {
        Self::named(HOST).await
    }

    /// The same by another name.
    pub(crate) async fn named(host: &'static str) -> Self {
        let desk = Arc::new(Desk {
            books: Mutex::new(Books::new()),
            asked: watch::Sender::new(0),
            holds: watch::Sender::new(false),
        });
        let (acceptor, kept) = (TlsAcceptor::from(tls::origin(&["http/1.1"])), Arc::clone(&desk));
        let origin = Origin::on(listen(), move |io, number, memory| {
            let (acceptor, desk) = (acceptor.clone(), Arc::clone(&kept));
            async move {
                let Ok(io) = acceptor.accept(io).await else { return };
                let service = service_fn(move |request| {
                    hear(request, number, Arc::clone(&memory), Arc::clone(&desk))
                });
                let _ended =
                    http1::Builder::new().serve_connection(TokioIo::new(io), service).await;
            }
        });
        Self { origin: origin.await, host, desk }
    }

    /// A URL of the provider.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.host)
    }

    /// What makes its client with Keyferry.
    pub(crate) fn registration(&self) -> Value {
        json!({
            "name": "example_client", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET,
            "auth_url": self.url("/authorize"), "token_url": self.url("/token"),
            "default_scopes": "read write",
        })
    }

    /// How often the token endpoint was asked.
    pub(crate) fn asked(&self) -> usize {
        self.desk.books.lock().questions.len()
    }

    /// Waits until it was asked so often. What the last question was about is done by then.
    pub(crate) async fn has_been_asked(&self, count: usize) {
        let mut asked = self.desk.asked.subscribe();
        soon(asked.wait_for(|asked| *asked >= count)).await.unwrap();
    }

    /// The questions so far.
    pub(crate) fn questions(&self) -> Vec<Question> {
        self.desk.books.lock().questions.clone()
    }

    /// What the authorization endpoint was sent so far.
    pub(crate) fn invitations(&self) -> Vec<BTreeMap<String, String>> {
        self.desk.books.lock().invitations.clone()
    }

    /// How often a refresh token was shown that was spent before. A client of ours never does.
    pub(crate) fn reused(&self) -> usize {
        self.desk.books.lock().reused
    }

    /// Whether an origin would let this access token in.
    pub(crate) fn is_valid(&self, access_token: &str) -> bool {
        self.desk.books.lock().is_valid(access_token)
    }

    /// A code as the authorization endpoint gives it, for whoever knows the challenge's verifier.
    pub(crate) fn code(&self, challenge: &str, redirect_uri: &str) -> String {
        self.desk.books.lock().code(challenge, redirect_uri, "read write")
    }

    /// How long access tokens live, as it stands in answers from now on: a number of seconds, the
    /// same as text, or null for no word of it.
    pub(crate) fn set_expires_in(&self, expires_in: Value) {
        self.desk.books.lock().expires_in = expires_in;
    }

    /// What becomes of refresh tokens from now on.
    pub(crate) fn set_refreshing(&self, refreshing: Refreshing) {
        self.desk.books.lock().refreshing = refreshing;
    }

    /// A refresh token that was spent is good for so long yet, as some providers have it.
    pub(crate) fn set_grace(&self, grace: Duration) {
        self.desk.books.lock().grace = grace;
    }

    /// Refresh tokens live so many seconds by this clock from now on, and answers say so.
    pub(crate) fn set_refresh_life(&self, clock: &Clock, seconds: i64) {
        self.desk.books.lock().refresh_life = Some((clock.clone(), seconds));
    }

    /// The answer of a flow: the first tokens of a new grant.
    pub(crate) fn issue(&self) -> Value {
        let mut books = self.desk.books.lock();
        let grant = books.grant("read write");
        books.issue(grant, true)
    }

    /// The client has another secret from now on.
    pub(crate) fn set_client_secret(&self, secret: &str) {
        secret.clone_into(&mut self.desk.books.lock().client_secret);
    }

    /// All tokens and codes end with this from now on, so that they can be looked for.
    pub(crate) fn set_mark(&self, mark: &str) {
        mark.clone_into(&mut self.desk.books.lock().mark);
    }

    /// The authorization endpoint says who it is from now on (RFC 9207).
    pub(crate) fn set_issuer(&self, issuer: &str) {
        self.desk.books.lock().issuer = Some(issuer.to_owned());
    }

    /// The authorization endpoint says no from now on: a code of RFC 6749 §4.1.2.1, and words.
    pub(crate) fn set_denial(&self, error: &str, description: &str) {
        self.desk.books.lock().denial = Some((error.to_owned(), description.to_owned()));
    }

    /// A challenge and a verifier are refused from now on.
    pub(crate) fn refuse_pkce(&self) {
        self.desk.books.lock().takes_pkce = false;
    }

    /// Answers with tokens have another shape from now on.
    pub(crate) fn set_shape(&self, shape: fn(Value) -> Value) {
        self.desk.books.lock().shape = shape;
    }

    /// How one more question is answered: the next that none of these is there for already.
    pub(crate) fn next(&self, manner: Manner) {
        self.desk.books.lock().next.push_back(manner);
    }

    /// How all questions are answered from now on.
    pub(crate) fn always(&self, manner: Manner) {
        self.desk.books.lock().always = manner;
    }

    /// From now on whatever is asked for is done, and the answer is held back.
    pub(crate) fn hold(&self) {
        self.desk.holds.send_replace(true);
    }

    /// Lets go of the answers that are held back.
    pub(crate) fn release(&self) {
        self.desk.holds.send_replace(false);
    }

    /// No origin lets the access tokens in any more that there are now; refresh tokens stay good.
    pub(crate) fn revoke_access_tokens(&self) {
        for token in self.desk.books.lock().access_tokens.values_mut() {
            token.revoked = true;
        }
    }

    /// The user has changed their mind: nothing that was granted so far is good any more.
    pub(crate) fn revoke_grants(&self) {
        for grant in &mut self.desk.books.lock().grants {
            grant.revoked = true;
        }
    }
}

/// An origin that answers 200 and `ok` to whoever shows a valid access token of the provider, and
/// else says why not, as RFC 6750 §3 has it.
pub(crate) async fn origin_accepting(provider: &Provider) -> Origin {
    origin_speaking(&["http/1.1"], provider).await
}

/// The same, which speaks one of these protocols.
pub(crate) async fn origin_speaking(alpn: &[&str], provider: &Provider) -> Origin {
    let desk = Arc::clone(&provider.desk);
    Origin::answering(alpn, move |seen| {
        let field = seen.field("authorization");
        let token = field.strip_prefix("Bearer ").unwrap_or_default();
        if desk.books.lock().is_valid(token) {
            return ok("ok");
        }
        let challenge = "Bearer realm=\"example\", error=\"invalid_token\"";
        Response::builder()
            .status(401)
            .header("www-authenticate", challenge)
            .header("content-type", "application/json")
            .body(Full::from("{\"message\":\"the token is not valid\"}"))
            .unwrap()
    })
    .await
}

/// What a client shows for this verifier at first (RFC 7636 §4.2, S256).
pub(crate) fn challenge_of(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()))
}

impl Question {
    /// What stands in the form under this name; empty where nothing does.
    pub(crate) fn said(&self, name: &str) -> &str {
        self.form.get(name).map_or("", String::as_str)
    }

    fn read(seen: &Seen) -> Self {
        let path = seen.target.clone();
        if seen.field("content-type") == JSON {
            let form: BTreeMap<String, Value> = serde_json::from_slice(&seen.body).unwrap();
            let text =
                |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let form = form.into_iter().map(|(name, value)| (name, text(value))).collect();
            return Self { path, headers: seen.headers.clone(), form, repeats: false };
        }
        let (form, twice) = seen.form();
        Self { path, headers: seen.headers.clone(), form, repeats: twice.is_some() }
    }

    /// The client's id and secret: in `Authorization` or in the form, never in both (RFC 6749 §2.3).
    fn client(&self) -> Option<(String, String)> {
        let in_form = ["client_id", "client_secret"].map(|name| self.form.get(name).cloned());
        match (self.headers.get("authorization"), in_form) {
            (None, [Some(id), Some(secret)]) => Some((id, secret)),
            (Some(field), [None, None]) => {
                let pair = field.to_str().ok()?.strip_prefix("Basic ")?;
                let pair = String::from_utf8(STANDARD.decode(pair).ok()?).ok()?;
                let (id, secret) = pair.split_once(':')?;
                Some((form_decoded(id)?, form_decoded(secret)?))
            }
            _ => None,
        }
    }
}

impl Books {
    fn new() -> Self {
        Self {
            client_secret: CLIENT_SECRET.to_owned(),
            mark: String::new(),
            expires_in: json!(3600),
            refreshing: Refreshing::Rotates,
            grace: Duration::ZERO,
            refresh_life: None,
            denial: None,
            issuer: None,
            takes_pkce: true,
            shape: |answer| answer,
            next: VecDeque::new(),
            always: Manner::Well,
            questions: Vec::new(),
            invitations: Vec::new(),
            codes: BTreeMap::new(),
            grants: Vec::new(),
            refresh_tokens: BTreeMap::new(),
            access_tokens: BTreeMap::new(),
            reused: 0,
        }
    }

    fn is_valid(&self, access_token: &str) -> bool {
        let good = |token: &AccessToken| {
            let ended = token.ends.is_some_and(|end| Instant::now() >= end);
            !(ended || token.revoked || self.grants[token.grant].revoked)
        };
        self.access_tokens.get(access_token).is_some_and(good)
    }

    fn code(&mut self, challenge: &str, redirect_uri: &str, scope: &str) -> String {
        let name = format!("code-{}{}", self.codes.len() + 1, self.mark);
        let [challenge, redirect_uri, scope] = [challenge, redirect_uri, scope].map(str::to_owned);
        self.codes.insert(name.clone(), Code { challenge, redirect_uri, scope, grant: None });
        name
    }

    /// Takes a question down, and does what it asks for.
    fn take(&mut self, question: Question) -> (Manner, Value, u16) {
        let manner = self.next.pop_front().unwrap_or_else(|| self.always.clone());
        let idle = matches!(manner, Manner::Saying(..) | Manner::Leading(..) | Manner::Hanging);
        let shape = self.shape;
        let outcome = if idle { Ok(Value::Null) } else { self.answer(&question).map(shape) };
        self.questions.push(question);
        match outcome {
            Ok(body) => (manner, body, 200),
            Err((status, error)) => (manner, json!({"error": error}), status),
        }
    }

    fn answer(&mut self, question: &Question) -> Result<Value, Denial> {
        if question.repeats {
            return Err((400, "invalid_request"));
        }
        let known = (CLIENT_ID.to_owned(), self.client_secret.clone());
        if question.client() != Some(known) {
            return Err((401, "invalid_client"));
        }
        match question.said("grant_type") {
            "authorization_code" => self.exchange(question),
            "refresh_token" => self.refresh(question),
            "client_credentials" => {
                let grant = self.grant(question.said("scope"));
                Ok(self.issue(grant, false))
            }
            // An access token for the next one, as at Facebook.
            "exchange_token" => {
                let token = question.said("old_token");
                let grant = self.access_tokens.get(token).filter(|_| self.is_valid(token));
                let grant = grant.ok_or(INVALID_GRANT)?.grant;
                Ok(self.issue(grant, false))
            }
            _ => Err((400, "unsupported_grant_type")),
        }
    }

    fn exchange(&mut self, question: &Question) -> Result<Value, Denial> {
        let code = self.codes.get(question.said("code")).ok_or(INVALID_GRANT)?;
        if let Some(grant) = code.grant {
            self.grants[grant].revoked = true;
            return Err(INVALID_GRANT);
        }
        let challenge = match question.form.get("code_verifier") {
            Some(_) if !self.takes_pkce => return Err((401, "invalid_client")),
            Some(verifier) => challenge_of(verifier),
            None => String::new(),
        };
        let asked = (challenge, question.said("redirect_uri"));
        if asked != (code.challenge.clone(), code.redirect_uri.as_str()) {
            return Err(INVALID_GRANT);
        }
        let grant = self.grant(&code.scope.clone());
        if let Some(code) = self.codes.get_mut(question.said("code")) {
            code.grant = Some(grant);
        }
        Ok(self.issue(grant, self.refreshing != Refreshing::Never))
    }

    fn refresh(&mut self, question: &Question) -> Result<Value, Denial> {
        let token = self.refresh_tokens.get_mut(question.said("refresh_token"));
        let token = token.ok_or(INVALID_GRANT)?;
        let grant = token.grant;
        let has_ended =
            |(clock, _): &(Clock, i64)| token.ends.is_some_and(|end| clock.now() >= end);
        if self.refresh_life.as_ref().is_some_and(has_ended) {
            return Err(INVALID_GRANT);
        }
        let grace = self.grace;
        if token.spent.is_some_and(|since| since.elapsed() >= grace) {
            self.reused += 1;
            self.grants[grant].revoked = true;
        }
        if self.grants[grant].revoked {
            return Err(INVALID_GRANT);
        }
        let rotates = self.refreshing == Refreshing::Rotates;
        if rotates && token.spent.is_none() {
            token.spent = Some(Instant::now());
        }
        Ok(self.issue(grant, rotates))
    }

    fn grant(&mut self, scope: &str) -> usize {
        self.grants.push(Grant { scope: scope.to_owned(), revoked: false });
        self.grants.len() - 1
    }

    fn issue(&mut self, grant: usize, refreshable: bool) -> Value {
        let name = format!("at-{}{}", self.access_tokens.len() + 1, self.mark);
        let mut answer = json!({"access_token": name, "token_type": "Bearer"});
        let seconds = match &self.expires_in {
            Value::String(text) => text.parse().ok(),
            value => value.as_u64(),
        };
        let ends = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        self.access_tokens.insert(name, AccessToken { grant, ends, revoked: false });
        if !self.expires_in.is_null() {
            answer["expires_in"] = self.expires_in.clone();
        }
        if !self.grants[grant].scope.is_empty() {
            answer["scope"] = self.grants[grant].scope.as_str().into();
        }
        if refreshable {
            let name = format!("rt-{}{}", self.refresh_tokens.len() + 1, self.mark);
            answer["refresh_token"] = name.as_str().into();
            let end =
                |(clock, seconds): &(Clock, i64)| clock.now() + SignedDuration::from_secs(*seconds);
            let ends = self.refresh_life.as_ref().map(end);
            if let Some((_, seconds)) = &self.refresh_life {
                answer["refresh_token_expires_in"] = (*seconds).into();
            }
            self.refresh_tokens.insert(name, RefreshToken { grant, ends, spent: None });
        }
        answer
    }

    /// Says yes in the user's name, and leads back.
    fn authorize(&mut self, query: &str) -> Answer {
        let asked: BTreeMap<_, _> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let said = |name: &str| asked.get(name).cloned().unwrap_or_default();
        let [redirect_uri, state, scope] = ["redirect_uri", "state", "scope"].map(said);
        let challenge = said("code_challenge");
        let method = if self.takes_pkce { "S256" } else { "" };
        let right = [
            ("response_type", "code"),
            ("client_id", CLIENT_ID),
            ("code_challenge_method", method),
        ];
        let is_right = right.iter().all(|(name, value)| said(name) == *value);
        self.invitations.push(asked);
        let lacks = redirect_uri.is_empty() || state.is_empty();
        if !is_right || lacks || challenge.is_empty() == self.takes_pkce {
            return answer(400, "text/plain", whole("this is no authorization request"));
        }
        let mut query = Serializer::new(String::new());
        match self.denial.clone() {
            Some((error, description)) => {
                query.append_pair("error", &error).append_pair("error_description", &description)
            }
            None => query.append_pair("code", &self.code(&challenge, &redirect_uri, &scope)),
        };
        query.append_pair("state", &state);
        if let Some(issuer) = &self.issuer {
            query.append_pair("iss", issuer);
        }
        leading(302, &format!("{redirect_uri}?{}", query.finish()))
    }
}

impl Desk {
    async fn answer(&self, question: Question) -> io::Result<Answer> {
        let (manner, body, status) = self.books.lock().take(question);
        self.asked.send_modify(|asked| *asked += 1);
        let mut holds = self.holds.subscribe();
        let _released = holds.wait_for(|holds| !holds).await;
        let body = body.to_string();
        match manner {
            Manner::Well => Ok(answer(status, JSON, whole(&body))),
            Manner::Coded(coding) => Ok(coded(status, coding, &body)),
            Manner::Saying(status, kind, body) => Ok(answer(status, kind, whole(&body))),
            Manner::Leading(status, url) => Ok(leading(status, &url)),
            Manner::Silently | Manner::Hanging => Err(io::ErrorKind::ConnectionAborted.into()),
            Manner::Slowly(pause) => Ok(answer(status, JSON, slowly(body.into(), pause))),
            Manner::Endlessly => Ok(answer(status, JSON, endless())),
        }
    }
}

async fn hear(
    request: Request<Incoming>,
    conn: usize,
    memory: Arc<Memory>,
    desk: Arc<Desk>,
) -> io::Result<Answer> {
    let (head, body) = request.into_parts();
    let collected = body.collect().await.map_err(io::Error::other)?;
    let seen = Seen {
        conn,
        method: head.method.to_string(),
        target: head.uri.to_string(),
        version: head.version,
        headers: head.headers,
        trailers: HeaderMap::new(),
        body: collected.to_bytes(),
    };
    memory.remember(seen.clone());
    match (seen.method.as_str(), head.uri.path()) {
        ("POST", "/token" | "/refresh" | "/oauth/tokens") => {
            desk.answer(Question::read(&seen)).await
        }
        ("GET", "/authorize" | "/oauth/authorizations/new") => {
            let query = head.uri.query().unwrap_or_default();
            Ok(desk.books.lock().authorize(query))
        }
        _ => Ok(answer(404, "text/plain", whole("there is nothing here"))),
    }
}

fn answer(status: u16, kind: &str, body: UnsyncBoxBody<Bytes, io::Error>) -> Answer {
    let head = Response::builder().status(status).header("content-type", kind);
    head.header("cache-control", "no-store").body(body).unwrap()
}

fn coded(status: u16, coding: &'static str, body: &str) -> Answer {
    let text = format!("\u{feff}{body}");
    let coded = if coding == "gzip" {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    } else {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let body = Full::new(Bytes::from(coded)).map_err(|never| match never {}).boxed_unsync();
    let mut answer = answer(status, JSON, body);
    answer.headers_mut().insert("content-encoding", coding.parse().unwrap());
    answer
}

fn leading(status: u16, url: &str) -> Answer {
    Response::builder().status(status).header("location", url).body(whole("")).unwrap()
}

fn whole(text: &str) -> UnsyncBoxBody<Bytes, io::Error> {
    let body = Full::new(Bytes::copy_from_slice(text.as_bytes()));
    body.map_err(|never| match never {}).boxed_unsync()
}

fn slowly(body: Bytes, pause: Duration) -> UnsyncBoxBody<Bytes, io::Error> {
    let bytes = stream::unfold(body, move |mut left| async move {
        if left.is_empty() {
            return None;
        }
        tokio::time::sleep(pause).await;
        Some((Ok(Frame::data(left.split_to(1))), left))
    });
    StreamBody::new(bytes).boxed_unsync()
}

fn endless() -> UnsyncBoxBody<Bytes, io::Error> {
    let start = Bytes::from_static(b"{\"access_token\":\"");
    let piece = Bytes::from(vec![b'a'; 64 << 10]);
    let pieces = std::iter::once(start).chain(std::iter::repeat_n(piece, 4096));
    StreamBody::new(stream::iter(pieces.map(|piece| Ok(Frame::data(piece))))).boxed_unsync()
}

/// One text out of a form (RFC 6749 appendix B).
fn form_decoded(text: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(text.as_bytes()).into_owned();
    match (pairs.next(), pairs.next()) {
        (Some((text, rest)), None) if rest.is_empty() => Some(text),
        _ => None,
    }
}

const JSON: &str = "application/json";
const INVALID_GRANT: Denial = (400, "invalid_grant");

mod tests;
