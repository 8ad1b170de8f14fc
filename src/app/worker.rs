//! One worker: a thread with a runtime of its own, its own conns and its own way out. Nothing of
//! a request is handed from one to another; what workers share is the log and the figures.

use std::sync::Arc;
use std::time::Duration;

use super::server::StartError;
use crate::error::chain;
use crate::listener::Listener;
use crate::proxy::SharedParts;
use crate::tasks::Tasks;

/// Everything that a worker is given.
#[derive(Clone, Debug)]
pub(super) struct WorkerParts {
    pub(super) shared: SharedParts,
    /// The number of workers.
    pub(super) workers: usize,
    /// The time that requests in flight are given to end.
    pub(super) grace: Duration,
}

/// Starts a worker thread that serves `listeners` until it is told to stop.
pub(super) fn start(
    number: usize,
    listeners: Vec<Listener>,
    parts: WorkerParts,
) -> Result<std::thread::JoinHandle<()>, StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(StartError::Thread)?;
    std::thread::Builder::new()
        .name(format!("worker-{number}"))
        .spawn(move || {
            runtime.block_on(run(listeners, parts));
            // A name that is being looked up in vain must not hold up the end.
            runtime.shutdown_background();
        })
        .map_err(StartError::Thread)
}

async fn run(listeners: Vec<Listener>, parts: WorkerParts) {
    let WorkerParts { shared, workers, grace } = parts;
    // A drain waits for the tasks, and not for what goes on in the background.
    let (tasks, background) = (Tasks::default(), Tasks::default());
    let proxy = Arc::new(shared.proxy(tasks.clone(), background, workers));
    let conn_tracker = &proxy.conn_tracker;
    let accepting = listeners.into_iter().map(|listener| {
        listener.serve(Arc::clone(&proxy), Arc::clone(conn_tracker), tasks.clone())
    });
    // 1. Callers are served until the server is told to stop.
    let mut stop = shared.stop.clone();
    tokio::select! {
        served = futures_util::future::try_join_all(accepting) => {
            if let Err(error) = served {
                tracing::error!(error = %chain(&error), "a proxy listener failed, and this worker accepts no more callers: restart the server");
            }
        }
        () = conn_tracker.sweep() => {}
        () = proxy.upstream.sweep(|| Arc::clone(&shared.live.load().rules)) => {}
        _stopped = stop.wait_for(|stopped| *stopped) => {}
    }
    // 2. Requests in flight end, or are cut.
    conn_tracker.drain();
    if tokio::time::timeout(grace, tasks.finished()).await.is_err() {
        tracing::warn!(conns = tasks.running(), "conns were cut: shutdown_grace is over");
    }
}
