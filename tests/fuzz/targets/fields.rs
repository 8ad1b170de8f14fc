//! What must not pass does not, what may pass does. Input: a byte that picks the credential's
//! field and the HTTP version, then fields, one a line.
#![no_main]

use std::collections::HashSet;

use http::{HeaderMap, HeaderName, HeaderValue, Version, header};
use keyferry::proxy::{
    Via, prepare_request, prepare_response, prepare_response_trailers, prepare_trailers,
};
use libfuzzer_sys::fuzz_target;

const CREDENTIALS: [&str; 4] = ["authorization", "x-api-key", "x_api-key", "apikey"];
const HOP: [&str; 6] =
    ["connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"];

fuzz_target!(|input: &[u8]| {
    let Some((choice, text)) = input.split_first() else { return };
    let given = keyferry_fuzz::fields(text);
    let credential = HeaderName::from_static(CREDENTIALS[usize::from(choice & 3)]);
    let token_field = (choice & 4 != 0).then(|| HeaderName::from_static("x-slot"));
    let version =
        [Version::HTTP_11, Version::HTTP_2, Version::HTTP_10][usize::from(choice >> 3) % 3];
    let via = Via::new("fuzz");

    let mut request = given.clone();
    let credentials = std::slice::from_ref(&credential);
    prepare_request(&mut request, version, credentials, token_field.as_ref(), &via);
    check_request(&given, &request, &credential, token_field.as_ref());

    let mut trailers = given.clone();
    prepare_trailers(&mut trailers, credentials);
    check_common(&trailers, &given);
    for name in trailers.keys() {
        assert!(!is_ours(name) && !is_framing(name) && !is_alias(name, &credential), "{name}");
    }

    let mut response = given.clone();
    prepare_response(&mut response, version, &via);
    check_response(&given, &response);

    let mut trailers = given.clone();
    prepare_response_trailers(&mut trailers);
    check_common(&trailers, &given);
    assert!(trailers.keys().all(|name| !is_framing(name)));
    check_own_status(&trailers);
});

fn check_request(
    given: &HeaderMap,
    left: &HeaderMap,
    credential: &HeaderName,
    token_field: Option<&HeaderName>,
) {
    let nominated = nominated(given);
    for name in left.keys().filter(|name| !["te", "connection", "via"].contains(&name.as_str())) {
        assert!(!HOP.contains(&name.as_str()) && !nominated.contains(name), "{name}");
        assert!(!is_ours(name) && !is_alias(name, credential), "{name}");
        assert!(*name != header::CONTENT_LENGTH && Some(name) != token_field, "{name}");
    }
    // What is made for the next hop is made of one fixed value each.
    let one = |name| left.get_all(name).iter().collect::<Vec<_>>();
    match (one(header::TE).as_slice(), one(header::CONNECTION).as_slice()) {
        ([], []) => {}
        ([te], [connection]) => assert!(*te == "trailers" && *connection == "te"),
        (te, connection) => panic!("{te:?} {connection:?}"),
    }
    let mark = one(header::VIA).pop().cloned().unwrap_or(HeaderValue::from_static(""));
    assert!(mark.as_bytes().ends_with(b" keyferry-fuzz"), "{mark:?}");
    // Nothing is lost that may pass.
    for name in given.keys() {
        let goes = HOP.contains(&hyphened(name).as_str())
            || nominated.contains(name)
            || is_ours(name)
            || is_alias(name, credential)
            || is_alias(name, &header::CONTENT_LENGTH)
            || *name == header::VIA
            // The crumbs of a cookie are joined.
            || *name == header::COOKIE
            || Some(name) == token_field;
        assert!(goes || given.get_all(name) == left.get_all(name), "{name}");
    }
}

fn check_response(given: &HeaderMap, left: &HeaderMap) {
    check_common(left, given);
    check_own_status(left);
    for name in left.keys() {
        assert!(!name.as_str().starts_with("proxy-") || name == "proxy-status", "{name}");
    }
}

/// Neither fields of the hop, nor what a `Connection` line names.
fn check_common(left: &HeaderMap, given: &HeaderMap) {
    let nominated = nominated(given);
    for name in left.keys().filter(|name| **name != header::VIA) {
        assert!(!HOP.contains(&name.as_str()) && !nominated.contains(name), "{name}");
    }
}

/// Where no quotation marks stand, a list is read by its commas.
fn check_own_status(left: &HeaderMap) {
    for value in left.get_all("proxy-status").iter().filter_map(|value| value.to_str().ok()) {
        if value.contains('"') {
            continue;
        }
        for member in value.split(',') {
            let name = member.split(';').next().unwrap_or_default().trim();
            assert!(!name.eq_ignore_ascii_case("keyferry"), "{value}");
        }
    }
}

fn nominated(headers: &HeaderMap) -> HashSet<HeaderName> {
    let lines = headers.get_all(header::CONNECTION).iter();
    lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect()
}

fn hyphened(name: &HeaderName) -> String {
    name.as_str().replace(|c: char| !c.is_ascii_alphanumeric(), "-")
}

fn is_ours(name: &HeaderName) -> bool {
    hyphened(name).starts_with("x-zis") || hyphened(name).starts_with("proxy-")
}

fn is_alias(name: &HeaderName, credential: &HeaderName) -> bool {
    hyphened(name) == hyphened(credential)
}

fn is_framing(name: &HeaderName) -> bool {
    ["content-length", "host", "trailer"].contains(&name.as_str())
}
