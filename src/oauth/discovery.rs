//! Discovery and registration: what an authorization server and a protected resource say of
//! themselves (RFC 8414, OpenID Connect Discovery, RFC 9728), and a client that registers itself
//! (RFC 7591). Requests carry nothing secret; no redirect is followed.

mod challenge;
mod metadata;

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use self::challenge::Challenge;
pub use self::metadata::{MetadataError, RegisteredClient, ResourceMetadata, ServerMetadata};
use super::failure::TokenFailure;
use super::provider::{AGENT, Provider, collect, unsent};
use super::request::JSON;
use crate::model::name::IntegrationName;
use crate::model::oauth::client::AuthMethod;
use crate::model::oauth::discovery::{DiscoveryEndpoint, ResourceUrl, server_metadata_urls};
use crate::model::oauth::endpoint::EndpointError;
use crate::model::oauth::profile::Issuer;
use crate::secret::Secret;
use crate::upstream::{Departure, Outgoing};

/// A protected resource, and the authorization server whose tokens it takes.
#[derive(Clone, Debug)]
pub struct DiscoveredResource {
    /// Its identifier, for `resource` (RFC 8707).
    pub resource: Box<str>,
    /// The scopes to ask for, separated by spaces.
    pub scopes: Box<str>,
    /// The server.
    pub server: ServerMetadata,
}

/// The reason why discovery or a registration brought nothing: what was asked, and what failed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{url}: {cause}")]
pub struct DiscoveryError {
    /// The URL, which was checked and is printable.
    url: Box<str>,
    cause: DiscoveryFailure,
}

/// The failure of a request of discovery. None of an answer's own words are in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DiscoveryFailure {
    /// The URL can't be asked.
    #[error("its URL {0}")]
    Endpoint(#[from] EndpointError),
    /// The port is not one that anything may be sent to.
    #[error("its port is not one of proxy.allowed_ports")]
    Port,
    /// The request was not answered.
    #[error("{0}")]
    Unanswered(&'static str),
    /// It redirects.
    #[error("it redirects, which is not followed: give the URL that it leads to")]
    Redirects,
    /// The status is not one of success.
    #[error("it answered with status {}", .0.as_u16())]
    Status(StatusCode),
    /// The document is of no use.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The resource answers anybody.
    #[error("it asks for no authorization, so that it needs no connection by OAuth")]
    NotProtected,
    /// The resource wants tokens that are bound to a key.
    #[error("it takes only DPoP-bound access tokens (RFC 9449), which are not supported")]
    NeedsDpop,
    /// The server registers nobody by itself.
    #[error(
        "it registers no clients by itself: register one with the provider by hand, and create it \
         with `keyferry client create --issuer`"
    )]
    NoRegistration,
    /// The server refuses the registration, by a code of RFC 7591 §3.2.2.
    #[error("it refuses to register a client: {0}")]
    Refused(&'static str),
}

/// The facts that a client registers about itself.
#[derive(Clone, Copy, Debug)]
pub struct Registration<'a> {
    /// The URL to which the browser is sent back.
    pub redirect_uri: &'a str,
    /// The scopes, separated by spaces.
    pub scopes: &'a str,
    /// The method by which it is to authenticate.
    pub auth_method: AuthMethod,
}

/// An answer, whatever it says.
struct Fetched {
    status: StatusCode,
    headers: HeaderMap,
    body: Secret,
}

impl DiscoveryError {
    /// A failure at this URL, which must be printable.
    #[must_use]
    pub fn new(url: &str, cause: DiscoveryFailure) -> Self {
        Self { url: url.into(), cause }
    }

    /// The server has no place at which clients register themselves.
    #[must_use]
    pub fn unregistered(server: &ServerMetadata) -> Self {
        Self::new(server.issuer.as_str(), DiscoveryFailure::NoRegistration)
    }

    /// Tells whether nothing is there.
    fn is_nothing(&self) -> bool {
        matches!(self.cause, DiscoveryFailure::Status(status) if status.is_client_error())
    }

    /// Tells whether there is no document; some answer everything with a page.
    fn is_absence(&self) -> bool {
        self.is_nothing() || self.cause == MetadataError::NotJson.into()
    }

    /// Tells whether no answer came at all.
    fn is_silence(&self) -> bool {
        matches!(self.cause, DiscoveryFailure::Unanswered(_) | DiscoveryFailure::Port)
    }
}

impl Provider {
    /// Reads the metadata of the authorization server with this issuer identifier.
    ///
    /// # Errors
    /// [`DiscoveryError`] says what was asked, and why there is none.
    pub async fn discover(
        &self,
        integration: &IntegrationName,
        issuer: &Issuer,
    ) -> Result<ServerMetadata, DiscoveryError> {
        let urls = server_metadata_urls(issuer);
        let read = |body: &[u8]| ServerMetadata::read(issuer, body);
        self.first_document(integration, &urls, read).await
    }

