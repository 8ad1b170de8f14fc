//! Follows the store: what changes there is soon in force here.

mod comparison;
mod heard;
mod opening;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use self::heard::Heard;
use self::opening::NOT_IN_FORCE;
use super::backing::Backing;
use super::live::Live;
use super::trust::Trust;
use crate::clock;
use crate::error::chain;
use crate::ledger::Metrics;
use crate::proxy::InForce;
use crate::state::{DuplicateNames, Registry};
use crate::store::{self, ChangeNotice, Changes, Record, RecordChange, RecordKey, Revision};

/// Keeps what is in force abreast of the store.
#[derive(Debug)]
pub(super) struct Follower {
    backing: Backing,
    trust: Arc<Trust>,
    live: Arc<Live>,
    metrics: Arc<Metrics>,
    max_staleness: Duration,
    /// Up to where the store's changes are in force here.
    reached: watch::Sender<Reached>,
    /// The number of looks at the store that have begun.
    looks: AtomicU64,
    /// Asked to look at once.
    nudged: Notify,
    heard: Mutex<Heard>,
    stale: Arc<AtomicBool>,
    /// Asked to take up everything, not only what has changed.
    afresh: AtomicBool,
    /// The records that a comparison has found to be in force otherwise than the store has them.
    suspects: Mutex<Vec<RecordKey>>,
}

/// Up to where the store's changes are in force here.
#[derive(Clone, Copy, Debug, Default)]
struct Reached {
    revision: Revision,
    /// The number of the look that has come to this.
    look: u64,
}

/// Why what the store has can't be in force.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The store can't be read.
    #[error("the store can't be read")]
    Store(#[source] store::Error),
    /// The store has what is declared.
    #[error(transparent)]
    DuplicateNames(#[from] DuplicateNames),
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
            reached: watch::Sender::default(),
            looks: AtomicU64::new(0),
            heard: Mutex::new(Heard { at: clock::instant(), silent: false }),
            nudged: Notify::new(),
            backing,
            trust,
            live,
            metrics,
            max_staleness,
            stale,
            afresh: AtomicBool::new(false),
            suspects: Mutex::default(),
        };
        match follower.take_up().await.map_err(FollowError::Store)? {
            None => Ok(follower),
            Some(taken) => Err(FollowError::DuplicateNames(taken)),
        }
    }

    /// Follows the store until this is dropped. It looks when the store says that something has
    /// changed, when it is nudged, and every half a second in case it was not told. Now and then
    /// it compares the whole.
    pub(super) async fn follow(&self) {
        let Backing { store, keys } = &self.backing;
        let judging =
            async { tokio::join!(self.judge(), self.await_keys(), keys.watch_file(store)) };
        tokio::join!(self.listen(), self.keep_up(), judging, self.compare_now_and_then());
    }

    /// The store says that something has changed. The wait is never broken off: it may have to
    /// open a conn first.
    async fn listen(&self) {
        let mut listener = self.backing.store.listen();
        loop {
            if listener.changed().await == ChangeNotice::Unheard {
                tracing::warn!(
                    "the database passes no notifications on, as a pooler in transaction mode does \
                     not: what other instances write is looked for every half a second"
                );
            }
            self.nudged.notify_one();
        }
    }

    async fn keep_up(&self) {
        loop {
            tokio::select! {
                () = self.nudged.notified() => {}
                () = tokio::time::sleep(GLANCE) => {}
            }
            self.note(self.look().await);
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

    /// What could not be opened for want of a key is opened once the key is there.
    async fn await_keys(&self) {
        loop {
            self.backing.keys.arrival(&self.backing.store).await;
            tracing::info!("a master key that was missing is there: everything is opened again");
            self.begin_afresh();
        }
    }

    /// Has everything taken up again, soon: keys that open more than before are there, or what is
    /// declared no longer stands in the way of what is stored.
    pub(super) fn begin_afresh(&self) {
        self.afresh.store(true, Relaxed);
        self.nudged.notify_one();
    }

    /// Waits until what the store had at `revision` is in force here, and says whether it came to
    /// that in time. Where that very write is not the last one in force, only a look that begins
    /// from now on counts: a greater number that was reached before may be one of another history,
    /// which the store no longer has.
    pub(super) async fn reached(&self, revision: Revision) -> bool {
        let mut reached = self.reached.subscribe();
        let before = self.looks.load(Relaxed);
        self.nudged.notify_one();
        let is_there = |reached: &Reached| {
            reached.revision == revision || (reached.look > before && reached.revision >= revision)
        };
        let there = reached.wait_for(is_there);
        matches!(tokio::time::timeout(PATIENCE, there).await, Ok(Ok(_)))
    }

    /// Brings in force what the store has, and notes that this look has come to an end.
    async fn look(&self) -> Result<(), store::Error> {
        let look = self.looks.fetch_add(1, Relaxed) + 1;
        self.catch_up().await?;
        self.correct().await?;
        self.reached.send_modify(|reached| reached.look = look);
        Ok(())
    }

    async fn catch_up(&self) -> Result<(), store::Error> {
        let since = self.reached.borrow().revision;
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
                if changes.iter().any(|change| matches!(change, RecordChange::Authorities)) {
                    self.trust.renew(&self.backing).await;
                }
                self.put_in_force(|registry| self.apply(registry, changes));
                self.reached.send_modify(|reached| reached.revision = revision);
            }
            Changes::Behind => self.begin_again().await?,
            Changes::Diverged { found } => {
                tracing::warn!(
                    reached = %since, found = %found,
                    "the store's history is not the one that this instance has followed: the last \
                     write that is in force here is not in it. The database was put back, or a \
                     standby without the last writes was promoted. Everything is read again; what \
                     the lost writes had created, replaced, deleted or revoked is as the store has \
                     it"
                );
                self.begin_again().await?;
            }
        }
        Ok(())
    }

    /// Reads all that the store has, and puts it in the place of what was in force of it.
    async fn begin_again(&self) -> Result<(), store::Error> {
        self.backing.keys.forget_missing();
        self.trust.renew(&self.backing).await;
        if let Some(taken) = self.take_up().await? {
            tracing::error!(error = %chain(&taken), "{NOT_IN_FORCE}");
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
            tracing::error!(
                "requests are refused: the store could not be read for store.max_staleness"
            );
            self.live.tell();
        }
    }

    /// Another instance may have rotated to a key that is in our file by now. Whether there are
    /// other keys than before: then what could not be opened may open.
    async fn reread_keys_for(&self, changes: &[RecordChange]) -> bool {
        let vault = self.backing.keys.vault();
        let knows = |id: &str| vault.keyring().ids().any(|known| known == id);
        let unknown = changes.iter().any(|change| match change {
            RecordChange::Connection { now: Ok(Some(record)), .. } => !knows(&record.sealed.key_id),
            RecordChange::Token { now: Ok(Some(record)), .. } => !knows(&record.mac.key_id),
            RecordChange::Key { id } => vault.keyring().first_id() != &**id,
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
    async fn take_up(&self) -> Result<Option<DuplicateNames>, store::Error> {
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
        self.warn_of_namesakes();
        self.reached.send_modify(|reached| reached.revision = revision);
        Ok(taken)
    }
}

/// Longer than a store that is well takes for anything; from then on it counts as silent.
const SLOW: Duration = Duration::from_secs(3);

/// How often the store is looked at when it says nothing.
const GLANCE: Duration = Duration::from_millis(500);

/// How long a change may take to be in force here before its writer is told.
const PATIENCE: Duration = Duration::from_secs(5);
