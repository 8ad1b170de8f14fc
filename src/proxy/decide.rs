//! Step 3, the decision: every rule that needs no clock, no counter and no network, in order. A pure
//! function of the set in force, the caller and the request; `explain` prints the same.

use std::borrow::Cow;
use std::sync::Arc;

use super::InForce;
use super::choose::{agree, choose, may_not_use};
use super::facts::RefusedRequest;
use super::refusal::{Code, Refusal};
use super::request::{Destination, ProxyRequest};
use super::signing::check_scope;
use crate::model::caller::Caller;
use crate::model::connection::{Connection, Defect};
use crate::model::credential::{Credential, UnfitTarget};
use crate::model::origin::{Authority, Host};
use crate::model::permit::{Denied, Permit, Scheme, Target, is_never_passed_on};
use crate::model::rules::RuleDenied;
use crate::state::RegisteredConnection;

/// A request that no rule of the decision refuses.
#[derive(Debug)]
pub struct Allowed {
    /// The proof that it may be sent.
    pub permit: Permit,
    /// The connection that it is sent by.
    pub connection: Arc<RegisteredConnection>,
}

/// Applies the rules from the method to the size of the body (contract §3, "Order of refusal").
///
/// # Errors
/// The refusal of the first rule that does not hold, with the connection if one was chosen.
pub fn decide(
    in_force: &InForce,
    caller: &Caller,
    request: &ProxyRequest,
) -> Result<Allowed, RefusedRequest> {
    check_method(in_force, request)?;
    let named = agree(request)?;
    let connection = choose(&in_force.registry, caller, request, named)?;
    match check_use(in_force, caller, request, &connection.connection) {
        Ok(permit) => Ok(Allowed { permit, connection: Arc::clone(connection) }),
        Err(refusal) => Err(RefusedRequest::from(refusal).with_connection(Arc::clone(connection))),
    }
}

/// Applies the rules that follow once the connection is known.
fn check_use(
    in_force: &InForce,
    caller: &Caller,
    request: &ProxyRequest,
    connection: &Arc<Connection>,
) -> Result<Permit, Refusal> {
    if let Some(defect @ (Defect::Field(_) | Defect::Placement)) = connection.defect() {
        return Err(Refusal::new(
            Code::ConnectionForbidden,
            format!(
                "The connection {} can't be used: {defect}; the operator gives it another.",
                connection.name()
            ),
        ));
    }
    let target = target(in_force, request, connection)?;
    let terms = &in_force.settings.terms;
    let permit = Permit::check(caller, connection, &target, terms, || request.rule_subject())
        .map_err(|denied| refuse_target(&denied, connection, &target))?;
    check_scope(connection, permit.origin())?;
    check_credential_target(&permit, request)?;
    check_body_size(in_force, request)?;
    Ok(permit)
}

/// Refuses a target that can't have the values of the credential which belong there.
fn check_credential_target(permit: &Permit, request: &ProxyRequest) -> Result<(), Refusal> {
    let Some(values) = permit.credential().and_then(Credential::target) else { return Ok(()) };
    values.check(&request.target_at_origin()).map_err(|unfit| {
        let code = match unfit {
            UnfitTarget::TooLong => Code::HeadTooLarge,
            _ => Code::RequestNotAllowed,
        };
        let name = permit.connection().name();
        Refusal::new(code, format!("The connection {name} can't be used for the request: {unfit}."))
    })
}

/// Methods are an allow-list: TRACE and its kin would give the credential back.
fn check_method(in_force: &InForce, request: &ProxyRequest) -> Result<(), Refusal> {
    if in_force.settings.allowed_methods.contains(&request.method) {
        return Ok(());
    }
    let title = if is_never_passed_on(request.method.as_str()) {
        "The proxy never passes CONNECT, TRACE, TRACK or DEBUG on: the caller uses a method that \
         Allow names."
    } else {
        "The method is not allowed: the caller uses one that Allow names, or the operator adds it \
         to proxy.allowed_methods."
    };
    let refusal = Refusal::new(Code::MethodNotAllowed, title);
    Err(refusal.with(http::header::ALLOW, in_force.settings.allow.clone()))
}

