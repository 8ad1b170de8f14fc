//! Look-ups of names: a bounded number at once, a share of it for each integration, and one in
//! flight for each name.
//!
//! A look-up can't be canceled: the system's resolver holds a thread until it gives up, which may
//! take much longer than a request waits. So the number of look-ups is bounded before they start.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use foldhash::fast::RandomState;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use super::resolve::Resolver;
use crate::clock::instant;
use crate::model::name::IntegrationName;
use crate::tasks::Tasks;

/// Resolves names for all workers.
#[derive(Debug)]
pub struct NameLookups {
    resolver: Arc<dyn Resolver>,
    tasks: Tasks,
    slots: LookupLimits,
    /// Look-ups that an integration waits to start. The request that has entered one starts it.
    wanted: DashMap<(LookupOwner, LookupKey), PendingLookup, RandomState>,
    /// Look-ups that the resolver works on.
    started: DashMap<LookupKey, PendingLookup, RandomState>,
    /// Names that did not exist, with the time of the answer.
    missing: DashMap<LookupKey, (Instant, Arc<io::Error>), RandomState>,
}

/// A host and a port.
type LookupKey = (Arc<str>, u16);
/// The integration for which a name is looked up; `None` for requests without one.
type LookupOwner = Option<IntegrationName>;
type LookupOutcome = Result<Arc<[SocketAddr]>, Arc<io::Error>>;
type PendingLookup = watch::Receiver<Option<LookupOutcome>>;

/// The reason why a name has no address.
#[derive(Clone, Debug)]
pub(super) enum LookupError {
    /// The resolver has failed.
    Failed(Arc<io::Error>),
    /// The resolver did not answer in time.
    TimedOut,
    /// The look-up did not start in time: the integration's share was in use.
    NoSlot,
}

/// The right to have a look-up in flight.
#[derive(Debug)]
struct LookupPermit {
    _of_asker: Option<OwnedSemaphorePermit>,
    _of_all: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
struct LookupLimits {
    all: Arc<Semaphore>,
    shares: DashMap<LookupOwner, Arc<Semaphore>, RandomState>,
}

/// A request that is to start a look-up, for itself and others. Dropping it removes its entry.
#[derive(Debug)]
struct LookupRequest<'a> {
    names: &'a Arc<NameLookups>,
    key: (LookupOwner, LookupKey),
    tell: watch::Sender<Option<LookupOutcome>>,
}

/// A look-up that the resolver works on. Dropping it removes its entry and returns its permit.
#[derive(Debug)]
struct RunningLookup {
    names: Arc<NameLookups>,
    name: LookupKey,
    tell: watch::Sender<Option<LookupOutcome>>,
    _slot: LookupPermit,
}

/// The number of look-ups in flight, for all integrations. Each may hold a thread.
const MAX_LOOKUPS: usize = 64;
/// The number of look-ups in flight for one integration.
const MAX_LOOKUPS_PER_INTEGRATION: usize = MAX_LOOKUPS / 4;
/// The time for which a name that did not exist is not looked up again.
const MISSING_FOR: Duration = Duration::from_secs(2);
/// The number of missing names that are remembered.
const MAX_MISSING: usize = 4096;
/// The number of integrations whose semaphores are kept before unused ones are dropped.
const MAX_IDLE_SHARES: usize = 1024;

impl NameLookups {
    /// Look-ups by `resolver`.
    pub fn new(resolver: Arc<dyn Resolver>) -> Self {
        Self {
            resolver,
            tasks: Tasks::default(),
            slots: LookupLimits {
                all: Arc::new(Semaphore::new(MAX_LOOKUPS)),
                shares: DashMap::default(),
            },
            wanted: DashMap::default(),
            started: DashMap::default(),
            missing: DashMap::default(),
        }
    }

