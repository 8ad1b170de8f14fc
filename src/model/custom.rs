//! Connections of type `custom`: several secrets, the places where they stand in a request, and
//! several allowed domains (contract §8).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::domain::AllowedDomain;
use super::field::{SecretError, check_password, check_secret};
use super::packer::{Packer, Unpacker};
use super::placement::{ParsedPlacement, Placement, parse_all};
use crate::secret::Secret;

/// Everything of a custom connection that is not secret.
///
/// Its encoding is stored, and part of the context for which its secrets are sealed, so that it
/// must stay as it is in every later version.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CustomAccess {
    /// The names of the secrets, in order.
    pub secrets: Vec<Box<str>>,
    /// The places at each domain that has none of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inject: Vec<Placement>,
    /// The allowed domains; the first one is the record's own.
    pub domains: Vec<CustomDomain>,
}

/// One of the allowed domains of a custom connection.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CustomDomain {
    /// The domain.
    #[serde(with = "domain_text")]
    pub domain: AllowedDomain,
    /// The places at this domain, where they are its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inject: Vec<Placement>,
}

/// The secrets of a custom connection, by their names.
#[derive(Clone, Debug, Default)]
pub struct CustomSecrets(BTreeMap<Box<str>, Secret>);

/// A custom connection that breaks a rule: the member that does, and the rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CustomFault {
    /// The member of the API's documents.
    pub member: &'static str,
    /// The rule, as it follows the member's name.
    pub rule: String,
}

impl CustomAccess {
    /// Reads an encoded one; `None` for anything else.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().filter(|read: &Self| !read.domains.is_empty())
    }

    /// The text that is stored and sealed.
    #[must_use]
    pub fn encode(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The names of the secrets.
    #[must_use]
    pub fn secret_names(&self) -> Vec<&str> {
        self.secrets.iter().map(|name| &**name).collect()
    }

    /// The places at a domain.
    #[must_use]
    pub fn inject_of<'a>(&'a self, domain: &'a CustomDomain) -> &'a [Placement] {
        if domain.inject.is_empty() { &self.inject } else { &domain.inject }
    }

    /// The places at all domains.
    pub fn placements(&self) -> impl Iterator<Item = &Placement> {
        self.inject.iter().chain(self.domains.iter().flat_map(|domain| &domain.inject))
    }

    /// Tells whether each place is accepted.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        let names = self.secret_names();
        self.placements().all(|placement| placement.parse(&names).is_ok())
    }

    /// Checks all of it together.
    ///
    /// # Errors
    /// [`CustomFault`] names the member that breaks a rule.
    pub fn check(&self) -> Result<(), CustomFault> {
        self.check_secret_names().map_err(|rule| CustomFault { member: SECRETS, rule })?;
        self.check_domains().map_err(|rule| CustomFault { member: DOMAINS, rule })?;
        // 1. The places that all domains share.
        let names = self.secret_names();
        let fault = |member, rule| CustomFault { member, rule };
        let is_shared = self.domains.iter().any(|domain| domain.inject.is_empty());
        let mut parsed = parse_all(&self.inject, &names).map_err(|rule| fault(INJECT, rule))?;
        match (is_shared, has_secret(&parsed)) {
            (true, false) => return Err(fault(INJECT, NO_SECRET.to_owned())),
            (false, _) if !self.inject.is_empty() => {
                let rule = "is for no domain: each of allowed_domains has its own".to_owned();
                return Err(fault(INJECT, rule));
            }
            _ => {}
        }
        // 2. Those of single domains.
        for domain in self.domains.iter().filter(|domain| !domain.inject.is_empty()) {
            let told = |rule| fault(DOMAINS, format!("inject of {} {rule}", domain.domain));
            let own = parse_all(&domain.inject, &names).map_err(told)?;
            if !has_secret(&own) {
                return Err(told(NO_SECRET.to_owned()));
            }
            parsed.extend(own);
        }
        // 3. No secret is kept for nothing.
        let is_unused =
            |name: &&&str| !parsed.iter().any(|placement| placement.template().has(name));
        match names.iter().find(is_unused) {
            Some(name) => {
                Err(fault(SECRETS, format!("has {name}, which no template of inject has")))
            }
            None => Ok(()),
        }
    }

    fn check_secret_names(&self) -> Result<(), String> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        let is_name = |name: &str| (1..=64).contains(&name.len()) && name.bytes().all(fits);
        if !(1..=MAX_SECRETS).contains(&self.secrets.len()) {
            return Err(format!("must have 1 to {MAX_SECRETS} secrets"));
        }
        match self.secrets.iter().find(|name| !is_name(name)) {
            Some(_) => Err("must have names of 1 to 64 letters, digits, _ and -".to_owned()),
            None => Ok(()),
        }
    }

    fn check_domains(&self) -> Result<(), String> {
        if !(1..=MAX_DOMAINS).contains(&self.domains.len()) {
            return Err(format!("must have 1 to {MAX_DOMAINS} domains"));
        }
        let mut domains = self.domains.iter().enumerate();
        let is_twice = |(number, domain): &(usize, &CustomDomain)| {
            let before = self.domains.get(..*number).unwrap_or_default();
            before.iter().any(|other| other.domain == domain.domain)
        };
        match domains.find(is_twice) {
            Some((_, CustomDomain { domain, .. })) => Err(format!("has {domain} twice")),
            None => Ok(()),
        }
    }

    /// Checks a secret by the places where it stands.
    ///
    /// # Errors
    /// [`UnfitSecret`] states the rule that it breaks.
    pub fn check_value(&self, name: &str, secret: &Secret) -> Result<(), UnfitSecret> {
        // 1. A field loses outer spaces, unless they are within Basic's base64.
        let parsed = self.placements().filter_map(|it| it.parse_with_any().ok());
        let parsed: Vec<_> = parsed.filter(|it| it.template().has(name)).collect();
        let is_encoded = parsed.iter().all(|it| it.template().has_basic());
        let check = if is_encoded { check_password } else { check_secret };
        check(secret.expose()).map_err(UnfitSecret::Rule)?;
        let is_user = parsed.iter().any(|it| it.template().has_user(name));
        if is_user && secret.expose().contains(&b':') {
            return Err(UnfitSecret::Rule(SecretError::Colon));
        }
        // 2. A segment of a path has no separator, however it is escaped.
        let leads_on = secret.expose().iter().any(|byte| b"/\\?#%;".contains(byte))
            || secret.expose().iter().all(|byte| *byte == b'.');
        let is_segment = |it: &ParsedPlacement| matches!(it, ParsedPlacement::Segment(..));
        if leads_on && parsed.iter().any(is_segment) { Err(UnfitSecret::Segment) } else { Ok(()) }
    }

    /// Tells whether a secret has another place, or may be sent to another domain, than in `other`.
    #[must_use]
    pub fn sends_otherwise(&self, other: &Self) -> bool {
        self.inject != other.inject || self.domains != other.domains
    }
}