/// The target of the request, now that the connection is known.
fn target<'a>(
    in_force: &InForce,
    request: &'a ProxyRequest,
    connection: &Connection,
) -> Result<Cow<'a, Target>, Refusal> {
    match &request.destination {
        Destination::Stated(target) => Ok(Cow::Borrowed(target)),
        Destination::ConnectionsOwn => {
            let terms = &in_force.settings.terms;
            let domain = connection.allowed_domain();
            if domain.is_none() && !terms.unrestricted_oauth {
                return Err(no_domain(connection));
            }
            let host = connection.only_host().ok_or_else(|| {
                Refusal::new(
                    Code::MalformedRequest,
                    "The connection covers many hosts: name one with X-Zis-Host.",
                )
            })?;
            let authority = Authority { host: Host::Name(host), port: None };
            Ok(Cow::Owned(Target { scheme: Scheme::Https, authority }))
        }
    }
}

pub(super) fn refuse_target(denied: &Denied, connection: &Connection, target: &Target) -> Refusal {
    let name = connection.name();
    match denied {
        Denied::Connection => may_not_use(name),
        Denied::Https => Refusal::new(
            Code::HttpsRequired,
            "Credentials travel over https only: use an https:// URL, or let the operator set proxy.plain_http to upgrade.",
        ),
        Denied::Domain if matches!(connection.defect(), Some(Defect::Domain(_))) => Refusal::new(
            Code::DomainNotAllowed,
            format!(
                "The connection {name} is for {}, under which names belong to different people; the operator deletes it and creates it for a name of the account's own.",
                connection.domain_names(),
            ),
        ),
        Denied::Domain => Refusal::new(
            Code::DomainNotAllowed,
            format!(
                "The connection {name} is for {} and not for {}.",
                connection.domain_names(),
                target.authority.host
            ),
        ),
        Denied::NoDomain => no_domain(connection),
        Denied::Disabled => Refusal::new(
            Code::ConnectionForbidden,
            format!("The connection {name} is switched off; the operator can enable it."),
        ),
        Denied::Port => port_not_allowed(),
        Denied::ConnectionRules(why) => Refusal::new(
            Code::RequestNotAllowed,
            format!(
                "The connection {name} may not be used for the request: {why}. {}.",
                advice(why, "can change the connection's rules")
            ),
        ),
        Denied::TokenRules(why) => Refusal::new(
            Code::RequestNotAllowed,
            format!(
                "The token may not be used for the request: {why}. {}.",
                advice(why, "can make a token with other rules")
            ),
        ),
    }
}

/// The one who can change a refusal by rules.
fn advice(why: &RuleDenied, remedy: &str) -> String {
    match why {
        RuleDenied::Unclear(_) | RuleDenied::Override(_) | RuleDenied::Source(_) => {
            "The caller writes the request in one way".to_owned()
        }
        RuleDenied::ReadOnly | RuleDenied::Denied(_) | RuleDenied::NoneAllows => {
            format!("The operator {remedy}")
        }
    }
}

/// Only a connection by OAuth can lack a domain.
fn no_domain(connection: &Connection) -> Refusal {
    let (integration, name) = (connection.integration(), connection.name());
    Refusal::new(
        Code::DomainNotAllowed,
        format!(
            "The connection {name} has no allowed domain yet: the operator sets it once, with \
             PATCH /api/services/zis/connections/{integration}?name={name} and \
             {{\"allowed_domain\": …}}."
        ),
    )
}

pub(super) fn port_not_allowed() -> Refusal {
    Refusal::new(
        Code::PortNotAllowed,
        "The port is not one of proxy.allowed_ports; the operator can allow it.",
    )
}

fn check_body_size(in_force: &InForce, request: &ProxyRequest) -> Result<(), Refusal> {
    let most = in_force.settings.max_body_bytes;
    if most == 0 || request.body_length.is_none_or(|length| length <= most) {
        return Ok(());
    }
    Err(too_large(most).closing())
}

pub(super) fn too_large(most: u64) -> Refusal {
    Refusal::new(
        Code::BodyTooLarge,
        format!("The body is larger than {most} bytes, which is proxy.max_body_bytes."),
    )
}
