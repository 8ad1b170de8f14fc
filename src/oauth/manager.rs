//! The manager refreshes tokens: on the runtime of the store, by tasks that belong to no request.

use std::future::{pending, poll_fn};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::time::DelayQueue;

use super::declared::DeclaredRefresh;
use super::failure::TokenFailure;
use super::handle::{Cause, FORGET_FAILURE_AFTER, RefreshCommand, RefreshHandle, RefreshRequest};
use super::keep_alive::{DueRefresh, KeepAliveQueue};
use super::provider::{Provider, Unsuccessful};
use super::refresh::{Refresh, Refreshed};
use crate::clock::Clock;
use crate::ledger::Metrics;
use crate::model::connection::Connection;
use crate::random;
use crate::state::{Live, Persistence};
use crate::tasks::Tasks;

/// Refreshes tokens on this instance.
#[derive(Debug)]
pub struct Manager {
    context: Arc<RefreshContext>,
    commands: mpsc::UnboundedReceiver<RefreshCommand>,
    /// The refreshes that are to come, before their tokens end.
    schedule: DelayQueue<RefreshRequest>,
    /// The unused grants that are refreshed so that they don't end.
    keep_alive: KeepAliveQueue,
    tasks: Tasks,
}

/// Everything that all refreshes share.
#[derive(Debug)]
struct RefreshContext {
    refreshes: RefreshHandle,
    /// `None` where nothing is kept: then only declared connections have something to refresh.
    persistence: Option<Arc<Persistence>>,
    live: Arc<Live>,
    provider: Arc<Provider>,
    metrics: Arc<Metrics>,
    clock: Clock,
    /// A permit for each refresh in the background that may be in flight.
    background: Arc<Semaphore>,
}

impl Manager {
    /// A manager, and the handle to it. Refreshes are among `tasks`, so that who goes down can wait
    /// for them.
    #[must_use]
    pub fn new(
        provider: Arc<Provider>,
        persistence: Option<Arc<Persistence>>,
        live: Arc<Live>,
        metrics: Arc<Metrics>,
        clock: Clock,
        tasks: Tasks,
    ) -> (Self, RefreshHandle) {
        let (refreshes, commands) = RefreshHandle::new(clock.clone());
        let context = Arc::new(RefreshContext {
            refreshes: refreshes.clone(),
            persistence,
            live,
            provider,
            metrics,
            clock,
            background: Arc::new(Semaphore::new(MAX_BACKGROUND_REFRESHES)),
        });
        // Without randomness instances have the same order, which costs no more than waiting.
        let seed = random::bytes().map_or(0, u64::from_be_bytes);
        let keep_alive = KeepAliveQueue::new(seed);
        (Self { context, commands, schedule: DelayQueue::new(), keep_alive, tasks }, refreshes)
    }

