//! The management plane's door: the API, its description, whether the server lives, and its
//! figures.
//!
//! Owns the paths of the API listener, promises to answer only those who call it by one of its
//! names, and must never know the data plane, nor decide what management decides.

mod audit;
mod auth;
mod body;
mod ca;
mod connections;
mod docs;
mod error;
mod events;
mod explain;
mod keys;
mod oauth;
mod openapi;
mod page;
mod providers;
mod requests;
mod routes;
mod stats;
mod status;
mod tokens;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use tokio::sync::oneshot;
use tower::ServiceExt as _;

use self::error::Error;
use crate::ca::LeafCache;
use crate::http1::FramingFault;
use crate::ledger::{LogBuffer, Metrics};
use crate::listener::{ConnLimit, EarlyRefusal, Handler, InFlight, RequestBody};
use crate::management::{ClientAddr, Management, RateLimits, Refused};
use crate::model::own_hosts::{OwnHosts, addressee};
use crate::model::record::new_id;
use crate::tasks::Tasks;
use crate::upstream::UpstreamGauges;

/// The parts of the process that the API serves.
#[derive(Clone, Debug)]
pub struct ApiState {
    /// The management plane's rules.
    pub management: Arc<Management>,
    /// The rates of operators and of strangers.
    pub rate_limits: Arc<RateLimits>,
    /// The interception CA's leaves.
    pub leaves: Arc<LeafCache>,
    /// The figures.
    pub metrics: Arc<Metrics>,
    /// Conns of callers.
    pub conn_limit: Arc<ConnLimit>,
    /// Conns to origins.
    pub gauges: Arc<UpstreamGauges>,
    /// The log.
    pub sink: Arc<LogBuffer>,
    /// The tasks that go on when their caller is gone.
    pub errands: Tasks,
    /// Tells whether browsers reach the API over TLS.
    pub is_secure: bool,
    /// Tells whether the server is shutting down.
    pub draining: Arc<AtomicBool>,
    /// The addresses at which callers reach the proxy.
    pub proxies: Arc<[String]>,
    /// The names by which the API may be called, without a port.
    pub own_hosts: OwnHosts,
}

/// The management API.
#[derive(Clone, Debug)]
pub struct Api {
    router: Router,
    /// Requests that change something, which come to their end when their caller is gone.
    errands: Tasks,
}

impl Api {
    /// The API over these state, and beside it what else is to be found at its listener: that is
    /// called by the same names, and its answers are stamped in the same way.
    pub fn new(state: ApiState, beside: Router) -> Self {
        let errands = state.errands.clone();
        let router = routes::router()
            .fallback(nothing_here)
            .method_not_allowed_fallback(wrong_method)
            .with_state(state.clone())
            .merge(beside)
            .layer(from_fn_with_state(state, check_host))
            .layer(from_fn(stamp));
        Self { router, errands }
    }

    /// The description of the API, as `/openapi.json` gives it.
    pub fn description() -> &'static str {
        openapi::document()
    }
}

impl Handler for Api {
    type Body = Body;

    async fn handle(
        self: Arc<Self>,
        in_flight: InFlight,
        request: http::Request<RequestBody>,
    ) -> Result<Response, Infallible> {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ClientAddr(in_flight.conn().peer()));
        request.extensions_mut().insert(Arc::clone(in_flight.conn()));
        // A change has several steps, such as the revocation after a deletion: once it has begun,
        // it is not cut short by a caller that goes away.
        let (is_change, answer) =
            (!request.method().is_safe(), self.router.clone().oneshot(request));
        if !is_change {
            let answered = answer.await;
            drop(in_flight);
            return answered;
        }
        let (done, answered) = oneshot::channel();
        self.errands.spawn(async move {
            let answered = Box::pin(answer).await;
            drop(in_flight);
            let _nobody_waits = done.send(answered);
        });
        let failed = || Error::refused(Refused::Internal, "the request").into_response();
        answered.await.unwrap_or_else(|_panicked| Ok(failed()))
    }

    fn early_refusal(&self, reason: EarlyRefusal) -> Vec<u8> {
        if reason == EarlyRefusal::Framing(FramingFault::Tls) {
            tracing::info!(
                "a TLS handshake came to the management API, whose listener speaks plain HTTP, and \
                 was answered with a TLS alert: write http:// where the server is named, or set \
                 api.tls"
            );
        }
        Error::early_refusal(reason).into_message()
    }
}

/// A web page can lead a browser here under a name of its own (DNS rebinding).
async fn check_host(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    if state.own_hosts.contains(addressee(request.uri(), request.headers())) {
        next.run(request).await
    } else {
        in_its_family(&request, Error::misdirected())
    }
}

/// Every answer has the request's id, says that it is to be kept by nobody, and is what it says
/// that it is.
async fn stamp(request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    if let Some(id) = id {
        headers.insert(X_REQUEST_ID, id);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The id that the request came with, if it is one, or a new one.
fn request_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    let sane = |id: &&HeaderValue| (1..=128).contains(&id.len()) && id.as_bytes().iter().all(plain);
    let brought = headers.get(X_REQUEST_ID).filter(sane).cloned();
    brought.or_else(|| HeaderValue::try_from(new_id().ok()?.to_string()).ok())
}

async fn nothing_here(request: Request) -> Response {
    in_its_family(&request, Error::not_found())
}

async fn wrong_method(request: Request) -> Response {
    if let Some(methods) = oauth::only_methods(request.uri().path()) {
        return error::Numbered::only(methods).into_response();
    }
    in_its_family(&request, Error::method_not_allowed())
}

/// Clients of OAuth's paths read the other family of errors.
fn in_its_family(request: &Request, error: Error) -> Response {
    if request.uri().path().starts_with(oauth::PATHS) {
        error::Numbered::from(error).into_response()
    } else {
        error.into_response()
    }
}

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
