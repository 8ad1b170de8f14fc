//! A refresh that has brought no tokens: what is remembered of it, when the provider is asked again,
//! and whether the grant is dead.

use std::time::Duration;

use jiff::Timestamp;

use super::{Leased, Refresh, Refreshed};
use crate::model::oauth::grant::{Grant, Lapse, LapseReason};
use crate::model::oauth::refusal::{ProviderCode, RefreshFailure, RefusalRow, Remedy};
use crate::model::record::{ConnectionRecord, Detail, whole_microseconds};
use crate::oauth::OAuthStep;
use crate::oauth::failure::TokenFailure;
use crate::oauth::handle::{Cause, connection_share};
use crate::oauth::provider::Unsuccessful;
use crate::oauth::refusal::Denial;
use crate::store::Revision;

impl Refresh<'_> {
    /// Looks in the store, without the lease, for refusals for which the provider is not to be asked
    /// again yet.
    pub(super) async fn check_refusals(&self) -> Result<(), Unsuccessful> {
        let store = self.persistence.store();
        let failure = store.refresh_failure(self.request.uuid).await;
        let mut failure = failure.map_err(|error| TokenFailure::of_store(&error))?.map(Box::new);
        let now = self.clock.now();
        if failure.as_ref().and_then(|failure| failure.withholding(now)).is_none() {
            return Ok(());
        }
        let (record, _) = self.read().await?;
        let changed_at = match record.grant() {
            Some(grant) => self.client(&record, grant).await?.updated_at,
            None => record.updated_at,
        };
        self.recall(&mut failure, changed_at)
    }

    /// Recalls what is remembered, as far as it was of the client, or of the keys and the role, as
    /// they are now. An operator may ask at any time.
    ///
    /// # Errors
    /// The refusal that is remembered, where the provider is not to be asked again yet.
    pub(super) fn recall(
        &self,
        failure: &mut Option<Box<RefreshFailure>>,
        changed_at: Timestamp,
    ) -> Result<(), Unsuccessful> {
        let Some(failure) = failure else { return Ok(()) };
        failure.forget_before(changed_at);
        let now = self.clock.now();
        match failure.withholding(now) {
            Some(row) if self.request.cause != Cause::Operator => {
                Err(again_after(TokenFailure::Withheld(Denial::of_row(row)), row, now))
            }
            _ => Ok(()),
        }
    }

    /// Notes why the provider gave no tokens, and ends the grant where that means that it is dead.
    /// A role has none that could end.
    pub(super) async fn judge(
        &self,
        leased: &mut Leased,
        grant: Option<&Grant>,
        why: Unsuccessful,
    ) -> Result<(Refreshed, Revision), Unsuccessful> {
        let (failure, now) = (why.failure, whole_microseconds(self.clock.now()));
        let before = leased.failure.take();
        // Where the provider has no part in it, nothing has changed.
        if failure.is_our_own() || failure == TokenFailure::NoRefreshToken {
            return Err(why);
        }
        // 1. What is remembered from now on.
        let after =
            remembered(before.as_deref(), failure, now, connection_share(self.request.uuid));
        let (row, code) = (after.refusals, after.code);
        // 2. The grant may be dead: the provider says so, or has refused it for long enough.
        let is_dead = match (grant, failure.remedy(), row) {
            (Some(_), Remedy::User, _) => Some(LapseReason::InvalidGrant),
            (Some(grant), _, Some(row)) if grant.grant_type.has_user() && row.may_mean_dead() => {
                let refreshed_at = self.persistence.store().client_refreshed_at(grant.client).await;
                let refreshed_at = refreshed_at.map_err(|error| TokenFailure::of_store(&error))?;
                row.means_dead(refreshed_at).then_some(LapseReason::Refused)
            }
            _ => None,
        };
        if let Some(reason) = is_dead {
            let reason = if leased.unanswered { LapseReason::AnswerLost } else { reason };
            return Ok(self.lapse(reason, code).await?);
        }
        // 3. Otherwise the provider is asked again, after a while.
        leased.failure = Some(Box::new(after));
        let again = row.map_or(why, |row| again_after(failure, row, now));
        Err(Unsuccessful { retry_after: again.retry_after.max(why.retry_after), ..again })
    }

    /// Notes that the grant has lapsed, as it seems. Before that is believed, the store is read once
    /// more: somebody else may have spent the same refresh token just before.
    pub(super) async fn lapse(
        &self,
        reason: LapseReason,
        code: Option<ProviderCode>,
    ) -> Result<(Refreshed, Revision), TokenFailure> {
        loop {
            let (before, revision) = self.read().await?;
            let grant = before.grant().ok_or(TokenFailure::Gone)?;
            if grant.generation > self.request.newer_than {
                return Ok((Refreshed::elsewhere(grant.generation), revision));
            }
            let lapse = Lapse { since: whole_microseconds(self.clock.now()), reason, code };
            let mut after = before.clone();
            after.detail = Detail::OAuth(Box::new(Grant { lapse: Some(lapse), ..grant.clone() }));
            after.updated_at = lapse.since.max(before.updated_at);
            let kept = self.persistence.store().lapse_grant(&before, &after).await;
            // Where it was changed meanwhile, it is read again.
            if let Some(revision) = kept.map_err(|error| TokenFailure::of_store(&error))? {
                lapsed(&before, lapse);
                self.persistence.wait_until_in_force(revision).await;
                return Err(TokenFailure::Lapsed(reason));
            }
        }
    }
}

