//! An authority reads as it prints, a name is never an address in disguise, and the origin made
//! of it says the same wherever it is asked.
#![no_main]

use keyferry::model::origin::{Authority, Host, HostName, Origin};
use keyferry_fuzz::is_ipv4_in_any_spelling;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(read) = Authority::parse(text) else {
        assert!(HostName::parse(text).is_err(), "a name that is no authority: {text}");
        return;
    };
    assert!(text.is_ascii() && !text.contains(['@', '/', '?', '#', '\\', ' ', '%']), "{text}");
    let printed = match read.port {
        Some(port) => format!("{}:{port}", read.host),
        None => read.host.to_string(),
    };
    assert_eq!(Authority::parse(&printed).as_ref(), Ok(&read), "{text}");
    let Host::Name(name) = &read.host else { return };
    assert!(!is_ipv4_in_any_spelling(name.as_str()), "{text}");
    assert!(!name.as_str().ends_with('.') && !name.as_str().contains(['[', ':']), "{text}");
    let before_port = text.split(':').next().unwrap_or_default();
    assert_eq!(name.as_str(), before_port.to_ascii_lowercase());
    let origin = Origin::new(name, read.port.unwrap_or(443));
    assert_eq!(origin.host(), name.as_str());
    assert_eq!(origin.host_name(), *name);
    assert_eq!(origin.host_field().as_bytes(), origin.authority().as_bytes());
    let again = Authority::parse(origin.authority()).expect("an origin is an authority");
    assert_eq!((&again.host, again.port.unwrap_or(443)), (&read.host, origin.port()));
    let library: http::uri::Authority = origin.authority().parse().expect("HTTP/2 writes it");
    assert_eq!((library.host(), library.port_u16()), (origin.host(), again.port));
});