    /// Takes commands, and refreshes what is due, for as long as it is polled. What it has begun
    /// goes on after that.
    pub async fn work(&mut self) {
        let mut forgetting = tokio::time::interval(FORGET_FAILURE_AFTER);
        loop {
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.handle(command),
                    // There is always a handle: the context's own.
                    None => return,
                },
                (permit, request) = self.context.next_due(&mut self.schedule) => {
                    self.start_due(request, permit);
                }
                () = self.context.clock.sleep_until(self.keep_alive.wakes_at()) => self.keep_alive(),
                _ = forgetting.tick() => self.context.refreshes.forget_old(),
            }
        }
    }

    fn handle(&mut self, command: RefreshCommand) {
        match command {
            RefreshCommand::Start(request) => self.start(request, None),
            RefreshCommand::Watch(connection) => {
                let refresh_before = self.context.live.load().settings.renewal.refresh_before;
                let planned = plan(&connection, refresh_before, self.context.clock.now());
                if let Some((wait, request)) = planned {
                    self.schedule(request, wait);
                }
            }
            RefreshCommand::RetryAfter(request, pause) => self.schedule(request, pause),
            RefreshCommand::KeptAlive(due, outcome) => {
                self.keep_alive.finish(&due, Some(outcome), self.context.clock.now());
            }
        }
    }

    fn schedule(&mut self, request: RefreshRequest, wait: Duration) {
        // The queue takes what is due within 795 days of its last entry that was due, or of its
        // making: so a new one begins where it is empty.
        if self.schedule.is_empty() {
            self.schedule = DelayQueue::new();
        }
        self.schedule.insert(request, wait);
    }

    /// Begins a refresh that is due, if its tokens are still those that are in force.
    fn start_due(&mut self, request: RefreshRequest, permit: OwnedSemaphorePermit) {
        if !self.context.is_current(&request) {
            return;
        }
        match self.context.refreshes.try_start(&request) {
            Ok(()) => self.start(request, Some(permit)),
            Err(Some(pause)) => self.schedule(request, pause),
            Err(None) => {}
        }
    }

    fn start(&self, request: RefreshRequest, permit: Option<OwnedSemaphorePermit>) {
        let context = Arc::clone(&self.context);
        self.tasks.spawn(async move {
            let _told = context.run(request).await;
            drop(permit);
        });
    }

    /// Looks for unused grants that are due, and begins the refreshes of those that may be asked
    /// for now.
    fn keep_alive(&mut self) {
        let (in_force, now) = (self.context.live.load_full(), self.context.clock.now());
        let keep_alive = in_force.settings.renewal.keep_alive;
        if self.keep_alive.wants_look(now) {
            let stored = in_force.registry.stored();
            for connection in self.keep_alive.look(stored, keep_alive, now) {
                warn_of_end(connection);
            }
        }
        while let Some(due) = self.keep_alive.begin(now) {
            let is_wanted = !keep_alive.is_zero() && self.context.is_current(&due.request);
            if is_wanted && self.context.refreshes.try_start(&due.request).is_ok() {
                self.start_keeping_alive(due);
            } else {
                self.keep_alive.finish(&due, None, now);
            }
        }
    }

    fn start_keeping_alive(&self, due: DueRefresh) {
        let context = Arc::clone(&self.context);
        self.tasks.spawn(async move {
            let outcome = context.run(due.request.clone()).await;
            context.refreshes.kept_alive(due, outcome);
        });
    }
}

impl RefreshContext {
    /// Waits until there is room for a refresh in the background, and one is due. In that order: a
    /// request that comes for the same tokens must not wait for room. Cancel-safe.
    async fn next_due(
        &self,
        schedule: &mut DelayQueue<RefreshRequest>,
    ) -> (OwnedSemaphorePermit, RefreshRequest) {
        let Ok(permit) = Arc::clone(&self.background).acquire_owned().await else {
            // Nobody closes it.
            return pending().await;
        };
        match poll_fn(|context| schedule.poll_expired(context)).await {
            Some(due) => (permit, due.into_inner()),
            // Nothing is planned; it is waited for again after the next command.
            None => pending().await,
        }
    }

    async fn run(&self, request: RefreshRequest) -> Result<(), Unsuccessful> {
        let refreshing = AssertUnwindSafe(Box::pin(self.refresh(&request)));
        let refreshed = refreshing.catch_unwind().await;
        let refreshed = refreshed.unwrap_or_else(|_panic| {
            // Those who wait must not wait for ever.
            tracing::error!("a refresh of tokens has panicked: report it with the lines before");
            Err(TokenFailure::Late.into())
        });
        self.log(&request, refreshed);
        let retry_after = refreshed.err().and_then(|why| why.retry_after);
        let outcome = refreshed.map_err(|why| why.failure);
        let pause = self.refreshes.complete(&request, outcome, retry_after);
        if outcome.is_err() && request.cause == Cause::Background && self.is_current(&request) {
            self.refreshes.retry_after(request, pause);
        }
        refreshed.map(|_ours| ())
    }