/// Everything that is remembered after one more failure. An answer of another kind begins a new row
/// of refusals, and none at all says nothing of them.
fn remembered(
    before: Option<&RefreshFailure>,
    failure: TokenFailure,
    now: Timestamp,
    share: u8,
) -> RefreshFailure {
    let row = before.and_then(|before| before.refusals);
    let (code, refusals) = match failure {
        TokenFailure::Denied(Denial { remedy: Remedy::Operator, status, code, .. }) => {
            (code, Some(RefusalRow::after(row, (status, code), now, share)))
        }
        TokenFailure::Denied(denial) => (denial.code, None),
        TokenFailure::Unanswered(_) | TokenFailure::Unreadable(_) | TokenFailure::Unusable(_) => {
            (None, None)
        }
        _ => (None, row),
    };
    RefreshFailure {
        since: before.map_or(now, |before| before.since),
        remedy: failure.remedy(),
        reason: failure.to_string().into(),
        code,
        refusals,
    }
}

/// The failure, and the time until the provider is asked again: but within a minute it is looked for
/// a change of the client.
fn again_after(failure: TokenFailure, row: RefusalRow, now: Timestamp) -> Unsuccessful {
    let left = Duration::try_from(row.next.duration_since(now)).unwrap_or_default();
    Unsuccessful { failure, retry_after: Some(left.min(LOOK_INTERVAL)) }
}

fn lapsed(record: &ConnectionRecord, lapse: Lapse) {
    let (integration, name) = (&record.integration, record.name.as_str());
    let step = OAuthStep {
        step: "lapse",
        operator: "keyferry",
        integration,
        client: None,
        connection: Some(name),
    };
    step.log(Some(lapse.reason.as_sentence()));
    tracing::error!(
        connection = format!("{integration}.{name}"),
        reason = lapse.reason.as_str(),
        code = lapse.code.as_ref().map(ProviderCode::as_str),
        "the connection needs to be authorized again: start a flow for it"
    );
}

/// The longest time until a client that was changed is asked for again.
const LOOK_INTERVAL: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn refusal(remedy: Remedy) -> TokenFailure {
        let code = ProviderCode::parse("odd");
        TokenFailure::Denied(Denial { status: 400, remedy, error: None, code })
    }

    #[test]
    fn any_other_answer_begins_anew_and_no_answer_changes_nothing() {
        let mut known: Option<RefreshFailure> = None;
        let mut counts = Vec::new();
        for (seconds, failure) in [
            (0, refusal(Remedy::Operator)),
            (1, refusal(Remedy::Operator)),
            (2, TokenFailure::NotSent("no conn could be opened")),
            (3, refusal(Remedy::Operator)),
            (4, TokenFailure::Unanswered("it failed")),
            (5, refusal(Remedy::Operator)),
            (6, TokenFailure::Unreadable(400)),
            (7, refusal(Remedy::Operator)),
            (8, refusal(Remedy::Retry)),
        ] {
            let after = remembered(known.as_ref(), failure, at(seconds), 0);
            assert_eq!((after.since, after.remedy), (at(0), failure.remedy()), "{failure:?}");
            counts.push(after.refusals.map_or(0, |row| row.count));
            known = Some(after);
        }
        assert_eq!(counts, [1, 2, 2, 3, 0, 1, 0, 1, 0]);
    }
}
