//! The URL of an endpoint, and what a flow puts in the place of its placeholder. Input: the label, a
//! newline, the URL.
//!
//! What is taken leads to one host, over https, and whatever label is put there, to that host or to
//! one right below the domain that the URL names.
#![no_main]

use keyferry::model::oauth::endpoint::{Subdomain, EndpointTemplate};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Some((label, url)) = text.split_once('\n') else { return };
    let Ok(template) = EndpointTemplate::parse(url) else { return };
    let usual = Subdomain::parse("usual").expect("a label");
    let there = template.resolve(Some(&usual)).expect("a template that was taken");
    let Ok(subdomain) = Subdomain::parse(label) else { return };
    let Ok(endpoint) = template.resolve(Some(&subdomain)) else { return };
    assert_eq!(endpoint.origin().port(), there.origin().port());
    let (host, usual) = (endpoint.origin().host(), there.origin().host());
    let below = |host: &str| host.split_once('.').map(|(_, below)| below.to_owned());
    assert!(host == usual || below(host) == below(usual), "{host} {usual}");
    assert!(!endpoint.to_string().contains(['{', '}', '#', ' ']), "{endpoint}");
});
