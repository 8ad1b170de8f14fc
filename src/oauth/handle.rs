//! The handle by which other tokens are asked for, on any thread: all who want the same
//! connection's wait for one refresh.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use foldhash::fast::RandomState;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::failure::TokenFailure;
use super::keep_alive::DueRefresh;
use super::provider::Unsuccessful;
use crate::clock::Clock;
use crate::model::connection::Connection;
use crate::model::name::{ConnectionName, IntegrationName};
use crate::model::named_enum;

/// Asks for other tokens. A clone leads to the same refreshes.
#[derive(Clone, Debug)]
pub struct RefreshHandle(Arc<HandleState>);

#[derive(Debug)]
struct HandleState {
    in_flight: InFlightRefreshes,
    commands: mpsc::UnboundedSender<RefreshCommand>,
    winding_down: AtomicBool,
    clock: Clock,
}

/// The refreshes in flight, and what is remembered of those before, by connection. Entries of two
/// connections never wait for each other, but where they share one of the map's locks.
#[derive(Debug, Default)]
struct InFlightRefreshes(DashMap<Uuid, RefreshSlot, RandomState>);

/// One connection's refreshes.
#[derive(Debug, Default)]
struct RefreshSlot {
    /// Those who wait for the refresh in flight; `None` when there is none.
    waiters: Option<Vec<oneshot::Sender<RefreshOutcome>>>,
    /// The last failure, after which nothing is tried for a while.
    backoff: Option<Backoff>,
    /// The tokens that an origin has refused of late, and others were asked for.
    rejected: Option<RejectedToken>,
}

#[derive(Clone, Copy, Debug)]
struct Backoff {
    until: Instant,
    failure: TokenFailure,
    failures: u32,
    /// The set of tokens that it is about: a failure of it says nothing of another.
    generation: i64,
}

#[derive(Clone, Copy, Debug)]
struct RejectedToken {
    generation: i64,
    until: Instant,
}

/// The end of a refresh: with this set of tokens in force, or without any.
pub(super) type RefreshOutcome = Result<i64, TokenFailure>;

/// A command to the manager, which refreshes tokens.
#[derive(Debug)]
pub(super) enum RefreshCommand {
    /// Refresh them now; those who wait are noted.
    Start(RefreshRequest),
    /// These tokens are in use: refresh them before they end.
    Watch(Arc<Connection>),
    /// A refresh in the background has failed: try again after that time.
    RetryAfter(RefreshRequest, Duration),
    /// The refresh of an unused grant has ended.
    KeptAlive(DueRefresh, Result<(), Unsuccessful>),
}

/// A request for other tokens.
#[derive(Clone, Debug)]
pub struct RefreshRequest {
    /// The connection's id.
    pub uuid: Uuid,
    /// Its integration.
    pub integration: IntegrationName,
    /// Its name.
    pub name: ConnectionName,
    /// The set of tokens that is of no more use: only a newer one is.
    pub newer_than: i64,
    /// The cause of the request.
    pub cause: Cause,
}

impl RefreshRequest {
    /// Asks for other tokens than those that the connection has; `None` where it has none.
    #[must_use]
    pub fn of(connection: &Connection, cause: Cause) -> Option<Self> {
        let standing = connection.token_status()?;
        Some(Self {
            uuid: standing.uuid,
            integration: connection.integration().clone(),
            name: connection.name().clone(),
            newer_than: standing.generation,
            cause,
        })
    }
}

named_enum! {
    /// The cause of a refresh, by its name in logs and figures.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub enum Cause {
        /// Those that are in use are near their end.
        Background = "background",
        /// Nobody uses the grant, which would end.
        KeepAlive = "keep_alive",
        /// An operator says so.
        Operator = "operator",
        /// The origin has said 401.
        Unauthorized = "unauthorized",
        /// A request needs them.
        Use = "use",
    }
}

