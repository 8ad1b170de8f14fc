//! The unused grants that are refreshed so that they don't end: found by a look at all connections
//! now and then, and begun at a pace that burdens no provider, however many are due after a start
//! or an outage. Connections that are not due soon take no memory here.
//!
//! A state machine: it is told the time and the outcomes, and waits for nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::BuildHasher as _;
use std::mem::take;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::{FixedState, RandomState};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::failure::TokenFailure;
use super::handle::{Cause, RefreshRequest};
use super::provider::Unsuccessful;
use crate::model::connection::{Connection, TokenStatus};
use crate::model::oauth::life::Jitter;
use crate::model::oauth::refusal::Remedy;

/// The unused grants that are due now or soon.
#[derive(Debug)]
pub(super) struct KeepAliveQueue {
    /// The hash that gives this instance its own places among all.
    hash: FixedState,
    /// The refreshes that are due before the next look, in the order of their time.
    soon: BTreeMap<(Timestamp, Uuid), DueRefresh>,
    /// The refreshes that are due, by provider.
    providers: HashMap<u64, ProviderQueue, RandomState>,
    /// The providers that may be asked again, in the order of the time from which they may.
    ready: BTreeSet<(Timestamp, u64)>,
    /// The connections that are due here or are being refreshed.
    pending: HashSet<Uuid, RandomState>,
    failed: ByUuid<FailedRefresh>,
    /// The times at which the end of a grant was warned of.
    warned: ByUuid<Timestamp>,
    in_flight: usize,
    /// The time before which nothing begins, because the store has failed.
    not_before: Timestamp,
    next_look: Timestamp,
    look_interval: SignedDuration,
}

/// The refresh of an unused grant.
#[derive(Clone, Debug)]
pub(super) struct DueRefresh {
    pub(super) request: RefreshRequest,
    provider: u64,
    /// The end of the grant, if that is known.
    ends: Option<Timestamp>,
}

/// The refreshes that are due at one provider.
#[derive(Debug, Default)]
struct ProviderQueue {
    /// Grants that end earlier come first, by the hour. Within it each instance has an order of its
    /// own, so that instances don't wait for each other's leases.
    waiting: BTreeMap<(i64, u64), DueRefresh>,
    in_flight: usize,
    not_before: Timestamp,
    /// The number of times in a row that the provider itself has failed.
    failures: u32,
}

/// The failed refreshes of a set of tokens.
#[derive(Clone, Copy, Debug)]
struct FailedRefresh {
    generation: i64,
    failures: u32,
    not_before: Timestamp,
}

/// Facts of connections, by their uuid.
type ByUuid<T> = HashMap<Uuid, T, RandomState>;

