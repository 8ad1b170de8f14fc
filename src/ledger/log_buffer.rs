//! The log's buffer, to which requests append lines, and the thread that writes it.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Log lines that wait to be written. Appending never waits for the output.
#[derive(Debug, Default)]
pub struct LogBuffer {
    state: Mutex<BufferState>,
    changed: Condvar,
    dropped: AtomicU64,
}

/// The writing thread. Dropping this writes the remaining lines, but waits at most a second for it.
#[derive(Debug)]
pub struct LogWriter {
    sink: Arc<LogBuffer>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct BufferState {
    buffer: Vec<u8>,
    /// The length in bytes at which the writer is woken.
    wanted: usize,
    closed: bool,
}

impl LogBuffer {
    /// Appends the line that `write` writes. It is dropped and counted when the buffer is full,
    /// because the output has blocked for long.
    pub fn append(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state.lock();
        if state.buffer.len() > MAX_BUFFERED_BYTES {
            self.dropped.fetch_add(1, Relaxed);
            return;
        }
        write(&mut state.buffer);
        if state.buffer.len() >= state.wanted {
            state.wanted = usize::MAX;
            self.changed.notify_one();
        }
    }

    /// The number of lines dropped because the output has blocked.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Starts the thread that writes to `output`.
    pub fn write_to(
        self: &Arc<Self>,
        output: impl Write + Send + 'static,
    ) -> std::io::Result<LogWriter> {
        let sink = Arc::clone(self);
        let thread =
            std::thread::Builder::new().name("log".into()).spawn(move || sink.write_all(output))?;
        Ok(LogWriter { sink: Arc::clone(self), thread: Some(thread) })
    }

    /// Writes batches: a line waits a moment for others, so that a busy proxy makes a few larger
    /// writes instead of one for each request.
    fn write_all(&self, mut output: impl Write) {
        let mut batch = Vec::new();
        loop {
            let closed = self.next_batch(&mut batch);
            // A failure of the log's own output can't be reported anywhere.
            let _nowhere_to_report = output.write_all(&batch).and_then(|()| output.flush());
            batch.clear();
            batch.shrink_to(MAX_IDLE_CAPACITY);
            if closed {
                return;
            }
        }
    }

    fn next_batch(&self, batch: &mut Vec<u8>) -> bool {
        let mut state = self.state.lock();
        while state.buffer.is_empty() && !state.closed {
            state.wanted = 1;
            self.changed.wait(&mut state);
        }
        if state.buffer.len() < BATCH_BYTES && !state.closed {
            state.wanted = BATCH_BYTES;
            self.changed.wait_for(&mut state, BATCH_WAIT);
        }
        state.wanted = usize::MAX;
        std::mem::swap(&mut state.buffer, batch);
        state.closed
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        let mut state = self.sink.state.lock();
        state.closed = true;
        self.sink.changed.notify_one();
        drop(state);
        let Some(thread) = self.thread.take() else { return };
        // A blocked output must not keep the process from ending.
        for _ in 0..EXIT_POLLS {
            if thread.is_finished() {
                let _panicked = thread.join();
                return;
            }
            std::thread::sleep(EXIT_POLL_INTERVAL);
        }
    }
}

/// Together with the interval, a second.
const EXIT_POLLS: u32 = 200;
const EXIT_POLL_INTERVAL: Duration = Duration::from_millis(5);
const BATCH_BYTES: usize = 32 << 10;
const BATCH_WAIT: Duration = Duration::from_millis(20);
const MAX_BUFFERED_BYTES: usize = 8 << 20;
const MAX_IDLE_CAPACITY: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_line_is_written_in_order_before_the_writer_is_gone() {
        let (sink, output) = (Arc::new(LogBuffer::default()), Shared::default());
        let writer = sink.write_to(output.clone()).unwrap();
        for line in 0..1000 {
            sink.append(|buffer| buffer.extend_from_slice(format!("{line}\n").as_bytes()));
        }
        drop(writer);
        let expected = (0..1000).fold(String::new(), |text, line| text + &format!("{line}\n"));
        assert_eq!(String::from_utf8(output.0.lock().clone()).unwrap(), expected);
        assert_eq!(sink.dropped(), 0);
    }

    #[test]
    fn a_stuck_output_loses_lines_instead_of_holding_up_requests() {
        let sink = LogBuffer::default();
        sink.append(|buffer| buffer.resize(MAX_BUFFERED_BYTES + 1, b'x'));
        sink.append(|buffer| buffer.push(b'y'));
        assert_eq!(sink.dropped(), 1);
    }
}
