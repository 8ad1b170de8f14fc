//! Departures: requests that are ready to be sent.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, Method, Request, Response, header, uri};
use tokio::sync::watch;

use super::body::Outgoing;
use super::prepared::PreparedRequest;
use crate::clock::Clock;
use crate::model::client_identity::ClientIdentity;
use crate::model::connection::Connection;
use crate::model::name::IntegrationName;
use crate::model::oauth::discovery::DiscoveryEndpoint;
use crate::model::oauth::endpoint::TokenEndpoint;
use crate::model::origin::Origin;
use crate::model::permit::Permit;
use crate::model::target::has_unparsable;

/// The permit's connection has no credential, because its secret could not be opened; or none that
/// can stand in the request's target, which the decision refuses before.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the connection's secret could not be opened")]
pub struct SecretUnavailable;

/// A departure that must not be sent any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("its connection, its token or a rule has changed since the request was decided")]
pub struct DepartureWithdrawn;

/// The reason why a departure can't leave under another permit.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotRenewed {
    /// The permit's connection has a secret that could not be opened.
    #[error("the connection's secret could not be opened")]
    Sealed,
    /// The permit is for another origin or connection, or one with another client certificate.
    #[error("the new permit is for another origin, connection or client certificate")]
    Elsewhere,
}

/// The check of a departure right before its first byte is written. Waiting for a conn takes time,
/// in which connections and tokens may change.
pub trait FinalCheck: Sync {
    /// Lets the departure be sent, if need be with its connection's current credential.
    fn check(&self, departure: &mut Departure) -> Result<CheckedDeparture, DepartureWithdrawn>;

    /// A counter that changes whenever another check may have another result. Expiry is not
    /// counted: [`Self::ends_in`] has it.
    fn changes(&self) -> watch::Receiver<u64>;

    /// The time until the caller's token expires; `None` for never.
    fn ends_in(&self) -> Option<Duration>;

    /// Takes an interim response (RFC 9110 §15.2), other than a 100, which has come meanwhile.
    fn pass_interim(&self, interim: Response<()>);
}

/// The result of a check: the departure may be sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CheckedDeparture {
    /// The departure is unchanged.
    AsItWas,
    /// The departure has its connection's current credential.
    Renewed,
}

/// A request and the right by which it is sent.
///
/// Making one needs a [`Permit`], whose connection's credential it carries: a request can't be sent
/// without a permit, nor with another connection's secret. The only other kinds are made of a
/// [`TokenEndpoint`] or a [`DiscoveryEndpoint`], and are sent to that endpoint.
///
/// ```
/// use http::Request;
/// use keyferry::clock::Clock;
/// use keyferry::model::permit::Permit;
/// use keyferry::upstream::{Departure, Outgoing, SecretUnavailable};
///
/// fn leave(permit: Permit, request: Request<Outgoing>) -> Result<Departure, SecretUnavailable> {
///     Departure::new(permit, request, false, &Clock::system())
/// }
/// ```
///
/// It can't be made without a permit (E0061: an argument is missing), nor field by field (E0451):
///
/// ```compile_fail,E0061
/// use http::Request;
/// use keyferry::clock::Clock;
/// use keyferry::upstream::{Departure, Outgoing, SecretUnavailable};
///
/// fn slip_out(request: Request<Outgoing>) -> Result<Departure, SecretUnavailable> {
///     Departure::new(request, false, &Clock::system())
/// }
/// ```
///
/// ```compile_fail,E0451
/// use http::Request;
/// use keyferry::model::permit::Permit;
/// use keyferry::upstream::{Departure, Outgoing};
///
/// fn forge(right: Permit, request: Request<Outgoing>) -> Departure {
///     let prepared = Box::new(request);
///     Departure { right, prepared, dedicated: false, drops_trailers: true }
/// }
/// ```
pub struct Departure {
    right: SendRight,
    /// Boxed, because it is moved several times before it is sent.
    prepared: Box<PreparedRequest>,
    /// Set for a request that needs an HTTP/1.1 conn of its own.
    dedicated: bool,
    /// Set when the body's trailers must not be sent.
    drops_trailers: bool,
}

/// The right to send a request.
#[derive(Debug)]
enum SendRight {
    /// A caller's permit.
    Permit(Permit),
    /// The proxy itself asks. Boxed as one variant, so that every departure stays small.
    Own(Box<OwnEndpoint>),
}

