//! The way to other tokens, for whoever needs them: on any thread, waiting for one refresh together.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::failure::Failure;
use crate::clock::instant;
use crate::model::connection::Connection;
use crate::model::name::{ConnectionName, IntegrationName};

/// Where other tokens are asked for. A clone leads to the same place.
#[derive(Clone, Debug)]
pub struct Tokens(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    flights: Mutex<Flights>,
    /// The tokens that an origin has refused of late, and others were asked for.
    doubted: Mutex<HashMap<Uuid, Doubt, RandomState>>,
    orders: mpsc::UnboundedSender<Order>,
    winding_down: AtomicBool,
}

#[derive(Debug, Default)]
struct Flights {
    /// The refreshes that are under way, each with those who wait for it.
    under: HashMap<Uuid, Vec<oneshot::Sender<Landing>>, RandomState>,
    /// What has failed lately, and is not tried again for a while.
    cooling: HashMap<Uuid, Cooling, RandomState>,
}

#[derive(Clone, Copy, Debug)]
struct Cooling {
    until: Instant,
    failure: Failure,
    failures: u32,
    /// Of which set of tokens: what has failed of it says nothing of another.
    generation: i64,
}

#[derive(Clone, Copy, Debug)]
struct Doubt {
    generation: i64,
    until: Instant,
}

/// How a refresh has ended: with this set of tokens in force, or without any.
pub(super) type Landing = Result<i64, Failure>;

/// What is to be done where tokens are refreshed.
#[derive(Debug)]
pub(super) enum Order {
    /// Refresh them now; whoever waits is noted.
    Fly(Wanted),
    /// These tokens are in use: they are refreshed before they end.
    Watch(Arc<Connection>),
    /// A refresh in the background has failed: try again then.
    Again(Wanted, Duration),
}

/// Which tokens are wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
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