    /// Resolves a host for the integration `asker`, within `limit`, which includes the wait to
    /// start. Cancel-safe: a look-up that has started goes on for later requests.
    pub(super) async fn lookup(
        self: &Arc<Self>,
        asker: Option<&IntegrationName>,
        (host, port): (&str, u16),
        limit: Duration,
    ) -> Result<Arc<[SocketAddr]>, LookupError> {
        let name = (host.into(), port);
        let answer = timeout(limit, self.wait_for_outcome(asker.cloned(), &name)).await;
        match answer {
            Ok(answer) => answer.map_err(LookupError::Failed),
            Err(_elapsed) if self.started.contains_key(&name) => Err(LookupError::TimedOut),
            Err(_elapsed) => Err(LookupError::NoSlot),
        }
    }

    async fn wait_for_outcome(
        self: &Arc<Self>,
        asker: LookupOwner,
        name: &LookupKey,
    ) -> LookupOutcome {
        loop {
            if let Some(error) = self.known_missing(name) {
                return Err(error);
            }
            // 1. Join a look-up that has started, whichever integration has started it. One that
            // waits for another integration's share is not joined.
            let joined = self.started.get(name).map(|pending| pending.clone());
            let joined = match joined {
                Some(started) => Ok(started),
                None => self.join_or_request(asker.clone(), name),
            };
            // 2. Join one that this integration waits to start, or start it.
            let mut pending = match joined {
                Ok(pending) => pending,
                Err(wanting) => return wanting.run().await,
            };
            // 3. Without an outcome, the request that was to start it was dropped: try again.
            if let Ok(answer) = pending.wait_for(Option::is_some).await
                && let Some(answer) = &*answer
            {
                return answer.clone();
            }
        }
    }

    /// The look-up that another request of the integration waits to start, or the duty to start it.
    fn join_or_request(
        self: &Arc<Self>,
        asker: LookupOwner,
        name: &LookupKey,
    ) -> Result<PendingLookup, LookupRequest<'_>> {
        let key = (asker, name.clone());
        match self.wanted.entry(key.clone()) {
            Entry::Occupied(entry) => Ok(entry.get().clone()),
            Entry::Vacant(entry) => {
                let (tell, pending) = watch::channel(None);
                entry.insert(pending);
                Err(LookupRequest { names: self, key, tell })
            }
        }
    }

    /// Starts a look-up of the name, or joins one that has started meanwhile.
    fn start(self: &Arc<Self>, name: &LookupKey, slot: LookupPermit) -> PendingLookup {
        let entry = match self.started.entry(name.clone()) {
            Entry::Occupied(entry) => return entry.get().clone(),
            Entry::Vacant(entry) => entry,
        };
        let (tell, pending) = watch::channel(None);
        entry.insert(pending.clone());
        let (names, name) = (Arc::clone(self), name.clone());
        let started = RunningLookup { names, name, tell, _slot: slot };
        self.tasks.spawn(started.run());
        pending
    }

    fn known_missing(&self, name: &LookupKey) -> Option<Arc<io::Error>> {
        let entry = self.missing.get(name)?;
        let (since, error) = &*entry;
        (instant().saturating_duration_since(*since) < MISSING_FOR).then(|| Arc::clone(error))
    }

    fn note_missing(&self, name: &LookupKey, error: &Arc<io::Error>) {
        let now = instant();
        if self.missing.len() >= MAX_MISSING {
            self.missing
                .retain(|_, (since, _)| now.saturating_duration_since(*since) < MISSING_FOR);
        }
        if self.missing.len() < MAX_MISSING {
            self.missing.insert(name.clone(), (now, Arc::clone(error)));
        }
    }
}

impl LookupRequest<'_> {
    async fn run(self) -> LookupOutcome {
        let (asker, name) = &self.key;
        let slot = self.names.slots.acquire(asker).await;
        let answer = answer_of(self.names.start(name, slot)).await;
        self.tell.send_replace(Some(answer.clone()));
        answer
    }
}

