//! An exchange with a token endpoint: one request and its response, on a conn of its own; no
//! redirect is followed, and nothing is asked twice.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use jiff::{SignedDuration, Timestamp};

use super::assertion::Assertions;
use super::coding::{CodingError, decode};
use super::failure::TokenFailure;
use super::request::{EncodedRequest, GrantParams, JSON, TokenRequest};
use super::response::{AnswerShape, GrantedTokens, read};
use crate::clock::Clock;
use crate::model::oauth::client::ClientRecord;
use crate::model::oauth::endpoint::TokenEndpoint;
use crate::model::oauth::tokens::TokenSet;
use crate::model::record::whole_microseconds;
use crate::secret::Secret;
use crate::state::{Live, Persistence};
use crate::upstream::{Departure, Error, Outgoing, Reply, Upstream};

/// Asks token endpoints.
#[derive(Debug)]
pub struct Provider {
    pub(super) upstream: Upstream,
    pub(super) live: Arc<Live>,
    /// `None` where nothing is kept, so that there are no clients to ask for.
    persistence: Option<Arc<Persistence>>,
    pub(super) clock: Clock,
}

/// The reason why a request brought no tokens, and when the next may be sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Unsuccessful {
    /// The reason.
    pub failure: TokenFailure,
    /// The time after which the provider says to come back.
    pub retry_after: Option<Duration>,
}

/// An endpoint's response, whatever it says.
#[derive(Debug)]
pub struct TokenResponse {
    /// Its status.
    pub status: StatusCode,
    /// Its body.
    pub body: Secret,
    pub(super) retry_after: Option<Duration>,
}

impl From<TokenFailure> for Unsuccessful {
    fn from(failure: TokenFailure) -> Self {
        Self { failure, retry_after: None }
    }
}

impl Provider {
    /// Asks by this way out. Without a store there are no clients to ask for.
    #[must_use]
    pub fn new(
        upstream: Upstream,
        live: Arc<Live>,
        persistence: Option<Arc<Persistence>>,
        clock: Clock,
    ) -> Self {
        Self { upstream, live, persistence, clock }
    }

    /// Asks a client's token endpoint for tokens. `before_asking` is waited for once there is a
    /// conn to the endpoint, and before a byte of the question is written; where it fails nothing
    /// is.
    ///
    /// Not cancel-safe: the provider may have acted on the question.
    ///
    /// # Errors
    /// [`Unsuccessful`] says why there are none.
    pub async fn ask(
        &self,
        token_request: TokenRequest<'_>,
        before_asking: impl Future<Output = Result<(), TokenFailure>>,
    ) -> Result<TokenSet, Unsuccessful> {
        let TokenRequest { client, subdomain, grant_params, scopes } = token_request;
        // 1. The request, with the client's secret.
        let refreshing = TokenEndpoint::of_refresh(client, subdomain);
        let refreshing = refreshing.map_err(TokenFailure::Endpoint)?;
        let issuer = refreshing.origin().to_string();
        let is_refresh = matches!(grant_params, GrantParams::Refresh { .. });
        let endpoint = if is_refresh {
            refreshing
        } else {
            TokenEndpoint::of_client(client, subdomain).map_err(TokenFailure::Endpoint)?
        };
        let secret = self.client_secret(client).await?;
        let url = client.token_url.fill(subdomain).map_err(TokenFailure::Endpoint)?;
        let assertions = Assertions::sign(&token_request, &secret, &url, self.clock.now())?;
        let content = EncodedRequest::of(&token_request, &secret, &assertions)?;
        // 2. It is sent. Its time counts: a token must not be held for fresher than it is.
        let mut asked_at = self.clock.now();
        let before_asking = async {
            before_asking.await?;
            asked_at = self.clock.now();
            Ok(())
        };
        let answer = self.exchange(endpoint, content, before_asking).await?;
        // 3. The response has tokens, or says why not.
        let profile = &client.profile;
        let shape = AnswerShape { profile, asked_at, is_refresh };
        match read(answer.status, answer.body.expose(), &shape) {
            Ok(mut granted) => {
                // Where there is no refresh token because the access token itself is exchanged for
                // the next one, it is both. A refresh token of before is not given up for it.
                let is_exchange =
                    profile.exchanges_access_token() && !grant_params.has_kept_token();
                if is_exchange && granted.refresh_token.is_none() {
                    granted.refresh_token = Some(granted.access_token.clone());
                }
                let said = SuccessfulResponse { granted, body: answer.body, issuer };
                Ok(said.into_tokens(asked_at, scopes))
            }
            Err(failure) => {
                let [one, other] = grant_params.secrets();
                let failure = failure.without([Some(&secret), one, other]);
                Err(Unsuccessful { failure, retry_after: answer.retry_after })
            }
        }
    }

