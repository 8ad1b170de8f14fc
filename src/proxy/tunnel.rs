//! CONNECT (RFC 9110 §9.3.6): tunnels. TLS inside is ended here, and each request inside takes the
//! whole journey; what no connection covers passes unseen, if the operator allows it.

mod blind;
mod handler;
mod request;

use std::convert::Infallible;
use std::sync::Arc;

use http::request::Parts;
use http::{Response, StatusCode, Version};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::admit::{caller_overloaded, overloaded};
use super::arrival::{Arrival, Destination, ProxyRequest};
use super::body::AnswerBody;
use super::caller::{PresentedToken, name_sender};
use super::choose::{NamedConnection, agree, choose, integration, none_covers};
use super::decide::refuse_target;
use super::fields::REQUEST_ID;
use super::journey::Proxy;
use super::refusal::{Code, Refusal};
use super::{InForce, relay};
use crate::ledger::{Decision, Entry};
use crate::listener::{ConnLimitReached, InFlight, TunnelFault};
use crate::model::caller::Caller;
use crate::model::name::{ConnectionName, IntegrationName};
use crate::model::origin::{Host, Origin};
use crate::model::permit::Permit;
use crate::model::token::TokenDigest;
use crate::state::RegisteredConnection;

pub use self::handler::TunnelHandler;

/// What a tunnel was opened for. Every request inside is held to it.
#[derive(Debug)]
pub struct TunnelContext {
    /// Where it leads.
    pub(super) origin: Origin,
    /// What the CONNECT showed of its caller, who is looked up anew for each request.
    pub(super) digest: Option<TokenDigest>,
    /// What the CONNECT named, which stands beside what each request names.
    pub(super) integration: Option<IntegrationName>,
    pub(super) connection: Option<ConnectionName>,
}

/// How a tunnel is to be opened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TunnelMode {
    /// At least one connection covers the host: TLS ends here.
    Intercepted(Origin),
    /// None does, and the operator lets such conns pass: they are not looked into.
    Blind(Origin),
}

/// A tunnel that may be opened.
#[derive(Debug)]
pub(super) struct TunnelSetup {
    mode: TunnelMode,
    request: ProxyRequest,
    token: PresentedToken,
    caller: OnUpgrade,
    version: Version,
}

/// Whether the caller may have the tunnel, and of which kind (contract §3, "CONNECT"). Applies the
/// rules from the tags to the port; the method is a tunnel's own. `chosen` hears of a connection
/// that is named. A pure function.
///
/// # Errors
/// The refusal of the first rule that does not hold.
pub fn decide(
    in_force: &InForce,
    caller: &Caller,
    request: &ProxyRequest,
    chosen: impl FnOnce(&Arc<RegisteredConnection>),
) -> Result<TunnelMode, Refusal> {
    let named = agree(request)?;
    let Destination::Stated(target) = &request.destination else { return Err(none_covers()) };
    let (registry, terms) = (&in_force.registry, &in_force.settings.terms);
    if named.connection.is_some() {
        let listing = choose(registry, caller, request, named)?;
        chosen(listing);
        let connection = &listing.connection;
        let permit = Permit::check(caller, connection, target, terms)
            .map_err(|denied| refuse_target(denied, connection, target))?;
        return Ok(TunnelMode::Intercepted(permit.origin().clone()));
    }
    let integration = integration(caller, named)?;
    let Host::Name(host) = &target.authority.host else { return Err(none_covers()) };
    let is_covered = !registry.covering(integration.as_str(), host, caller).is_empty();
    if !is_covered && !in_force.settings.blind_tunnels {
        return Err(none_covers());
    }
    let port = target.authority.port.unwrap_or(443);
    if !terms.allowed_ports.allows(port) {
        return Err(super::decide::port_not_allowed());
    }
    let origin = Origin::new(host, port);
    Ok(if is_covered { TunnelMode::Intercepted(origin) } else { TunnelMode::Blind(origin) })
}

impl TunnelSetup {
    /// Takes the caller's end, once it is decided that there may be a tunnel.
    pub(super) fn prepare(
        head: &mut Parts,
        arrival: Arrival,
        mode: TunnelMode,
    ) -> Result<Box<Self>, Refusal> {
        let lost = || Refusal::new(Code::Internal, "The conn can't become a tunnel.");
        let caller = head.extensions.remove::<OnUpgrade>().ok_or_else(lost)?;
        let Arrival { request, token, .. } = arrival;
        Ok(Box::new(Self { mode, request, token, caller, version: head.version }))
    }
}

impl TunnelContext {
    /// What a tunnel to `origin` is opened for, by what the CONNECT names and the token it shows.
    ///
    /// # Errors
    /// `ConflictingTags`, when it names different connections in different places.
    pub fn new(
        origin: Origin,
        request: &ProxyRequest,
        digest: Option<TokenDigest>,
    ) -> Result<Self, Refusal> {
        let NamedConnection { integration, connection } = agree(request)?;
        let (integration, connection) = (integration.cloned(), connection.cloned());
        Ok(Self { origin, digest, integration, connection })
    }

    /// Names in the entry of a request inside that was refused before anybody asked who sent it,
    /// and where it was to go.
    pub(super) fn name_sender(&self, entry: &mut Entry, in_force: &InForce) {
        entry.origin = Some(self.origin.clone());
        name_sender(entry, self.digest.as_ref(), in_force);
    }
}

impl TunnelMode {
    /// Where the tunnel leads.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        match self {
            Self::Intercepted(origin) | Self::Blind(origin) => origin,
        }
    }
}

impl Proxy {
    /// Opens the tunnel. Its entry is written when it ends.
    pub(super) async fn open(
        self: Arc<Self>,
        setup: Box<TunnelSetup>,
        in_force: Arc<InForce>,
        entry: Entry,
        in_flight: InFlight,
    ) -> Result<Response<AnswerBody>, Infallible> {
        let opened = match &setup.mode {
            TunnelMode::Intercepted(origin) => {
                let digest = setup.token.digest();
                let tunnel = TunnelContext::new(origin.clone(), &setup.request, digest);
                match tunnel {
                    Ok(tunnel) => self.look_into(tunnel, *setup, entry, in_flight),
                    Err(refusal) => relay::refuse(refusal, entry, in_flight),
                }
            }
            TunnelMode::Blind(origin) => {
                let origin = origin.clone();
                self.pass_blind(origin, *setup, &in_force, entry, in_flight).await
            }
        };
        Ok(opened)
    }

    /// Ends TLS here and serves what is inside.
    fn look_into(
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
            Err(ConnLimitReached::Full) => return relay::refuse(overloaded(), entry, in_flight),
            Err(ConnLimitReached::CallerFull) => {
                return relay::refuse(caller_overloaded(), entry, in_flight);
            }
        };
        let response = opened(&mut entry, &in_flight, setup.version);
        let (tls, tasks) = (Arc::clone(&self.tunnel_tls), self.tasks.clone());
        let tunnel = Arc::new(tunnel);
        let handler =
            Arc::new(TunnelHandler { proxy: Arc::clone(&self), tunnel: Arc::clone(&tunnel) });
        self.tasks.spawn(async move {
            match setup.caller.await {
                Ok(caller) => {
                    let name = tunnel.origin.host();
                    let served = inner.serve(TokioIo::new(caller), name, tls, handler, tasks).await;
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
        entry.decision = Decision::Refuse(code.as_str());
        entry.rule = code.rule().as_str();
        entry.status = code.status();
    }
    entry.set_cause(fault.to_string());
}
