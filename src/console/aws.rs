//! Connections to AWS: the access key, what it signs for, and the role that it assumes.

use axum::extract::Request;
use maud::{Markup, html};

use super::connection::{self, PageForm};
use super::fields::{Field, Kind, Need};
use super::form_values::FormValues;
use super::page_context::{PageContext, PageResult, see};
use crate::management::AnyConnection;
use crate::model::aws::access::AwsAccess;
use crate::model::connection::ConnectionType;
use crate::model::record::Detail;
use crate::wire::{AssumeRoleMembers, AwsMembers, Member};

/// The values of the fields that are not secret, as a connection has them; empty for a new one.
#[derive(Default)]
pub(super) struct AwsValues {
    access_key_id: String,
    region: String,
    service: String,
    role_arn: String,
    external_id: String,
    duration: String,
}

impl AwsValues {
    /// The values that a connection has.
    pub(super) fn of(access: &AwsAccess) -> Self {
        let text = |text: &Option<Box<str>>| text.as_deref().unwrap_or_default().to_owned();
        let role = access.assume_role.as_ref().map(AssumeRoleMembers::from).unwrap_or_default();
        Self {
            access_key_id: access.access_key_id.to_string(),
            region: text(&access.region),
            service: text(&access.service),
            role_arn: role.role_arn,
            external_id: role.external_id.unwrap_or_default(),
            duration: role.duration.unwrap_or_default(),
        }
    }

    /// The fields with these values, and those of the secrets.
    pub(super) fn fields(&self) -> [Field<'_>; 8] {
        let text = |name, label, hint, value| Field { value, ..Field::text(name, label, hint) };
        let optional = |name, label, hint, value| Field {
            need: Need::Never,
            ..text(name, label, hint, value)
        };
        let secret = |field| Field { kind: Kind::Secret, ..field };
        [
            text(KEY_ID, "Access key ID", KEY_ID_HINT, &self.access_key_id),
            secret(text(SECRET, "Secret access key", SECRET_HINT, "")),
            secret(optional(SESSION_TOKEN, "Session token", SESSION_TOKEN_HINT, "")),
            optional(REGION, "Region", REGION_HINT, &self.region),
            optional(SERVICE, "Service", SERVICE_HINT, &self.service),
            optional(ROLE_ARN, "Role to assume", ROLE_ARN_HINT, &self.role_arn),
            optional(EXTERNAL_ID, "External ID", EXTERNAL_ID_HINT, &self.external_id),
            optional(DURATION, "Length of a session", DURATION_HINT, &self.duration),
        ]
    }
}

/// The words above the form of a new connection.
pub(super) fn words() -> Markup {
    html! {
        p {
            "Each request is signed as it leaves (Signature Version 4). Programs get by with placeholder keys, or with none: what they sign themselves is taken off."
        }
        ul {
            li { "A signature counts for the region and the service that the host names. Fill them in for hosts that are not AWS’s own." }
            li { "With a role, the key assumes it, and does nothing else: the keys of the role’s sessions sign." }
        }
    }
}

/// The members of a connection that is to be made; an empty field counts as none.
pub(super) fn draft(values: &FormValues) -> AwsMembers {
    AwsMembers {
        kind: ConnectionType::AwsSigV4.as_str().into(),
        name: values.member("name"),
        allowed_domain: values.member("allowed_domain"),
        access_key_id: values.member_if_any(KEY_ID),
        secret_access_key: values.secret_if_any(SECRET),
        session_token: values.secret_if_any(SESSION_TOKEN),
        region: trimmed(values, REGION).into(),
        service: trimmed(values, SERVICE).into(),
        assume_role: role(values).into(),
        ..AwsMembers::default()
    }
}

/// Replaces the key, and what it signs for.
pub(super) async fn replace(context: &PageContext, request: Request) -> PageResult {
    let mut values = context.read(request).await?;
    let found = connection::find(context).await?;
    // Whatever else changes, the key is entered again.
    if values.text(SECRET).is_empty() {
        values.fault(&format!("{SECRET}: is missing"));
    } else if let Some(access) = access_of(&found) {
        let request = changes(&values, access);
        let changed = context.write_access()?.update_aws(context.place("name"), request).await;
        match changed {
            Ok(()) => return Ok(see(&connection::path(context, "?done=replaced"))),
            Err(refused) => {
                values.blame(refused).map_err(|refused| context.refuse(refused))?;
                values.lift_faults(ROLE);
            }
        }
    }
    Ok(connection::page(context, &found, Some((PageForm::Secret, &values))).await)
}

/// The members of a change: a field that was emptied takes away what was in it.
fn changes(values: &FormValues, before: &AwsAccess) -> AwsMembers {
    let scope = |field, before: &Option<Box<str>>| match trimmed(values, field) {
        None if before.is_some() => Member::Null,
        text => text.into(),
    };
    let assume_role = match role(values) {
        None if before.assume_role.is_some() => Member::Null,
        role => role.into(),
    };
    AwsMembers {
        access_key_id: values.member_if_any(KEY_ID),
        secret_access_key: values.secret_if_any(SECRET),
        session_token: values.secret_if_any(SESSION_TOKEN),
        region: scope(REGION, &before.region),
        service: scope(SERVICE, &before.service),
        assume_role,
        ..AwsMembers::default()
    }
}