    /// Opens a client's secret.
    pub(super) async fn client_secret(
        &self,
        client: &ClientRecord,
    ) -> Result<Secret, TokenFailure> {
        let whose = format!("the OAuth client {} of {}", client.name, client.integration);
        let persistence = self.persistence.as_ref().ok_or(TokenFailure::Store)?;
        let secret = persistence.open(&whose, client.context(), &client.sealed).await;
        secret.map_err(TokenFailure::from)
    }

    /// Sends a JSON document to a token endpoint, and gives whatever it answers.
    ///
    /// # Errors
    /// [`TokenFailure`] when there is no response.
    pub async fn relay(
        &self,
        endpoint: TokenEndpoint,
        json: Secret,
    ) -> Result<TokenResponse, TokenFailure> {
        let content = EncodedRequest { body: json, kind: JSON, authorization: None };
        self.exchange(endpoint, content, std::future::ready(Ok(()))).await
    }

    pub(super) async fn exchange(
        &self,
        endpoint: TokenEndpoint,
        content: EncodedRequest,
        before_asking: impl Future<Output = Result<(), TokenFailure>>,
    ) -> Result<TokenResponse, TokenFailure> {
        self.exchange_request(endpoint, content.into_request(), before_asking).await
    }

    pub(super) async fn exchange_request(
        &self,
        endpoint: TokenEndpoint,
        request: Request<Outgoing>,
        before_asking: impl Future<Output = Result<(), TokenFailure>>,
    ) -> Result<TokenResponse, TokenFailure> {
        if !self.live.load().settings.terms.allowed_ports.allows(endpoint.origin().port()) {
            return Err(TokenFailure::Port);
        }
        let departure = Departure::to_token_endpoint(endpoint, request);
        let exchange = Box::pin(self.send(departure, before_asking));
        let answer = tokio::time::timeout(EXCHANGE_TIMEOUT, exchange).await;
        answer.unwrap_or(Err(TokenFailure::Unanswered("it took longer than 20 s")))
    }

    async fn send(
        &self,
        departure: Departure,
        before_asking: impl Future<Output = Result<(), TokenFailure>>,
    ) -> Result<TokenResponse, TokenFailure> {
        let rules = Arc::clone(&self.live.load().rules);
        let failed = |error: Error| {
            tracing::warn!(
                error = error.chain(),
                "a token endpoint was not reached: check the client's token_url, and the network"
            );
            unsent(&error)
        };
        let opened = self.upstream.open_dedicated(&rules, departure).await.map_err(failed)?;
        before_asking.await?;
        let reply = self.upstream.send_on(&rules, opened).await.map_err(failed)?;
        let (status, retry_after) = (reply.status(), retry_after(reply.headers()));
        Ok(TokenResponse { status, retry_after, body: collect(reply).await? })
    }
}

impl EncodedRequest {
    pub(super) fn into_request(self) -> Request<Outgoing> {
        let length = self.body.len();
        let body = http_body_util::Full::new(self.body.into_shared());
        let mut request = Request::new(Outgoing::stream(body.map_err(|never| match never {})));
        *request.method_mut() = Method::POST;
        let headers = request.headers_mut();
        headers.insert(header::ACCEPT, JSON);
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.insert(header::CONTENT_TYPE, self.kind);
        headers.insert(header::CONTENT_LENGTH, length.into());
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(AGENT));
        if let Some(authorization) = self.authorization {
            headers.insert(header::AUTHORIZATION, authorization);
        }
        request
    }
}

