//! The session of a stored connection's role: asked for under the same lease as provider tokens, so
//! that all instances use one.

use super::keep::NextTokens;
use super::{Leased, Refresh, Refreshed};
use crate::model::aws::access::{AwsAccess, AwsSecrets};
use crate::oauth::failure::TokenFailure;
use crate::oauth::provider::Unsuccessful;
use crate::oauth::sts::RoleQuestion;
use crate::store::Revision;

impl Refresh<'_> {
    /// Asks for a session and keeps it. That the question is asked is not noted: it spends nothing,
    /// and another instance may ask it again once the lease is over.
    pub(super) async fn refresh_session(
        &self,
        leased: &mut Leased,
        access: &AwsAccess,
    ) -> Result<(Refreshed, Revision), Unsuccessful> {
        // 1. The keys, and what another instance may have done meanwhile.
        let record = &leased.record;
        let opened = self.persistence.open_connection(record).await.map_err(TokenFailure::from)?;
        let before = AwsSecrets::unpack(&opened.secret).ok_or(TokenFailure::Seal)?;
        if let Some(newer) = self.newer_in(record)? {
            let found = self.find_newer().await?;
            return Ok(found.unwrap_or((newer, Revision::ZERO)));
        }
        self.recall(&mut leased.failure, leased.record.updated_at)?;
        // 2. The question.
        let keys = before.keys(access);
        let (integration, name) = (&self.request.integration, &self.request.name);
        let question = RoleQuestion { integration, name, access, keys: &keys };
        match Box::pin(self.provider.assume_role(&question)).await {
            Ok(session) => {
                let sessions = before.sessions.followed_by(session);
                let next = NextTokens::Session(Box::new(AwsSecrets { sessions, ..before }));
                Ok(self.keep(&leased.record, &next).await?)
            }
            Err(why) => self.judge(leased, None, why).await,
        }
    }
}