/// A secret that can't stand in one of its places. The text states the rule.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UnfitSecret {
    /// It breaks a rule of every secret.
    #[error(transparent)]
    Rule(SecretError),
    /// It could be read as more than a segment.
    #[error("it has one of / \\ ? # % ; or is of dots alone, which no segment of a path can carry")]
    Segment,
}

impl CustomSecrets {
    /// The secret of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Secret> {
        self.0.get(name)
    }

    /// Sets the secret of this name.
    pub fn insert(&mut self, name: &str, secret: Secret) {
        self.0.insert(name.into(), secret);
    }

    /// Keeps those secrets alone whose names are in `names`.
    pub fn retain(&mut self, names: &[&str]) {
        self.0.retain(|name, _| names.contains(&&**name));
    }

    /// Tells whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|name| &**name)
    }

    /// Encodes the secrets as one.
    #[must_use]
    pub fn pack(&self) -> Secret {
        let each = self.0.iter();
        let all = each.fold(Packer::new(KIND), |before, (name, secret)| {
            before.text(name.as_bytes()).text(secret.expose())
        });
        all.finish()
    }

    /// Decodes the secrets; `None` for anything else.
    #[must_use]
    pub fn unpack(packed: &Secret) -> Option<Self> {
        let mut unpacking = Unpacker::new(KIND, packed)?;
        let mut secrets = BTreeMap::new();
        while !unpacking.is_done() {
            let name = unpacking.utf8()?.into();
            secrets.insert(name, Secret::new(unpacking.text()?));
        }
        Some(Self(secrets))
    }
}

impl fmt::Display for CustomFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.member, self.rule)
    }
}

/// A domain is stored as its text, and read by the rules of stored ones.
mod domain_text {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::AllowedDomain;

    pub(super) fn serialize<S: Serializer>(
        domain: &AllowedDomain,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(domain)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<AllowedDomain, D::Error> {
        let text = String::deserialize(deserializer)?;
        AllowedDomain::read_kept(&text).map_err(D::Error::custom)
    }
}

fn has_secret(placements: &[ParsedPlacement]) -> bool {
    placements.iter().any(|placement| placement.template().has_secret())
}

/// The first byte of packed secrets, which no other payload of a connection has.
const KIND: u8 = 0x0f;

/// The most secrets of a connection.
const MAX_SECRETS: usize = 8;

/// The most allowed domains of a connection.
const MAX_DOMAINS: usize = 10;

const NO_SECRET: &str = "must have 1 to 8 places, one of them with a secret";

/// The member of the API's documents that holds the secrets.
pub const SECRETS: &str = "secrets";
/// The member that holds the places.
pub const INJECT: &str = "inject";
/// The member that holds the domains.
pub const DOMAINS: &str = "allowed_domains";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::placement::Place;

