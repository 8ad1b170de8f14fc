//! Step 5b, the decision once more, right before a request leaves: a conn to its origin may have been waited
//! for, and what was allowed before may not be allowed any more.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use http::Response;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::InForce;
use super::Proxy;
use super::admit::decide_again;
use super::arrival::Arrival;
use super::base_url::ResponseRewrite;
use super::decide::Allowed;
use super::fields;
use super::inject::no_credential;
use super::refusal::{Code, Refusal};
use super::renewal::has_tokens;
use super::{echo, relay};
use crate::ledger::Entry;
use crate::listener::ConnState;
use crate::model::connection::Connection;
use crate::upstream::{
    self, CheckedDeparture, Departure, DepartureWithdrawn, FinalCheck, NotRenewed, Reply,
};

/// A request that may have to be decided once more before it leaves.
#[derive(Debug)]
pub(super) struct Recheck<'a> {
    proxy: &'a Proxy,
    /// The set that was in force when the request was decided.
    in_force: &'a Arc<InForce>,
    arrival: &'a Arrival,
    /// The time when the caller's token ends, if it does.
    token_end: Option<Timestamp>,
    /// The entry that is told whose credential leaves, and the change that the last look has
    /// found, if any.
    told: Mutex<(&'a mut Entry, Option<Change>)>,
    /// Tells whether the departure has the secret before the connection's present one.
    is_of_former: bool,
    /// The caller's conn, which is passed interim answers, and how their references are led back.
    caller: (Option<&'a ConnState>, Option<&'a ResponseRewrite>),
}

/// The change that a decision once more has made to a request.
#[derive(Debug)]
enum Change {
    /// The request was withdrawn.
    Withdrawn(Refusal),
    /// This connection's credential has taken the place of the first.
    Renewed(Arc<Connection>),
}

/// The reason why there is no reply.
#[derive(Debug)]
pub(super) enum NotSent {
    /// The request may not leave any more.
    Refused(Refusal),
    /// The network failed, or the origin.
    Failed(upstream::Error),
}

impl<'a> Recheck<'a> {
    pub(super) fn new(
        proxy: &'a Proxy,
        in_force: &'a Arc<InForce>,
        arrival: &'a Arrival,
        token_end: Option<Timestamp>,
        entry: &'a mut Entry,
    ) -> Self {
        let told = Mutex::new((entry, None));
        let caller = (None, None);
        Self { proxy, in_force, arrival, token_end, told, is_of_former: false, caller }
    }

    /// Passes interim answers to the caller's conn, their references led back by `base_url`.
    pub(super) fn for_caller(
        self,
        conn: Option<&'a ConnState>,
        base_url: Option<&'a ResponseRewrite>,
    ) -> Self {
        Self { caller: (conn, base_url), ..self }
    }

    /// Lets the departure leave with the secret before the connection's present one, if
    /// `is_of_former`.
    pub(super) fn of_former(self, is_of_former: bool) -> Self {
        Self { is_of_former, ..self }
    }

    /// Puts the refusal in the place of the error that says that the request was withdrawn. Gives
    /// the connection, too, whose credential has left in the place of the first.
    pub(super) fn judge(
        self,
        sent: Result<Reply, upstream::Error>,
    ) -> (Result<Reply, NotSent>, Option<Arc<Connection>>) {
        let (refusal, renewed) = match self.told.into_inner().1 {
            Some(Change::Withdrawn(refusal)) => (Some(refusal), None),
            Some(Change::Renewed(connection)) => (None, Some(connection)),
            None => (None, None),
        };
        let sent = sent.map_err(|error| match (error, refusal) {
            (upstream::Error::Withdrawn(_), Some(refusal)) => NotSent::Refused(refusal),
            (error, _) => NotSent::Failed(error),
        });
        (sent, renewed)
    }

    /// Decides by the set that is in force now. Where the connection was changed, the departure leaves with
    /// the credential that it has now.
    fn decide(
        &self,
        in_force: &InForce,
        departure: &mut Departure,
    ) -> Result<CheckedDeparture, Refusal> {
        let clock = &self.proxy.shared.ledger.clock;
        let now = clock.now();
        let decided = decide_again(in_force, self.arrival, now).map_err(|refused| refused.refusal);
        let (_holder, Allowed { permit, connection: chosen }) = decided?;
        // The secret before is good for the second attempt alone.
        let former = if self.is_of_former { permit.with_former_secret(now) } else { None };
        if former.is_some_and(|former| departure.is_for(&former)) || departure.is_for(&permit) {
            return Ok(CheckedDeparture::AsItWas);
        }
        // Tokens that have ended are not waited for here: the origin says 401, and others are got.
        has_tokens(permit.connection(), &in_force.settings.renewal, now)?;
        let connection = Arc::clone(permit.connection());
        departure.renew(permit, fields::strip_credential, clock).map_err(|why| match why {
            NotRenewed::Sealed => no_credential(&connection),
            NotRenewed::Elsewhere => replaced(&connection),
        })?;
        let (entry, change) = &mut *self.told.lock();
        entry.set_connection(chosen as _);
        *change = Some(Change::Renewed(connection));
        Ok(CheckedDeparture::Renewed)
    }

    fn token_has_ended(&self) -> bool {
        self.token_end.is_some_and(|end| end <= self.proxy.shared.ledger.clock.now())
    }
}

impl FinalCheck for Recheck<'_> {
    fn check(&self, departure: &mut Departure) -> Result<CheckedDeparture, DepartureWithdrawn> {
        let in_force = self.proxy.shared.live.load();
        let is_unchanged = Arc::ptr_eq(&in_force, self.in_force) && !in_force.stale.load(Relaxed);
        if is_unchanged && !self.token_has_ended() {
            return Ok(CheckedDeparture::AsItWas);
        }
        self.decide(&in_force, departure).map_err(|refusal| {
            self.told.lock().1 = Some(Change::Withdrawn(refusal));
            DepartureWithdrawn
        })
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.proxy.changes.clone()
    }

    fn ends_in(&self) -> Option<Duration> {
        let left = self.token_end?.duration_since(self.proxy.shared.ledger.clock.now());
        Some(Duration::try_from(left).unwrap_or_default())
    }

    fn pass_interim(&self, mut interim: Response<()>) {
        let (Some(conn), base_url) = self.caller else { return };
        relay::prepare(&mut interim, &self.proxy.shared.via);
        echo::mask_head(&mut interim, self.told.lock().0);
        if let Some(rewrite) = base_url {
            rewrite.rewrite(interim.headers_mut());
        }
        conn.pass_interim(interim);
    }
}

/// The connection is gone, and another one of its name leads elsewhere.
fn replaced(connection: &Connection) -> Refusal {
    Refusal::new(
        Code::ConnectionNotFound,
        format!(
            "The connection {} was replaced by another one while the request waited for its \
             origin; send the request again.",
            connection.name()
        ),
    )
}
