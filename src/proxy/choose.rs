//! The connection that a request is sent by (contract §3, "Connection").

use std::sync::Arc;

use super::refusal::{Code, Refusal};
use super::request::{Destination, ProxyRequest, RequestForm};
use crate::model::caller::Caller;
use crate::model::credential::Credential;
use crate::model::name::{ConnectionName, IntegrationName};
use crate::model::origin::{Host, HostName};
use crate::state::{RegisteredConnection, Registry};

/// The integration and connection that the tags name once they agree.
#[derive(Clone, Copy, Debug)]
pub(super) struct NamedConnection<'a> {
    pub(super) integration: Option<&'a IntegrationName>,
    pub(super) connection: Option<&'a ConnectionName>,
}

/// The tags, if they agree.
pub(super) fn agree(request: &ProxyRequest) -> Result<NamedConnection<'_>, Refusal> {
    Ok(NamedConnection {
        integration: one(&request.tags.integrations)?,
        connection: one(&request.tags.connections)?,
    })
}

/// The connection that is named, else the only one that covers the host.
pub(super) fn choose<'a>(
    registry: &'a Registry,
    caller: &Caller,
    request: &ProxyRequest,
    named: NamedConnection<'_>,
) -> Result<&'a Arc<RegisteredConnection>, Refusal> {
    let integration = integration(caller, named)?;
    let Some(name) = named.connection else {
        return only_covering(registry, caller, request, integration);
    };
    // First whether the caller may know of it: a token that is limited to some connections learns
    // nothing of others, not even that there are none of their names.
    if !caller.reach.covers(integration, name) {
        return Err(may_not_use(name));
    }
    registry.lookup(integration.as_str(), name.as_str()).ok_or_else(|| {
        Refusal::new(
            Code::ConnectionNotFound,
            format!("The integration {integration} has no connection named {name}."),
        )
    })
}

/// The caller's integration, or the one that a caller of all names.
pub(super) fn integration<'a>(
    caller: &'a Caller,
    named: NamedConnection<'a>,
) -> Result<&'a IntegrationName, Refusal> {
    match (caller.bound_to(), named.integration) {
        (Some(bound), Some(named)) if bound != named => Err(Refusal::new(
            Code::ConnectionForbidden,
            format!("The token may not act in the integration {named}."),
        )),
        (Some(bound), _) => Ok(bound),
        (None, Some(named)) => Ok(named),
        (None, None) => Err(Refusal::new(
            Code::ConnectionRequired,
            "The token is bound to no integration: name one with X-Zis-Integration.",
        )),
    }
}

fn only_covering<'a>(
    registry: &'a Registry,
    caller: &Caller,
    request: &ProxyRequest,
    integration: &IntegrationName,
) -> Result<&'a Arc<RegisteredConnection>, Refusal> {
    let required = |title: String| Refusal::new(Code::ConnectionRequired, title);
    // 1. A request of these forms must name its connection, or its host in a field of ours.
    let Destination::Stated(target) = &request.destination else {
        return Err(required("Name a connection in the base URL.".to_owned()));
    };
    if request.form == RequestForm::Gateway && !request.names_host {
        return Err(required("Name the connection with X-Zis-Connection.".to_owned()));
    }
    let Host::Name(host) = &target.authority.host else { return Err(none_covers()) };
    // 2. Among those that the caller may use, exactly one must cover the host.
    let several = registry.covering(integration.as_str(), host, caller);
    match several.as_slice() {
        [] => Err(none_covers()),
        [only] => Ok(*only),
        [first, ..] => {
            let enabled = |found: &&Arc<RegisteredConnection>| !found.connection.options().disabled;
            match several.iter().copied().filter(enabled).collect::<Vec<_>>().as_slice() {
                // What is switched off is refused as such.
                [] => Ok(*first),
                [only] => Ok(*only),
                enabled => only_allowing(enabled, request, host),
            }
        }
    }
}

/// The only one of several connections whose rules allow the request, and whose credential can stand
/// in it.
fn only_allowing<'a>(
    several: &[&'a Arc<RegisteredConnection>],
    request: &ProxyRequest,
    host: &HostName,
) -> Result<&'a Arc<RegisteredConnection>, Refusal> {
    // 1. Those that allow it.
    let line = request.rule_subject();
    let allows = |found: &&&Arc<RegisteredConnection>| {
        found.connection.options().check(&line).is_ok()
            && can_stand_in(found.connection.credential_for(host), request)
    };
    let allowing: Vec<_> = several.iter().filter(allows).copied().collect();
    // 2. Exactly one must.
    match allowing.as_slice() {
        [only] => Ok(*only),
        [] => Err(Refusal::new(
            Code::RequestNotAllowed,
            format!(
                "None of the connections that cover this host may be used for the request: {}. {}",
                names(several),
                if several.iter().any(|found| found.connection.options().check(&line).is_ok()) {
                    "Its path lacks the segment where a secret belongs; the caller must write it."
                } else {
                    "The operator can change their rules, or enable one."
                }
            ),
        )),
        more => Err(Refusal::new(
            Code::AmbiguousConnection,
            format!(
                "Several connections cover this host: {}. Name one with X-Zis-Connection.",
                names(more)
            ),
        )),
    }
}

/// Tells whether a credential can stand in the request's target, if that is its place.
fn can_stand_in(credential: Option<&Credential>, request: &ProxyRequest) -> bool {
    let values = credential.and_then(Credential::target);
    values.is_none_or(|values| values.check(&request.target_at_origin()).is_ok())
}

fn names(found: &[&Arc<RegisteredConnection>]) -> String {
    let names: Vec<_> = found.iter().map(|found| found.connection.name().as_str()).collect();
    names.join(", ")
}

/// A token never changes, so only another one helps.
pub(super) fn may_not_use(name: &ConnectionName) -> Refusal {
    Refusal::new(
        Code::ConnectionForbidden,
        format!(
            "The token may not use the connection {name}; the operator can make a token that may."
        ),
    )
}

/// Nothing that the caller may use is for the host.
pub(super) fn none_covers() -> Refusal {
    Refusal::new(
        Code::ConnectionRequired,
        "No connection that the token may use covers this host: the operator declares one for it, or the request is for another host or integration.",
    )
}

/// The one value that all tags have, or none.
fn one<T: PartialEq>(tags: &[Option<T>]) -> Result<Option<&T>, Refusal> {
    let mut stated = tags.iter().flatten();
    let first = stated.next();
    if stated.any(|other| Some(other) != first) {
        return Err(Refusal::new(
            Code::ConflictingTags,
            "The request names different connections in different places; name one.",
        ));
    }
    Ok(first)
}
