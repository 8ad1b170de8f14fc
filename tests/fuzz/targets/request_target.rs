//! Where a request wants to go. Input: a byte of choices, the target, and fields, one a line.
//!
//! The head takes the way of a real one: over HTTP/1.1 through the strict reading, over HTTP/2 as
//! the library hands it on. Whatever is then read of it, and decided, agrees with a second,
//! plainer reading of the same text.
#![no_main]

use http::request::Parts;
use http::{Method, Request, Uri, Version};
use keyferry::http1::{HeadLimits, HeadScan};
use keyferry::model::permit::{Scheme, Target};
use keyferry::proxy::{Allowed, ProxyRequest, Destination, RequestForm, decide, strip_base_url};
use keyferry_fuzz::world::{PORTS, caller, in_force};
use libfuzzer_sys::fuzz_target;

const LIMITS: HeadLimits = HeadLimits { max_bytes: 8192, max_fields: 64 };

fuzz_target!(|input: &[u8]| {
    let Some((choice, text)) = input.split_first() else { return };
    let cut = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
    let Ok(target) = std::str::from_utf8(&text[..cut]) else { return };
    let Some(head) = head(*choice, target, &text[cut..]) else { return };
    let in_force = in_force(*choice & 0x80 != 0);
    let Ok(ask) = ProxyRequest::read(&head, &in_force.settings) else { return };
    check_destination(&ask, &head, target);
    if ask.form == RequestForm::BaseUrl {
        check_strip(&head.uri, target);
    }
    let caller = caller(*choice & 0x40 != 0);
    let Ok(Allowed { permit, .. }) = decide(in_force, &caller, &ask) else { return };
    let domain = permit.connection().allowed_domain().expect("a domain");
    let host = permit.origin().host();
    assert!(keyferry_fuzz::covers(&domain.to_string(), host), "{domain} {host}");
    assert!(!keyferry_fuzz::is_ipv4_in_any_spelling(host), "{host}");
    assert!(PORTS.contains(&permit.origin().port()), "{}", permit.origin());
    assert!(in_force.settings.allowed_methods.contains(&head.method));
    if let Destination::Stated(stated) = &ask.destination {
        assert_eq!(stated.authority.host.to_string(), host);
    } else {
        assert_eq!(domain.to_string(), host);
    }
});

/// The head as the front door would hand it on, if it did.
fn head(choice: u8, target: &str, fields: &[u8]) -> Option<Parts> {
    let method = [Method::GET, Method::POST, Method::CONNECT, Method::OPTIONS]
        [usize::from(choice & 3)]
    .clone();
    let headers = keyferry_fuzz::fields(fields);
    let version = if choice & 4 != 0 { Version::HTTP_2 } else { Version::HTTP_11 };
    if version == Version::HTTP_11 {
        let mut bytes = format!("{method} {target} HTTP/1.1\r\n").into_bytes();
        for (name, value) in &headers {
            bytes.extend_from_slice(name.as_str().as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        if !matches!(HeadScan::default().scan(&bytes, LIMITS), Ok(Some(_))) {
            return None;
        }
    }
    let uri = Uri::from_maybe_shared(target.as_bytes().to_vec()).ok()?;
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.version_mut() = version;
    *request.headers_mut() = headers;
    Some(request.into_parts().0)
}

/// The place that was read is the one that is written.
fn check_destination(ask: &ProxyRequest, head: &Parts, target: &str) {
    let Destination::Stated(stated) = &ask.destination else {
        assert!(ask.form == RequestForm::BaseUrl && !head.headers.contains_key("x-zis-host"));
        return;
    };
    let field = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let written = match ask.form {
        RequestForm::Authority => target,
        RequestForm::Tunnel => unreachable!("nobody opened one"),
        RequestForm::Absolute => {
            let (scheme, rest) = target.split_once("://").expect("absolute-form has a scheme");
            let plain = scheme.eq_ignore_ascii_case("http");
            assert!(plain || scheme.eq_ignore_ascii_case("https"), "{target}");
            assert_eq!(plain, stated.scheme == Scheme::Http, "{target}");
            rest.split(['/', '?', '#']).next().unwrap_or_default()
        }
        RequestForm::BaseUrl => field("x-zis-host").expect("a host was stated"),
        RequestForm::Gateway => field("x-zis-host")
            .or(head.uri.authority().map(http::uri::Authority::as_str))
            .or(field("host"))
            .unwrap_or_default(),
    };
    assert_eq!(plainly(written), Some(printed(stated)), "{target}");
}

/// `host[:port]` in lower case and without zeros before the port.
fn plainly(written: &str) -> Option<String> {
    let written = written.to_ascii_lowercase();
    let bracket = written.rfind(']').map_or(0, |at| at + 1);
    let (literal, rest) = written.split_at(bracket);
    Some(match rest.split_once(':') {
        Some((host, port)) => format!("{literal}{host}:{}", port.parse::<u16>().ok()?),
        None => written,
    })
}

fn printed(target: &Target) -> String {
    match target.authority.port {
        Some(port) => format!("{}:{port}", target.authority.host),
        None => target.authority.host.to_string(),
    }
}

/// Only the prefix goes, and what is left is a path.
fn check_strip(uri: &Uri, target: &str) {
    let Ok(left) = strip_base_url(uri) else { return };
    assert!(left.path().starts_with('/'), "{target}");
    let printed = left.as_str();
    assert!(printed.starts_with('/'), "{target}");
    let whole = uri.path_and_query().map_or("", |whole| whole.as_str());
    let added = printed.strip_prefix('/').unwrap_or_default();
    assert!(whole.ends_with(printed) || whole.ends_with(added), "{target}");
    assert_eq!(left.query(), uri.query(), "{target}");
    let taken = whole.len() - if whole.ends_with(printed) { printed.len() } else { added.len() };
    let (name, again) = whole[3..taken].split_once('/').unwrap_or((&whole[3..taken], ""));
    let base = &whole[..taken - name.len() - 3];
    let is_base_again = whole[base.len()..].starts_with(base) && again.ends_with(name);
    assert!(again.is_empty() || is_base_again, "more than the base URL went: {target}");
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = Some(left);
    let outgoing = Uri::from_parts(parts).expect("a target in origin-form");
    assert!(outgoing.authority().is_none() && outgoing.to_string().starts_with('/'), "{target}");
}
