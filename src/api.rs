//! The management plane's door: for now, whether the server lives, is ready, and its figures.
//!
//! Owns the paths of the API listener, promises to answer only those who call it by one of its
//! names, and must never know the data plane.

mod error;
mod status;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::header;
use hyper::body::Incoming;
use tower::ServiceExt as _;

use self::error::Error;
use crate::door::{Doorkeeper, House, TurnedAway, Visit};
use crate::ledger::{Metrics, Sink};
use crate::upstream::Gauges;

/// What the API shows of the process.
#[derive(Clone, Debug)]
pub struct Rooms {
    /// The figures.
    pub metrics: Arc<Metrics>,
    /// Conns of callers.
    pub doorkeeper: Arc<Doorkeeper>,
    /// Conns to origins.
    pub gauges: Arc<Gauges>,
    /// The log.
    pub sink: Arc<Sink>,
    /// Whether the server is going down.
    pub draining: Arc<AtomicBool>,
    /// The names by which the API may be called, without a port.
    pub allowed_hosts: Arc<[String]>,
}

/// The management API.
#[derive(Clone, Debug)]
pub struct Api {
    router: Router,
}

impl Api {
    /// The API over these rooms.
    #[must_use]
    pub fn new(rooms: Rooms) -> Self {
        let router = Router::new()
            .route("/healthz", get(status::health))
            .route("/readyz", get(status::ready))
            .route("/metrics", get(status::metrics))
            .fallback(|| async { Error::not_found() })
            .method_not_allowed_fallback(|| async { Error::method_not_allowed() })
            .layer(from_fn_with_state(rooms.clone(), check_host))
            .with_state(rooms);
        Self { router }
    }
}

impl House for Api {
    type Body = Body;

    async fn answer(
        self: Arc<Self>,
        visit: Visit,
        request: http::Request<Incoming>,
    ) -> Result<Response, Infallible> {
        let answered = self.router.clone().oneshot(request.map(Body::new)).await;
        drop(visit);
        answered
    }

    fn turn_away(&self, reason: TurnedAway) -> Vec<u8> {
        Error::turned_away(reason).into_message()
    }
}

/// A web page can lead a browser here under a name of its own (DNS rebinding).
async fn check_host(State(rooms): State<Rooms>, request: Request, next: Next) -> Response {
    let authority = request.uri().authority().map(http::uri::Authority::as_str);
    let host = || request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    let name = authority.or_else(host).unwrap_or_default();
    let name = match name.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => name,
    };
    if rooms.allowed_hosts.iter().any(|own| own.eq_ignore_ascii_case(name)) {
        next.run(request).await
    } else {
        Error::misdirected().into_response()
    }
}