impl RefreshHandle {
    pub(super) fn new(clock: Clock) -> (Self, mpsc::UnboundedReceiver<RefreshCommand>) {
        let (commands, received) = mpsc::unbounded_channel();
        let (in_flight, winding_down) = (InFlightRefreshes::default(), AtomicBool::new(false));
        let state = HandleState { in_flight, commands, winding_down, clock };
        (Self(Arc::new(state)), received)
    }

    /// Waits until there are other tokens in force. All who want the same connection's wait for
    /// one refresh. Dropped in between, it goes on.
    ///
    /// # Errors
    /// [`TokenFailure`] says why there are none.
    pub async fn refresh(&self, request: RefreshRequest) -> Result<(), TokenFailure> {
        for _again in 0..MAX_JOINED_REFRESHES {
            let completed = tokio::time::timeout(REFRESH_WAIT_TIMEOUT, self.join(&request)?).await;
            // A sender that is gone is a server that goes down.
            let outcome = completed.map_err(|_late| TokenFailure::Late)?;
            if outcome.unwrap_or(Err(TokenFailure::Late))? > request.newer_than {
                return Ok(());
            }
        }
        Err(TokenFailure::Late)
    }

    /// Notes that these tokens are used for the first time: they will be refreshed before they end.
    pub fn watch(&self, connection: &Arc<Connection>) {
        self.send(RefreshCommand::Watch(Arc::clone(connection)));
    }

    /// Begins nothing more that nobody waits for, since it might be broken off: the server goes
    /// down.
    pub fn wind_down(&self) {
        self.0.winding_down.store(true, Relaxed);
    }

    /// Notes that an origin has refused these tokens, and tells whether others may be of more use.
    /// They are not where these were got, of late, because it had refused those before: then its
    /// 401 is taken at its word, so that no caller can have tokens refreshed over and over.
    #[must_use]
    pub fn note_rejected(&self, request: &RefreshRequest) -> bool {
        let (mut slot, now) = (self.0.in_flight.slot(request), self.0.clock.instant());
        let generation = request.newer_than;
        let known = slot.rejected.filter(|token| token.until > now).map(|token| token.generation);
        if known.is_some_and(|known| known + 1 == generation) {
            return false;
        }
        if known.is_none_or(|known| known < generation) {
            slot.rejected = Some(RejectedToken { generation, until: now + BELIEVE_401_FOR });
        }
        true
    }

    /// Joins the refresh that is in flight, or begins one.
    fn join(
        &self,
        request: &RefreshRequest,
    ) -> Result<oneshot::Receiver<RefreshOutcome>, TokenFailure> {
        let (waiter, completed) = oneshot::channel();
        let mut slot = self.0.in_flight.slot(request);
        if let Some(waiters) = &mut slot.waiters {
            waiters.push(waiter);
            return Ok(completed);
        }
        let backoff = slot.backoff_of(request, self.0.clock.instant());
        let backoff = backoff.filter(|_| request.cause != Cause::Operator);
        if let Some(backoff) = backoff {
            return Err(backoff.failure);
        }
        slot.waiters = Some(vec![waiter]);
        drop(slot);
        self.send(RefreshCommand::Start(request.clone()));
        Ok(completed)
    }

    /// Begins a refresh that nobody waits for, unless one is in flight or has failed just now; then
    /// the time until it may be tried again.
    pub(super) fn try_start(&self, request: &RefreshRequest) -> Result<(), Option<Duration>> {
        let mut slot = self.0.in_flight.slot(request);
        if slot.waiters.is_some() || self.0.winding_down.load(Relaxed) {
            return Err(None);
        }
        let now = self.0.clock.instant();
        if let Some(backoff) = slot.backoff_of(request, now) {
            return Err(Some(backoff.until.saturating_duration_since(now)));
        }
        slot.waiters = Some(Vec::new());
        Ok(())
    }

