//! An allowed domain reads as it prints, is never an address, and covers what the specification
//! says and nothing else. Input: a domain, and on the next line a host.
#![no_main]

use keyferry::model::domain::AllowedDomain;
use keyferry::model::origin::HostName;
use keyferry_fuzz::{covers, is_ipv4_in_any_spelling};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (domain, host) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(domain) = AllowedDomain::parse(domain) else { return };
    let printed = domain.to_string();
    assert!(printed.is_ascii() && printed.len() <= 253 && printed == printed.to_ascii_lowercase());
    assert_eq!(AllowedDomain::parse(&printed).as_ref(), Ok(&domain), "{printed}");
    assert!(!is_ipv4_in_any_spelling(domain.base()), "{printed}");
    assert!(!domain.base().contains('*') && domain.base().contains('.'), "{printed}");
    match domain.exact() {
        Some(own) => assert!(!domain.is_wildcard() && own.as_str() == printed),
        None => assert!(domain.is_wildcard(), "{printed}"),
    }
    // The host itself, and hosts near the domain, which chance would seldom find.
    let base = domain.base();
    let near = [
        base.to_owned(),
        format!("a.{base}"),
        format!("a.b.{base}"),
        format!("a{base}"),
        format!("{base}.{host}"),
        format!("{host}.{base}"),
        format!("{host}{base}"),
        host.to_owned(),
        base.split_once('.').map_or("", |(_, above)| above).to_owned(),
    ];
    for host in near {
        let Ok(name) = HostName::parse(&host) else { continue };
        assert_eq!(domain.covers(&name), covers(&printed, &host), "{printed} {host}");
    }
});
