//! Tunnels. Input: a byte of choices, the authority of the CONNECT, and a request inside: its
//! target, and fields, one a line.
//!
//! A tunnel is opened for a host that a connection covers, at a port that is allowed, or not at
//! all; and whatever a request inside says, it asks for the tunnel's origin or for none.
#![no_main]

use http::request::Parts;
use http::{Method, Request, Uri, Version};
use keyferry::model::origin::Host;
use keyferry::proxy::{AllowedTunnel, ProxyRequest, Destination, RequestForm, TunnelContext, TunnelMode, TunnelScope, decide, decide_tunnel};
use keyferry_fuzz::world::{PORTS, caller, in_force};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((choice, text)) = input.split_first() else { return };
    let mut lines = text.splitn(3, |byte| *byte == b'\n');
    let authority = lines.next().unwrap_or_default();
    let version = if choice & 4 != 0 { Version::HTTP_2 } else { Version::HTTP_11 };
    let Some(connect) = head(Method::CONNECT, version, authority, b"") else { return };
    let in_force = in_force(*choice & 0x80 != 0);
    let Ok(ask) = ProxyRequest::read(&connect, &in_force.settings) else { return };
    assert_eq!(ask.form, RequestForm::Authority);
    let caller = caller(false);
    let Ok(AllowedTunnel { mode: way, .. }) = decide_tunnel(in_force, &caller, &ask) else { return };
    check_way(&way, authority);
    let scope = TunnelScope { origin: way.origin().clone(), integration: None, connection: None };
    let tunnel = TunnelContext { scope, digest: None };
    let method = [Method::GET, Method::POST, Method::CONNECT, Method::OPTIONS]
        [usize::from(choice & 3)]
    .clone();
    let target = lines.next().unwrap_or_default();
    let Some(inside) = head(method, version, target, lines.next().unwrap_or_default()) else {
        return;
    };
    let Ok(asked) = tunnel.read_request(&inside) else { return };
    let Destination::Stated(stated) = &asked.destination else { panic!("it says where") };
    let Host::Name(host) = &stated.authority.host else { panic!("it leads to a name") };
    assert_eq!(host.as_str(), way.origin().host());
    assert_eq!(stated.authority.port, Some(way.origin().port()));
    assert!(!stated.is_plain_http());
    if let Ok(allowed) = decide(in_force, &caller, &asked) {
        assert_eq!(allowed.permit.origin(), way.origin());
        assert_ne!(inside.method, Method::CONNECT);
    }
});

fn check_way(way: &TunnelMode, authority: &[u8]) {
    let origin = way.origin();
    assert!(PORTS.contains(&origin.port()), "{origin}");
    assert!(!keyferry_fuzz::is_ipv4_in_any_spelling(origin.host()), "{origin}");
    let covered = ["api.example.com", "*.example.com", "a.co"]
        .iter()
        .any(|domain| keyferry_fuzz::covers(domain, origin.host()));
    assert_eq!(covered, matches!(way, TunnelMode::Intercepted(_)), "{origin}");
    let written = String::from_utf8_lossy(authority).to_ascii_lowercase();
    let (host, port) = written.rsplit_once(':').expect("a port is written");
    assert_eq!(host, origin.host());
    assert_eq!(port.parse(), Ok(origin.port()));
}

fn head(method: Method, version: Version, target: &[u8], fields: &[u8]) -> Option<Parts> {
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = Uri::from_maybe_shared(target.to_vec()).ok()?;
    *request.version_mut() = version;
    *request.headers_mut() = keyferry_fuzz::fields(fields);
    Some(request.into_parts().0)
}