    /// Ends a refresh: all who wait for it are told. After a failure nobody tries again for a
    /// while, which is longer each time; gives that time.
    pub(super) fn complete(
        &self,
        request: &RefreshRequest,
        outcome: RefreshOutcome,
        retry_after: Option<Duration>,
    ) -> Duration {
        let mut slot = self.0.in_flight.slot(request);
        let waiters = slot.waiters.take().unwrap_or_default();
        let pause = match outcome {
            Ok(_) => {
                slot.backoff = None;
                Duration::ZERO
            }
            Err(failure) => slot.back_off(request, failure, retry_after, self.0.clock.instant()),
        };
        drop(slot);
        for waiter in waiters {
            let _gone = waiter.send(outcome);
        }
        pause
    }

    pub(super) fn retry_after(&self, request: RefreshRequest, pause: Duration) {
        self.send(RefreshCommand::RetryAfter(request, pause));
    }

    pub(super) fn kept_alive(&self, due: DueRefresh, outcome: Result<(), Unsuccessful>) {
        self.send(RefreshCommand::KeptAlive(due, outcome));
    }

    /// Forgets the connections of which nothing is to be remembered any more.
    pub(super) fn forget_old(&self) {
        let now = self.0.clock.instant();
        self.0.in_flight.0.retain(|_, slot| slot.is_of_use(now));
    }

    fn send(&self, command: RefreshCommand) {
        // Nobody takes commands any more where the server goes down.
        drop(self.0.commands.send(command));
    }
}

impl InFlightRefreshes {
    /// The connection's slot, locked until it is dropped.
    fn slot(
        &self,
        request: &RefreshRequest,
    ) -> dashmap::mapref::one::RefMut<'_, Uuid, RefreshSlot> {
        self.0.entry(request.uuid).or_default()
    }
}

impl RefreshSlot {
    /// The failure for which it is too early to try for these tokens again.
    fn backoff_of(&self, request: &RefreshRequest, now: Instant) -> Option<Backoff> {
        let backoff = self.backoff.filter(|known| known.generation == request.newer_than);
        backoff.filter(|known| known.until > now)
    }

    fn back_off(
        &mut self,
        request: &RefreshRequest,
        failure: TokenFailure,
        retry_after: Option<Duration>,
        now: Instant,
    ) -> Duration {
        let generation = request.newer_than;
        let known = self.backoff.filter(|known| known.generation == generation);
        let known = known.filter(|known| known.until + FORGET_FAILURE_AFTER > now);
        let failures = known.map_or(0, |known| known.failures);
        // No provider is spared by a longer wait after a failure that is our own.
        let doublings = if failure.is_our_own() { 0 } else { failures.min(6) };
        let pause = jittered(FIRST_BACKOFF.saturating_mul(1 << doublings), request.uuid);
        let asked = retry_after.unwrap_or_default().min(MAX_RETRY_AFTER);
        let pause = pause.min(MAX_BACKOFF).max(asked);
        let failures = if failure.is_our_own() { failures } else { failures.saturating_add(1) };
        self.backoff = Some(Backoff { until: now + pause, failure, failures, generation });
        pause
    }

    fn is_of_use(&self, now: Instant) -> bool {
        self.waiters.is_some()
            || self.backoff.is_some_and(|known| known.until + FORGET_FAILURE_AFTER > now)
            || self.rejected.is_some_and(|token| token.until > now)
    }
}

/// Takes off up to a quarter, differently for each connection: what has failed together is not to
/// come back together.
fn jittered(pause: Duration, uuid: Uuid) -> Duration {
    pause.saturating_sub(pause * u32::from(connection_share(uuid)) / 1024)
}

/// A connection's share, out of 256, by which its times are told apart from others'.
pub(super) fn connection_share(uuid: Uuid) -> u8 {
    uuid.as_bytes().iter().fold(0, |sum: u8, byte| sum.wrapping_mul(31) ^ byte)
}

