//! What the program writes, line by line, as it comes.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;

use super::soon;

/// The lines of one output so far.
#[derive(Clone)]
pub(crate) struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    changed: watch::Receiver<usize>,
}

impl Log {
    /// Follows `output` on a thread of its own, to its end.
    pub(crate) fn follow(output: impl Read + Send + 'static) -> Self {
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let (tell, changed) = watch::channel(0);
        let written = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                written.lock().push(line);
                tell.send_modify(|count| *count += 1);
            }
        });
        Self { lines, changed }
    }

    /// Everything so far.
    pub(crate) fn text(&self) -> String {
        self.lines.lock().join("\n")
    }

    /// Waits for the first line that `wanted` takes.
    pub(crate) async fn find<T>(&self, mut wanted: impl FnMut(&str) -> Option<T>) -> T {
        let mut changed = self.changed.clone();
        let found = soon(async {
            let mut read = 0;
            loop {
                changed.borrow_and_update();
                let fresh: Vec<String> = self.lines.lock()[read..].to_vec();
                read += fresh.len();
                if let Some(found) = fresh.iter().find_map(|line| wanted(line)) {
                    return Some(found);
                }
                if changed.changed().await.is_err() {
                    let rest = self.lines.lock()[read..].to_vec();
                    return rest.iter().find_map(|line| wanted(line));
                }
            }
        });
        found.await.unwrap_or_else(|| panic!("the output ended before: {}", self.text()))
    }

    /// Waits for the end of the output.
    pub(crate) async fn ended(&self) {
        let mut changed = self.changed.clone();
        soon(async { while changed.changed().await.is_ok() {} }).await;
    }

    /// Waits for a log line with this message.
    pub(crate) async fn message(&self, text: &str) -> Value {
        self.find(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            (line["message"] == text).then_some(line)
        })
        .await
    }

    /// Waits for the first entry that `wanted` takes.
    pub(crate) async fn entry(&self, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        self.find(|line| as_entry(line).filter(|entry| wanted(entry))).await
    }

    /// Waits for the entry of the request with this path.
    pub(crate) async fn entry_of(&self, path: &str) -> Value {
        self.entry(|entry| entry["path"] == path).await
    }

    /// Waits until there are so many entries, and gives them all.
    pub(crate) async fn all_entries(&self, count: usize) -> Vec<Value> {
        let mut left = count;
        self.find(|line| {
            left = left.saturating_sub(usize::from(as_entry(line).is_some()));
            (left == 0).then_some(())
        })
        .await;
        self.entries()
    }

    /// The entries so far.
    pub(crate) fn entries(&self) -> Vec<Value> {
        self.lines.lock().iter().filter_map(|line| as_entry(line)).collect()
    }
}

fn as_entry(line: &str) -> Option<Value> {
    let line: Value = serde_json::from_str(line).ok()?;
    (line["target"] == "keyferry::access").then_some(line)
}
