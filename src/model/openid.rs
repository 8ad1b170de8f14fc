//! The OpenID provider that people sign in with, and the rights that its groups give.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::caller::{Caller, Reach};
use super::name::IntegrationName;
use super::oauth::profile::Issuer;
use super::rules::Rules;
use super::session::Person;
use super::token::Scopes;
use crate::secret::Secret;

/// The provider, our client there, and the rights of its groups.
#[derive(Clone, Debug)]
pub struct OpenIdSettings {
    /// Its issuer identifier.
    pub issuer: Issuer,
    /// The id of our client.
    pub client_id: Box<str>,
    /// The client's secret; `None` for a public client.
    pub secret: Option<Secret>,
    /// The scopes to ask for, separated by spaces.
    pub scopes: Box<str>,
    /// The claim that lists a person's groups.
    pub groups_claim: GroupsClaim,
    /// An email address names people of which the provider does not say whether it was verified.
    pub trusts_email: bool,
    /// The rights of each group, one for each integration.
    pub grants: Vec<GroupGrant>,
}

/// The rights that a group gives within an integration, or within all.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GroupGrant {
    /// The group, as the provider names it.
    pub group: Box<str>,
    /// The integration; `None` for all.
    pub integration: Option<IntegrationName>,
    /// The scopes.
    pub scopes: Scopes,
}

/// The claim of an ID token that lists groups: its name, or a JSON Pointer (RFC 6901).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GroupsClaim(Box<str>);

impl GroupsClaim {
    /// Reads a name or a pointer.
    ///
    /// # Errors
    /// The text states the rule.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let is_plain = !text.chars().any(char::is_control);
        if (1..=256).contains(&text.len()) && is_plain {
            Ok(Self(text.into()))
        } else {
            Err("must be the name of a claim, or a JSON Pointer such as /realm_access/roles")
        }
    }

    /// The groups that the claims list. One that is not a text is left out.
    pub fn of<'a>(&self, claims: &'a Map<String, Value>) -> Vec<&'a str> {
        let found = match self.0.strip_prefix('/') {
            None => claims.get(&*self.0),
            Some(path) => {
                let (first, rest) = path
                    .split_once('/')
                    .map_or((path, None), |(first, rest)| (first, Some(format!("/{rest}"))));
                let first = claims.get(&first.replace("~1", "/").replace("~0", "~"));
                rest.map_or(first, |rest| first?.pointer(&rest))
            }
        };
        match found {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }
}

impl OpenIdSettings {
    /// Those of a person's groups that give rights.
    pub fn known_groups(&self, claims: &Map<String, Value>) -> Vec<Box<str>> {
        let named = self.groups_claim.of(claims);
        let mut known: Vec<Box<str>> = Vec::new();
        for grant in &self.grants {
            if named.contains(&&*grant.group) && !known.contains(&grant.group) {
                known.push(grant.group.clone());
            }
        }
        known
    }

    /// The person as a caller at a page of this integration, or at one of none; `None` for one who
    /// has no rights any more.
    ///
    /// In an integration for which a group of theirs has rights, a person is a caller of that one
    /// integration; else of all, where a group has rights for all.
    pub fn caller(&self, person: &Person, integration: Option<&str>) -> Option<Caller> {
        let everywhere = self.union(person, |of| of.is_none());
        let within = |name: &IntegrationName| {
            let own = self.union(person, |of| of.is_some_and(|of| of == name));
            Some((Reach::One(name.clone(), None), own?.union(everywhere.unwrap_or_default())))
        };
        let own = self.integrations(person);
        let named = integration.and_then(|name| own.iter().find(|own| own.as_str() == name));
        let everything = || everywhere.map(|scopes| (Reach::Every(None), scopes));
        // Elsewhere a person is refused as somebody of another integration.
        let elsewhere = || own.first().and_then(within);
        let found = named.and_then(within).or_else(everything).or_else(elsewhere);
        let (reach, scopes) = found?;
        let rules = Rules::default();
        Some(Caller { name: Arc::from(person.name()), reach, scopes, expires_at: None, rules })
    }