    /// Finds out whose tokens a protected resource takes, and reads that server's metadata.
    ///
    /// # Errors
    /// [`DiscoveryError`] says what was asked, and why there is none.
    pub async fn discover_resource(
        &self,
        integration: &IntegrationName,
        url: &ResourceUrl,
    ) -> Result<DiscoveredResource, DiscoveryError> {
        // 1. Asked without a token, the resource says where its metadata is.
        let address = format!("{}{}", url.origin(), url.target());
        let probed = self.ask_json(integration, &address, Some(&initialize()), false).await?;
        let challenge = Challenge::read(&probed.headers);
        let mut places: Vec<String> = challenge.resource_metadata.into_iter().collect();
        places.extend(url.metadata_urls());
        // 2. The metadata names the server. Without any, the server is at the resource's origin.
        let read = |body: &[u8]| ResourceMetadata::read(url, body);
        let described = match self.first_document(integration, &places, read).await {
            Ok(described) => Some(described),
            Err(error) if error.is_absence() => None,
            Err(error) => return Err(error),
        };
        let failed = |cause| DiscoveryError::new(&address, cause);
        if described.as_ref().is_some_and(|described| described.needs_dpop) {
            return Err(failed(DiscoveryFailure::NeedsDpop));
        }
        let named = described.as_ref().and_then(|described| described.issuers.first().cloned());
        let own = || url.own_issuer().map_err(|_rule| failed(MetadataError::OtherIssuer.into()));
        let issuer = named.map_or_else(own, Ok)?;
        let server = self.discover(integration, &issuer).await.map_err(|error| {
            let is_open = described.is_none() && probed.status.is_success() && error.is_absence();
            if is_open { failed(DiscoveryFailure::NotProtected) } else { error }
        })?;
        // 3. The scopes of the challenge count before those of the metadata.
        let listed = described.as_ref().map(|described| described.scopes.clone());
        let listed = listed.unwrap_or_default();
        let scopes = if challenge.scopes.is_empty() { listed } else { challenge.scopes };
        let resource = described.map_or_else(|| url.identifier().into(), |known| known.resource);
        Ok(DiscoveredResource { resource, scopes: with_offline(&scopes, &server), server })
    }

    /// Registers a client with a server.
    ///
    /// # Errors
    /// [`DiscoveryError`] says what was asked, and why there is no client.
    pub async fn register(
        &self,
        integration: &IntegrationName,
        server: &ServerMetadata,
        registration: Registration<'_>,
    ) -> Result<RegisteredClient, DiscoveryError> {
        let failed = |url: &str, cause| DiscoveryError::new(url, cause);
        let Some(url) = &server.registration_url else {
            return Err(DiscoveryError::unregistered(server));
        };
        let url = url.as_str();
        let document = registration.document(server);
        let answer = self.ask_json(integration, url, Some(&document), true).await?;
        if !answer.status.is_success() {
            return Err(failed(url, refusal(&answer)));
        }
        RegisteredClient::read(registration.auth_method, answer.body.expose())
            .map_err(|error| failed(url, error.into()))
    }

    /// The first document of these places that is there and can be used.
    pub(super) async fn first_document<T>(
        &self,
        integration: &IntegrationName,
        urls: &[String],
        read: impl Fn(&[u8]) -> Result<T, MetadataError>,
    ) -> Result<T, DiscoveryError> {
        let mut failure: Option<DiscoveryError> = None;
        for url in urls {
            let found = self.ask_json(integration, url, None, true).await.and_then(|answer| {
                let cause = match answer.status {
                    StatusCode::OK => match read(answer.body.expose()) {
                        Ok(document) => return Ok(document),
                        Err(error) => error.into(),
                    },
                    status => DiscoveryFailure::Status(status),
                };
                Err(DiscoveryError::new(url, cause))
            });
            match found {
                Ok(document) => return Ok(document),
                // Who is not reached is not reached in another place either.
                Err(error) if error.is_silence() => return Err(error),
                // The first that says more than that nothing is there is told.
                Err(error) => {
                    let is_told = failure.as_ref().is_some_and(|told| !told.is_nothing());
                    failure = failure.filter(|_| is_told).or(Some(error));
                }
            }
        }
        Err(failure.unwrap_or_else(|| {
            DiscoveryError::new("", DiscoveryFailure::Status(StatusCode::NOT_FOUND))
        }))
    }

    /// Sends a GET, or a POST of a document, and reads the answer: its head alone unless `whole`.
    async fn ask_json(
        &self,
        integration: &IntegrationName,
        url: &str,
        document: Option<&Value>,
        whole: bool,
    ) -> Result<Fetched, DiscoveryError> {
        let endpoint = DiscoveryEndpoint::parse(url, integration)
            .map_err(|rule| DiscoveryError::new(PLACE, rule.into()))?;
        let asked = Box::pin(self.exchange_json(endpoint, document, whole));
        let answer = tokio::time::timeout(REQUEST_TIMEOUT, asked).await;
        let answer =
            answer.unwrap_or(Err(DiscoveryFailure::Unanswered("it took longer than 10 s")));
        answer.map_err(|cause| DiscoveryError::new(url, cause))
    }