/// The time that a request waits: longer than a provider may take, and than the default
/// `oauth.takeover` of a lease that was left behind.
const REFRESH_WAIT_TIMEOUT: Duration = Duration::from_secs(35);

/// The refreshes that one may have to wait for: the first may have been of older tokens.
const MAX_JOINED_REFRESHES: usize = 2;

const FIRST_BACKOFF: Duration = Duration::from_secs(1);

const MAX_BACKOFF: Duration = Duration::from_mins(1);

/// The longest `Retry-After` of a provider that is obeyed.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(5);

/// The time after which a failure says nothing of the next.
pub(super) const FORGET_FAILURE_AFTER: Duration = Duration::from_mins(10);

/// The shortest time between two refreshes of a connection because of an origin's 401.
const BELIEVE_401_FOR: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn request(newer_than: i64) -> RefreshRequest {
        RefreshRequest {
            uuid: Uuid::from_bytes([7; 16]),
            integration: IntegrationName::parse("acme").unwrap(),
            name: ConnectionName::parse("mine").unwrap(),
            newer_than,
            cause: Cause::Use,
        }
    }

    #[test]
    fn a_store_that_was_away_for_long_is_tried_again_within_a_second() {
        let (mut slot, now) = (RefreshSlot::default(), Clock::system().instant());
        for _each in 0..9 {
            let pause = slot.back_off(&request(1), TokenFailure::Store, None, now);
            assert!(pause <= FIRST_BACKOFF);
        }
        let pauses: Vec<_> = (0..9)
            .map(|_each| {
                slot.back_off(&request(1), TokenFailure::Unanswered("it failed"), None, now)
            })
            .collect();
        assert!(pauses.is_sorted() && pauses[0] <= FIRST_BACKOFF);
        assert!(pauses[8] > FIRST_BACKOFF * 32 && pauses[8] <= MAX_BACKOFF);
    }

    #[test]
    fn what_has_failed_says_nothing_of_the_tokens_of_another_flow() {
        let (refreshes, _commands) = RefreshHandle::new(Clock::system());
        refreshes.complete(
            &request(1),
            Err(TokenFailure::Lapsed(crate::model::oauth::grant::LapseReason::InvalidGrant)),
            None,
        );
        assert!(refreshes.try_start(&request(1)).is_err());
        assert!(refreshes.try_start(&request(2)).is_ok());
    }

    #[test]
    fn a_401_is_a_reason_to_refresh_until_the_next_tokens_are_refused_too() {
        let (refreshes, _commands) = RefreshHandle::new(Clock::system());
        assert!(refreshes.note_rejected(&request(1)), "the first");
        assert!(refreshes.note_rejected(&request(1)), "another request with the same tokens");
        assert!(!refreshes.note_rejected(&request(2)), "those that were got because of it");
        let aged = "those that were got because the others had aged";
        assert!(refreshes.note_rejected(&request(3)), "{aged}");
    }

    #[test]
    fn on_the_way_down_nothing_begins_that_nobody_waits_for() {
        let (refreshes, _commands) = RefreshHandle::new(Clock::system());
        refreshes.wind_down();
        assert_eq!(refreshes.try_start(&request(1)), Err(None));
        assert!(refreshes.join(&request(1)).is_ok());
    }

    #[test]
    fn a_connection_is_forgotten_once_nothing_is_in_flight_and_nothing_has_failed() {
        let (refreshes, _commands) = RefreshHandle::new(Clock::system());
        let known = || {
            refreshes.forget_old();
            refreshes.0.in_flight.0.len()
        };
        assert!(refreshes.try_start(&request(1)).is_ok());
        assert_eq!(known(), 1, "in flight");
        refreshes.complete(&request(1), Err(TokenFailure::Store), None);
        assert_eq!(known(), 1, "failed just now");
        refreshes.complete(&request(1), Ok(2), None);
        assert_eq!(known(), 0);
    }
}
