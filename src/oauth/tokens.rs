//! The way to other tokens, for whoever needs them: on any thread, waiting for one refresh together.

use std::collections::HashMap;
use std::sync::Arc;
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
    /// Connections whose other tokens were of no more use to the origin than those before.
    distrusted: Mutex<HashMap<Uuid, Instant, RandomState>>,
    orders: mpsc::UnboundedSender<Order>,
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
        let shared = Shared { flights: Mutex::default(), distrusted: Mutex::default(), orders };
        (Self(Arc::new(shared)), received)
    }

    /// Waits until there are other tokens in force. All who want the same connection's wait for
    /// one refresh. Dropped in between, it goes on.
    ///
    /// # Errors
    /// [`Failure`] says why there are none.
    pub async fn renew(&self, wanted: Wanted) -> Result<(), Failure> {
        for _again in 0..MOST_FLIGHTS {
            let flown = tokio::time::timeout(PATIENCE, self.board(&wanted)?).await;
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

    /// The origin has refused tokens that were got because it had refused those before: for a
    /// while its 401 is taken at its word.
    pub fn distrust(&self, uuid: Uuid) {
        let mut distrusted = self.0.distrusted.lock();
        let now = instant();
        distrusted.retain(|_, until| *until > now);
        distrusted.insert(uuid, now + DISTRUST);
    }

    /// Whether an origin's 401 says nothing of the tokens.
    #[must_use]
    pub fn is_distrusted(&self, uuid: Uuid) -> bool {
        self.0.distrusted.lock().get(&uuid).is_some_and(|until| *until > instant())
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
        let cooling = cooling.filter(|cooling| cooling.until > instant());
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
        if flights.under.contains_key(&wanted.uuid) {
            return Err(None);
        }
        let left = flights.cooling.get(&wanted.uuid).map(Cooling::left);
        if let Some(left) = left.filter(|left| !left.is_zero()) {
            return Err(Some(left));
        }
        flights.under.insert(wanted.uuid, Vec::new());
        Ok(())
    }

    /// The refresh has ended: all who wait for it are told. After a failure nobody tries again for
    /// a while, which is longer each time; how long.
    pub(super) fn land(
        &self,
        uuid: Uuid,
        landing: Landing,
        retry_after: Option<Duration>,
    ) -> Duration {
        let mut flights = self.0.flights.lock();
        let waiting = flights.under.remove(&uuid).unwrap_or_default();
        let pause = match landing {
            Ok(_) => {
                flights.cooling.remove(&uuid);
                Duration::ZERO
            }
            Err(failure) => flights.cool(uuid, failure, retry_after),
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
    fn cool(&mut self, uuid: Uuid, failure: Failure, retry_after: Option<Duration>) -> Duration {
        self.cooling.retain(|_, cooling| cooling.until + FORGOTTEN > instant());
        let failures = self.cooling.get(&uuid).map_or(0, |cooling| cooling.failures);
        let pause = jittered(FIRST_PAUSE.saturating_mul(1 << failures.min(6)), uuid);
        let asked = retry_after.unwrap_or_default().min(LONGEST_ASKED);
        let pause = pause.min(LONGEST_PAUSE).max(asked);
        let (until, failures) = (instant() + pause, failures.saturating_add(1));
        self.cooling.insert(uuid, Cooling { until, failure, failures });
        pause
    }
}

impl Cooling {
    fn left(&self) -> Duration {
        self.until.saturating_duration_since(instant())
    }
}

/// Up to a quarter less, differently for each connection: what has failed together is not to come
/// back together.
fn jittered(pause: Duration, uuid: Uuid) -> Duration {
    let share = uuid.as_bytes().iter().fold(0_u8, |sum, byte| sum.wrapping_mul(31) ^ byte);
    pause.saturating_sub(pause * u32::from(share) / 1024)
}

/// How long anybody waits: longer than a provider may take, and a lease that was left behind.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many refreshes one may have to wait for: the first may have been of older tokens.
const MOST_FLIGHTS: usize = 2;

const FIRST_PAUSE: Duration = Duration::from_secs(1);

const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// What a provider may ask for.
const LONGEST_ASKED: Duration = Duration::from_mins(5);

/// After so long, a failure says nothing of the next.
const FORGOTTEN: Duration = Duration::from_mins(10);

/// How long an origin's 401 is taken at its word.
const DISTRUST: Duration = Duration::from_secs(30);