impl Drop for LookupRequest<'_> {
    fn drop(&mut self) {
        self.names.wanted.remove(&self.key);
    }
}

impl RunningLookup {
    async fn run(self) {
        let (host, port) = &self.name;
        let answer = match self.names.resolver.lookup(host, *port).await {
            Ok(addresses) => Ok(addresses.into()),
            Err(error) => {
                let error = Arc::new(error);
                if error.kind() == io::ErrorKind::NotFound {
                    self.names.note_missing(&self.name, &error);
                }
                Err(error)
            }
        };
        self.tell.send_replace(Some(answer));
    }
}

impl Drop for RunningLookup {
    fn drop(&mut self) {
        self.names.started.remove(&self.name);
    }
}

impl LookupLimits {
    /// Waits for a permit, first of the integration's share, then of all. Cancel-safe.
    async fn acquire(&self, asker: &LookupOwner) -> LookupPermit {
        if self.shares.len() > MAX_IDLE_SHARES {
            self.shares.retain(|_, share| Arc::strong_count(share) > 1);
        }
        let share = || Arc::new(Semaphore::new(MAX_LOOKUPS_PER_INTEGRATION));
        let share = Arc::clone(&self.shares.entry(asker.clone()).or_insert_with(share));
        // Neither semaphore is ever closed.
        let of_asker = share.acquire_owned().await.ok();
        let of_all = Arc::clone(&self.all).acquire_owned().await.ok();
        LookupPermit { _of_asker: of_asker, _of_all: of_all }
    }
}

