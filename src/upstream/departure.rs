//! A request that is fit to leave.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header, uri};
use http_body::Body as _;
use tokio::sync::watch;

use super::body::Outgoing;
use crate::model::connection::Connection;
use crate::model::name::IntegrationName;
use crate::model::oauth::endpoint::TokenEndpoint;
use crate::model::origin::Origin;
use crate::model::permit::Permit;
use crate::model::target::has_unparsable;

/// The permit's connection has a secret that could not be opened, so nothing can be sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the connection's secret is sealed")]
pub struct SecretUnavailable;

/// A departure is not to leave any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("what is in force has changed since it was decided")]
pub struct DepartureWithdrawn;

/// The reason why a departure can't leave under another permit.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotRenewed {
    /// The permit's connection has a secret that could not be opened.
    #[error("the connection's secret is sealed")]
    Sealed,
    /// The permit is for another origin or integration.
    #[error("the permit leads elsewhere")]
    Elsewhere,
}

/// A look at a departure when there is a conn for it, right before its first byte is written: time
/// may have passed since it was decided.
pub trait FinalCheck: Sync {
    /// Lets the departure go as it is, or as it is now to be.
    ///
    /// # Errors
    /// [`DepartureWithdrawn`] when it is not to leave any more.
    fn check(&self, departure: &mut Departure) -> Result<CheckedDeparture, DepartureWithdrawn>;

    /// Changes whenever the next look may find something else, but for the passing of time.
    fn changes(&self) -> watch::Receiver<u64>;

    /// The time until the caller's token ends, if it does.
    fn ends_in(&self) -> Option<Duration>;
}

/// A departure that may leave.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CheckedDeparture {
    /// As it was before.
    AsItWas,
    /// With the credential that its connection has now.
    Renewed,
}

/// A request with the warrant under which it leaves.
///
/// A [`Permit`] makes one, and it carries the credential of the permit's own connection: a request
/// can't leave without permission, nor with another connection's secret. A [`TokenEndpoint`] makes
/// the only other kind, which goes to that endpoint.
///
/// ```
/// use http::Request;
/// use keyferry::model::permit::Permit;
/// use keyferry::upstream::{Departure, Outgoing, SecretUnavailable};
///
/// fn leave(permit: Permit, request: Request<Outgoing>) -> Result<Departure, SecretUnavailable> {
///     Departure::new(permit, request, false)
/// }
/// ```
///
/// Without a permit there is none (E0061: an argument is missing), nor one made by hand (E0451):
///
/// ```compile_fail,E0061
/// use http::Request;
/// use keyferry::upstream::{Departure, Outgoing, SecretUnavailable};
///
/// fn slip_out(request: Request<Outgoing>) -> Result<Departure, SecretUnavailable> {
///     Departure::new(request, false)
/// }
/// ```
///
/// ```compile_fail,E0451
/// use http::Request;
/// use keyferry::model::permit::Permit;
/// use keyferry::upstream::{Departure, Outgoing};
///
/// fn forge(permit: Permit, request: Request<Outgoing>) -> Departure { Departure { warrant: permit,
/// request: Box::new(request), alone: false, drops_trailers: true } }
/// ```
#[derive(Debug)]
pub struct Departure {
    warrant: SendRight,
    /// In a box: it is handed on several times before it is sent.
    request: Box<Request<Outgoing>>,
    /// Whether it needs a conn of its own, over HTTP/1.1.
    alone: bool,
    /// Whether the body's trailers stay behind.
    drops_trailers: bool,
}

/// By what right a request leaves.
#[derive(Debug)]
enum SendRight {
    /// A caller may use a connection at an origin.
    Permit(Permit),
    /// The program itself asks a registered token endpoint.
    TokenEndpoint(Box<TokenEndpoint>),
}

impl Departure {
    /// Aims `request` at the permit's origin and injects the credential, last and alone: every
    /// value that the field had is gone.
    ///
    /// # Errors
    /// [`SecretUnavailable`] when the connection has no credential to inject.
    pub fn new(
        permit: Permit,
        mut request: Request<Outgoing>,
        upgrade: bool,
    ) -> Result<Self, SecretUnavailable> {
        let credential = permit.connection().credential().ok_or(SecretUnavailable)?;
        let headers = request.headers_mut();
        headers.insert(header::HOST, permit.origin().host_field());
        headers.insert(credential.field(), credential.expose().clone());
        let (warrant, request) = (SendRight::Permit(permit), Box::new(request));
        Ok(Self { warrant, request, alone: upgrade, drops_trailers: false })
    }

    /// Tells whether the credential is this connection's, as it is in force now.
    #[must_use]
    pub fn is_for(&self, connection: &Arc<Connection>) -> bool {
        let SendRight::Permit(permit) = &self.warrant else { return false };
        let ours = permit.connection();
        Arc::ptr_eq(ours, connection)
            || (is_same(ours, connection)
                && ours
                    .credential()
                    .zip(connection.credential())
                    .is_some_and(|(ours, now)| ours.same_as(now)))
    }