    fn placement(place: Place, name: &str, value: &str) -> Placement {
        Placement { place, name: name.into(), value: value.into() }
    }

    fn domain(text: &str, inject: Vec<Placement>) -> CustomDomain {
        CustomDomain { domain: AllowedDomain::parse(text).unwrap(), inject }
    }

    fn datadog() -> CustomAccess {
        CustomAccess {
            secrets: vec!["api".into(), "app".into()],
            inject: vec![
                placement(Place::Header, "DD-API-KEY", "{api}"),
                placement(Place::Header, "DD-APPLICATION-KEY", "{app}"),
            ],
            domains: vec![domain("api.datadoghq.com", vec![])],
        }
    }

    #[test]
    fn the_encoding_of_every_member_stays_as_it_is() {
        let json = concat!(
            r#"{"secrets":["a"],"inject":[{"name":"X-A","value":"{a}"}],"#,
            r#""domains":[{"domain":"a.example.com"},"#,
            r#"{"domain":"*.example.org","inject":[{"in":"query","name":"a","value":"{a}"}]}]}"#,
        );
        let read = CustomAccess::decode(json).unwrap();
        assert_eq!(read.encode(), json);
        assert!(read.check().is_ok() && read.is_accepted());
        for other in ["{}", r#"{"secrets":[],"domains":[]}"#, r#"{"secrets":[],"domains":[1]}"#] {
            assert_eq!(CustomAccess::decode(other), None, "{other}");
        }
    }

    #[test]
    fn each_rule_is_told_with_its_member() {
        let fault = |change: fn(&mut CustomAccess)| {
            let mut access = datadog();
            change(&mut access);
            access.check().unwrap_err().to_string()
        };
        assert_eq!(datadog().check(), Ok(()));
        for (change, told) in [
            ((|it| it.secrets.clear()) as fn(&mut CustomAccess), "secrets must have 1 to 8"),
            (|it| it.secrets.push("a b".into()), "secrets must have names"),
            (|it| it.secrets.push("spare".into()), "secrets has spare, which no template"),
            (|it| it.domains.clear(), "allowed_domains must have 1 to 10"),
            (|it| it.domains.push(it.domains[0].clone()), "has api.datadoghq.com twice"),
            (|it| it.inject.clear(), "inject must have 1 to 8 places"),
            (|it| it.inject[0].value = "constant".into(), "secrets has api"),
            (|it| it.inject[0].value = "{absent}".into(), "inject [0]: its value has an unknown"),
            (|it| it.domains[0].inject = vec![it.inject[0].clone()], "inject is for no domain"),
            (
                |it| it.domains.push(domain("b.com", vec![placement(Place::Query, "a", "b")])),
                "allowed_domains inject of b.com must have",
            ),
        ] {
            let text = fault(change);
            assert!(text.contains(told), "{text}: {told}");
        }
    }

    #[test]
    fn secrets_come_out_as_they_went_in() {
        let mut secrets = CustomSecrets::default();
        secrets.insert("b", Secret::new("2"));
        secrets.insert("a", Secret::new(""));
        let unpacked = CustomSecrets::unpack(&secrets.pack()).unwrap();
        assert_eq!(unpacked.names().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(unpacked.get("b").unwrap().expose(), b"2");
        assert!(unpacked.get("c").is_none());
        assert!(CustomSecrets::unpack(&Secret::new("secret")).is_none());
        assert!(CustomSecrets::unpack(&Secret::new("\u{f}secret")).is_none());
        assert!(!format!("{secrets:?}").contains('2'));
    }

    #[test]
    fn a_secret_fits_its_places() {
        let mut access = datadog();
        access.inject[1] = placement(Place::Path, "KEYFERRY", "bot{app}");
        access.inject.push(placement(Place::Header, "Authorization", "{basic:'x',api}"));
        let check = |name, text: &str| access.check_value(name, &Secret::new(text));
        assert_eq!(check("app", "12:ab"), Ok(()));
        for text in ["12/ab", "..", "a%2fb", "a;b"] {
            assert_eq!(check("app", text), Err(UnfitSecret::Segment), "{text}");
        }
        assert_eq!(check("api", "a/b:c"), Ok(()));
        assert_eq!(check("api", " ab"), Err(UnfitSecret::Rule(SecretError::OuterSpace)));
        access.inject.remove(0);
        assert_eq!(access.check_value("api", &Secret::new(" ab")), Ok(()));
        access.inject.push(placement(Place::Header, "X-Pair", "{basic:api,''}"));
        let colon = access.check_value("api", &Secret::new("a:b"));
        assert_eq!(colon, Err(UnfitSecret::Rule(SecretError::Colon)));
    }
}
