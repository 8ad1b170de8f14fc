//! Connections to AWS on the command line: the access key, what it signs for, and its role.

use std::path::PathBuf;

use super::options::rows;
use super::{Rows, declared};
use crate::cli::output::CliError;
use crate::cli::secret::{self, SecretArgs};
use crate::model::connection::ConnectionType;
use crate::wire::{AssumeRoleMembers, AwsConnection, AwsMembers, Member};

#[derive(clap::Args)]
#[command(next_help_heading = "Connections to AWS")]
pub(super) struct AwsArgs {
    /// Id of the access key; the secret is its secret access key
    #[arg(long, value_name = "ID")]
    access_key_id: Option<String>,
    /// File that holds the token of a session's keys
    #[arg(long, value_name = "FILE")]
    session_token_file: Option<PathBuf>,
    /// Region to sign for, where the host does not name it
    #[arg(long)]
    region: Option<String>,
    /// Service to sign for, where the host does not name it
    #[arg(long)]
    service: Option<String>,
    /// Role that the keys assume: the keys of its sessions sign
    #[arg(long, value_name = "ARN")]
    role_arn: Option<String>,
    /// External id that the role's trust policy asks for
    #[arg(long, value_name = "ID", requires = "role_arn")]
    external_id: Option<String>,
    /// Length of a session, as 1h
    #[arg(long, value_name = "TIME", requires = "role_arn")]
    session_duration: Option<String>,
}

impl AwsArgs {
    /// The options, and whether each is given.
    pub(super) fn given(&self) -> [(&'static str, bool); 7] {
        [
            ("--access-key-id", self.access_key_id.is_some()),
            ("--session-token-file", self.session_token_file.is_some()),
            ("--region", self.region.is_some()),
            ("--service", self.service.is_some()),
            ("--role-arn", self.role_arn.is_some()),
            ("--external-id", self.external_id.is_some()),
            ("--session-duration", self.session_duration.is_some()),
        ]
    }

    /// Tells whether the access key is named.
    pub(super) fn names_key(&self) -> bool {
        self.access_key_id.is_some()
    }

    fn is_any_given(&self) -> bool {
        self.given().iter().any(|(_, is_given)| *is_given)
    }

    /// The members of a connection that is to be made.
    pub(super) fn members(&self, secret: &SecretArgs) -> Result<AwsMembers, CliError> {
        let kind = ConnectionType::AwsSigV4.as_str().into();
        self.with_secret(secret, AwsMembers { kind, ..AwsMembers::default() })
    }

    /// The members of a change. Without another one the secret is meant, and whatever decides what it
    /// signs for needs it again.
    pub(super) fn change(
        &self,
        secret: &SecretArgs,
        has_other: bool,
    ) -> Result<AwsMembers, CliError> {
        if has_other && !self.is_any_given() && !secret.is_named() {
            return Ok(AwsMembers::default());
        }
        self.with_secret(secret, AwsMembers::default())
    }

    fn with_secret(&self, secret: &SecretArgs, bare: AwsMembers) -> Result<AwsMembers, CliError> {
        let token = self.session_token_file.as_deref().map(secret::from_file).transpose()?;
        let role = self.role_arn.as_ref().map(|role_arn| AssumeRoleMembers {
            role_arn: role_arn.clone(),
            external_id: self.external_id.clone(),
            duration: self.session_duration.clone(),
        });
        Ok(AwsMembers {
            access_key_id: self.access_key_id.as_deref().into(),
            secret_access_key: Member::Given(secret.read("secret access key")?),
            session_token: token.into(),
            region: self.region.as_deref().into(),
            service: self.service.as_deref().into(),
            assume_role: role.into(),
            ..bare
        })
    }
}

/// Describes a connection to AWS.
pub(super) fn described(it: AwsConnection) -> Rows {
    // 1. The role, and why there is no session of it.
    let role = it.assume_role.unwrap_or_default();
    let failure = it.refresh_failure.map(|failure| {
        let code = failure.code.map(|code| format!(" ({code})")).unwrap_or_default();
        format!("{}{code}; who must act: {}", failure.reason, failure.who_must_act)
    });
    // 2. All of it.
    [
        ("name", it.name),
        ("type", ConnectionType::AwsSigV4.to_string()),
        ("allowed domain", it.allowed_domain),
        ("access key id", it.access_key_id),
        ("secret access key", it.secret_access_key.to_string()),
        ("region", it.region.unwrap_or_default()),
        ("service", it.service.unwrap_or_default()),
        ("role", role.role_arn),
        ("external id", role.external_id.unwrap_or_default()),
        ("session length", role.duration.unwrap_or_default()),
        ("session expiry", it.session_expiry.unwrap_or_default()),
        ("no session because", failure.unwrap_or_default()),
        ("created at", it.created_at),
        ("updated at", it.updated_at),
        ("certificate until", it.not_after.unwrap_or_default()),
        ("declared", declared(it.declared)),
        ("unusable because", it.defect.unwrap_or_default()),
    ]
    .into_iter()
    .chain(rows(&it.options))
    .collect()
}
