//! The members `assertion` and `installation` of a client, read by their rules.

use std::fmt::Display;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::member_rules::parse_plain;
use crate::model::oauth::assertion::{
    AssertionProfile, Installation, ScopePlace, SignatureAlgorithm,
};
use crate::model::oauth::profile::Lifetime;
use crate::wire::{AssertionMembers, InstallationMembers, Member, ParamMap};

/// Reads the header and the claims of assertions.
pub(super) fn read(given: AssertionMembers) -> Result<AssertionProfile, String> {
    let AssertionMembers { iss, sub, aud, scope, scope_in, key_id, algorithm, .. } = given;
    let lifetime = parse("lifetime", given.lifetime, Lifetime::parse)?;
    let is_too_long = |lifetime: Lifetime| !(60..=3600).contains(&lifetime.length().as_secs());
    if lifetime.is_some_and(is_too_long) {
        return Err("lifetime must be from 1m to 1h".to_owned());
    }
    Ok(AssertionProfile {
        iss: parse("iss", iss, parse_plain)?,
        sub: parse("sub", sub, parse_plain)?,
        aud: parse("aud", aud, parse_plain)?,
        scope: parse("scope", scope, parse_plain)?,
        scope_in: parse("scope_in", scope_in, ScopePlace::parse)?.unwrap_or_default(),
        key_id: parse("key_id", key_id, parse_plain)?,
        algorithm: parse("algorithm", algorithm, SignatureAlgorithm::parse)?,
        lifetime,
        certificate_thumbprint: parse(
            "certificate_thumbprint",
            given.certificate_thumbprint,
            parse_thumbprint,
        )?,
        claims: parse_claims(given.claims)?,
    })
}

/// Reads the installation of a GitHub App.
pub(super) fn read_installation(given: InstallationMembers) -> Result<Installation, String> {
    let InstallationMembers { id, repositories, permissions } = given;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_name = |name: &String| (1..=100).contains(&name.len()) && name.bytes().all(plain);
    if repositories.len() > 500 || !repositories.iter().all(is_name) {
        return Err("repositories must be at most 500 names, each without its owner".to_owned());
    }
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    for (name, level) in &permissions {
        let is_name = (1..=64).contains(&name.len()) && name.bytes().all(plain);
        if !is_name || !["read", "write", "admin"].contains(&level.as_str()) {
            let title =
                "permissions must be names such as contents, each with read, write or admin";
            return Err(title.to_owned());
        }
    }
    let repositories = repositories.into_iter().map(Into::into).collect();
    Ok(Installation { id, repositories, permissions })
}

/// Writes what [`read`] reads; nothing for the default.
pub(super) fn write(profile: &AssertionProfile) -> Member<AssertionMembers> {
    let text = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
    let scope_in = Some(profile.scope_in).filter(|place| *place != ScopePlace::default());
    let members = AssertionMembers {
        iss: text(&profile.iss),
        sub: text(&profile.sub),
        aud: text(&profile.aud),
        scope: text(&profile.scope),
        scope_in: scope_in.map(|place| place.as_str().to_owned()),
        key_id: text(&profile.key_id),
        algorithm: profile.algorithm.map(|algorithm| algorithm.as_str().to_owned()),
        lifetime: profile.lifetime.map(|lifetime| lifetime.to_string()),
        certificate_thumbprint: text(&profile.certificate_thumbprint),
        claims: profile.claims.clone(),
    };
    Some(members).filter(|_members| !profile.is_default()).into()
}

/// Writes what [`read_installation`] reads; nothing for the default.
pub(super) fn write_installation(installation: &Installation) -> Member<InstallationMembers> {
    let members = InstallationMembers {
        id: installation.id,
        repositories: installation.repositories.iter().map(ToString::to_string).collect(),
        permissions: installation.permissions.clone(),
    };
    Some(members).filter(|_members| !installation.is_default()).into()
}