impl Wanted {
    /// Other tokens than those that the connection has; `None` where it has none.
    #[must_use]
    pub fn of(connection: &Connection, cause: Cause) -> Option<Self> {
        let standing = connection.standing()?;
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

impl Tokens {
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Order>) {
        let (orders, received) = mpsc::unbounded_channel();
        let shared = Shared {
            flights: Mutex::default(),
            doubted: Mutex::default(),
            orders,
            winding_down: AtomicBool::new(false),
        };
        (Self(Arc::new(shared)), received)
    }

    /// Waits until there are other tokens in force. All who want the same connection's wait for
    /// one refresh. Dropped in between, it goes on.
    ///
    /// # Errors
    /// [`Failure`] says why there are none.
    pub async fn renew(&self, wanted: Wanted) -> Result<(), Failure> {
        for _again in 0..MOST_FLIGHTS {
            let flown = tokio::time::timeout(REFRESH_WAIT_TIMEOUT, self.board(&wanted)?).await;
            // A sender that is gone is a server that goes down.
            let generation = flown.map_err(|_late| Failure::Late)?.unwrap_or(Err(Failure::Late))?;
            if generation > wanted.newer_than {
                return Ok(());
            }
        }
        Err(Failure::Late)
    }

    /// These tokens are used for the first time: they will be refreshed before they end.
    pub fn watch(&self, connection: &Arc<Connection>) {
        self.order(Order::Watch(Arc::clone(connection)));
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
    pub fn doubt(&self, wanted: &Wanted) -> bool {
        let (mut doubted, now) = (self.0.doubted.lock(), instant());
        doubted.retain(|_, doubt| doubt.until > now);
        let generation = wanted.newer_than;
        let refused = doubted.get(&wanted.uuid).map(|doubt| doubt.generation);
        if refused.is_some_and(|refused| refused + 1 == generation) {
            return false;
        }
        if refused.is_none_or(|refused| refused < generation) {
            doubted.insert(wanted.uuid, Doubt { generation, until: now + DOUBT });
        }
        true
    }

    /// Joins the refresh that is under way, or begins one.
    fn board(&self, wanted: &Wanted) -> Result<oneshot::Receiver<Landing>, Failure> {
        let (seat, landed) = oneshot::channel();
        let mut flights = self.0.flights.lock();
        if let Some(waiting) = flights.under.get_mut(&wanted.uuid) {
            waiting.push(seat);
            return Ok(landed);
        }
        let cooling = flights.cooling.get(&wanted.uuid);
        let cooling = cooling.filter(|cooling| cooling.still_says(wanted));
        if let Some(cooling) = cooling.filter(|_| wanted.cause != Cause::Operator) {
            return Err(cooling.failure);
        }
        flights.under.insert(wanted.uuid, vec![seat]);
        self.order(Order::Fly(wanted.clone()));
        Ok(landed)
    }

    /// Begins a refresh that nobody waits for, unless one is under way or has failed just now; then
    /// the time until it may be tried again.
    pub(super) fn begin(&self, wanted: &Wanted) -> Result<(), Option<Duration>> {
        let mut flights = self.0.flights.lock();
        if flights.under.contains_key(&wanted.uuid) || self.0.winding_down.load(Relaxed) {
            return Err(None);
        }
        let cooling = flights.cooling.get(&wanted.uuid);
        if let Some(cooling) = cooling.filter(|cooling| cooling.still_says(wanted)) {
            return Err(Some(cooling.until.saturating_duration_since(instant())));
        }
        flights.under.insert(wanted.uuid, Vec::new());
        Ok(())
    }

    /// The refresh has ended: all who wait for it are told. After a failure nobody tries again for
    /// a while, which is longer each time; how long.
    pub(super) fn land(
        &self,
        wanted: &Wanted,
        landing: Landing,
        retry_after: Option<Duration>,
    ) -> Duration {
        let mut flights = self.0.flights.lock();
        let waiting = flights.under.remove(&wanted.uuid).unwrap_or_default();
        let pause = match landing {
            Ok(_) => {
                flights.cooling.remove(&wanted.uuid);
                Duration::ZERO
            }
            Err(failure) => flights.cool(wanted, failure, retry_after),
        };
        drop(flights);
        for seat in waiting {
            let _gone = seat.send(landing);
        }
        pause
    }

    pub(super) fn try_again(&self, wanted: Wanted, after: Duration) {
        self.order(Order::Again(wanted, after));
    }

    fn order(&self, order: Order) {
        // Nobody takes orders any more where the server goes down.
        drop(self.0.orders.send(order));
    }
}

impl Flights {
    fn cool(
        &mut self,
        wanted: &Wanted,
        failure: Failure,
        retry_after: Option<Duration>,
    ) -> Duration {
        self.cooling.retain(|_, cooling| cooling.until + FORGOTTEN > instant());
        let Wanted { uuid, newer_than: generation, .. } = *wanted;
        let known = self.cooling.get(&uuid).filter(|known| known.generation == generation);
        let failures = known.map_or(0, |known| known.failures);
        // What is our own, no provider is spared by a longer wait.
        let doublings = if failure.is_our_own() { 0 } else { failures.min(6) };
        let pause = jittered(FIRST_PAUSE.saturating_mul(1 << doublings), uuid);
        let asked = retry_after.unwrap_or_default().min(LONGEST_ASKED);
        let pause = pause.min(LONGEST_PAUSE).max(asked);
        let failures = if failure.is_our_own() { failures } else { failures.saturating_add(1) };
        let until = instant() + pause;
        self.cooling.insert(uuid, Cooling { until, failure, failures, generation });
        pause
    }
}

impl Cooling {
    /// Whether it is too early to try for these again.
    fn still_says(&self, wanted: &Wanted) -> bool {
        self.generation == wanted.newer_than && self.until > instant()
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
const MOST_FLIGHTS: usize = 2;

const FIRST_PAUSE: Duration = Duration::from_secs(1);

const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// What a provider may ask for.
const LONGEST_ASKED: Duration = Duration::from_mins(5);

/// After so long, a failure says nothing of the next.
const FORGOTTEN: Duration = Duration::from_mins(10);

/// How often an origin's 401 is a reason to ask for other tokens, at most.
const DOUBT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(newer_than: i64) -> Wanted {
        Wanted {
            uuid: Uuid::from_bytes([7; 16]),
            integration: IntegrationName::parse("acme").unwrap(),
            name: ConnectionName::parse("mine").unwrap(),
            newer_than,
            cause: Cause::Use,
        }
    }

    #[test]
    fn a_store_that_was_away_for_long_is_tried_again_within_a_second() {
        let mut flights = Flights::default();
        for _each in 0..9 {
            let pause = flights.cool(&wanted(1), Failure::Store, None);
            assert!(pause <= FIRST_PAUSE);
        }
        let pauses: Vec<_> = (0..9)
            .map(|_each| flights.cool(&wanted(1), Failure::Unanswered("it failed"), None))
            .collect();
        assert!(pauses.is_sorted() && pauses[0] <= FIRST_PAUSE);
        assert!(pauses[8] > FIRST_PAUSE * 32 && pauses[8] <= LONGEST_PAUSE);
    }

    #[test]
    fn what_has_failed_says_nothing_of_the_tokens_of_another_flow() {
        let (tokens, _orders) = Tokens::new();
        tokens.land(
            &wanted(1),
            Err(Failure::Lapsed(crate::model::oauth::grant::LapseReason::InvalidGrant)),
            None,
        );
        assert!(tokens.begin(&wanted(1)).is_err());
        assert!(tokens.begin(&wanted(2)).is_ok());
    }

    #[test]
    fn a_401_is_a_reason_to_refresh_until_the_next_tokens_are_refused_too() {
        let (tokens, _orders) = Tokens::new();
        assert!(tokens.doubt(&wanted(1)), "the first");
        assert!(tokens.doubt(&wanted(1)), "another request with the same tokens");
        assert!(!tokens.doubt(&wanted(2)), "those that were got because of it");
        assert!(tokens.doubt(&wanted(3)), "those that were got because the others had aged");
    }

    #[test]
    fn on_the_way_down_nothing_begins_that_nobody_waits_for() {
        let (tokens, _orders) = Tokens::new();
        tokens.wind_down();
        assert_eq!(tokens.begin(&wanted(1)), Err(None));
        assert!(tokens.board(&wanted(1)).is_ok());
    }
}
