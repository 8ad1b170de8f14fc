//! A request inside a tunnel, which can ask for no other origin.

use http::request::Parts;
use http::{Method, header};

use super::TunnelContext;
use crate::model::origin::{Authority, Host};
use crate::model::permit::{Scheme, Target};
use crate::proxy::refusal::{Code, Refusal, malformed};
use crate::proxy::request::{
    Destination, ProxyRequest, RequestForm, Tags, X_ZIS_HOST, named, one_field,
};

impl TunnelContext {
    /// Reads a request's head.
    ///
    /// # Errors
    /// `MisdirectedRequest` when it is for another origin than the tunnel's, `MalformedRequest`
    /// when it can't be read.
    pub fn read_request(&self, head: &Parts) -> Result<ProxyRequest, Refusal> {
        let scope = &self.scope;
        let host = Host::Name(scope.origin.host_name());
        let authority = Authority { host, port: Some(scope.origin.port()) };
        // The method's own rule refuses it; its target is no request's.
        if head.method != Method::CONNECT {
            hold(head, &authority)?;
        }
        let (integration, connection) = named(&head.headers)?;
        let destination = Destination::Stated(Target { scheme: Scheme::Https, authority });
        let tags = Tags {
            integrations: [None, integration, scope.integration.clone()],
            connections: [None, connection, scope.connection.clone()],
        };
        let mut request = ProxyRequest::of_head(head, RequestForm::Tunnel, destination, tags);
        request.names_host = true;
        Ok(request)
    }
}

/// Every place that names a host must name the tunnel's.
fn hold(head: &Parts, tunnel: &Authority) -> Result<(), Refusal> {
    if !head.uri.path().starts_with('/') {
        return Err(malformed("The request's target is not one that a proxy can forward."));
    }
    if head.uri.scheme_str().is_some_and(|scheme| scheme != "https") {
        return Err(misdirected());
    }
    let target = head.uri.authority().map(http::uri::Authority::as_str);
    let places = [target, one_field(&head.headers, &header::HOST)?];
    let field = one_field(&head.headers, &X_ZIS_HOST)?;
    if places.iter().all(Option::is_none) {
        return Err(malformed("The request names no host."));
    }
    let same = |text: &str| {
        let named = Authority::parse(text);
        named.is_ok_and(|named| {
            named.host == tunnel.host && Some(named.port.unwrap_or(443)) == tunnel.port
        })
    };
    if places.into_iter().flatten().chain(field).all(same) { Ok(()) } else { Err(misdirected()) }
}

fn misdirected() -> Refusal {
    Refusal::new(
        Code::MisdirectedRequest,
        "The request is for another host than the tunnel that it came through; open one for it.",
    )
}