/// Reads a text that may be there; an empty one counts as none.
fn parse<V, E: Display>(
    name: &str,
    text: Option<String>,
    parse: impl FnOnce(&str) -> Result<V, E>,
) -> Result<Option<V>, String> {
    let text = text.filter(|text| !text.is_empty());
    text.map(|text| parse(&text)).transpose().map_err(|rule| format!("{name} {rule}"))
}

/// Reads a thumbprint in base64url, or as certificates are shown: in hexadecimal.
fn parse_thumbprint(text: &str) -> Result<Box<str>, &'static str> {
    let rule = "must be the SHA-256 thumbprint of a certificate, in hexadecimal or base64url";
    let digits: String = text.chars().filter(|letter| *letter != ':').collect();
    let digest = if digits.len() == 64 {
        let pairs = digits.as_bytes().chunks_exact(2);
        let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        pairs.map(byte).collect::<Option<Vec<u8>>>()
    } else {
        URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
    };
    let digest = digest.filter(|digest| digest.len() == 32).ok_or(rule)?;
    Ok(URL_SAFE_NO_PAD.encode(digest).into())
}

fn parse_claims(claims: ParamMap) -> Result<ParamMap, String> {
    if claims.len() > 16 {
        return Err("claims has more than 16 claims".to_owned());
    }
    for (name, value) in &claims {
        let is_plain = !name.is_empty() && !name.chars().any(char::is_control);
        if !is_plain || name.len() > 128 || parse_plain(value).is_err() {
            return Err(
                "claims has a name or a value that is too long, or not printable".to_owned()
            );
        }
        if OWN_CLAIMS.contains(&name.as_str()) {
            return Err(format!("claims has {name}, which is set by its own member, or here"));
        }
    }
    Ok(claims)
}

/// Claims that are set here (RFC 7519 §4.1, RFC 8693 §4.2).
const OWN_CLAIMS: [&str; 8] = ["aud", "exp", "iat", "iss", "jti", "nbf", "scope", "sub"];

#[cfg(test)]
mod tests {
    use super::*;

    fn members(json: &str) -> AssertionMembers {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_thumbprint_is_read_in_both_of_its_forms() {
        let hexadecimal = ["AB"; 32].join(":");
        let expected = URL_SAFE_NO_PAD.encode([0xab; 32]);
        for text in [&hexadecimal, &hexadecimal.replace(':', ""), &expected] {
            assert_eq!(parse_thumbprint(text).as_deref(), Ok(&*expected), "{text}");
        }
        for text in ["", "AB", &"é".repeat(32), &"+".repeat(43)] {
            assert!(parse_thumbprint(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_read_is_written_again() {
        let json = r#"{"iss":"i","sub":"s","aud":"a","scope":"b c","scope_in":"parameter","key_id":"k","algorithm":"ES256","lifetime":"1m","claims":{"d":"e"}}"#;
        let read = read(members(json)).unwrap();
        let Member::Given(written) = write(&read) else { panic!("{read:?}") };
        assert_eq!(serde_json::to_string(&written).unwrap(), json);
        assert!(write(&AssertionProfile::default()).is_absent());
    }

    #[test]
    fn each_rule_is_told() {
        for (json, rule) in [
            (r#"{"lifetime":"30s"}"#, "lifetime must be from 1m to 1h"),
            (r#"{"lifetime":"2h"}"#, "lifetime must be from 1m to 1h"),
            (r#"{"algorithm":"none"}"#, "algorithm must be RS256"),
            (r#"{"sub":"a\nb"}"#, "sub must be"),
            (r#"{"scope_in":"field"}"#, "scope_in must be claim or parameter"),
            (r#"{"claims":{"exp":"1"}}"#, "claims has exp"),
        ] {
            let told = read(members(json)).unwrap_err();
            assert!(told.starts_with(rule), "{told}");
        }
        for json in [r#"{"repositories":["acme/shop"]}"#, r#"{"permissions":{"contents":"all"}}"#] {
            assert!(read_installation(serde_json::from_str(json).unwrap()).is_err(), "{json}");
        }
    }
}