impl KeepAliveQueue {
    /// An empty queue. Instances have different seeds.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            hash: FixedState::with_seed(seed),
            soon: BTreeMap::new(),
            providers: HashMap::default(),
            ready: BTreeSet::new(),
            pending: HashSet::default(),
            failed: ByUuid::default(),
            warned: ByUuid::default(),
            in_flight: 0,
            not_before: Timestamp::MIN,
            next_look: Timestamp::MIN,
            look_interval: MIN_LOOK_INTERVAL,
        }
    }

    /// The time at which there is something to do.
    pub(super) fn wakes_at(&self) -> Timestamp {
        let due = self.soon.first_key_value().map(|((due, _), _)| *due);
        let ready = self.ready.first().filter(|_| self.in_flight < MAX_IN_FLIGHT);
        let ready = ready.map(|(from, _)| (*from).max(self.not_before));
        [due, ready].into_iter().flatten().fold(self.next_look, Timestamp::min)
    }

    /// Tells whether it is time to look at all connections.
    pub(super) fn wants_look(&self, now: Timestamp) -> bool {
        now >= self.next_look
    }

    /// Looks at all connections, and takes up the refreshes that are due before the next look.
    /// Gives the connections whose grant ends soon, each once a day.
    pub(super) fn look<'a>(
        &mut self,
        connections: impl Iterator<Item = &'a Arc<Connection>>,
        keep_alive: Duration,
        now: Timestamp,
    ) -> Vec<&'a Arc<Connection>> {
        self.next_look = later(now, self.look_interval);
        // Memories of connections that are gone, or well again, are left behind.
        let (failed, mut warned) = (take(&mut self.failed), take(&mut self.warned));
        let (mut ending, mut shortest) = (Vec::new(), keep_alive);
        for connection in connections {
            let Some(status) = connection.token_status() else { continue };
            if ends_soon(status, now) {
                let known = warned.remove(&status.uuid).filter(|at| now < later(*at, DAY));
                if known.is_none() && ending.len() < MAX_WARNINGS {
                    ending.push(connection);
                    self.warned.insert(status.uuid, now);
                }
                self.warned.extend(known.map(|at| (status.uuid, at)));
            }
            let life = status.grant_life.filter(|life| now < life.ends);
            let life = life.map(|life| life.ends.duration_since(life.began));
            shortest = life
                .and_then(|it| Duration::try_from(it).ok())
                .map_or(shortest, |life| life.min(shortest));
            self.take_up(connection, status, keep_alive, &failed);
        }
        self.providers.retain(|_, queue| queue.is_of_use(now));
        // A short life is looked at in time.
        let interval = SignedDuration::try_from(shortest / 16).unwrap_or(MAX_LOOK_INTERVAL);
        self.look_interval = interval.clamp(MIN_LOOK_INTERVAL, MAX_LOOK_INTERVAL);
        ending
    }

    /// Takes up the refresh of a connection if it is due before the next look.
    fn take_up(
        &mut self,
        connection: &Connection,
        status: &TokenStatus,
        keep_alive: Duration,
        failed: &ByUuid<FailedRefresh>,
    ) {
        // 1. Its time, which is later after a failure.
        let uuid = status.uuid;
        let jitter = Jitter {
            connection: place(&FixedState::default(), uuid),
            instance: place(&self.hash, uuid),
        };
        let due = status.keep_alive_due(keep_alive, jitter).filter(|due| *due <= self.next_look);
        let Some(mut due) = due else { return };
        let known = failed.get(&uuid).filter(|known| known.generation == status.generation);
        if let Some(known) = known {
            self.failed.insert(uuid, *known);
            due = due.max(known.not_before);
        }
        if due > self.next_look || self.pending.contains(&uuid) {
            return;
        }
        // 2. It is taken up once.
        let Some(request) = RefreshRequest::of(connection, Cause::KeepAlive) else { return };
        let ends = status.grant_life.map(|life| life.ends);
        self.pending.insert(uuid);
        self.soon.insert((due, uuid), DueRefresh { request, provider: status.provider, ends });
    }

    /// The next refresh that may begin. Its outcome must be told by [`Self::finish`].
    pub(super) fn begin(&mut self, now: Timestamp) -> Option<DueRefresh> {
        // 1. Due refreshes wait at their provider.
        while let Some(first) = self.soon.first_entry().filter(|first| first.key().0 <= now) {
            let due = first.remove();
            let (uuid, provider) = (due.request.uuid, due.provider);
            let hour = due.ends.map_or(i64::MAX, |ends| ends.as_second() / 3600);
            let order = (hour, self.hash.hash_one(uuid.as_bytes()));
            let queue = self.providers.entry(provider).or_default();
            if let Some(displaced) = queue.waiting.insert(order, due) {
                self.pending.remove(&displaced.request.uuid);
            }
            self.make_ready(provider);
        }
        // 2. One of them begins, if neither its provider nor all together have too many.
        if self.in_flight >= MAX_IN_FLIGHT || now < self.not_before {
            return None;
        }
        let first = *self.ready.first().filter(|(from, _)| *from <= now)?;
        self.ready.remove(&first);
        let queue = self.providers.get_mut(&first.1)?;
        let (_, due) = queue.waiting.pop_first()?;
        queue.in_flight += 1;
        queue.not_before = later(now, START_INTERVAL);
        self.in_flight += 1;
        self.make_ready(first.1);
        Some(due)
    }

    /// Notes the outcome of a refresh; `None` where it was not needed any more.
    pub(super) fn finish(
        &mut self,
        due: &DueRefresh,
        outcome: Option<Result<(), Unsuccessful>>,
        now: Timestamp,
    ) {
        let uuid = due.request.uuid;
        self.in_flight = self.in_flight.saturating_sub(1);
        self.pending.remove(&uuid);
        let queue = self.providers.entry(due.provider).or_default();
        queue.in_flight = queue.in_flight.saturating_sub(1);
        let was_ready = queue.not_before;
        match outcome {
            // The provider was not asked, and may be at once.
            None if queue.not_before == later(now, START_INTERVAL) => queue.not_before = now,
            None => {}
            Some(Ok(())) => queue.failures = 0,
            Some(Err(why)) => {
                match why.failure {
                    TokenFailure::Store | TokenFailure::StoreFaulty => {
                        self.not_before = later(now, STORE_PAUSE);
                    }
                    failure if failure.remedy() == Remedy::Retry && !failure.is_our_own() => {
                        queue.back_off(why.retry_after, now);
                    }
                    _ => {}
                }
                let known = self.failed.get(&uuid);
                let known = known.filter(|known| known.generation == due.request.newer_than);
                let failures = known.map_or(1, |known| known.failures.saturating_add(1));
                let not_before = later(now, due.pause(failures, now));
                let generation = due.request.newer_than;
                self.failed.insert(uuid, FailedRefresh { generation, failures, not_before });
            }
        }
        self.ready.remove(&(was_ready, due.provider));
        self.make_ready(due.provider);
    }

    /// Lets the provider be asked when it may be, if something waits there.
    fn make_ready(&mut self, provider: u64) {
        let Some(queue) = self.providers.get(&provider) else { return };
        if !queue.waiting.is_empty() && queue.in_flight < MAX_IN_FLIGHT_AT_PROVIDER {
            self.ready.insert((queue.not_before, provider));
        }
    }
}