/// The failure of an exchange, by what went wrong: it says whether the provider may have been asked.
pub(super) fn unsent(error: &Error) -> TokenFailure {
    match error {
        Error::NameUnresolved(_) | Error::NameTimeout => {
            TokenFailure::NotSent("its name does not resolve")
        }
        Error::TooManyLookups => {
            TokenFailure::NotSent("too many look-ups of the integration's names are under way")
        }
        Error::Prohibited(_) => TokenFailure::Unfit(
            "its address is not on the public internet; the operator can allow its network with \
             upstream.allow_networks",
        ),
        Error::ConnectRefused(_) | Error::ConnectTimeout => {
            TokenFailure::NotSent("no conn could be opened")
        }
        Error::CertificateInvalid(_) => TokenFailure::Unfit("its certificate is not valid"),
        Error::CertificateDemanded(_) | Error::CertificateRefused(_) => {
            TokenFailure::NotSent("it demands a client certificate")
        }
        Error::TlsFailed(_) | Error::TargetNotCarried(_) => TokenFailure::NotSent("TLS failed"),
        Error::Withdrawn(_) => TokenFailure::NotSent("the question was withdrawn"),
        Error::ResponseTimeout => TokenFailure::Unanswered("it did not answer in time"),
        Error::ResponseMalformed(_) => TokenFailure::Unanswered("its answer is not well-formed"),
        Error::Closed(..) | Error::RequestBody(_) | Error::UpgradeFailed => {
            TokenFailure::Unanswered("it closed the conn")
        }
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

pub(super) async fn collect(mut reply: Reply) -> Result<Secret, TokenFailure> {
    let announced = reply.body().size_hint().exact().and_then(|size| usize::try_from(size).ok());
    let body = reply.body_mut();
    let mut whole =
        zeroize::Zeroizing::new(Vec::with_capacity(announced.unwrap_or(0).min(MAX_RESPONSE_LEN)));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_broken| TokenFailure::Unanswered("its answer was cut"))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > MAX_RESPONSE_LEN {
            return Err(TokenFailure::Unanswered("its answer is larger than 256 KiB"));
        }
        whole.extend_from_slice(&data);
    }
    let whole = decode(reply.headers(), whole, MAX_RESPONSE_LEN).map_err(|error| match error {
        CodingError::Unknown => {
            TokenFailure::Unanswered("its answer has an unknown content coding")
        }
        CodingError::Broken => TokenFailure::Unanswered("its answer can't be decoded"),
        CodingError::TooLarge => TokenFailure::Unanswered("its answer is larger than 256 KiB"),
    })?;
    Ok(Secret::new(whole.as_slice()))
}

/// A response with tokens, and the endpoint that gave it.
struct SuccessfulResponse {
    granted: GrantedTokens,
    body: Secret,
    issuer: String,
}

impl SuccessfulResponse {
    fn into_tokens(self, asked_at: Timestamp, scopes: &str) -> TokenSet {
        let Self { granted, body, issuer } = self;
        let life = granted.expires_in.map(SignedDuration::from_secs);
        TokenSet {
            access_token: granted.access_token,
            refresh_token: granted.refresh_token,
            response_body: body,
            token_type: granted.token_type,
            scope: granted.scope.unwrap_or_else(|| scopes.chars().take(255).collect()),
            issuer: issuer.into(),
            issued_at: whole_microseconds(asked_at),
            expires_at: life
                .and_then(|life| asked_at.checked_add(life).ok())
                .map(whole_microseconds),
        }
    }
}

/// The time that an exchange may take, from the resolver to the last byte of the response.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(20);

/// The largest answer, in bytes.
const MAX_RESPONSE_LEN: usize = 256 << 10;

pub(super) const AGENT: &str = concat!("keyferry/", env!("CARGO_PKG_VERSION"));