    /// Refreshes what the store keeps, or the session of a declared connection's role.
    async fn refresh(&self, request: &RefreshRequest) -> Result<Refreshed, Unsuccessful> {
        let (live, provider, metrics) = (&self.live, &self.provider, &self.metrics);
        let declared = DeclaredRefresh { live, provider, metrics, request };
        if let Some(connection) = declared.connection() {
            return declared.run(&connection).await;
        }
        let persistence = self.persistence.as_ref().ok_or(TokenFailure::Gone)?;
        let lease = self.live.load().settings.renewal.refresh_lease;
        let refresh = Refresh { persistence, provider, clock: &self.clock, request, lease };
        refresh.run().await
    }

    /// Tells whether the tokens that were to be replaced are in force and of use.
    fn is_current(&self, request: &RefreshRequest) -> bool {
        let in_force = self.live.load();
        let known = in_force.registry.lookup(request.integration.as_str(), request.name.as_str());
        let standing = known.and_then(|known| known.connection.token_status());
        standing.is_some_and(|standing| {
            standing.uuid == request.uuid
                && standing.generation == request.newer_than
                && standing.renewable
                // Expired tokens are refreshed when somebody asks for them, or to keep the grant.
                && (request.cause == Cause::KeepAlive
                    || standing.expires_at.is_none_or(|end| self.clock.now() < end))
        })
    }

    fn log(&self, request: &RefreshRequest, refreshed: Result<Refreshed, Unsuccessful>) {
        let cause = request.cause.as_str();
        let integration = request.integration.as_str();
        let connection = format!("{integration}.{}", request.name);
        let names = (integration, request.name.as_str());
        match refreshed {
            Ok(Refreshed { is_ours: false, generation }) => {
                tracing::debug!(connection, cause, generation, "another has refreshed the tokens");
            }
            Ok(Refreshed { generation, .. }) => {
                self.metrics.count_refresh(names, self.clock.now(), "refreshed", cause);
                tracing::info!(connection, cause, generation, "tokens were refreshed");
            }
            Err(Unsuccessful { failure, .. }) => {
                self.metrics.count_refresh(names, self.clock.now(), failure.outcome(), cause);
                let in_force = self.live.load();
                let known = in_force.registry.lookup(integration, request.name.as_str());
                let status = known.and_then(|known| known.connection.token_status());
                let provider = status.map_or("", |status| &status.provider_host);
                log_failure(&connection, provider, cause, failure);
            }
        }
    }
}

/// Logs why there are no other tokens. One that was remembered was told before.
fn log_failure(connection: &str, provider: &str, cause: &str, failure: TokenFailure) {
    let (why, who) = (failure.for_operators(), failure.remedy().as_str());
    if let TokenFailure::Withheld(_) = failure {
        tracing::debug!(connection, provider, cause, why, who, "tokens were not refreshed");
    } else {
        tracing::warn!(connection, provider, cause, why, who, "tokens were not refreshed");
    }
}

/// Warns of the end of a grant, which no refresh has put off.
fn warn_of_end(connection: &Connection) {
    let life = connection.token_status().and_then(|standing| standing.grant_life);
    let ends = life.map(|life| life.ends.to_string()).unwrap_or_default();
    tracing::warn!(
        connection = format!("{}.{}", connection.integration(), connection.name()),
        ends,
        "the connection's grant ends soon, and no refresh has put its end off: start a flow for it \
         before"
    );
}

/// Plans the refresh of a connection in use, and the time until then. `None` when nothing can be.
fn plan(
    connection: &Connection,
    refresh_before: Duration,
    now: Timestamp,
) -> Option<(Duration, RefreshRequest)> {
    let standing = connection.token_status().filter(|standing| standing.renewable)?;
    let due = standing.planned_refresh(refresh_before)?.due;
    let wait = Duration::try_from(due.duration_since(now)).unwrap_or_default();
    let request = RefreshRequest::of(connection, Cause::Background)?;
    // A longer one than the queue takes: such a token is refreshed when it is used.
    (wait < MAX_PLANNED).then_some((wait, request))
}

/// A provider that hangs holds at most this number for twenty seconds; the tokens of others are
/// refreshed meanwhile when a request needs them.
const MAX_BACKGROUND_REFRESHES: usize = 64;

/// The longest time that is planned ahead.
const MAX_PLANNED: Duration = Duration::from_hours(24 * 365);