impl ProviderQueue {
    /// Has the provider left alone for a while, once it has failed a few times in a row.
    fn back_off(&mut self, retry_after: Option<Duration>, now: Timestamp) {
        self.failures = self.failures.saturating_add(1);
        let doublings = self.failures.checked_sub(FAILURES_BEFORE_PAUSE);
        let pause = doublings.map(|doublings| FIRST_PROVIDER_PAUSE * (1 << doublings.min(5)));
        let asked = retry_after.and_then(|pause| SignedDuration::try_from(pause).ok());
        let pause = pause.unwrap_or_default().max(asked.unwrap_or_default());
        self.not_before = self.not_before.max(later(now, pause.min(MAX_PAUSE)));
    }

    /// Tells whether something waits, or it is remembered that the provider has failed.
    fn is_of_use(&self, now: Timestamp) -> bool {
        let is_failing = self.failures > 0 && now < later(self.not_before, MAX_PAUSE);
        !self.waiting.is_empty() || self.in_flight > 0 || now < self.not_before || is_failing
    }
}

impl DueRefresh {
    /// The time until it is tried again. The first three tries are within a quarter of an hour, in
    /// which a grant that has ended is known by its refusals.
    fn pause(&self, failures: u32, now: Timestamp) -> SignedDuration {
        let doublings = failures.saturating_sub(3).min(4);
        let pause = (FIRST_PAUSE * (1 << doublings)).min(MAX_PAUSE);
        let left =
            self.ends.map(|ends| ends.duration_since(now)).filter(SignedDuration::is_positive);
        left.map_or(pause, |left| pause.min((left / 8).max(MIN_PAUSE)))
    }
}

/// Tells whether an end is to be warned of: the grant has little of its life left.
fn ends_soon(status: &TokenStatus, now: Timestamp) -> bool {
    status.grant_life.is_some_and(|life| now >= life.warned_from() && now < life.ends)
}

/// A place among all, from 0 to 1023.
fn place(hash: &FixedState, uuid: Uuid) -> u16 {
    u16::try_from(hash.hash_one(uuid.as_bytes()) % 1024).unwrap_or_default()
}

fn later(time: Timestamp, length: SignedDuration) -> Timestamp {
    time.checked_add(length).unwrap_or(Timestamp::MAX)
}

/// The refreshes of unused grants that may be in flight at once on an instance.
const MAX_IN_FLIGHT: usize = 16;

/// The same at one provider.
const MAX_IN_FLIGHT_AT_PROVIDER: usize = 4;

/// The shortest time between two of them at one provider.
const START_INTERVAL: SignedDuration = SignedDuration::from_millis(125);

/// The shortest and the longest time between two looks at all connections.
const MIN_LOOK_INTERVAL: SignedDuration = SignedDuration::from_secs(1);
const MAX_LOOK_INTERVAL: SignedDuration = SignedDuration::from_secs(15);

/// The connections that are warned of at one look; others have their turn at the next.
const MAX_WARNINGS: usize = 100;

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// The time for which nothing begins after the store has failed.
const STORE_PAUSE: SignedDuration = SignedDuration::from_secs(30);

/// The failures of a provider in a row after which it is left alone, and for how long at first.
const FAILURES_BEFORE_PAUSE: u32 = 3;
const FIRST_PROVIDER_PAUSE: SignedDuration = SignedDuration::from_secs(30);

/// The shortest, the first and the longest time between two tries of a connection.
const MIN_PAUSE: SignedDuration = SignedDuration::from_secs(2);
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(330);
const MAX_PAUSE: SignedDuration = SignedDuration::from_hours(1);

#[cfg(test)]
mod tests;