/// An endpoint that the proxy itself asks.
#[derive(Debug)]
enum OwnEndpoint {
    /// A registered token endpoint.
    Token(TokenEndpoint),
    /// An endpoint that is sent nothing secret.
    Discovery(DiscoveryEndpoint),
}

impl Departure {
    /// Sets `Host` to the permit's origin and injects the credential as the last step. It replaces
    /// every value that its fields and parameters had. A signature is made of the request as it is
    /// then.
    pub fn new(
        permit: Permit,
        mut request: Request<Outgoing>,
        upgrade: bool,
        clock: &Clock,
    ) -> Result<Self, SecretUnavailable> {
        let credential = permit.credential().ok_or(SecretUnavailable)?;
        request.headers_mut().insert(header::HOST, permit.origin().host_field());
        let mut prepared = Box::new(PreparedRequest::new(request));
        prepared.set_target(credential).map_err(|_refused_before| SecretUnavailable)?;
        prepared.set_fields(credential);
        prepared.sign(permit.origin(), credential, clock)?;
        let right = SendRight::Permit(permit);
        Ok(Self { right, prepared, dedicated: upgrade, drops_trailers: false })
    }

    /// Tells whether the departure goes where `permit` lets it, with that one's credential.
    pub fn is_for(&self, permit: &Permit) -> bool {
        let SendRight::Permit(own) = &self.right else { return false };
        let (ours, other) = (own.connection(), permit.connection());
        let has_credential_of = || {
            let both = own.credential().zip(permit.credential());
            both.is_some_and(|(ours, other)| ours.same_as(other))
        };
        own.origin() == permit.origin()
            && (Arc::ptr_eq(ours, other)
                || (is_same(ours, other) && ours.has_identity_of(other) && has_credential_of()))
    }

    /// Replaces the permit by another one for the same origin and connection name, and the
    /// credential by that of its connection. `strip` removes every spelling of a credential's
    /// fields.
    ///
    /// # Errors
    /// [`NotRenewed`] says why that is impossible; then nothing has changed.
    pub fn renew(
        &mut self,
        permit: Permit,
        strip: impl FnOnce(&mut HeaderMap, &[HeaderName]),
        clock: &Clock,
    ) -> Result<(), NotRenewed> {
        // 1. The new permit must be for the same origin and connection: the conn is open.
        let SendRight::Permit(before) = &self.right else { return Err(NotRenewed::Elsewhere) };
        let (old, new) = (before.connection(), permit.connection());
        let is_same = is_same(old, new) && old.has_identity_of(new);
        if before.origin() != permit.origin() || !is_same {
            return Err(NotRenewed::Elsewhere);
        }
        // 2. Remove the old credential, and what the caller may have sent under new names.
        let credential = permit.credential().ok_or(NotRenewed::Sealed)?;
        // What a signature needs of the request was not prepared for another type.
        if credential.signer().is_some() && old.kind() != new.kind() {
            return Err(NotRenewed::Elsewhere);
        }
        self.prepared.set_target(credential).map_err(|_refused_before| NotRenewed::Elsewhere)?;
        let headers = self.prepared.request.headers_mut();
        for name in old.fields().iter() {
            if let header::Entry::Occupied(field) = headers.entry(name) {
                field.remove_entry_mult();
            }
        }
        let has_new_names = new.fields().iter().any(|name| !old.fields().contains(name));
        if has_new_names {
            strip(headers, new.fields());
        }
        // 3. Inject the new one. Trailers were filtered for the old fields' names only.
        self.prepared.set_fields(credential);
        let signed = self.prepared.sign(permit.origin(), credential, clock);
        signed.map_err(|_sealed| NotRenewed::Sealed)?;
        if has_new_names {
            self.drops_trailers = true;
            self.prepared.request.body_mut().drop_trailers();
        }
        self.right = SendRight::Permit(permit);
        Ok(())
    }

    /// Makes a departure to a token endpoint. It gets a conn of its own: on a reused one, a dead
    /// conn can't be told from a lost answer, and a lost answer may cost the refresh token.
    pub fn to_token_endpoint(endpoint: TokenEndpoint, request: Request<Outgoing>) -> Self {
        let target = endpoint.target().clone();
        Self::of_our_own(OwnEndpoint::Token(endpoint), target, request)
    }

