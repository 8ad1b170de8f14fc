//! The sessions of a connection's role at AWS, as they may be shown.

use jiff::Timestamp;
use uuid::Uuid;

use super::connections::ConnectionView;
use super::oauth::RefreshStanding;
use crate::model::aws::access::AwsSecrets;
use crate::model::connection::Connection;
use crate::model::connection_secrets::ConnectionSecrets;
use crate::model::oauth::refusal::RefreshFailure;
use crate::model::record::ConnectionRecord;

/// The sessions of a role, as they may be shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SessionsView {
    /// The id of the connection, where it is stored.
    uuid: Option<Uuid>,
    /// The time at which the present one ends, if there is one.
    pub until: Option<Timestamp>,
    /// The standing of the questions for others, where AWS gives none.
    pub standing: Option<RefreshStanding>,
}

impl SessionsView {
    /// Those of a stored connection; `None` where its keys assume no role.
    pub(super) fn of(
        record: &ConnectionRecord,
        opened: Option<&ConnectionSecrets>,
    ) -> Option<Box<Self>> {
        let secrets = opened.and_then(|secrets| AwsSecrets::unpack(&secrets.secret));
        let session = secrets.and_then(|secrets| secrets.sessions.current);
        let until = session.map(|session| session.expires_at);
        let view = Self { uuid: Some(record.uuid), until, standing: None };
        record.has_role().then(|| Box::new(view))
    }

    /// Those of a declared connection.
    pub(super) fn of_declared(connection: &Connection) -> Option<Box<Self>> {
        let until = connection.token_status()?.expires_at;
        Some(Box::new(Self { uuid: None, until, standing: None }))
    }
}

impl ConnectionView {
    /// The id of a stored connection whose keys assume a role.
    pub(super) fn role_of(&self) -> Option<Uuid> {
        self.sessions.as_ref()?.uuid
    }

    /// Notes the failures that are remembered of the questions for its sessions, as far as they were
    /// of its keys as they are now.
    pub(super) fn note_failure(&mut self, remembered: Option<RefreshFailure>) {
        let last = |failure: &RefreshFailure| {
            failure.refusals.map_or(failure.since, |refusals| refusals.last)
        };
        let of_now = remembered.filter(|failure| last(failure) >= self.updated_at);
        let standing = of_now.map(RefreshStanding::from);
        if let Some(sessions) = &mut self.sessions {
            sessions.standing = standing.map(|it| RefreshStanding { is_session: true, ..it });
        }
    }
}
