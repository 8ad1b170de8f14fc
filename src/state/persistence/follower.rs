//! Follows the store: what changes there is soon in force here.

use std::convert::Infallible;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::opening::NOT_IN_FORCE;
use super::{Persistence, Reached, StoreAndKeys};
use crate::clock;
use crate::error::chain;
use crate::state::{DuplicateNames, InForce, Registry};
use crate::store::{self, ChangeNotice, Changes, Record, RecordChange, Revision};

impl Persistence {
    /// Follows the store until this is dropped. It looks when the store says that something has
    /// changed, when it is nudged, and every half a second in case it was not told. Now and then
    /// it compares the whole.
    pub async fn follow(&self) {
        let StoreAndKeys { store, keys } = &self.kept;
        let judging =
            async { tokio::join!(self.judge(), self.await_keys(), keys.watch_file(store)) };
        tokio::join!(self.listen(), self.keep_up(), judging, self.compare_now_and_then());
    }

    /// The store says that something has changed. The wait is never broken off: it may have to
    /// open a conn first.
    async fn listen(&self) {
        let mut listener = self.kept.store.listen();
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
                () = tokio::time::sleep(POLL_INTERVAL) => {}
            }
            self.note(self.look().await);
        }
    }

    /// A store that hangs says nothing, not even that it fails.
    async fn judge(&self) {
        loop {
            tokio::time::sleep(POLL_INTERVAL).await;
            let silence = clock::instant().duration_since(self.heard.lock().at());
            if silence > SILENT_AFTER {
                self.count_silence(silence);
            }
        }
    }

    /// Has everything opened again once a key is there that was missing.
    async fn await_keys(&self) {
        loop {
            self.kept.keys.arrival(&self.kept.store).await;
            tracing::info!("a master key that was missing is there: everything is opened again");
            self.take_up_soon();
        }
    }

    /// Has everything taken up again, soon: keys that open more than before are there, or what is
    /// declared no longer has the name of one that is stored.
    pub fn take_up_soon(&self) {
        self.afresh.store(true, Relaxed);
        self.nudged.notify_one();
    }

    /// Waits until what the store had at `revision` is in force here, and says whether it came to
    /// that in time. Where that very write is not the last one in force, only a look that begins
    /// from now on counts: a greater number that was reached before may be one of another history,
    /// which the store no longer has.
    pub async fn wait_until_in_force(&self, revision: Revision) -> bool {
        let mut reached = self.reached.subscribe();
        let before = self.looks.load(Relaxed);
        self.nudged.notify_one();
        let is_there = |reached: &Reached| {
            reached.revision == revision || (reached.look > before && reached.revision >= revision)
        };
        let there = reached.wait_for(is_there);
        matches!(tokio::time::timeout(IN_FORCE_TIMEOUT, there).await, Ok(Ok(_)))
    }

    /// Brings in force what the store has, and notes that this look has come to an end.
    pub(super) async fn look(&self) -> Result<(), store::Error> {
        let look = self.looks.fetch_add(1, Relaxed) + 1;
        self.catch_up().await?;
        self.correct().await?;
        self.reached.send_modify(|reached| reached.look = look);
        Ok(())
    }

    async fn catch_up(&self) -> Result<(), store::Error> {
        // 1. The changes since the revision in force here; all of it, where more may open than before.
        let since = self.reached.borrow().revision;
        let changes = match self.kept.store.changes_since(since).await? {
            Changes::Since { revision, changes } => {
                if self.reread_keys_if_named(&changes).await {
                    self.afresh.store(true, Relaxed);
                }
                let is_enough = !self.afresh.load(Relaxed);
                if is_enough { Changes::Since { revision, changes } } else { Changes::Behind }
            }
            changes => changes,
        };
        // 2. They are put in force.
        match changes {
            Changes::Since { changes, .. } if changes.is_empty() => {}
            Changes::Since { revision, changes } => {
                if changes.iter().any(|change| matches!(change, RecordChange::Authorities)) {
                    self.ca.renew(&self.kept).await;
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
        // An order that comes from here on is another one; this one stands until it has been done.
        self.afresh.store(false, Relaxed);
        self.kept.keys.forget_missing();
        self.ca.renew(&self.kept).await;
        let taken_up = self.take_up().await;
        if let Some(duplicate) = taken_up.inspect_err(|_error| self.afresh.store(true, Relaxed))? {
            tracing::error!(error = %chain(&duplicate), "{NOT_IN_FORCE}");
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
            self.live.notify();
        }
    }

    /// Reads the keys again if a change names one that is not known here: another instance may have
    /// rotated to it. Tells whether there are other keys than before: then more may open.
    async fn reread_keys_if_named(&self, changes: &[RecordChange]) -> bool {
        let vault = self.kept.keys.vault();
        let knows = |id: &str| vault.keyring().has(id);
        let unknown = changes.iter().any(|change| match change {
            RecordChange::Connection { now: Ok(Some(record)), .. } => !knows(&record.sealed.key_id),
            RecordChange::Token { now: Ok(Some(record)), .. } => !knows(&record.mac.key_id),
            RecordChange::Key { id } => vault.keyring().first_id() != &**id,
            _ => false,
        });
        unknown && self.try_reread_keys().await
    }

    async fn try_reread_keys(&self) -> bool {
        match self.kept.keys.reread(&self.kept.store).await {
            Ok(are_others) => are_others,
            Err(error) => {
                tracing::error!(error = %chain(&error), "another master key is in use, and it is not known here");
                false
            }
        }
    }

    pub(super) fn put_in_force<T>(&self, change: impl FnOnce(&mut Registry) -> T) -> T {
        let Ok(told) = self.live.try_change(|before| {
            let mut next = InForce::clone(before);
            let told = change(&mut next.registry);
            Ok::<_, Infallible>((next, told))
        });
        told
    }

    /// Takes up all that the store has; names that are declared too are left out, and said.
    pub(super) async fn take_up(&self) -> Result<Option<DuplicateNames>, store::Error> {
        // 1. The keys that the store's records need.
        let vault = self.kept.keys.vault();
        let used = self.kept.store.key_usage().await?;
        if used.iter().any(|(id, _)| !vault.keyring().has(id)) {
            self.try_reread_keys().await;
        }
        // 2. The records, opened.
        let (vault, mut stored) = (self.kept.keys.vault(), Registry::default());
        let walk = self.kept.store.walk(|record| match record {
            Record::Connection(Ok(record)) => {
                // Nothing is declared in a set that has but the store's.
                let _never_duplicate = self.insert_connection(&mut stored, &vault, record);
            }
            Record::Token(Ok(record)) => self.insert_token(&mut stored, &vault, record),
            Record::Connection(Err(error)) | Record::Token(Err(error)) => {
                self.report(Err::<(), _>(error));
            }
        });
        let revision = walk.await?;
        // 3. They are in force, beside what is declared.
        let duplicate = self.put_in_force(|registry| {
            let (next, duplicate) = registry.with_stored(&stored);
            *registry = next;
            duplicate
        });
        self.warn_of_namesakes();
        self.reached.send_modify(|reached| reached.revision = revision);
        Ok(duplicate)
    }
}

/// Longer than a store that is well takes for anything; from then on it counts as silent.
const SILENT_AFTER: Duration = Duration::from_secs(3);

/// The interval at which the store is looked at when it says nothing.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// The time that a change may take to be in force here before its writer is told.
const IN_FORCE_TIMEOUT: Duration = Duration::from_secs(5);
