//! The way to other tokens, for whoever needs them: on any thread, waiting for one refresh
//! together.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::failure::TokenFailure;
use crate::clock::instant;
use crate::model::connection::Connection;
use crate::model::name::{ConnectionName, IntegrationName};

/// Where other tokens are asked for. A clone leads to the same place.
#[derive(Clone, Debug)]
pub struct RefreshHandle(Arc<HandleState>);

#[derive(Debug)]
struct HandleState {
    refreshes: Mutex<InFlightRefreshes>,
    /// The tokens that an origin has refused of late, and others were asked for.
    rejected: Mutex<HashMap<Uuid, RejectedToken, RandomState>>,
    commands: mpsc::UnboundedSender<RefreshCommand>,
    winding_down: AtomicBool,
}

#[derive(Debug, Default)]
struct InFlightRefreshes {
    /// The refreshes that are under way, each with those who wait for it.
    waiters: HashMap<Uuid, Vec<oneshot::Sender<RefreshOutcome>>, RandomState>,
    /// What has failed lately, and is not tried again for a while.
    backoff: HashMap<Uuid, Backoff, RandomState>,
}

#[derive(Clone, Copy, Debug)]
struct Backoff {
    until: Instant,
    failure: TokenFailure,
    failures: u32,
    /// Of which set of tokens: what has failed of it says nothing of another.
    generation: i64,
}

#[derive(Clone, Copy, Debug)]
struct RejectedToken {
    generation: i64,
    until: Instant,
}

/// How a refresh has ended: with this set of tokens in force, or without any.
pub(super) type RefreshOutcome = Result<i64, TokenFailure>;

/// What is to be done where tokens are refreshed.
#[derive(Debug)]
pub(super) enum RefreshCommand {
    /// Refresh them now; whoever waits is noted.
    Start(RefreshRequest),
    /// These tokens are in use: they are refreshed before they end.
    Watch(Arc<Connection>),
    /// A refresh in the background has failed: try again then.
    RetryAfter(RefreshRequest, Duration),
}

/// Which tokens are wanted.
#[derive(Clone, Debug)]
pub struct RefreshRequest {
    /// Of which connection.
    pub uuid: Uuid,
    /// Of which integration.
    pub integration: IntegrationName,
    /// By its name.
    pub name: ConnectionName,
    /// Newer than this set.
    pub newer_than: i64,
    /// Why.
    pub cause: Cause,
}

impl RefreshRequest {
    /// Other tokens than those that the connection has; `None` where it has none.
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

/// Why other tokens are wanted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cause {
    /// Those that are in use are near their end.
    Background,
    /// An operator says so.
    Operator,
    /// The origin has said 401.
    Unauthorized,
    /// A request needs them.
    Use,
}

impl Cause {
    /// The name, as logs and figures have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Background => "background",
            Self::Operator => "operator",
            Self::Unauthorized => "unauthorized",
            Self::Use => "use",
        }
    }
}

