//! Follows the store: what changes there is soon in force here.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::backing::Backing;
use super::live::Live;
use super::trust::Trust;
use crate::clock;
use crate::error::chain;
use crate::ledger::Metrics;
use crate::model::caller::Caller;
use crate::model::connection::Connection;
use crate::model::record::{ConnectionRecord, TokenRecord};
use crate::proxy::InForce;
use crate::registry::{Registry, Taken};
use crate::store::{self, Change, Changes, Record, Revision};
use crate::vault::Vault;

/// Keeps what is in force abreast of the store.
#[derive(Debug)]
pub(super) struct Follower {
    backing: Backing,
    trust: Arc<Trust>,
    live: Arc<Live>,
    metrics: Arc<Metrics>,
    max_staleness: Duration,
    /// Up to where the store's changes are in force here.
    reached: watch::Sender<Revision>,
    /// Asked to look at once.
    nudged: Notify,
    heard: Mutex<Heard>,
    stale: Arc<AtomicBool>,
    /// Asked to take up everything, not only what has changed.
    afresh: AtomicBool,
}

/// When the store last answered.
#[derive(Debug)]
struct Heard {
    at: Instant,
    /// Whether it has been silent since, which is said once.
    silent: bool,
}

/// Why what the store has can't be in force.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The store can't be read.
    #[error("the store can't be read")]
    Store(#[source] store::Error),
    /// The store has what is declared.
    #[error(transparent)]
    Taken(#[from] Taken),
}

impl Heard {
    /// Notes it, and gives for how long the store has been silent. A silence is logged once, and
    /// so is its end.
    fn note(&mut self, heard: Result<(), store::Error>, now: Instant) -> Duration {
        let Err(error) = heard else {
            if std::mem::take(&mut self.silent) {
                tracing::info!("the store is back");
            }
            self.at = now;
            return Duration::ZERO;
        };
        if !std::mem::replace(&mut self.silent, true) {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "the store can't be used: requests go on with what is known");
        }
        // Silence has begun by now, however short it is.
        now.duration_since(self.at).max(Duration::from_millis(1))
    }
}

impl Follower {
    /// Puts what the store has in force, and is ready to follow it.
    ///
    /// # Errors
    /// When the store can't be read, or has a connection of a declared name.
    pub(super) async fn start(
        backing: Backing,
        trust: Arc<Trust>,
        live: Arc<Live>,
        metrics: Arc<Metrics>,
        max_staleness: Duration,
    ) -> Result<Self, FollowError> {
        let stale = Arc::clone(&live.in_force().load().stale);
        let follower = Self {
            reached: watch::Sender::new(Revision::ZERO),
            heard: Mutex::new(Heard { at: clock::instant(), silent: false }),
            nudged: Notify::new(),
            backing,
            trust,
            live,
            metrics,
            max_staleness,
            stale,
            afresh: AtomicBool::new(false),
        };
        match follower.take_up().await.map_err(FollowError::Store)? {
            None => Ok(follower),
            Some(taken) => Err(FollowError::Taken(taken)),
        }
    }

    /// Follows the store until this is dropped. It looks when the store says that something has
    /// changed, when it is nudged, and every half a second in case it was not told.
    pub(super) async fn follow(&self) {
        tokio::join!(self.listen(), self.keep_up(), self.judge());
    }

    /// The store says that something has changed. The wait is never broken off: it may have to
    /// open a conn first.
    async fn listen(&self) {
        let mut listener = self.backing.store.listen();
        loop {
            listener.changed().await;
            self.nudged.notify_one();
        }
    }

    async fn keep_up(&self) {
        loop {
            tokio::select! {
                () = self.nudged.notified() => {}
                () = tokio::time::sleep(GLANCE) => {}
            }
            self.note(self.catch_up().await);
        }
    }

    /// A store that hangs says nothing, not even that it fails.
    async fn judge(&self) {
        loop {
            tokio::time::sleep(GLANCE).await;
            let silence = clock::instant().duration_since(self.heard.lock().at);
            if silence > SLOW {
                self.count_silence(silence);
            }
        }
    }

