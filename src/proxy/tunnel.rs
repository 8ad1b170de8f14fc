//! CONNECT (RFC 9110 §9.3.6): tunnels. TLS inside is ended here, and each request inside takes the
//! whole journey; what no connection covers passes unseen, if the operator allows it.

mod blind;
mod handler;
mod request;

use std::sync::Arc;

use http::request::Parts;
use http::{Response, StatusCode, Version};

use super::Proxy;
use super::admit::{caller_overloaded, overloaded};
use super::arrival::Arrival;
use super::body::AnswerBody;
use super::caller::PresentedToken;
use super::choose::{NamedConnection, agree, choose, integration, none_covers};
use super::decide::{port_not_allowed, refuse_target};
use super::facts::RefusedRequest;
use super::fields::REQUEST_ID;
use super::refusal::{Code, Refusal};
use super::request::{Destination, ProxyRequest};
use super::{InForce, relay};
use crate::ledger::Entry;
use crate::listener::{ConnLimitReached, InFlight, PendingSwitch, TunnelFault};
use crate::model::caller::Caller;
use crate::model::name::{ConnectionName, IntegrationName};
use crate::model::origin::{Host, Origin};
use crate::model::permit::{Denied, Permit};
use crate::model::token::TokenDigest;
use crate::state::RegisteredConnection;

pub use self::handler::TunnelHandler;

/// A tunnel that is looked into, as each request inside it needs it.
#[derive(Debug)]
pub struct TunnelContext {
    /// The scope to which each request inside is held.
    pub scope: TunnelScope,
    /// The digest of the token that the CONNECT carried; each request looks its caller up again.
    pub digest: Option<TokenDigest>,
}

/// The origin to which a tunnel leads, and what the CONNECT named, which stands beside what each
/// request inside names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TunnelScope {
    /// The origin.
    pub origin: Origin,
    /// The integration that was named.
    pub integration: Option<IntegrationName>,
    /// The connection that was named.
    pub connection: Option<ConnectionName>,
}

/// The two ways to open a tunnel.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TunnelMode {
    /// At least one connection covers the host: TLS ends here.
    Intercepted(TunnelScope),
    /// None does, and the operator lets such conns pass: they are not looked into.
    Blind(Origin),
}

/// A tunnel that no rule refuses.
#[derive(Debug)]
pub struct AllowedTunnel {
    /// The way to open it.
    pub mode: TunnelMode,
    /// The connection that the CONNECT names, if it names one.
    pub connection: Option<Arc<RegisteredConnection>>,
}

/// A tunnel that may be opened.
#[derive(Debug)]
pub(super) struct TunnelSetup {
    mode: TunnelMode,
    request: ProxyRequest,
    token: PresentedToken,
    caller: PendingSwitch,
    version: Version,
}

/// Decides whether the caller may have the tunnel, and of which kind (contract §3, "CONNECT").
/// Applies the rules from the tags to the port; the method is a tunnel's own. A pure function.
///
/// # Errors
/// The refusal of the first rule that does not hold, with the connection if one was named.
pub fn decide(
    in_force: &InForce,
    caller: &Caller,
    request: &ProxyRequest,
) -> Result<AllowedTunnel, RefusedRequest> {
    let named = agree(request)?;
    let Destination::Stated(target) = &request.destination else {
        return Err(none_covers().into());
    };
    let intercepted = |origin| {
        let NamedConnection { integration, connection } = named;
        let (integration, connection) = (integration.cloned(), connection.cloned());
        TunnelMode::Intercepted(TunnelScope { origin, integration, connection })
    };
    let (registry, terms) = (&in_force.registry, &in_force.settings.terms);
    // 1. A connection that is named must be for the host.
    if named.connection.is_some() {
        let chosen = choose(registry, caller, request, named)?;
        let connection = &chosen.connection;
        let origin = Permit::check_target(caller, connection, target, terms);
        let origin = origin.map_err(|denied| {
            let refusal = refuse_target(&denied, connection, target);
            RefusedRequest::from(refusal).with_connection(Arc::clone(chosen))
        })?;
        let mode = intercepted(origin);
        return Ok(AllowedTunnel { mode, connection: Some(Arc::clone(chosen)) });
    }
    // 2. Else one must cover it, or the operator lets what none covers pass.
    let integration = integration(caller, named)?;
    let Host::Name(host) = &target.authority.host else { return Err(none_covers().into()) };
    let covering = registry.covering(integration.as_str(), host, caller);
    let is_covered = !covering.is_empty();
    if let Some(first) = covering.first()
        && covering.iter().all(|found| found.connection.options().disabled)
    {
        return Err(refuse_target(&Denied::Disabled, &first.connection, target).into());
    }
    if !is_covered && !in_force.settings.blind_tunnels {
        return Err(none_covers().into());
    }
    // 3. Either way only to a port that is allowed.
    let port = target.authority.port.unwrap_or(443);
    if !terms.allowed_ports.allows(port) {
        return Err(port_not_allowed().into());
    }
    let origin = Origin::new(host, port);
    let mode = if is_covered { intercepted(origin) } else { TunnelMode::Blind(origin) };
    Ok(AllowedTunnel { mode, connection: None })
}

