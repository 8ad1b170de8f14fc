//! The handle by which other tokens are asked for, on any thread: all who want the same
//! connection's wait for one refresh.

mod doubts;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use foldhash::fast::RandomState;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use self::doubts::{BELIEVE_401_FOR, CausedRefreshes, Doubt, DoubtedTokens};
use super::failure::TokenFailure;
use super::keep_alive::DueRefresh;
use super::provider::Unsuccessful;
use super::refresh::Refreshed;
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
    /// The tokens whose refusal by an origin is believed.
    doubted: Option<DoubtedTokens>,
    /// The last refreshes that a refusal has caused.
    caused: CausedRefreshes,
}

#[derive(Clone, Copy, Debug)]
struct Backoff {
    until: Instant,
    failure: TokenFailure,
    failures: u32,
    /// The set of tokens that it is about: a failure of it says nothing of another.
    generation: i64,
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
    /// They are not where the provider was asked for these, of late, because of such a refusal, or
    /// a request that was sent again with these was refused too: then its 401 is taken at its word.
    /// Nor are they where refusals have caused two refreshes of late, or one, if the request can't
    /// be sent again, so that nothing would show the next tokens to be good. So no caller can have
    /// tokens refreshed over and over, at any number of instances.
    #[must_use]
    pub fn note_rejected(&self, request: &RefreshRequest, can_be_sent_again: bool) -> bool {
        let (mut slot, now) = (self.0.in_flight.slot(request), self.0.clock.instant());
        let known = slot.doubted.filter(|known| known.until > now);
        if known.is_some_and(|known| known.generation == request.newer_than) {
            return false;
        }
        // Tokens of before are refused of course: there are others already.
        let most = if can_be_sent_again { 2 } else { 1 };
        if request.newer_than >= slot.caused.generation && slot.caused.count(now) >= most {
            return false;
        }
        let generation = request.newer_than + 1;
        if known.is_none_or(|known| known.generation < generation) {
            let until = now + BELIEVE_401_FOR;
            slot.doubted = Some(DoubtedTokens { generation, until, doubt: Doubt::Awaited });
        }
        true
    }