    /// The integrations for which groups of the person have rights, in order. Those of a group that
    /// has rights for all are not listed.
    pub fn integrations(&self, person: &Person) -> Vec<IntegrationName> {
        let mut names: Vec<_> =
            self.grants_of(person).filter_map(|grant| grant.integration.clone()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Tells whether a group of the person has rights for all integrations.
    pub fn reaches_everything(&self, person: &Person) -> bool {
        self.grants_of(person).any(|grant| grant.integration.is_none())
    }

    /// The scopes of the grants of these integrations together.
    fn union(
        &self,
        person: &Person,
        is_meant: impl Fn(Option<&IntegrationName>) -> bool,
    ) -> Option<Scopes> {
        let grants = self.grants_of(person);
        let meant = grants.filter(|grant| is_meant(grant.integration.as_ref()));
        meant.map(|grant| grant.scopes).reduce(Scopes::union)
    }

    /// The grants of the person's groups; none where another provider or client has identified the
    /// person.
    fn grants_of(&self, person: &Person) -> impl Iterator<Item = &GroupGrant> {
        let is_ours = *person.issuer == *self.issuer.as_str() && person.client_id == self.client_id;
        let groups: &[Box<str>] = if is_ours { &person.groups } else { &[] };
        self.grants.iter().filter(move |grant| groups.contains(&grant.group))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn settings() -> OpenIdSettings {
        let grant = |group: &str, integration: Option<&str>, scopes: &[&str]| GroupGrant {
            group: group.into(),
            integration: integration.map(|name| IntegrationName::parse(name).unwrap()),
            scopes: Scopes::parse(scopes.iter().copied()).unwrap(),
        };
        OpenIdSettings {
            issuer: Issuer::parse("https://id.example.com").unwrap(),
            client_id: "keyferry".into(),
            secret: None,
            scopes: "openid".into(),
            groups_claim: GroupsClaim::parse("groups").unwrap(),
            trusts_email: false,
            grants: vec![
                grant("auditors", None, &["read", "audit"]),
                grant("acme", Some("acme"), &["write"]),
                grant("acme", Some("other"), &["read"]),
                grant("admins", None, &["admin"]),
            ],
        }
    }

    fn person(groups: &[&str]) -> Person {
        Person {
            issuer: "https://id.example.com".into(),
            client_id: "keyferry".into(),
            subject: "1".into(),
            email: None,
            groups: groups.iter().copied().map(Into::into).collect(),
        }
    }

    /// The reach and the scopes of a person of these groups, in words.
    fn rights(groups: &[&str], integration: Option<&str>) -> Option<(String, String)> {
        let caller = settings().caller(&person(groups), integration)?;
        let scopes: Vec<_> = caller.scopes.names().collect();
        Some((caller.reach.integration().to_owned(), scopes.join(" ")))
    }

    #[test]
    fn groups_give_their_rights_where_they_have_them() {
        let some = |reach: &str, scopes: &str| Some((reach.to_owned(), scopes.to_owned()));
        assert_eq!(rights(&["auditors"], None), some("*", "read audit"));
        assert_eq!(rights(&["auditors"], Some("acme")), some("*", "read audit"));
        assert_eq!(rights(&["acme"], Some("acme")), some("acme", "write"));
        assert_eq!(rights(&["acme"], Some("other")), some("other", "read"));
        // In an integration of no group of theirs they are of another one, which is refused.
        assert_eq!(rights(&["acme"], Some("third")), some("acme", "write"));
        assert_eq!(rights(&["acme"], None), some("acme", "write"));
        let both = ["auditors", "acme"];
        assert_eq!(rights(&both, Some("acme")), some("acme", "read write audit"));
        assert_eq!(rights(&both, Some("third")), some("*", "read audit"));
        assert_eq!(rights(&both, None), some("*", "read audit"));
        assert_eq!(rights(&["admins", "auditors"], None), some("*", "read admin audit"));
    }

    #[test]
    fn nobody_has_rights_by_a_group_a_provider_or_a_client_that_is_not_known() {
        assert_eq!(rights(&[], None), None);
        assert_eq!(rights(&["others", "Auditors"], Some("acme")), None);
        let known = person(&["admins"]);
        for stranger in [
            Person { issuer: "https://id2.example.com".into(), ..known.clone() },
            Person { client_id: "another".into(), ..known.clone() },
        ] {
            assert!(settings().caller(&stranger, None).is_none(), "{stranger:?}");
            assert!(!settings().reaches_everything(&stranger));
        }
        assert!(settings().reaches_everything(&known));
    }

    #[test]
    fn groups_are_read_by_name_or_by_pointer() {
        let claims = json!({
            "groups": ["a", 1, "b"], "one": "c", "number": 1,
            "https://example.com/groups": ["d"], "realm_access": {"roles": ["e"]}, "a/b": ["f"],
        });
        let claims = claims.as_object().unwrap();
        for (claim, groups) in [
            ("groups", vec!["a", "b"]),
            ("one", vec!["c"]),
            ("number", vec![]),
            ("none", vec![]),
            ("https://example.com/groups", vec!["d"]),
            ("/realm_access/roles", vec!["e"]),
            ("/realm_access/roles/0", vec!["e"]),
            ("/a~1b", vec!["f"]),
            ("/none/roles", vec![]),
        ] {
            assert_eq!(GroupsClaim::parse(claim).unwrap().of(claims), groups, "{claim}");
        }
        assert!(GroupsClaim::parse("").is_err());
    }

    #[test]
    fn of_many_groups_those_are_kept_that_give_rights() {
        let claims = json!({"groups": ["everybody", "acme", "admins"]});
        let known = settings().known_groups(claims.as_object().unwrap());
        assert_eq!(known, [Box::from("acme"), Box::from("admins")]);
    }
}