impl TunnelSetup {
    /// Takes the caller's end, once it is decided that there may be a tunnel.
    pub(super) fn prepare(
        head: &mut Parts,
        arrival: Arrival,
        mode: TunnelMode,
    ) -> Result<Box<Self>, Refusal> {
        let lost = || Refusal::new(Code::Internal, "The conn can't become a tunnel.");
        let caller = head.extensions.remove::<PendingSwitch>().ok_or_else(lost)?;
        let Arrival { request, token, .. } = arrival;
        Ok(Box::new(Self { mode, request, token, caller, version: head.version }))
    }
}

impl TunnelMode {
    /// The origin to which the tunnel leads.
    pub fn origin(&self) -> &Origin {
        match self {
            Self::Intercepted(TunnelScope { origin, .. }) | Self::Blind(origin) => origin,
        }
    }
}

impl Proxy {
    /// Opens the tunnel. Its entry is written when it ends.
    pub(super) async fn open_tunnel(
        self: Arc<Self>,
        setup: TunnelSetup,
        in_force: Arc<InForce>,
        entry: Entry,
        in_flight: InFlight,
    ) -> Response<AnswerBody> {
        match &setup.mode {
            TunnelMode::Intercepted(scope) => {
                let tunnel = TunnelContext { scope: scope.clone(), digest: setup.token.digest() };
                self.intercept(tunnel, setup, entry, in_flight)
            }
            TunnelMode::Blind(origin) => {
                let origin = origin.clone();
                self.pass_blind(origin, setup, &in_force, entry, in_flight).await
            }
        }
    }

    /// Ends TLS here and serves what is inside.
    fn intercept(
        self: Arc<Self>,
        tunnel: TunnelContext,
        setup: TunnelSetup,
        mut entry: Entry,
        in_flight: InFlight,
    ) -> Response<AnswerBody> {
        let outer = in_flight.conn();
        // Of HTTP/2 only the stream becomes a tunnel, and its conn goes on beside it.
        let admitted = match setup.version {
            Version::HTTP_2 => self.conn_tracker.admit_stream(outer, tunnel.digest),
            _ => self.conn_tracker.admit_tunnel(outer),
        };
        let inner = match admitted {
            Ok(inner) => inner,
            Err(limit) => return relay::refuse(too_many_conns(limit), entry, in_flight),
        };
        let response = opened(&mut entry, &in_flight, setup.version);
        let (tls, tasks) = (Arc::clone(&self.shared.tunnel_tls), self.tasks.clone());
        let tunnel = Arc::new(tunnel);
        let handler =
            Arc::new(TunnelHandler { proxy: Arc::clone(&self), tunnel: Arc::clone(&tunnel) });
        self.tasks.spawn(async move {
            match setup.caller.await {
                Ok(caller) => {
                    let name = tunnel.scope.origin.host();
                    let served = inner.serve(caller, name, tls, handler, tasks).await;
                    if let Err(fault) = served {
                        blame(&mut entry, &fault);
                    }
                }
                Err(_gone) => entry.set_cause("the conn ended before it was a tunnel"),
            }
            drop((entry, in_flight));
        });
        response
    }
}

fn too_many_conns(limit: ConnLimitReached) -> Refusal {
    match limit {
        ConnLimitReached::Full => overloaded(),
        ConnLimitReached::CallerFull => caller_overloaded(),
    }
}

/// The answer that makes the conn a tunnel: no body, and no field that speaks of one.
fn opened(entry: &mut Entry, in_flight: &InFlight, version: Version) -> Response<AnswerBody> {
    entry.status = StatusCode::OK.as_u16();
    // Of HTTP/2 only the stream becomes a tunnel.
    if version != Version::HTTP_2 {
        in_flight.conn().upgrade();
    }
    let mut response = Response::new(AnswerBody::upgraded());
    response.headers_mut().insert(REQUEST_ID, entry.request_id());
    response
}

/// Writes down why nothing was served inside.
fn blame(entry: &mut Entry, fault: &TunnelFault) {
    let code = match fault {
        TunnelFault::OtherName(_) => Some(Code::MisdirectedRequest),
        TunnelFault::NoTls(_) => Some(Code::MalformedRequest),
        TunnelFault::Late
        | TunnelFault::Untrusted(_)
        | TunnelFault::Left
        | TunnelFault::Handshake(_) => None,
    };
    if let Some(code) = code {
        relay::note_refusal(entry, code);
        entry.status = code.status();
    }
    entry.set_cause(fault.to_string());
}