    /// Notes the answer to a request that was sent again with the tokens of `request`.
    pub fn note_retried(&self, request: &RefreshRequest, is_refused: bool) {
        let mut slot = self.0.in_flight.slot(request);
        let generation = request.newer_than;
        // An answer that comes late says nothing of later tokens.
        if slot.doubted.is_some_and(|known| known.generation > generation) {
            return;
        }
        if is_refused {
            let until = self.0.clock.instant() + BELIEVE_401_FOR;
            slot.doubted = Some(DoubtedTokens { generation, until, doubt: Doubt::Refused });
        } else {
            slot.trust(generation, &[Doubt::Awaited, Doubt::AskedFor]);
        }
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
        outcome: Result<Refreshed, TokenFailure>,
        retry_after: Option<Duration>,
    ) -> Duration {
        let mut slot = self.0.in_flight.slot(request);
        let waiters = slot.waiters.take().unwrap_or_default();
        let pause = match outcome {
            Ok(refreshed) => {
                slot.backoff = None;
                slot.judge(request, refreshed, self.0.clock.instant());
                Duration::ZERO
            }
            Err(failure) => slot.back_off(request, failure, retry_after, self.0.clock.instant()),
        };
        drop(slot);
        let outcome = outcome.map(|refreshed| refreshed.generation);
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

    /// Notes the cause of a refresh that has brought tokens. Those that came for another reason than
    /// a refusal are as good as any.
    fn judge(&mut self, request: &RefreshRequest, refreshed: Refreshed, now: Instant) {
        if !refreshed.is_ours || request.cause != Cause::Unauthorized {
            return self.trust(refreshed.generation, &[Doubt::Awaited]);
        }
        self.caused.note(refreshed.generation, now);
        if let Some(known) = &mut self.doubted
            && (known.generation, known.doubt) == (refreshed.generation, Doubt::Awaited)
        {
            known.doubt = Doubt::AskedFor;
        }
    }

    /// Doubts these tokens no more, if it is for one of these reasons.
    fn trust(&mut self, generation: i64, reasons: &[Doubt]) {
        self.doubted = self
            .doubted
            .filter(|known| known.generation != generation || !reasons.contains(&known.doubt));
    }

    fn is_of_use(&self, now: Instant) -> bool {
        self.waiters.is_some()
            || self.backoff.is_some_and(|known| known.until + FORGET_FAILURE_AFTER > now)
            || self.doubted.is_some_and(|known| known.until > now)
            || self.caused.count(now) > 0
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
        assert!(refreshes.note_rejected(&request(1), true), "the first");
        assert!(refreshes.note_rejected(&request(1), true), "another request with the same tokens");
        assert!(!refreshes.note_rejected(&request(2), true), "those that were got because of it");
        let aged = "those that were got because the others had aged";
        assert!(refreshes.note_rejected(&request(3), true), "{aged}");
    }

    /// A refresh that ends with tokens of this generation.
    fn came(generation: i64) -> Refreshed {
        Refreshed { generation, is_ours: true }
    }

    fn because(cause: Cause) -> RefreshRequest {
        RefreshRequest { cause, ..request(1) }
    }

    #[test]
    fn tokens_that_did_not_come_of_a_401_are_not_doubted_for_one_to_those_before() {
        let elsewhere = Refreshed { generation: 2, is_ours: false };
        for (cause, refreshed) in
            [(Cause::Background, came(2)), (Cause::Use, came(2)), (Cause::Unauthorized, elsewhere)]
        {
            let (refreshes, _commands) = RefreshHandle::new(Clock::system());
            assert!(refreshes.note_rejected(&request(1), true), "they were refused on the way");
            refreshes.complete(&because(cause), Ok(refreshed), None);
            assert!(refreshes.note_rejected(&request(2), true), "{cause:?}");
        }
        let (refreshes, _commands) = RefreshHandle::new(Clock::system());
        assert!(refreshes.note_rejected(&request(1), true));
        refreshes.complete(&because(Cause::Unauthorized), Ok(came(2)), None);
        assert!(!refreshes.note_rejected(&request(2), true));
        // Another request with the tokens of before learns that there are others.
        assert!(refreshes.note_rejected(&request(1), true));
        refreshes.complete(&because(Cause::Unauthorized), Ok(elsewhere), None);
        assert!(
            !refreshes.note_rejected(&request(2), true),
            "they are what the 401 has brought still"
        );
    }

    #[test]
    fn the_answer_to_the_second_attempt_tells_if_the_next_401_is_believed() {
        let (refreshes, _commands) = RefreshHandle::new(Clock::system());
        assert!(refreshes.note_rejected(&request(1), true));
        refreshes.complete(&because(Cause::Unauthorized), Ok(came(2)), None);
        refreshes.note_retried(&request(2), false);
        assert!(refreshes.note_rejected(&request(2), true), "they were good, and have ended since");
        // Of two kinds of request one is refused whatever the tokens are.
        let (refreshes, _commands) = RefreshHandle::new(Clock::system());
        refreshes.complete(&because(Cause::Unauthorized), Ok(came(3)), None);
        refreshes.note_retried(&request(3), true);
        refreshes.note_retried(&request(3), false);
        assert!(!refreshes.note_rejected(&request(3), true));
        assert!(refreshes.note_rejected(&request(4), true));
    }

    #[test]
    fn refusals_cause_two_refreshes_in_half_a_minute_and_one_of_what_can_not_be_sent_again() {
        let (refreshes, _commands) = RefreshHandle::new(Clock::system());
        assert!(refreshes.note_rejected(&request(1), false));
        refreshes.complete(&because(Cause::Unauthorized), Ok(came(2)), None);
        // Other requests find the next tokens good.
        refreshes.note_retried(&request(2), false);
        assert!(!refreshes.note_rejected(&request(2), false), "nothing would judge the next");
        assert!(refreshes.note_rejected(&request(2), true));
        refreshes.complete(&because(Cause::Unauthorized), Ok(came(3)), None);
        refreshes.note_retried(&request(3), false);
        assert!(!refreshes.note_rejected(&request(3), true), "the third");
        assert!(refreshes.note_rejected(&request(2), true), "there are others already");
        // Another instance has asked meanwhile: still the same.
        assert!(!refreshes.note_rejected(&request(9), true));
    }

    #[test]
    fn a_late_answer_says_nothing_of_later_tokens() {
        let (refreshes, _commands) = RefreshHandle::new(Clock::system());
        refreshes.note_retried(&request(5), true);
        refreshes.note_retried(&request(3), true);
        assert!(!refreshes.note_rejected(&request(5), true));
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
        refreshes.complete(&request(1), Ok(came(2)), None);
        assert_eq!(known(), 0);
    }
}
