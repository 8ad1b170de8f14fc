//! Where tokens are refreshed: on the runtime of the store, by tasks that belong to no request.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::failure::Failure;
use super::flight::{Flight, Flown};
use super::provider::{Provider, Unsuccessful};
use super::schedule::{Schedule, plan};
use super::tokens::{Cause, Order, Tokens, Wanted};
use super::{Shelf, Surroundings};
use crate::clock::{Clock, instant};
use crate::ledger::Metrics;
use crate::tasks::Tasks;

/// Whoever refreshes tokens on this instance.
#[derive(Debug)]
pub struct Manager {
    hangar: Arc<Hangar>,
    orders: mpsc::UnboundedReceiver<Order>,
    schedule: Schedule,
    tasks: Tasks,
}

/// What all refreshes share.
#[derive(Debug)]
struct Hangar {
    tokens: Tokens,
    shelf: Arc<dyn Shelf>,
    surroundings: Arc<dyn Surroundings>,
    provider: Arc<Provider>,
    metrics: Arc<Metrics>,
    clock: Clock,
    /// How many refreshes in the background may be under way.
    background: Arc<Semaphore>,
}

impl Manager {
    /// A manager, and the way to it. Refreshes are among `tasks`, so that who goes down can wait
    /// for them.
    #[must_use]
    pub fn new(
        provider: Arc<Provider>,
        shelf: Arc<dyn Shelf>,
        surroundings: Arc<dyn Surroundings>,
        metrics: Arc<Metrics>,
        clock: Clock,
        tasks: Tasks,
    ) -> (Self, Tokens) {
        let (tokens, orders) = Tokens::new();
        let hangar = Arc::new(Hangar {
            tokens: tokens.clone(),
            shelf,
            surroundings,
            provider,
            metrics,
            clock,
            background: Arc::new(Semaphore::new(MOST_IN_BACKGROUND)),
        });
        (Self { hangar, orders, schedule: Schedule::default(), tasks }, tokens)
    }

    /// Takes orders, and refreshes what is due, for as long as it is polled. What it has begun goes
    /// on after that.
    pub async fn work(&mut self) {
        loop {
            let due = self.schedule.first();
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(order) => self.take(order),
                    // There is always a way here: the hangar's own.
                    None => return,
                },
                room = self.hangar.room(due) => self.depart(room),
            }
        }
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Fly(wanted) => self.begin(wanted, None),
            Order::Watch(connection) => {
                let refresh_before = self.hangar.surroundings.refresh_before();
                let planned = plan(&connection, refresh_before, self.hangar.clock.now());
                if let Some((wait, wanted)) = planned {
                    self.schedule.add(instant() + wait, wanted);
                }
            }
            Order::Again(wanted, pause) => self.schedule.add(instant() + pause, wanted),
        }
    }

    /// Begins the first that is due, if its tokens are still those that are in force. Not before
    /// there is room: a request that comes for the same ones must not wait for that.
    fn depart(&mut self, room: OwnedSemaphorePermit) {
        let now = instant();
        let Some(wanted) = self.schedule.take(now) else { return };
        if !self.hangar.is_current(&wanted) {
            return;
        }
        match self.hangar.tokens.begin(&wanted) {
            Ok(()) => self.begin(wanted, Some(room)),
            Err(Some(pause)) => self.schedule.add(now + pause, wanted),
            Err(None) => {}
        }
    }

    fn begin(&self, wanted: Wanted, room: Option<OwnedSemaphorePermit>) {
        let hangar = Arc::clone(&self.hangar);
        self.tasks.spawn(async move {
            hangar.fly(wanted).await;
            drop(room);
        });
    }
}

impl Hangar {
    /// Waits until something is due, and there is room for it.
    async fn room(&self, due: Option<Instant>) -> OwnedSemaphorePermit {
        tokio::time::sleep_until(due.unwrap_or_else(|| instant() + LONG).into()).await;
        match Arc::clone(&self.background).acquire_owned().await {
            Ok(room) => room,
            // Nobody closes it.
            Err(_closed) => std::future::pending().await,
        }
    }

    async fn fly(&self, wanted: Wanted) {
        let flight = Flight {
            shelf: &*self.shelf,
            provider: &self.provider,
            clock: &self.clock,
            wanted: &wanted,
            lease: self.surroundings.refresh_lease(),
        };
        let flown = AssertUnwindSafe(Box::pin(flight.fly())).catch_unwind().await;
        let flown = flown.unwrap_or_else(|_panic| {
            // Nobody may wait for ever for what is over.
            tracing::error!(
                "a refresh of OAuth tokens has panicked: report it with the lines before"
            );
            Err(Failure::Late.into())
        });
        self.write_down(&wanted, flown);
        let (landing, retry_after) = match flown {
            Ok(Flown { generation, .. }) => (Ok(generation), None),
            Err(Unsuccessful { failure, retry_after }) => (Err(failure), retry_after),
        };
        let pause = self.tokens.land(&wanted, landing, retry_after);
        if landing.is_err() && wanted.cause == Cause::Background && self.is_current(&wanted) {
            self.tokens.try_again(wanted, pause);
        }
    }

    /// Whether the tokens that were to be replaced are in force and of use.
    fn is_current(&self, wanted: &Wanted) -> bool {
        let registry = self.surroundings.registry();
        let listing = registry.lookup(wanted.integration.as_str(), wanted.name.as_str());
        let standing = listing.and_then(|listing| listing.connection.standing());
        standing.is_some_and(|standing| {
            standing.uuid == wanted.uuid
                && standing.generation == wanted.newer_than
                && standing.renewable
                // What has ended is refreshed when somebody asks for it.
                && standing.expires_at.is_none_or(|end| self.clock.now() < end)
        })
    }

    fn write_down(&self, wanted: &Wanted, flown: Result<Flown, Unsuccessful>) {
        let cause = wanted.cause.as_str();
        let integration = wanted.integration.as_str();
        let connection = format!("{integration}.{}", wanted.name);
        match flown {
            Ok(Flown { is_ours: false, generation }) => {
                tracing::debug!(connection, cause, generation, "another has refreshed the tokens");
            }
            Ok(Flown { generation, .. }) => {
                self.metrics.count_refresh(integration, "refreshed", cause);
                tracing::info!(connection, cause, generation, "tokens were refreshed");
            }
            Err(Unsuccessful { failure, .. }) => {
                self.metrics.count_refresh(integration, failure.outcome(), cause);
                tracing::warn!(connection, cause, why = %failure, "tokens were not refreshed");
            }
        }
    }
}

/// One provider that hangs holds at most so many for twenty seconds; the tokens of others are
/// refreshed meanwhile when a request needs them.
const MOST_IN_BACKGROUND: usize = 64;

/// There is nothing to wake up for.
const LONG: Duration = Duration::from_hours(1);