    async fn exchange_json(
        &self,
        endpoint: DiscoveryEndpoint,
        document: Option<&Value>,
        whole: bool,
    ) -> Result<Fetched, DiscoveryFailure> {
        // 1. The port is one of those that anything may be sent to.
        let in_force = self.live.load();
        if !in_force.settings.terms.allowed_ports.allows(endpoint.origin().port()) {
            return Err(DiscoveryFailure::Port);
        }
        // 2. The request, by the guard of every origin.
        let departure = Departure::to_discovery(endpoint, request(document));
        let rules = &in_force.rules;
        let opened = self.upstream.open_dedicated(rules, departure).await;
        let opened = opened.map_err(|error| words(unsent(&error)))?;
        let reply = self.upstream.send_on(rules, opened).await;
        let reply = reply.map_err(|error| words(unsent(&error)))?;
        // 3. The answer. Of one that may go on for ever, the head is enough.
        let (status, headers) = (reply.status(), reply.headers().clone());
        if status.is_redirection() {
            return Err(DiscoveryFailure::Redirects);
        }
        let body = if whole { collect(reply).await.map_err(words)? } else { Secret::new("") };
        Ok(Fetched { status, headers, body })
    }
}

impl Registration<'_> {
    fn document(&self, server: &ServerMetadata) -> Value {
        let mut grants = vec!["authorization_code"];
        if server.refreshes {
            grants.push("refresh_token");
        }
        // OpenID Connect lets only native applications be led to loopback.
        let is_native = !self.redirect_uri.starts_with("https://");
        let mut document = json!({
            "application_type": if is_native { "native" } else { "web" },
            "client_name": "Keyferry",
            "grant_types": grants,
            "redirect_uris": [self.redirect_uri],
            "response_types": ["code"],
            "token_endpoint_auth_method": self.auth_method.as_str(),
        });
        // Scopes of the resource alone are left out: a client without any is not limited.
        let mut scopes = self.scopes.split(' ');
        let are_known = server.scopes.is_none() || scopes.all(|scope| server.names_scope(scope));
        let has_scope = are_known && !self.scopes.is_empty();
        if let Some(members) = document.as_object_mut().filter(|_| has_scope) {
            members.insert("scope".to_owned(), self.scopes.into());
        }
        document
    }
}

/// The request, without a body for a GET.
fn request(document: Option<&Value>) -> Request<Outgoing> {
    let mut request = Request::new(Outgoing::empty());
    let accepted = if document.is_some() { JSON_OR_EVENTS } else { JSON };
    if let Some(document) = document {
        let text = document.to_string();
        let length = text.len();
        let body = http_body_util::Full::new(bytes::Bytes::from(text));
        *request.body_mut() = Outgoing::stream(body.map_err(|never| match never {}));
        *request.method_mut() = Method::POST;
        request.headers_mut().insert(header::CONTENT_TYPE, JSON);
        request.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    }
    let headers = request.headers_mut();
    headers.insert(header::ACCEPT, accepted);
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static(AGENT));
    request
}

/// The first message of an MCP client. Sent without a token, it is answered with the challenge.
fn initialize() -> Value {
    json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": {"name": "keyferry", "version": env!("CARGO_PKG_VERSION")},
        },
    })
}

/// The scopes, with the one that asks for a refresh token where the server has it.
fn with_offline(scopes: &str, server: &ServerMetadata) -> Box<str> {
    let is_there = scopes.split(' ').any(|scope| scope == OFFLINE_ACCESS);
    match scopes {
        scopes if is_there || !server.names_scope(OFFLINE_ACCESS) => scopes.into(),
        "" => OFFLINE_ACCESS.into(),
        scopes => format!("{scopes} {OFFLINE_ACCESS}").into(),
    }
}

/// The failure that an answer without a client means (RFC 7591 §3.2.2).
fn refusal(answer: &Fetched) -> DiscoveryFailure {
    if matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return DiscoveryFailure::NoRegistration;
    }
    let said: Option<Value> = serde_json::from_slice(answer.body.expose()).ok();
    let code = said.as_ref().and_then(|said| said.get("error")).and_then(Value::as_str);
    let known = code.and_then(|code| REFUSALS.into_iter().find(|known| *known == code));
    known.map_or(DiscoveryFailure::Status(answer.status), DiscoveryFailure::Refused)
}

/// The words of a failure to get an answer, which say nothing of tokens.
fn words(failure: TokenFailure) -> DiscoveryFailure {
    DiscoveryFailure::Unanswered(match failure {
        TokenFailure::NotSent(words)
        | TokenFailure::Unanswered(words)
        | TokenFailure::Unfit(words) => words,
        _ => "it was not reached",
    })
}

/// Codes of a refused registration.
const REFUSALS: [&str; 6] = [
    "access_denied",
    "invalid_client_metadata",
    "invalid_redirect_uri",
    "invalid_request",
    "invalid_software_statement",
    "unapproved_software_statement",
];

/// The scope by which OpenID Connect asks for a refresh token.
const OFFLINE_ACCESS: &str = "offline_access";
/// A place that a document names by no URL at all.
const PLACE: &str = "the place that its answer names";
/// The time that one request may take, from the resolver to the last byte of the answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

const JSON_OR_EVENTS: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
