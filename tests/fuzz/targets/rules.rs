//! The rules of a connection: a path that a lenient origin reads as a denied one is never allowed.

#![no_main]

use http::Method;
use keyferry::model::rules::{RuleSubject, Rules, WrittenRule};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|path: &str| {
    let written = ["deny /secret/**", "deny /a/*.git/**/b", "allow /**"];
    let written = written.map(|line| WrittenRule::parse(line).expect("a rule"));
    let rules = Rules::parse(written.to_vec()).expect("rules");
    let subject = RuleSubject {
        method: &Method::GET,
        path: path.into(),
        destination: None,
        override_field: None,
        source_field: None,
    };
    let is_allowed = rules.check(&subject).is_ok();
    assert!(!(is_allowed && lenient(path).starts_with("/secret/")), "{path}");
});

/// The path as a lenient origin reads it: decoded up to twice, dots resolved, doubled slashes
/// merged, parameters of segments cut off, in lower case.
fn lenient(path: &str) -> String {
    let text = decoded(&decoded(path)).replace('\\', "/");
    let mut segments: Vec<&str> = Vec::new();
    for segment in text.split('/') {
        match segment.split(';').next().unwrap_or_default() {
            "" | "." => {}
            ".." => drop(segments.pop()),
            plain => segments.push(plain),
        }
    }
    format!("/{}/", segments.join("/")).to_ascii_lowercase()
}

fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let escape = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(letter) if *byte == b'%' => {
                bytes.push(letter);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