impl RefreshHandle {
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<RefreshCommand>) {
        let (commands, received) = mpsc::unbounded_channel();
        let shared = HandleState {
            refreshes: Mutex::default(),
            rejected: Mutex::default(),
            commands,
            winding_down: AtomicBool::new(false),
        };
        (Self(Arc::new(shared)), received)
    }

    /// Waits until there are other tokens in force. All who want the same connection's wait for
    /// one refresh. Dropped in between, it goes on.
    ///
    /// # Errors
    /// [`Failure`] says why there are none.
    pub async fn refresh(&self, request: RefreshRequest) -> Result<(), TokenFailure> {
        for _again in 0..MAX_JOINED_REFRESHES {
            let refreshed = tokio::time::timeout(REFRESH_WAIT_TIMEOUT, self.join(&request)?).await;
            // A sender that is gone is a server that goes down.
            let generation = refreshed
                .map_err(|_late| TokenFailure::Late)?
                .unwrap_or(Err(TokenFailure::Late))?;
            if generation > request.newer_than {
                return Ok(());
            }
        }
        Err(TokenFailure::Late)
    }

    /// These tokens are used for the first time: they will be refreshed before they end.
    pub fn watch(&self, connection: &Arc<Connection>) {
        self.send(RefreshCommand::Watch(Arc::clone(connection)));
    }

    /// The server goes down: what nobody waits for is not begun any more, since it might be broken
    /// off.
    pub fn wind_down(&self) {
        self.0.winding_down.store(true, Relaxed);
    }

    /// Whether other tokens may be of more use where the origin has refused these. They are not
    /// where these were got, of late, because it had refused those before: then its 401 is taken at
    /// its word, so that no caller can have tokens refreshed over and over.
    #[must_use]
    pub fn note_rejected(&self, request: &RefreshRequest) -> bool {
        let (mut rejected, now) = (self.0.rejected.lock(), instant());
        rejected.retain(|_, token| token.until > now);
        let generation = request.newer_than;
        let refused = rejected.get(&request.uuid).map(|token| token.generation);
        if refused.is_some_and(|refused| refused + 1 == generation) {
            return false;
        }
        if refused.is_none_or(|refused| refused < generation) {
            rejected
                .insert(request.uuid, RejectedToken { generation, until: now + BELIEVE_401_FOR });
        }
        true
    }

    /// Joins the refresh that is under way, or begins one.
    fn join(
        &self,
        request: &RefreshRequest,
    ) -> Result<oneshot::Receiver<RefreshOutcome>, TokenFailure> {
        let (waiter, completed) = oneshot::channel();
        let mut refreshes = self.0.refreshes.lock();
        if let Some(waiting) = refreshes.waiters.get_mut(&request.uuid) {
            waiting.push(waiter);
            return Ok(completed);
        }
        let backoff = refreshes.backoff.get(&request.uuid);
        let backoff = backoff.filter(|backoff| backoff.still_says(request));
        if let Some(backoff) = backoff.filter(|_| request.cause != Cause::Operator) {
            return Err(backoff.failure);
        }
        refreshes.waiters.insert(request.uuid, vec![waiter]);
        self.send(RefreshCommand::Start(request.clone()));
        Ok(completed)
    }

    /// Begins a refresh that nobody waits for, unless one is under way or has failed just now; then
    /// the time until it may be tried again.
    pub(super) fn begin(&self, request: &RefreshRequest) -> Result<(), Option<Duration>> {
        let mut refreshes = self.0.refreshes.lock();
        if refreshes.waiters.contains_key(&request.uuid) || self.0.winding_down.load(Relaxed) {
            return Err(None);
        }
        let backoff = refreshes.backoff.get(&request.uuid);
        if let Some(backoff) = backoff.filter(|backoff| backoff.still_says(request)) {
            return Err(Some(backoff.until.saturating_duration_since(instant())));
        }
        refreshes.waiters.insert(request.uuid, Vec::new());
        Ok(())
    }

    /// The refresh has ended: all who wait for it are told. After a failure nobody tries again for
    /// a while, which is longer each time; how long.
    pub(super) fn complete(
        &self,
        request: &RefreshRequest,
        outcome: RefreshOutcome,
        retry_after: Option<Duration>,
    ) -> Duration {
        let mut refreshes = self.0.refreshes.lock();
        let waiting = refreshes.waiters.remove(&request.uuid).unwrap_or_default();
        let pause = match outcome {
            Ok(_) => {
                refreshes.backoff.remove(&request.uuid);
                Duration::ZERO
            }
            Err(failure) => refreshes.back_off(request, failure, retry_after),
        };
        drop(refreshes);
        for waiter in waiting {
            let _gone = waiter.send(outcome);
        }
        pause
    }

    pub(super) fn retry_after(&self, request: RefreshRequest, after: Duration) {
        self.send(RefreshCommand::RetryAfter(request, after));
    }

    fn send(&self, command: RefreshCommand) {
        // Nobody takes orders any more where the server goes down.
        drop(self.0.commands.send(command));
    }
}