    /// Makes a departure that asks for public metadata or to register a client, or that tells the
    /// operator's webhook something. It carries no credentials.
    pub fn to_discovery(endpoint: DiscoveryEndpoint, mut request: Request<Outgoing>) -> Self {
        for name in [header::AUTHORIZATION, header::COOKIE] {
            if let header::Entry::Occupied(field) = request.headers_mut().entry(name) {
                field.remove_entry_mult();
            }
        }
        let target = endpoint.target().clone();
        Self::of_our_own(OwnEndpoint::Discovery(endpoint), target, request)
    }

    /// A departure that no caller has asked for.
    fn of_our_own(
        endpoint: OwnEndpoint,
        target: uri::PathAndQuery,
        mut request: Request<Outgoing>,
    ) -> Self {
        let mut parts = uri::Parts::default();
        parts.path_and_query = Some(target);
        *request.uri_mut() = uri::Uri::from_parts(parts).unwrap_or_default();
        request.headers_mut().insert(header::HOST, endpoint.origin().host_field());
        let prepared = Box::new(PreparedRequest::new(request));
        let right = SendRight::Own(Box::new(endpoint));
        Self { right, prepared, dedicated: true, drops_trailers: false }
    }

    pub(super) fn origin(&self) -> &Origin {
        self.right.origin()
    }

    pub(super) fn integration(&self) -> &IntegrationName {
        match &self.right {
            SendRight::Permit(permit) => permit.connection().integration(),
            SendRight::Own(endpoint) => endpoint.integration(),
        }
    }

    /// The client certificate that the conn presents.
    pub(super) fn identity(&self) -> Option<&Arc<ClientIdentity>> {
        match &self.right {
            SendRight::Permit(permit) => permit.connection().identity(),
            SendRight::Own(_) => None,
        }
    }

    /// Tells whether the request needs a conn of its own: it is an upgrade, or is sent to a token
    /// endpoint.
    pub(super) fn needs_dedicated_conn(&self) -> bool {
        self.dedicated
    }

    /// Makes the head for HTTP/2. The departure keeps its own head, so that it can be sent again.
    pub(super) fn http2_head(&self) -> Result<Request<()>, http::Error> {
        self.prepared.http2_head(self.right.origin())
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        self.prepared.request.headers()
    }

    /// Tells whether the request needs HTTP/1.1: the HTTP/2 library refuses some bytes in targets
    /// that clients send.
    pub(super) fn needs_http1(&self) -> bool {
        self.prepared
            .request
            .uri()
            .path_and_query()
            .is_some_and(|target| has_unparsable(target.as_str()))
    }

    /// The request in origin-form, for HTTP/1.1.
    pub(super) fn as_http1(&mut self) -> &mut Request<Outgoing> {
        &mut self.prepared.request
    }

    /// Tells whether the request may be sent again: its method is idempotent (RFC 9110 §9.2.2), and
    /// it has no body.
    pub(super) fn is_repeatable(&self) -> bool {
        let idempotent = matches!(
            *self.prepared.request.method(),
            Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE
        );
        idempotent && self.prepared.request.body().is_empty()
    }

    /// Takes the rest of the body.
    pub(super) fn take_body(&mut self) -> Outgoing {
        std::mem::replace(self.prepared.request.body_mut(), Outgoing::empty())
    }

    /// Puts back a body that can be sent from its beginning.
    pub(super) fn put_body(&mut self, mut body: Outgoing) {
        if self.drops_trailers {
            body.drop_trailers();
        }
        *self.prepared.request.body_mut() = body;
    }
}

/// Its target may be secret.
impl fmt::Debug for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let request = &self.prepared.request;
        f.debug_struct("Departure")
            .field("right", &self.right)
            .field("method", request.method())
            .field("target", &self.prepared.plain_target())
            .field("headers", request.headers())
            .field("dedicated", &self.dedicated)
            .finish_non_exhaustive()
    }
}

/// Tells whether both connections have the same name.
fn is_same(one: &Connection, other: &Connection) -> bool {
    one.integration() == other.integration() && one.name() == other.name()
}

impl SendRight {
    fn origin(&self) -> &Origin {
        match self {
            Self::Permit(permit) => permit.origin(),
            Self::Own(endpoint) => endpoint.origin(),
        }
    }
}

impl OwnEndpoint {
    fn origin(&self) -> &Origin {
        match self {
            Self::Token(endpoint) => endpoint.origin(),
            Self::Discovery(endpoint) => endpoint.origin(),
        }
    }

    fn integration(&self) -> &IntegrationName {
        match self {
            Self::Token(endpoint) => endpoint.integration(),
            Self::Discovery(endpoint) => endpoint.integration(),
        }
    }
}
