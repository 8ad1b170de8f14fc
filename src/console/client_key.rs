//! The fields of OAuth clients whose secret is a private key: what it signs, and what for.

use maud::{Markup, html};

use super::fields::{Field, Need};
use super::form_values::FormValues;
use crate::model::oauth::assertion::{AssertionProfile, Installation};
use crate::model::oauth::client::ClientRecord;
use crate::wire::{AssertionMembers, InstallationMembers, Member, ParamMap};

/// The fields, as they are filled in for a client; empty for a new one.
#[derive(Default)]
pub(super) struct KeyValues {
    sub: String,
    aud: String,
    key_id: String,
    id: String,
    repositories: String,
    permissions: String,
}

impl KeyValues {
    /// The values that a client has.
    pub(super) fn of(record: &ClientRecord) -> Self {
        let AssertionProfile { sub, aud, key_id, .. } = &record.profile.assertion;
        let Installation { id, repositories, permissions } = &record.profile.installation;
        let text = |text: &Option<Box<str>>| text.as_deref().unwrap_or_default().to_owned();
        let pairs = permissions.iter().map(|(name, level)| format!("{name}={level}"));
        Self {
            sub: text(sub),
            aud: text(aud),
            key_id: text(key_id),
            id: id.map(|id| id.to_string()).unwrap_or_default(),
            repositories: repositories.join(" "),
            permissions: pairs.collect::<Vec<_>>().join(" "),
        }
    }

    /// The fields with these values.
    pub(super) fn fields(&self) -> [Field<'_>; 6] {
        let field = |name, label, hint, value| Field {
            name,
            label,
            hint,
            value,
            need: Need::Never,
            ..Field::default()
        };
        [
            field(SUB, "Subject", SUB_HINT, &self.sub),
            field(AUD, "Audience", AUD_HINT, &self.aud),
            field(KEY_ID, "Key ID", KEY_ID_HINT, &self.key_id),
            field(ID, "Installation ID", ID_HINT, &self.id),
            field(REPOSITORIES, "Repositories", REPOSITORIES_HINT, &self.repositories),
            field(PERMISSIONS, "Permissions", PERMISSIONS_HINT, &self.permissions),
        ]
    }
}

/// The member `assertion`, as a form changes that of a client; absent where nothing changes.
pub(super) fn assertion(
    values: &FormValues,
    before: Member<AssertionMembers>,
) -> Member<AssertionMembers> {
    let before =
        if let Member::Given(before) = before { before } else { AssertionMembers::default() };
    let text = |field| Some(values.text(field).trim().to_owned()).filter(|text| !text.is_empty());
    let after =
        AssertionMembers { sub: text(SUB), aud: text(AUD), key_id: text(KEY_ID), ..before.clone() };
    Some(after).filter(|after| *after != before).into()
}

/// The member `installation`, likewise. What can't be read is noted as a fault.
pub(super) fn installation(
    values: &mut FormValues,
    before: Member<InstallationMembers>,
) -> Member<InstallationMembers> {
    let before =
        if let Member::Given(before) = before { before } else { InstallationMembers::default() };
    // 1. The id is a number.
    let id = values.text(ID).trim();
    let id = if id.is_empty() { Ok(None) } else { id.parse().map(Some) };
    // 2. Permissions are pairs.
    let pairs = values.text(PERMISSIONS).split_whitespace();
    let pairs = pairs.map(|pair| pair.split_once('='));
    let pairs: Option<Vec<(&str, &str)>> = pairs.collect();
    let permissions = pairs.map(|pairs| {
        let pairs = pairs.into_iter();
        pairs.map(|(name, level)| (name.to_owned(), level.to_owned())).collect::<ParamMap>()
    });
    let names = values.text(REPOSITORIES).split_whitespace();
    let repositories = names.map(str::to_owned).collect();
    match (id, permissions) {
        (Ok(id), Some(permissions)) => {
            let after = InstallationMembers { id, repositories, permissions };
            Some(after).filter(|after| *after != before).into()
        }
        (Err(_not_a_number), _) => {
            values.fault(&format!("{ID}: must be a number, such as 12345678"));
            Member::Absent
        }
        (_, None) => {
            values.fault(&format!("{PERMISSIONS}: must be pairs such as contents=read"));
            Member::Absent
        }
    }
}

/// Shows what a client's key signs, and what for.
pub(super) fn facts(record: &ClientRecord) -> Markup {
    let values = KeyValues::of(record);
    html! {
        @for field in values.fields().iter().filter(|field| !field.value.is_empty()) {
            dt { (field.label) } dd { code { (field.value) } }
        }
    }
}

const SUB: &str = "assertion_sub";
const AUD: &str = "assertion_aud";
const KEY_ID: &str = "assertion_key_id";
const ID: &str = "installation_id";
const REPOSITORIES: &str = "installation_repositories";
const PERMISSIONS: &str = "installation_permissions";

const SUB_HINT: &str = "With a signed assertion: the user that tokens are for. Google needs none, \
                        unless the account acts for a user of its domain.";
const AUD_HINT: &str = "With a key: the token URL, unless the provider wants another, as \
                        https://login.salesforce.com or account.docusign.com.";
const KEY_ID_HINT: &str = "With a key: its ID (kid) at the provider. A service account’s file and a \
                           JWK have it.";
const ID_HINT: &str = "With a GitHub App: the number at the end of the installation’s page. \
                       Without it, each connection names its own as its subdomain.";
const REPOSITORIES_HINT: &str = "With a GitHub App: separated by spaces, without their owner. \
                                 Without any, all of the installation.";
const PERMISSIONS_HINT: &str = "With a GitHub App: such as contents=read issues=write. Without any, \
                                all of the installation.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_that_changes_nothing_says_nothing() {
        let before = AssertionMembers {
            iss: Some("i".into()),
            sub: Some("s".into()),
            ..AssertionMembers::default()
        };
        let same = FormValues::with(&[(SUB, "s")]);
        assert!(assertion(&same, before.clone().into()).is_absent());
        let other = FormValues::with(&[(SUB, "t"), (KEY_ID, "k")]);
        let Member::Given(after) = assertion(&other, before.into()) else { panic!() };
        assert_eq!(after.iss.as_deref(), Some("i"));
        assert_eq!((after.sub.as_deref(), after.key_id.as_deref()), (Some("t"), Some("k")));
    }

    #[test]
    fn an_installation_is_read_from_its_fields() {
        let fields = [(ID, " 42 "), (REPOSITORIES, "a  b"), (PERMISSIONS, "contents=read")];
        let mut values = FormValues::with(&fields);
        let Member::Given(read) = installation(&mut values, Member::Absent) else { panic!() };
        assert_eq!((read.id, read.repositories.len(), read.permissions.len()), (Some(42), 2, 1));
        for wrong in [(ID, "x"), (PERMISSIONS, "contents")] {
            let mut values = FormValues::with(&[wrong]);
            assert!(installation(&mut values, Member::Absent).is_absent());
            assert_eq!(values.faults_of(wrong.0).count(), 1);
        }
    }
}
