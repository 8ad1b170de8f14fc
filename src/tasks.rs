//! The one place that spawns.
//!
//! Owns the count of what is running, promises that shutdown can wait for all of it, and must
//! never know the work of a task.

use tokio_util::task::TaskTracker;

/// Spawns tasks on the current runtime and counts them.
#[derive(Clone, Debug, Default)]
pub struct Tasks(TaskTracker);

impl Tasks {
    /// Starts a task.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let _detached = tokio::spawn(self.0.track_future(task));
    }

    /// Waits until every task has ended. Cancel-safe.
    pub async fn finished(&self) {
        self.0.close();
        self.0.wait().await;
    }

    /// The number of tasks that are running.
    pub fn running(&self) -> usize {
        self.0.len()
    }
}

/// TCP keepalive for every conn: the first probe after a minute of silence, then four more, 15
/// seconds apart, before the kernel closes the conn.
pub fn keepalive() -> socket2::TcpKeepalive {
    socket2::TcpKeepalive::new()
        .with_time(std::time::Duration::from_mins(1))
        .with_interval(std::time::Duration::from_secs(15))
        .with_retries(4)
}

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        self.spawn(task);
    }
}
