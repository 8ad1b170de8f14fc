//! Notifications of other processes' writes, and the detection of a pooler that swallows them.

use std::fmt;
use std::time::Duration;

use sqlx::postgres::{PgConnection, PgListener};
use sqlx::{Executor as _, PgPool, Row as _};
use tokio::sync::watch;

use super::CHANNEL;

/// Waits for writes of other processes.
pub struct ChangeListener {
    /// The conns, and notifications that the listening one may lead to a former primary.
    source: Option<(ListenerPools, watch::Receiver<bool>)>,
    listening: Option<PgListener>,
    /// Set after a pooler was found, which was reported.
    is_unheard: bool,
}

/// The conns of a listener.
struct ListenerPools {
    /// A pool of one conn, which listening keeps for good.
    own: PgPool,
    /// The store's readers, used to detect a pooler.
    others: PgPool,
}

/// A reason to read changes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChangeNotice {
    /// Another process may have written.
    Written,
    /// Notifications don't arrive, because of a pooler in transaction mode: only polling finds
    /// writes.
    Unheard,
}

impl ChangeListener {
    /// A listener on a conn of `own`, which detects a pooler with conns of `others`. `moved` tells
    /// when the primary may have changed.
    pub(super) fn new(own: PgPool, others: PgPool, moved: watch::Receiver<bool>) -> Self {
        let source = Some((ListenerPools { own, others }, moved));
        Self { source, listening: None, is_unheard: false }
    }

    /// A listener that is never notified, because no other process writes.
    pub(in crate::store) fn silent() -> Self {
        Self { source: None, listening: None, is_unheard: false }
    }

    /// Waits until another process may have written: a notification came, or the conn was lost and
    /// is open again. Reports once that notifications don't arrive. Never returns where no other
    /// process can write. Cancel-safe.
    pub async fn changed(&mut self) -> ChangeNotice {
        let Some((pools, moved)) = &mut self.source else {
            return std::future::pending().await;
        };
        loop {
            // 1. Wait for a notification, until the conn is lost or the primary has changed.
            if let Some(listening) = &mut self.listening {
                tokio::select! {
                    heard = listening.try_recv() => match heard {
                        Ok(Some(_notice)) => return ChangeNotice::Written,
                        Ok(None) | Err(_) => self.listening = None,
                    },
                    // The last sender is dropped when the store is closed; that is no change.
                    Ok(()) = moved.changed() => self.listening = None,
                }
            }
            // 2. Listen again.
            if self.is_unheard {
                tokio::time::sleep(UNHEARD_RECHECK_INTERVAL).await;
            }
            match listen(pools).await {
                // Notifications before now were missed, so assume a write.
                Ok(Some(listening)) => {
                    (self.listening, self.is_unheard) = (Some(listening), false);
                    return ChangeNotice::Written;
                }
                Ok(None) if !self.is_unheard => {
                    self.is_unheard = true;
                    return ChangeNotice::Unheard;
                }
                Ok(None) => {}
                Err(_unreachable) => tokio::time::sleep(RELISTEN_PAUSE).await,
            }
        }
    }
}

impl fmt::Debug for ChangeListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangeListener")
            .field("hears", &self.listening.is_some())
            .finish_non_exhaustive()
    }
}

/// Begins to listen; `None` behind a pooler, where LISTEN would stay on a server conn that others
/// get.
async fn listen(pools: &ListenerPools) -> Result<Option<PgListener>, sqlx::Error> {
    match tokio::time::timeout(PROBE_TIMEOUT, shares_backends(pools)).await {
        Ok(Ok(false)) => {}
        // A timeout too means a pooler, which lets clients wait while its conns are in use.
        Ok(Ok(true)) | Err(_) => return Ok(None),
        Ok(Err(error)) => return Err(error),
    }
    let mut listening = PgListener::connect_with(&pools.own).await?;
    listening.eager_reconnect(false);
    listening.listen(CHANNEL).await?;
    Ok(Some(listening))
}

/// Detects a pooler in transaction mode: transactions of one conn get different server processes,
/// or those of several conns get the same. Transactions are held open meanwhile, so that a pooler
/// can't reuse one process for all by chance.
async fn shares_backends(pools: &ListenerPools) -> Result<bool, sqlx::Error> {
    let mut conn = pools.own.acquire().await?;
    let own = backend_pid(&mut conn).await?;
    let mut held = Vec::new();
    for _ in 0..PROBES {
        let mut work = pools.others.begin().await?;
        let other = backend_pid(&mut work).await?;
        held.push(work);
        if other == own || backend_pid(&mut conn).await? != own {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The server process that serves a conn.
async fn backend_pid(conn: &mut PgConnection) -> Result<i32, sqlx::Error> {
    conn.fetch_one("SELECT pg_backend_pid()").await?.try_get(0)
}

/// The number of transactions held open to detect a pooler.
const PROBES: usize = 3;
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// The time after which a pooler is looked for again.
const UNHEARD_RECHECK_INTERVAL: Duration = Duration::from_mins(10);
const RELISTEN_PAUSE: Duration = Duration::from_millis(500);
