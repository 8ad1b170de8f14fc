//! The permit: proof that a caller may use a connection at an origin.
//!
//! Only [`Permit::check`] makes one, and nothing can be sent upstream without one.

use std::sync::Arc;

use super::caller::Caller;
use super::connection::Connection;
use super::origin::{Authority, Host, Origin};

/// Proof that this connection's credential may be sent to this origin for this caller.
///
/// The rules make one:
///
/// ```
/// use std::sync::Arc;
/// use keyferry::model::{caller::Caller, connection::Connection};
/// use keyferry::model::permit::{Denied, Permit, Target, Terms};
///
/// fn obtain(
///     caller: &Caller,
///     connection: &Arc<Connection>,
///     target: &Target,
///     terms: &Terms,
/// ) -> Result<Permit, Denied> {
///     Permit::check(caller, connection, target, terms)
/// }
/// ```
///
/// Nothing else does (E0451: its fields are private):
///
/// ```compile_fail,E0451
/// use std::sync::Arc;
/// use keyferry::model::{connection::Connection, origin::Origin};
/// use keyferry::model::permit::Permit;
///
/// fn forge(connection: Arc<Connection>, origin: Origin) -> Permit {
///     Permit { connection, origin }
/// }
/// ```
///
/// Nor can one that was given be turned to another origin (E0616):
///
/// ```compile_fail,E0616
/// use keyferry::model::{origin::Origin, permit::Permit};
///
/// fn redirect(mut permit: Permit, origin: Origin) -> Permit {
///     permit.origin = origin;
///     permit
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Permit {
    connection: Arc<Connection>,
    origin: Origin,
}

/// The scheme that a request asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scheme {
    /// `http://`: never what leaves; refused, or upgraded where that is configured.
    Http,
    /// `https://`, or a form that implies it.
    Https,
}

/// Where a request asks to go, before any rule was applied.
#[derive(Clone, Debug)]
pub struct Target {
    /// The scheme that was written or implied.
    pub scheme: Scheme,
    /// Host and port as they were written.
    pub authority: Authority,
}

impl Target {
    /// Whether cleartext was asked for.
    #[must_use]
    pub fn is_plain_http(&self) -> bool {
        self.scheme == Scheme::Http
    }
}

/// The operator's rules that hold for every connection.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Whether `http://` goes out as `https://` instead of being refused.
    pub upgrade_plain_http: bool,
    /// The ports that may be asked for.
    pub allowed_ports: Vec<u16>,
}

/// Why there is no permit, in the order in which the rules are applied.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Denied {
    /// The caller's token does not reach the connection.
    #[error("the caller may not use the connection")]
    Connection,
    /// Cleartext.
    #[error("the request is not for https")]
    Https,
    /// The host is not covered by the connection's allowed domain.
    #[error("the connection's allowed domain does not cover the host")]
    Domain,
    /// The port is not one of the allowed ports.
    #[error("the port is not allowed")]
    Port,
}

impl Permit {
    /// Applies the rules in the order of contract §3 and gives the proof that all of them hold.
    /// A pure function.
    ///
    /// # Errors
    /// [`Denied`] names the first rule that does not hold.
    pub fn check(
        caller: &Caller,
        connection: &Arc<Connection>,
        target: &Target,
        terms: &Terms,
    ) -> Result<Self, Denied> {
        if !caller.may_use(connection) {
            return Err(Denied::Connection);
        }
        let port = https_port(target, terms).ok_or(Denied::Https)?;
        let Host::Name(host) = &target.authority.host else {
            return Err(Denied::Domain);
        };
        if !connection.allowed_domain().covers(host) {
            return Err(Denied::Domain);
        }
        if !terms.allowed_ports.contains(&port) {
            return Err(Denied::Port);
        }
        Ok(Self { connection: Arc::clone(connection), origin: connection.origin(host, port) })
    }

    /// The connection whose credential may be sent.
    #[must_use]
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// The origin it may be sent to.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

/// The port at which TLS is spoken, or `None` where cleartext was asked for and is refused.
/// An upgraded `http://` moves from port 80, written or implied, to 443 (contract §3).
fn https_port(target: &Target, terms: &Terms) -> Option<u16> {
    match (target.scheme, target.authority.port) {
        (Scheme::Https, port) => Some(port.unwrap_or(443)),
        (Scheme::Http, _) if !terms.upgrade_plain_http => None,
        (Scheme::Http, None | Some(80)) => Some(443),
        (Scheme::Http, Some(port)) => Some(port),
    }
}
