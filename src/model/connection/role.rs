//! Connections whose keys assume a role: the sessions that they have of it (contract §8,
//! `assume_role`).

use std::sync::Arc;

use uuid::Uuid;

use super::{Connection, TokenStatus};
use crate::model::aws::access::{AwsAccess, AwsSecrets};
use crate::model::aws::role::{RoleSession, RoleSessions};
use crate::model::aws::signer::AwsKeys;
use crate::model::credential::Credential;
use crate::model::record::Detail;
use crate::secret::Secret;

impl Connection {
    /// Notes the sessions of its role, as its secret has them. Nothing where its keys assume none.
    pub(super) fn note_sessions(&mut self, uuid: Uuid, secret: &Secret) {
        let sessions = self.role().and_then(|_role| AwsSecrets::unpack(secret));
        let status = sessions.map(|secrets| TokenStatus::of_sessions(uuid, &secrets.sessions));
        self.token_status = status.map(Box::new);
    }

    /// The access by which its keys assume a role; `None` where they assume none.
    fn role(&self) -> Option<&AwsAccess> {
        match &self.detail {
            Detail::AwsSigV4(access) => Some(&**access).filter(|it| it.assume_role.is_some()),
            _ => None,
        }
    }

    /// The role that its keys assume, and these.
    pub fn role_and_keys(&self) -> Option<(&AwsAccess, &AwsKeys)> {
        Some((self.role()?, self.credential.as_ref()?.signer()?.own_keys()))
    }

    /// A declared connection with the next session of its role; `None` where it has no role, or the
    /// session's keys can't be used.
    pub fn with_next_session(&self, session: RoleSession) -> Option<Self> {
        let generation = self.token_status().map_or(0, |status| status.generation);
        let before = RoleSessions { generation, current: None };
        self.with_sessions(before.followed_by(session), self.token_status())
    }

    /// The connection with the session that `before` has of the same role by the same keys; `None`
    /// where that has none, or is another one.
    pub fn with_session_of(&self, before: &Self) -> Option<Self> {
        let status = before.token_status().filter(|_| before.role().is_some())?;
        let session = before.credential.as_ref()?.signer()?.session()?.clone();
        let sessions = RoleSessions { generation: status.generation, current: Some(session) };
        let is_same = self.same_as(before);
        is_same.then(|| self.with_sessions(sessions, Some(status))).flatten()
    }

    fn with_sessions(&self, sessions: RoleSessions, status: Option<&TokenStatus>) -> Option<Self> {
        let (_, keys) = self.role_and_keys()?;
        let AwsKeys { secret_access_key, session_token, .. } = keys.clone();
        let secrets = AwsSecrets { sessions, ..AwsSecrets::new(secret_access_key, session_token) };
        let secret = secrets.pack();
        let (integration, name) = (self.integration.clone(), self.name.clone());
        let (domain, detail) = (self.allowed_domain.clone(), self.detail.clone());
        let mut next = Self::without_credential(integration, name, domain, detail);
        next.credential = Some(Credential::build(&next.detail, &secret).ok()?);
        next.note_sessions(status.map_or(Uuid::nil(), |status| status.uuid), &secret);
        next.options = Arc::clone(&self.options);
        next.identity.clone_from(&self.identity);
        next.commands = self.commands;
        Some(next)
    }
}