    /// Has everything taken up again, soon: keys that open more than before are there, or what is
    /// declared no longer stands in the way of what is stored.
    pub(super) fn begin_afresh(&self) {
        self.afresh.store(true, Relaxed);
        self.nudged.notify_one();
    }

    /// Waits until what the store had at `revision` is in force here. Whether it came to that in
    /// time.
    pub(super) async fn reached(&self, revision: Revision) -> bool {
        let mut reached = self.reached.subscribe();
        self.nudged.notify_one();
        let there = reached.wait_for(|reached| *reached >= revision);
        matches!(tokio::time::timeout(PATIENCE, there).await, Ok(Ok(_)))
    }

    async fn catch_up(&self) -> Result<(), store::Error> {
        let since = *self.reached.borrow();
        let changes = match self.backing.store.changes_since(since).await? {
            Changes::Since { changes, .. }
                if self.reread_keys_for(&changes).await || self.afresh.swap(false, Relaxed) =>
            {
                Changes::Behind
            }
            changes => changes,
        };
        match changes {
            Changes::Since { changes, .. } if changes.is_empty() => {}
            Changes::Since { revision, changes } => {
                if changes.iter().any(|change| matches!(change, Change::Authorities)) {
                    self.trust.renew(&self.backing).await;
                }
                self.put_in_force(|registry| self.apply(registry, changes));
                self.reached.send_replace(revision);
            }
            Changes::Behind => {
                self.trust.renew(&self.backing).await;
                if let Some(taken) = self.take_up().await? {
                    tracing::error!(error = %chain(&taken), "{NOT_IN_FORCE}");
                }
            }
        }
        Ok(())
    }

    /// Notes whether the store was heard of, and refuses requests once it was silent for too long.
    fn note(&self, heard: Result<(), store::Error>) {
        let silence = self.heard.lock().note(heard, clock::instant());
        self.count_silence(silence);
    }

    fn count_silence(&self, silence: Duration) {
        self.metrics.note_store_staleness(silence);
        let stale = silence >= self.max_staleness;
        if self.stale.swap(stale, Relaxed) != stale && stale {
            tracing::error!("the store was silent for store.max_staleness: requests are refused");
        }
    }

    /// Another instance may have rotated to a key that is in our file by now. Whether there are
    /// other keys than before: then what could not be opened may open.
    async fn reread_keys_for(&self, changes: &[Change]) -> bool {
        let vault = self.backing.keys.vault();
        let knows = |id: &str| vault.keyring().ids().any(|known| known == id);
        let unknown = changes.iter().any(|change| match change {
            Change::Connection { now: Ok(Some(record)), .. } => !knows(&record.sealed.key_id),
            Change::Token { now: Ok(Some(record)), .. } => !knows(&record.mac.key_id),
            Change::Key { id } => vault.keyring().first_id() != &**id,
            _ => false,
        });
        unknown && self.reread_keys().await
    }

    async fn reread_keys(&self) -> bool {
        match self.backing.keys.reread(&self.backing.store).await {
            Ok(are_others) => are_others,
            Err(error) => {
                tracing::error!(error = %chain(&error), "another master key is in use, and it is not known here");
                false
            }
        }
    }

    fn put_in_force<T>(&self, change: impl FnOnce(&mut Registry) -> T) -> T {
        self.live.change(|before| {
            let mut next = InForce::clone(before);
            let told = change(&mut next.registry);
            (next, told)
        })
    }