/// Waits for the outcome of a look-up that has started.
async fn answer_of(mut started: PendingLookup) -> LookupOutcome {
    let answer = started.wait_for(Option::is_some).await.ok().and_then(|answer| answer.clone());
    // It is dropped without an outcome when its worker ends.
    answer.unwrap_or_else(|| Err(Arc::new(io::ErrorKind::Interrupted.into())))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::future::pending;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::super::resolve::Lookup;
    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    /// Never answers for `stuck…`; knows `known…` once it may; knows nothing else.
    #[derive(Debug)]
    struct Scripted {
        running: AtomicUsize,
        most: AtomicUsize,
        asked: parking_lot::Mutex<Vec<String>>,
        may_answer: watch::Sender<bool>,
    }

    struct Running<'a>(&'a Scripted);

    impl Drop for Running<'_> {
        fn drop(&mut self) {
            self.0.running.fetch_sub(1, SeqCst);
        }
    }

    impl Resolver for Scripted {
        fn lookup<'a>(&'a self, host: &'a str, port: u16) -> Lookup<'a> {
            Box::pin(async move {
                self.asked.lock().push(host.to_owned());
                let running = self.running.fetch_add(1, SeqCst) + 1;
                self.most.fetch_max(running, SeqCst);
                let _running = Running(self);
                if host.starts_with("stuck") {
                    pending::<()>().await;
                }
                if !host.starts_with("known") {
                    return Err(io::ErrorKind::NotFound.into());
                }
                self.may_answer.subscribe().wait_for(|may| *may).await.unwrap();
                Ok(vec![([192, 0, 2, 1], port).into()])
            })
        }
    }

    fn names(may_answer: bool) -> (Arc<Scripted>, Arc<NameLookups>) {
        let scripted = Arc::new(Scripted {
            running: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            asked: parking_lot::Mutex::default(),
            may_answer: watch::Sender::new(may_answer),
        });
        (Arc::clone(&scripted), Arc::new(NameLookups::new(scripted)))
    }

    fn integration(name: &str) -> IntegrationName {
        IntegrationName::parse(name).unwrap()
    }

    async fn ask(
        names: &Arc<NameLookups>,
        asker: &str,
        host: &str,
    ) -> Result<Arc<[SocketAddr]>, LookupError> {
        names.lookup(Some(&integration(asker)), (host, 443), LIMIT).await
    }

    #[tokio::test(start_paused = true)]
    async fn an_integration_whose_names_never_resolve_holds_up_nobody_else() {
        let (scripted, names) = names(true);
        let hosts: Vec<_> = (0..1100).map(|number| format!("stuck{number}.test")).collect();
        let stuck = hosts.iter().map(|host| ask(&names, "hog", host));
        let other = async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert!(ask(&names, "other", "known.test").await.is_ok());
            // The same integration's next name waits, and is told for what.
            ask(&names, "hog", "known.test").await
        };
        let (ended, hogs_own) = tokio::join!(futures_util::future::join_all(stuck), other);
        assert!(matches!(hogs_own, Err(LookupError::NoSlot)));
        let timed_out = |answer: &&_| matches!(answer, Err(LookupError::TimedOut));
        assert_eq!(ended.iter().filter(timed_out).count(), MAX_LOOKUPS_PER_INTEGRATION);
        assert!(ended.iter().all(Result::is_err));
        // One of all was the other's.
        assert_eq!(scripted.most.load(SeqCst), MAX_LOOKUPS_PER_INTEGRATION + 1);
        assert!(names.wanted.is_empty(), "who gave up leaves nothing");
        assert!(ask(&names, "other", "known.test").await.is_ok(), "also afterwards");
    }

    #[tokio::test(start_paused = true)]
    async fn many_integrations_together_have_no_more_look_ups_than_there_are() {
        let (scripted, names) = names(true);
        let asks: Vec<_> = (0..200)
            .map(|number| (format!("hog{}", number % 10), format!("stuck{number}.test")))
            .collect();
        let stuck = asks.iter().map(|(asker, host)| ask(&names, asker, host));
        let ended = futures_util::future::join_all(stuck).await;
        assert!(ended.iter().all(Result::is_err));
        assert_eq!(scripted.most.load(SeqCst), MAX_LOOKUPS);
    }

    #[tokio::test(start_paused = true)]
    async fn one_look_up_serves_all_who_ask_for_a_name() {
        let (scripted, names) = names(false);
        let asks = (0..300).map(|number| {
            let asker = ["one", "two", "three"][number % 3];
            ask(&names, asker, "known.test")
        });
        let allow = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            scripted.may_answer.send_replace(true);
        };
        let (answers, ()) = tokio::join!(futures_util::future::join_all(asks), allow);
        assert!(answers.iter().all(Result::is_ok));
        assert_eq!(scripted.asked.lock().len(), 1);
        assert!(ask(&names, "one", "known.test").await.is_ok());
        assert_eq!(scripted.asked.lock().len(), 2, "addresses are never remembered");
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_up_goes_on_when_the_first_who_asked_gives_up() {
        let (scripted, names) = names(false);
        let mut follower = Box::pin(ask(&names, "one", "known.test"));
        {
            let leader = ask(&names, "one", "known.test");
            tokio::select! {
                biased;
                _answer = leader => panic!("answered"),
                _answer = &mut follower => panic!("answered"),
                () = tokio::time::sleep(Duration::from_millis(1)) => {}
            }
        }
        scripted.may_answer.send_replace(true);
        assert!(follower.await.is_ok());
        assert_eq!(scripted.asked.lock().len(), 1);
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_is_not_asked_for_again_at_once() {
        let (scripted, names) = names(true);
        for _ in 0..3 {
            assert!(matches!(ask(&names, "one", "no.test").await, Err(LookupError::Failed(_))));
        }
        assert_eq!(scripted.asked.lock().len(), 1);
        let hosts: Vec<_> =
            (0..MAX_MISSING + 10).map(|number| format!("no{number}.test")).collect();
        for host in &hosts {
            assert!(ask(&names, "one", host).await.is_err());
        }
        assert!(names.missing.len() <= MAX_MISSING, "what is remembered is bounded");
        let asked: HashSet<_> = scripted.asked.lock().iter().cloned().collect();
        assert_eq!(asked.len(), hosts.len() + 1);
    }
}
