//! The options of clients whose secret is a private key: what it signs, and what for.

use serde_json::{Map, Value};

use super::profile::parse_pair;
use crate::cli::output::CliError;
use crate::wire::{AssertionMembers, InstallationMembers, Member};

#[derive(clap::Args)]
pub(super) struct KeyArgs {
    /// Member of the assertions that its key signs, such as sub=user@example.com; repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair, help_heading = HEADING)]
    assertion: Vec<(String, String)>,
    /// Installation of a GitHub App that its tokens are for
    #[arg(long, value_name = "ID", help_heading = HEADING)]
    installation: Option<u64>,
    /// Repository that its tokens are for, without the owner; repeatable
    #[arg(long = "repository", value_name = "NAME", help_heading = HEADING)]
    repositories: Vec<String>,
    /// Permission that its tokens have, such as contents=read; repeatable
    #[arg(
        long = "permission", value_name = "NAME=LEVEL", value_parser = parse_pair,
        help_heading = HEADING
    )]
    permissions: Vec<(String, String)>,
}

impl KeyArgs {
    /// Tells whether the command line has any of them.
    pub(super) fn are_given(&self) -> bool {
        let is_narrowed = !(self.repositories.is_empty() && self.permissions.is_empty());
        !self.assertion.is_empty() || self.installation.is_some() || is_narrowed
    }

    /// The member `assertion`: the client's present one, with these members set.
    pub(super) fn assertion(
        &self,
        before: Member<AssertionMembers>,
    ) -> Result<Member<AssertionMembers>, CliError> {
        if self.assertion.is_empty() {
            return Ok(Member::Absent);
        }
        let before =
            if let Member::Given(before) = before { before } else { AssertionMembers::default() };
        let Value::Object(mut members) = serde_json::to_value(before)? else {
            return Ok(Member::Absent);
        };
        // A further claim is written as claims.NAME=VALUE.
        let claims = members.remove(CLAIMS);
        let mut claims = claims.and_then(|claims| claims.as_object().cloned()).unwrap_or_default();
        for (name, value) in &self.assertion {
            match name.strip_prefix("claims.") {
                Some(claim) => put(&mut claims, claim, value),
                None => put(&mut members, name, value),
            }
        }
        if !claims.is_empty() {
            members.insert(CLAIMS.to_owned(), claims.into());
        }
        let read = serde_json::from_value(Value::Object(members));
        let usage = |_unknown| CliError::Usage(ASSERTION_USAGE.to_owned());
        read.map(Member::Given).map_err(usage)
    }

    /// The member `installation`: the client's present one, with these members set.
    pub(super) fn installation(
        &self,
        before: Member<InstallationMembers>,
    ) -> Member<InstallationMembers> {
        let is_narrowed = !(self.repositories.is_empty() && self.permissions.is_empty());
        if self.installation.is_none() && !is_narrowed {
            return Member::Absent;
        }
        let mut members = if let Member::Given(before) = before {
            before
        } else {
            InstallationMembers::default()
        };
        members.id = self.installation.or(members.id);
        if !self.repositories.is_empty() {
            members.repositories.clone_from(&self.repositories);
        }
        if !self.permissions.is_empty() {
            members.permissions = self.permissions.iter().cloned().collect();
        }
        Member::Given(members)
    }
}

/// Puts a text into an object; an empty one takes it away.
fn put(members: &mut Map<String, Value>, name: &str, value: &str) {
    if value.is_empty() {
        members.remove(name);
    } else {
        members.insert(name.to_owned(), value.into());
    }
}

const CLAIMS: &str = "claims";

const ASSERTION_USAGE: &str = "--assertion: must be one of iss, sub, aud, scope, scope_in, key_id, \
                               algorithm, lifetime, certificate_thumbprint and claims.NAME";

const HEADING: &str = "Client with a private key";

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(assertion: &[&str]) -> KeyArgs {
        let pairs = assertion.iter().map(|text| parse_pair(text).unwrap());
        KeyArgs {
            assertion: pairs.collect(),
            installation: None,
            repositories: Vec::new(),
            permissions: Vec::new(),
        }
    }

    #[test]
    fn members_are_put_into_those_of_before() {
        let before = AssertionMembers {
            sub: Some("a".into()),
            aud: Some("b".into()),
            ..AssertionMembers::default()
        };
        let given = arguments(&["sub=c=d", "aud=", "claims.e=f"]).assertion(before.into());
        let Ok(Member::Given(members)) = given else { panic!() };
        let json = serde_json::to_string(&members).unwrap();
        assert_eq!(json, r#"{"sub":"c=d","claims":{"e":"f"}}"#);
        assert!(arguments(&["subject=a"]).assertion(Member::Absent).is_err());
        assert!(matches!(arguments(&[]).assertion(Member::Absent), Ok(Member::Absent)));
    }
}
