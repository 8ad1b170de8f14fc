//! Where tokens are refreshed: on the runtime of the store, by tasks that belong to no request.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::failure::TokenFailure;
use super::handle::{Cause, RefreshCommand, RefreshHandle, RefreshRequest};
use super::provider::{Provider, Unsuccessful};
use super::refresh::{Refresh, Refreshed};
use super::schedule::{Schedule, plan};
use super::{Shelf, Surroundings};
use crate::clock::{Clock, instant};
use crate::ledger::Metrics;
use crate::tasks::Tasks;

/// Whoever refreshes tokens on this instance.
#[derive(Debug)]
pub struct Manager {
    context: Arc<RefreshContext>,
    commands: mpsc::UnboundedReceiver<RefreshCommand>,
    schedule: Schedule,
    tasks: Tasks,
}

/// What all refreshes share.
#[derive(Debug)]
struct RefreshContext {
    tokens: RefreshHandle,
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
    ) -> (Self, RefreshHandle) {
        let (tokens, commands) = RefreshHandle::new();
        let context = Arc::new(RefreshContext {
            tokens: tokens.clone(),
            shelf,
            surroundings,
            provider,
            metrics,
            clock,
            background: Arc::new(Semaphore::new(MAX_BACKGROUND_REFRESHES)),
        });
        (Self { context, commands, schedule: Schedule::default(), tasks }, tokens)
    }

    /// Takes orders, and refreshes what is due, for as long as it is polled. What it has begun goes
    /// on after that.
    pub async fn work(&mut self) {
        loop {
            let due = self.schedule.first();
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.take(command),
                    // There is always a way here: the context's own.
                    None => return,
                },
                room = self.context.room(due) => self.start_due(room),
            }
        }
    }

    fn take(&mut self, command: RefreshCommand) {
        match command {
            RefreshCommand::Start(request) => self.begin(request, None),
            RefreshCommand::Watch(connection) => {
                let refresh_before = self.context.surroundings.refresh_before();
                let planned = plan(&connection, refresh_before, self.context.clock.now());
                if let Some((wait, request)) = planned {
                    self.schedule.add(instant() + wait, request);
                }
            }
            RefreshCommand::RetryAfter(request, pause) => {
                self.schedule.add(instant() + pause, request)
            }
        }
    }

    /// Begins the first that is due, if its tokens are still those that are in force. Not before
    /// there is room: a request that comes for the same ones must not wait for that.
    fn start_due(&mut self, room: OwnedSemaphorePermit) {
        let now = instant();
        let Some(request) = self.schedule.take(now) else { return };
        if !self.context.is_current(&request) {
            return;
        }
        match self.context.tokens.begin(&request) {
            Ok(()) => self.begin(request, Some(room)),
            Err(Some(pause)) => self.schedule.add(now + pause, request),
            Err(None) => {}
        }
    }

    fn begin(&self, request: RefreshRequest, room: Option<OwnedSemaphorePermit>) {
        let context = Arc::clone(&self.context);
        self.tasks.spawn(async move {
            context.run(request).await;
            drop(room);
        });
    }
}

impl RefreshContext {
    /// Waits until something is due, and there is room for it.
    async fn room(&self, due: Option<Instant>) -> OwnedSemaphorePermit {
        tokio::time::sleep_until(due.unwrap_or_else(|| instant() + LONG).into()).await;
        match Arc::clone(&self.background).acquire_owned().await {
            Ok(room) => room,
            // Nobody closes it.
            Err(_closed) => std::future::pending().await,
        }
    }

    async fn run(&self, request: RefreshRequest) {
        let refresh = Refresh {
            shelf: &*self.shelf,
            provider: &self.provider,
            clock: &self.clock,
            request: &request,
            lease: self.surroundings.refresh_lease(),
        };
        let refreshed = AssertUnwindSafe(Box::pin(refresh.run())).catch_unwind().await;
        let refreshed = refreshed.unwrap_or_else(|_panic| {
            // Nobody may wait for ever for what is over.
            tracing::error!(
                "a refresh of OAuth tokens has panicked: report it with the lines before"
            );
            Err(TokenFailure::Late.into())
        });
        self.write_down(&request, refreshed);
        let (outcome, retry_after) = match refreshed {
            Ok(Refreshed { generation, .. }) => (Ok(generation), None),
            Err(Unsuccessful { failure, retry_after }) => (Err(failure), retry_after),
        };
        let pause = self.tokens.complete(&request, outcome, retry_after);
        if outcome.is_err() && request.cause == Cause::Background && self.is_current(&request) {
            self.tokens.retry_after(request, pause);
        }
    }

    /// Whether the tokens that were to be replaced are in force and of use.
    fn is_current(&self, request: &RefreshRequest) -> bool {
        let registry = self.surroundings.registry();
        let listing = registry.lookup(request.integration.as_str(), request.name.as_str());
        let standing = listing.and_then(|listing| listing.connection.token_status());
        standing.is_some_and(|standing| {
            standing.uuid == request.uuid
                && standing.generation == request.newer_than
                && standing.renewable
                // What has ended is refreshed when somebody asks for it.
                && standing.expires_at.is_none_or(|end| self.clock.now() < end)
        })
    }

    fn write_down(&self, request: &RefreshRequest, refreshed: Result<Refreshed, Unsuccessful>) {
        let cause = request.cause.as_str();
        let integration = request.integration.as_str();
        let connection = format!("{integration}.{}", request.name);
        match refreshed {
            Ok(Refreshed { is_ours: false, generation }) => {
                tracing::debug!(connection, cause, generation, "another has refreshed the tokens");
            }
            Ok(Refreshed { generation, .. }) => {
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
const MAX_BACKGROUND_REFRESHES: usize = 64;

/// There is nothing to wake up for.
const LONG: Duration = Duration::from_hours(1);
