//! What the fuzz targets have in common: the rules of the specification, written a second time
//! and in another way than the code under test, and readers for what the fuzzer invents.

pub mod messages;
pub mod recognizer;
pub mod world;

use std::net::Ipv4Addr;

/// Whether an allowed domain covers a host (ZIS spec §5.4, §9), label by label from the right.
pub fn covers(domain: &str, host: &str) -> bool {
    let (wildcard, base) = match domain.strip_prefix("*.") {
        Some(base) => (true, base),
        None => (false, domain),
    };
    let mut of_host = host.rsplit('.');
    for label in base.rsplit('.') {
        match of_host.next() {
            Some(theirs) if theirs.eq_ignore_ascii_case(label) => {}
            _ => return false,
        }
    }
    wildcard || of_host.next().is_none()
}

/// Whether a resolver would read `name` as an IPv4 address: `inet_aton` takes one to four
/// numbers in decimal, octal or hexadecimal.
pub fn is_ipv4_in_any_spelling(name: &str) -> bool {
    let number = |part: &str| {
        let lower = part.to_ascii_lowercase();
        match lower.strip_prefix("0x") {
            Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
            None => !lower.is_empty() && lower.bytes().all(|byte| byte.is_ascii_digit()),
        }
    };
    let parts: Vec<&str> = name.strip_suffix('.').unwrap_or(name).split('.').collect();
    let by_aton = parts.len() <= 4 && parts.iter().all(|part| number(part));
    let by_url = matches!(url::Host::parse(name), Ok(url::Host::Ipv4(_) | url::Host::Ipv6(_)));
    by_aton || by_url || name.parse::<Ipv4Addr>().is_ok()
}

/// Header fields, one a line, as `name: value`; lines that are none are left out.
pub fn fields(text: &[u8]) -> http::HeaderMap {
    let mut headers = http::HeaderMap::new();
    for line in text.split(|byte| *byte == b'\n').take(64) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = http::HeaderName::from_bytes(&line[..colon]);
        let value = http::HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}