    /// Puts another permit for the same origin in the place of the one that there was, and the
    /// credential of its connection in the place of the old one. `strip` takes out every spelling
    /// of a field that carries a credential.
    ///
    /// # Errors
    /// [`NotRenewed`] says why it can't; then nothing has changed.
    pub fn renew(
        &mut self,
        permit: Permit,
        strip: impl FnOnce(&mut HeaderMap, &HeaderName),
    ) -> Result<(), NotRenewed> {
        let SendRight::Permit(before) = &self.warrant else { return Err(NotRenewed::Elsewhere) };
        let (old, new) = (before.connection(), permit.connection());
        if before.origin() != permit.origin() || !is_same(old, new) {
            return Err(NotRenewed::Elsewhere);
        }
        let credential = new.credential().ok_or(NotRenewed::Sealed)?;
        let headers = self.request.headers_mut();
        if let header::Entry::Occupied(field) = headers.entry(old.field()) {
            field.remove_entry_mult();
        }
        if old.field() != credential.field() {
            strip(headers, credential.field());
        }
        headers.insert(credential.field(), credential.expose().clone());
        if old.field() != credential.field() {
            // They were to be filtered for the old field.
            self.drops_trailers = true;
            self.request.body_mut().drop_trailers();
        }
        self.warrant = SendRight::Permit(permit);
        Ok(())
    }

    /// Aims `request` at a token endpoint, on a conn of its own: whether a conn that was kept has
    /// died can't be told from an answer that was lost, which here would matter.
    #[must_use]
    pub fn to_token_endpoint(endpoint: TokenEndpoint, mut request: Request<Outgoing>) -> Self {
        let mut parts = uri::Parts::default();
        parts.path_and_query = Some(endpoint.target().clone());
        *request.uri_mut() = uri::Uri::from_parts(parts).unwrap_or_default();
        request.headers_mut().insert(header::HOST, endpoint.origin().host_field());
        let warrant = SendRight::TokenEndpoint(Box::new(endpoint));
        Self { warrant, request: Box::new(request), alone: true, drops_trailers: false }
    }

    pub(super) fn origin(&self) -> &Origin {
        self.warrant.origin()
    }

    pub(super) fn integration(&self) -> &IntegrationName {
        match &self.warrant {
            SendRight::Permit(permit) => permit.connection().integration(),
            SendRight::TokenEndpoint(endpoint) => endpoint.integration(),
        }
    }

    /// Whether the request needs a conn of its own: it asks for another protocol, or a token
    /// endpoint.
    pub(super) fn is_alone(&self) -> bool {
        self.alone
    }

    /// The request's head as HTTP/2 writes it: the authority stands in the target, not in `Host`.
    /// The departure keeps its own, for the case that it has to be sent again.
    pub(super) fn http2_head(&self) -> Result<Request<()>, http::Error> {
        let mut head = Request::new(());
        *head.method_mut() = self.request.method().clone();
        *head.version_mut() = http::Version::HTTP_2;
        let mut parts = uri::Parts::default();
        parts.scheme = Some(uri::Scheme::HTTPS);
        parts.authority = Some(self.warrant.origin().authority().parse()?);
        parts.path_and_query = Some(match self.request.uri().path_and_query() {
            Some(target) if target.as_str().starts_with(['/', '*']) => target.clone(),
            // A query alone follows the root (RFC 9113 §8.3.1).
            Some(target) => format!("/{}", target.as_str()).parse()?,
            None => uri::PathAndQuery::from_static("/"),
        });
        *head.uri_mut() = uri::Uri::from_parts(parts)?;
        let headers = head.headers_mut();
        headers.clone_from(self.request.headers());
        for name in [header::HOST, header::CONNECTION, header::CONTENT_LENGTH] {
            if let header::Entry::Occupied(field) = headers.entry(name) {
                field.remove_entry_mult();
            }
        }
        let usual = matches!(*self.request.method(), Method::POST | Method::PUT | Method::PATCH);
        let length = self.request.body().size_hint().exact();
        // Such a method says the length of an empty body too (RFC 9110 §8.6).
        if let Some(length) = length.filter(|length| *length > 0 || usual) {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        Ok(head)
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    /// Tells whether HTTP/2 can't carry the request: its library reads fewer bytes in a target than
    /// clients send.
    pub(super) fn needs_http1(&self) -> bool {
        self.request.uri().path_and_query().is_some_and(|target| has_unparsable(target.as_str()))
    }

    /// The request as HTTP/1.1 writes it, in origin-form.
    pub(super) fn as_http1(&mut self) -> &mut Request<Outgoing> {
        &mut self.request
    }

    /// Whether the request may be sent again (RFC 9110 §9.2.2), and has no body that would be gone.
    pub(super) fn is_repeatable(&self) -> bool {
        let idempotent = matches!(
            *self.request.method(),
            Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE
        );
        idempotent && self.request.body().is_empty()
    }

    /// Takes the body, or what is left of it.
    pub(super) fn take_body(&mut self) -> Outgoing {
        std::mem::replace(self.request.body_mut(), Outgoing::empty())
    }

    /// Puts a body back that can be sent from its beginning.
    pub(super) fn put_body(&mut self, mut body: Outgoing) {
        if self.drops_trailers {
            body.drop_trailers();
        }
        *self.request.body_mut() = body;
    }
}

/// Tells whether both are the connection of the same name.
fn is_same(one: &Connection, other: &Connection) -> bool {
    one.integration() == other.integration() && one.name() == other.name()
}

impl SendRight {
    fn origin(&self) -> &Origin {
        match self {
            Self::Permit(permit) => permit.origin(),
            Self::TokenEndpoint(endpoint) => endpoint.origin(),
        }
    }
}