/// The role, as soon as one of its fields is filled in.
fn role(values: &FormValues) -> Option<AssumeRoleMembers> {
    let [role_arn, external_id, duration] =
        [ROLE_ARN, EXTERNAL_ID, DURATION].map(|field| trimmed(values, field));
    if role_arn.is_none() && external_id.is_none() && duration.is_none() {
        return None;
    }
    Some(AssumeRoleMembers { role_arn: role_arn.unwrap_or_default(), external_id, duration })
}

fn trimmed(values: &FormValues, field: &str) -> Option<String> {
    Some(values.text(field).trim().to_owned()).filter(|text| !text.is_empty())
}

fn access_of(found: &AnyConnection) -> Option<&AwsAccess> {
    match found {
        AnyConnection::Static(shown) => match &shown.detail {
            Detail::AwsSigV4(access) => Some(access),
            _ => None,
        },
        AnyConnection::OAuth(_) => None,
    }
}

/// The member of a request that has the role’s members.
pub(super) const ROLE: &str = "assume_role";

const KEY_ID: &str = "access_key_id";
const SECRET: &str = "secret_access_key";
const SESSION_TOKEN: &str = "session_token";
const REGION: &str = "region";
const SERVICE: &str = "service";
const ROLE_ARN: &str = "role_arn";
const EXTERNAL_ID: &str = "external_id";
const DURATION: &str = "duration";

const KEY_ID_HINT: &str = "It begins with AKIA, or with ASIA where the keys are temporary.";
const SECRET_HINT: &str = "It is sealed when it is saved, and never shown again nor sent.";
const SESSION_TOKEN_HINT: &str = "With temporary keys alone. It is kept as the key is.";
const REGION_HINT: &str = "As eu-central-1. Empty for the one that the host names.";
const SERVICE_HINT: &str = "As s3 or execute-api. Empty for the one that the host names.";
const ROLE_ARN_HINT: &str = "As arn:aws:iam::123456789012:role/reader. The key needs no other \
                             right than sts:AssumeRole on it.";
const EXTERNAL_ID_HINT: &str = "With a role, if its trust policy asks for one.";
const DURATION_HINT: &str = "With a role: from 15m to 12h; an hour unless filled in.";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn access(role: Option<&str>) -> AwsAccess {
        let role = role.map(|role_arn| json!({"role_arn": role_arn, "duration": 900}));
        let whole = json!({
            "access_key_id": "AKID", "region": "us-east-1", "service": "s3", "assume_role": role,
        });
        serde_json::from_value(whole).unwrap()
    }

    #[test]
    fn empty_fields_are_none_or_take_away() {
        let values = FormValues::with(&[
            ("name", "aws"),
            ("allowed_domain", "*.amazonaws.com"),
            ("access_key_id", "AKID"),
            ("secret_access_key", "s"),
            ("region", " eu-central-1 "),
            ("role_arn", ""),
        ]);
        let sent = serde_json::to_value(draft(&values)).unwrap();
        let whole = json!({
            "type": "aws_sigv4", "name": "aws", "allowed_domain": "*.amazonaws.com",
            "access_key_id": "AKID", "secret_access_key": "s", "region": "eu-central-1",
        });
        assert_eq!(sent, whole);
        let role = "arn:aws:iam::123456789012:role/reader";
        let sent = serde_json::to_value(changes(&values, &access(Some(role)))).unwrap();
        assert_eq!((&sent["service"], &sent["assume_role"]), (&json!(null), &json!(null)));
        assert!(sent.get("session_token").is_none() && sent["region"] == "eu-central-1");
        let kept = changes(
            &FormValues::with(&[("secret_access_key", "s")]),
            &AwsAccess { region: None, ..access(None) },
        );
        assert!(kept.region.is_absent() && kept.assume_role.is_absent());
    }

    #[test]
    fn a_role_is_read_from_any_of_its_fields() {
        let values = FormValues::with(&[("external_id", " x1 ")]);
        let read = role(&values).unwrap();
        assert_eq!((read.role_arn.as_str(), read.external_id.as_deref()), ("", Some("x1")));
        let mut values = FormValues::with(&[]);
        values.fault("assume_role: role_arn: must be an ARN");
        values.lift_faults(ROLE);
        assert_eq!(values.faults_of("role_arn").collect::<Vec<_>>(), ["must be an ARN"]);
    }

    #[test]
    fn the_fields_begin_with_what_a_connection_has() {
        let role = "arn:aws:iam::123456789012:role/reader";
        let values = AwsValues::of(&access(Some(role)));
        let shown: Vec<_> = values.fields().iter().map(|field| field.value.to_owned()).collect();
        assert_eq!(shown, ["AKID", "", "", "us-east-1", "s3", role, "", "15m"]);
    }
}