    /// Takes up all that the store has; names that are declared too are left out, and said.
    async fn take_up(&self) -> Result<Option<Taken>, store::Error> {
        let vault = self.backing.keys.vault();
        let used = self.backing.store.key_usage().await?;
        let knows = |id: &str| vault.keyring().ids().any(|known| known == id);
        if used.iter().any(|(id, _)| !knows(id)) {
            self.reread_keys().await;
        }
        let (vault, mut stored) = (self.backing.keys.vault(), Registry::default());
        let walk = self.backing.store.walk(|record| match record {
            Record::Connection(Ok(record)) => {
                // Nothing is declared in a set that has but the store's.
                let _never_taken = self.put(&mut stored, &vault, record);
            }
            Record::Token(Ok(record)) => self.admit(&mut stored, &vault, record),
            Record::Connection(Err(error)) | Record::Token(Err(error)) => {
                self.report(Err::<(), _>(error));
            }
        });
        let revision = walk.await?;
        let taken = self.put_in_force(|registry| {
            let (next, taken) = registry.with_stored(&stored);
            *registry = next;
            taken
        });
        self.reached.send_replace(revision);
        Ok(taken)
    }

    fn apply(&self, registry: &mut Registry, changes: Vec<Change>) {
        let vault = self.backing.keys.vault();
        for change in changes {
            match change {
                Change::Connection { now: Ok(Some(record)), .. } => {
                    if let Err(taken) = self.put(registry, &vault, record) {
                        tracing::error!(error = %chain(&taken), "{NOT_IN_FORCE}");
                    }
                }
                Change::Connection { integration, name, now } => {
                    registry.withdraw(&integration, &name);
                    self.report(now);
                }
                Change::Authorities | Change::Key { .. } => {}
                Change::Token { now: Ok(Some(record)), .. } => self.admit(registry, &vault, record),
                Change::Token { id, now } => {
                    registry.dismiss(id);
                    self.report(now);
                }
            }
        }
    }

    /// Opens a connection's secret. One that can't be opened is in force as such, so that requests
    /// that name it fail, and say why.
    fn put(
        &self,
        registry: &mut Registry,
        vault: &Vault,
        record: ConnectionRecord,
    ) -> Result<(), Taken> {
        let opened = vault.open(&record.context(), &record.sealed);
        let integration = registry.share(record.integration);
        let record = ConnectionRecord { integration, ..record };
        let connection = Connection::of_record(record, opened.ok().as_ref());
        if connection.credential().is_none() {
            self.metrics.count_seal_failure();
            tracing::error!(
                connection = format!("{}.{}", connection.integration(), connection.name()),
                "the connection's secret can't be opened: its row was changed by hand, or its \
                 master key is missing; requests for it are refused"
            );
        }
        registry.put(connection, &self.metrics)
    }

    fn admit(&self, registry: &mut Registry, vault: &Vault, record: TokenRecord) {
        if vault.verify(&record.claims(), &record.mac).is_err() {
            self.metrics.count_seal_failure();
            tracing::error!(
                token.id = %record.id,
                "a token of the store was not written by a holder of the master key; it is no token"
            );
            registry.dismiss(record.id);
            return;
        }
        let caller = Caller {
            name: record.name.into(),
            reach: record.reach,
            scopes: record.scopes,
            expires_at: record.expires_at,
        };
        registry.admit(record.digest, record.id, caller);
    }

    /// Something that the store has sealed can't be opened.
    pub(super) fn alarm(&self, whose: &str) {
        self.metrics.count_seal_failure();
        tracing::error!(
            whose,
            "what is sealed can't be opened: its row was changed by hand, or its master key is \
             missing; nothing is done with it"
        );
    }

    /// A row that is no record counts as one that was changed by hand.
    fn report<T>(&self, read: Result<T, store::Error>) {
        if let Err(error) = read {
            self.metrics.count_seal_failure();
            tracing::error!(error = %chain(&error), "a row of the store can't be read; it is not in force");
        }
    }
}

const NOT_IN_FORCE: &str = "what the store has is not in force here";

/// Longer than a store that is well takes for anything; from then on it counts as silent.
const SLOW: Duration = Duration::from_secs(3);

/// How often the store is looked at when it says nothing.
const GLANCE: Duration = Duration::from_millis(500);

/// How long a change may take to be in force here before its writer is told.
const PATIENCE: Duration = Duration::from_secs(5);