impl InFlightRefreshes {
    fn back_off(
        &mut self,
        request: &RefreshRequest,
        failure: TokenFailure,
        retry_after: Option<Duration>,
    ) -> Duration {
        self.backoff.retain(|_, backoff| backoff.until + FORGET_FAILURE_AFTER > instant());
        let RefreshRequest { uuid, newer_than: generation, .. } = *request;
        let known = self.backoff.get(&uuid).filter(|known| known.generation == generation);
        let failures = known.map_or(0, |known| known.failures);
        // What is our own, no provider is spared by a longer wait.
        let doublings = if failure.is_our_own() { 0 } else { failures.min(6) };
        let pause = jittered(FIRST_BACKOFF.saturating_mul(1 << doublings), uuid);
        let asked = retry_after.unwrap_or_default().min(MAX_RETRY_AFTER);
        let pause = pause.min(MAX_BACKOFF).max(asked);
        let failures = if failure.is_our_own() { failures } else { failures.saturating_add(1) };
        let until = instant() + pause;
        self.backoff.insert(uuid, Backoff { until, failure, failures, generation });
        pause
    }
}

impl Backoff {
    /// Whether it is too early to try for these again.
    fn still_says(&self, request: &RefreshRequest) -> bool {
        self.generation == request.newer_than && self.until > instant()
    }
}

/// Up to a quarter less, differently for each connection: what has failed together is not to come
/// back together.
fn jittered(pause: Duration, uuid: Uuid) -> Duration {
    let share = uuid.as_bytes().iter().fold(0_u8, |sum, byte| sum.wrapping_mul(31) ^ byte);
    pause.saturating_sub(pause * u32::from(share) / 1024)
}

/// The time that a request waits: longer than a provider may take, and than the default
/// `oauth.takeover` of a lease that was left behind.
const REFRESH_WAIT_TIMEOUT: Duration = Duration::from_secs(35);

/// How many refreshes one may have to wait for: the first may have been of older tokens.
const MAX_JOINED_REFRESHES: usize = 2;

const FIRST_BACKOFF: Duration = Duration::from_secs(1);

const MAX_BACKOFF: Duration = Duration::from_mins(1);

/// What a provider may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(5);

/// After so long, a failure says nothing of the next.
const FORGET_FAILURE_AFTER: Duration = Duration::from_mins(10);

/// How often an origin's 401 is a reason to ask for other tokens, at most.
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
        let mut refreshes = InFlightRefreshes::default();
        for _each in 0..9 {
            let pause = refreshes.back_off(&request(1), TokenFailure::Store, None);
            assert!(pause <= FIRST_BACKOFF);
        }
        let pauses: Vec<_> = (0..9)
            .map(|_each| {
                refreshes.back_off(&request(1), TokenFailure::Unanswered("it failed"), None)
            })
            .collect();
        assert!(pauses.is_sorted() && pauses[0] <= FIRST_BACKOFF);
        assert!(pauses[8] > FIRST_BACKOFF * 32 && pauses[8] <= MAX_BACKOFF);
    }

    #[test]
    fn what_has_failed_says_nothing_of_the_tokens_of_another_flow() {
        let (tokens, _commands) = RefreshHandle::new();
        tokens.complete(
            &request(1),
            Err(TokenFailure::Lapsed(crate::model::oauth::grant::LapseReason::InvalidGrant)),
            None,
        );
        assert!(tokens.begin(&request(1)).is_err());
        assert!(tokens.begin(&request(2)).is_ok());
    }

    #[test]
    fn a_401_is_a_reason_to_refresh_until_the_next_tokens_are_refused_too() {
        let (tokens, _commands) = RefreshHandle::new();
        assert!(tokens.note_rejected(&request(1)), "the first");
        assert!(tokens.note_rejected(&request(1)), "another request with the same tokens");
        assert!(!tokens.note_rejected(&request(2)), "those that were got because of it");
        assert!(
            tokens.note_rejected(&request(3)),
            "those that were got because the others had aged"
        );
    }

    #[test]
    fn on_the_way_down_nothing_begins_that_nobody_waits_for() {
        let (tokens, _commands) = RefreshHandle::new();
        tokens.wind_down();
        assert_eq!(tokens.begin(&request(1)), Err(None));
        assert!(tokens.join(&request(1)).is_ok());
    }
}
