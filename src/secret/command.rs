//! A command that prints a secret: run without a shell, for a bounded time, with all its processes
//! ended at the end.

use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use zeroize::Zeroizing;

use super::Secret;

/// A program and its arguments, which prints one secret; equal ones are run once for all places
/// that name them.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct SecretCommand {
    /// The file that is run.
    pub program: PathBuf,
    /// The name by which the operator called it.
    pub name: Box<str>,
    /// Its arguments, as given: no shell reads them.
    pub arguments: Box<[Box<str>]>,
    /// The time for which the secret is good; `None` where it is read only with the configuration.
    pub ttl: Option<Duration>,
}

/// The reason why a command has given no secret. Nothing of its standard output is in it.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It could not be started, or not be waited for.
    #[error("the command {name} can't be run: {why}")]
    NotRun {
        /// Its name.
        name: Box<str>,
        /// The system's reason.
        #[source]
        why: io::Error,
    },
    /// It has failed.
    #[error("the command {name} {ended}{said}")]
    Failed {
        /// Its name.
        name: Box<str>,
        /// The way in which it has ended.
        ended: Ended,
        /// The first line of its standard error.
        said: Complaint,
    },
    /// It took too long.
    #[error("the command {0} took longer than 10 s and was ended, with all that it had started")]
    TimedOut(Box<str>),
    /// It printed too much.
    #[error("the command {0} printed more than {MAX_OUTPUT} bytes, which is no secret")]
    TooLong(Box<str>),
    /// It printed nothing.
    #[error("the command {0} ended well and printed nothing")]
    Silent(Box<str>),
}

/// The end of a process that has failed.
#[derive(Clone, Copy, Debug)]
pub struct Ended(ExitStatus);

/// The first line that a command wrote to standard error, fit for a log; empty where it wrote none.
#[derive(Clone, Debug)]
pub struct Complaint(String);

impl SecretCommand {
    /// Runs the command in a process group of its own, with nothing on standard input and the
    /// server's own environment, but for what opens the server itself. Exactly one newline is taken
    /// off the end of its output. `known` is masked, along with the output, in what it says.
    ///
    /// Dropping the future ends every process of the group.
    ///
    /// # Errors
    /// [`CommandError`]; nothing of the group is left running then either.
    pub async fn run(&self, known: Option<&Secret>) -> Result<Secret, CommandError> {
        let not_run = |why| CommandError::NotRun { name: self.name.clone(), why };
        let mut child = self.start().map_err(not_run)?;
        let group = ProcessGroup::of(&child);
        let mut output = Output::default();
        // 1. Until it has ended, or its time is over.
        let ending = output.read_until_exit(&mut child, group);
        let ended = tokio::time::timeout(TIME_LIMIT, ending).await;
        // 2. An output that is cut is none, whatever has come of the process.
        if output.printed.len() > MAX_OUTPUT {
            return Err(CommandError::TooLong(self.name.clone()));
        }
        let Ok(ended) = ended else { return Err(CommandError::TimedOut(self.name.clone())) };
        let ended = ended.map_err(not_run)?;
        if !ended.success() {
            let said = output.said(known);
            return Err(CommandError::Failed {
                name: self.name.clone(),
                ended: Ended(ended),
                said,
            });
        }
        // 3. The secret.
        let secret = Secret::without_newline(output.printed);
        if secret.is_empty() { Err(CommandError::Silent(self.name.clone())) } else { Ok(secret) }
    }

    #[expect(clippy::disallowed_methods, reason = "names alone are read, to be withheld")]
    fn start(&self) -> io::Result<Child> {
        let mut command = Command::new(&self.program);
        command.args(self.arguments.iter().map(|argument| &**argument));
        for (name, _value) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(WITHHELD_VARIABLES) {
                command.env_remove(name);
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true).spawn()
    }
}

/// Its arguments may be secrets, although they should not be.
impl fmt::Debug for SecretCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = (&self.name, self.arguments.len(), self.ttl);
        f.debug_tuple("SecretCommand").field(&shown).finish()
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.code(), self.0.signal()) {
            (Some(code), _) => write!(f, "failed with exit status {code}"),
            (None, Some(signal)) => write!(f, "was ended by signal {signal}"),
            (None, None) => f.write_str("failed"),
        }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { f.write_str(", without a word") } else { write!(f, ": {}", self.0) }
    }
}

/// The processes that a command has started; all of them are ended when this is dropped.
struct ProcessGroup(Option<Pid>);

impl ProcessGroup {
    /// The group that `child` leads.
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        // A group without a process is no failure.
        let _none_is_left = self.0.map(|leader| kill_process_group(leader, Signal::KILL));
    }
}

/// The parts of a command's output that are kept.
struct Output {
    printed: Zeroizing<Vec<u8>>,
    complaint: Zeroizing<Vec<u8>>,
}

impl Default for Output {
    /// Buffers that never grow: freed memory keeps no copy.
    fn default() -> Self {
        let buffer = |length| Zeroizing::new(Vec::with_capacity(length));
        Self { printed: buffer(MAX_OUTPUT + 1), complaint: buffer(MAX_COMPLAINT) }
    }
}

impl Output {
    /// Reads both outputs until the process has ended, then ends what it has left behind in its
    /// group, which may hold them open.
    async fn read_until_exit(
        &mut self,
        child: &mut Child,
        group: ProcessGroup,
    ) -> io::Result<ExitStatus> {
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let mut reading = pin!(async {
            tokio::join!(
                read_up_to(stdout, MAX_OUTPUT + 1, &mut self.printed),
                read_and_drain(stderr, &mut self.complaint)
            )
        });
        // 1. The process ends, or closes both outputs before.
        let (ended, is_read) = tokio::select! {
            ended = child.wait() => (ended?, false),
            _ = &mut reading => (child.wait().await?, true),
        };
        // 2. The group goes, and with it every writer but those that have left it. What the process
        // itself wrote is in the pipes, and read at once.
        drop(group);
        if !is_read {
            let _held_open = tokio::time::timeout(LEFTOVER_TIMEOUT, &mut reading).await;
        }
        Ok(ended)
    }

    /// The first line of the standard error, without anything secret.
    fn said(&self, known: Option<&Secret>) -> Complaint {
        let text = String::from_utf8_lossy(&self.complaint);
        let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        let printed = String::from_utf8_lossy(&self.printed);
        let known = known.map(|secret| String::from_utf8_lossy(secret.expose()));
        let secrets = printed.lines().chain(known.iter().flat_map(|known| known.lines()));
        let mut line = line.to_owned();
        for secret in secrets.map(str::trim).filter(|secret| secret.len() >= SHORTEST_SECRET) {
            line = line.replace(secret, "*****");
        }
        let shown = line.chars().filter(|letter| !letter.is_control());
        Complaint(shown.take(MAX_SAID).collect())
    }
}

/// Reads at most `most` bytes. What comes after them is not read: the writer sees a closed pipe.
async fn read_up_to(source: Option<impl AsyncRead + Unpin>, most: usize, into: &mut Vec<u8>) {
    let Some(source) = source else { return };
    let _cut_short = source.take(most as u64).read_to_end(into).await;
}

/// Reads to the end, so that the writer never waits, and keeps only the beginning.
async fn read_and_drain(source: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut source) = source else { return };
    let mut piece = Zeroizing::new([0; 1024]);
    while let Ok(length @ 1..) = source.read(&mut *piece).await {
        let room = MAX_COMPLAINT.saturating_sub(kept.len());
        kept.extend_from_slice(piece.get(..length.min(room)).unwrap_or_default());
    }
}

/// The time that a command may take.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// The time after a command's end in which what it has written is read; only a process that has
/// left its group and holds the pipe open makes it pass.
const LEFTOVER_TIMEOUT: Duration = Duration::from_millis(500);
/// The most bytes that a command may print.
pub const MAX_OUTPUT: usize = 65_536;
/// The most bytes of standard error that are kept.
const MAX_COMPLAINT: usize = 4096;
/// The most characters of it that are shown.
const MAX_SAID: usize = 300;
/// The length from which on a line of the output is masked in what is said: shorter ones are parts
/// of words.
const SHORTEST_SECRET: usize = 4;
/// The beginning of the names of variables that open the server itself, its store's included.
const WITHHELD_VARIABLES: &[u8] = b"KEYFERRY_";

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> SecretCommand {
        SecretCommand {
            program: "/bin/sh".into(),
            name: "sh".into(),
            arguments: ["-c", script].map(Box::from).into(),
            ttl: None,
        }
    }

    async fn printed(script: &str) -> Result<String, String> {
        let secret = shell(script).run(Some(&Secret::new("before-it"))).await;
        let text = |secret: Secret| String::from_utf8(secret.expose().to_vec()).unwrap();
        secret.map(text).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn one_newline_and_no_more_is_taken_off() {
        for (script, secret) in [
            ("printf abc", "abc"),
            ("echo abc", "abc"),
            ("printf 'a\\n\\n'", "a\n"),
            ("printf ' a '", " a "),
        ] {
            assert_eq!(printed(script).await.as_deref(), Ok(secret), "{script}");
        }
    }

    #[tokio::test]
    async fn a_failure_says_how_and_shows_the_first_line_of_standard_error_without_a_secret() {
        for (script, said) in [
            ("exit 3", "the command sh failed with exit status 3, without a word"),
            (
                "echo hunter2; printf '\\n  no hunter2 or before-it \\033[31mhere\\nand more' >&2; exit 1",
                "the command sh failed with exit status 1: no ***** or ***** [31mhere",
            ),
            ("kill -9 $$", "the command sh was ended by signal 9, without a word"),
            ("true", "the command sh ended well and printed nothing"),
            ("echo", "the command sh ended well and printed nothing"),
            ("yes", "the command sh printed more than 65536 bytes, which is no secret"),
            ("yes >&2 & sleep 0.2; kill $!; exit 7", "the command sh failed with exit status 7: y"),
        ] {
            assert_eq!(printed(script).await.unwrap_err(), said, "{script}");
        }
        let absent = SecretCommand { program: "/absent".into(), ..shell("") };
        let said = absent.run(None).await.unwrap_err().to_string();
        assert!(said.starts_with("the command sh can't be run: No such file"), "{said}");
    }

    /// A FIFO, whose readers come to its end when its last writer is gone.
    fn fifo(directory: &tempfile::TempDir) -> (String, PathBuf) {
        let path = directory.path().join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        (path.display().to_string(), path)
    }

    #[tokio::test]
    async fn what_a_command_leaves_behind_is_ended_and_not_waited_for() {
        let directory = tempfile::TempDir::new().unwrap();
        let (shown, path) = fifo(&directory);
        let reader = std::thread::spawn(|| std::fs::read_to_string(path).unwrap());
        let script = format!("exec 3>{shown}; sleep 1000 & echo secret");
        assert_eq!(printed(&script).await.as_deref(), Ok("secret"));
        assert_eq!(reader.join().unwrap(), "", "the child that held it open is gone");
    }

    #[tokio::test]
    async fn a_process_that_has_left_the_group_is_not_waited_for() {
        assert_eq!(printed("setsid sleep 3 & echo secret").await.as_deref(), Ok("secret"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_that_hangs_is_ended_with_its_children() {
        let directory = tempfile::TempDir::new().unwrap();
        let (shown, path) = fifo(&directory);
        let script = format!("exec 3>{shown}; sleep 1000 & echo secret; wait");
        // The clock stands still until the command has opened the FIFO.
        let opened = tokio::task::spawn_blocking(|| std::fs::File::open(path).unwrap());
        let (said, opened) = tokio::join!(printed(&script), opened);
        let said = said.unwrap_err();
        assert!(said.contains("took longer than 10 s") && !said.contains("secret"), "{said}");
        assert_eq!(io::read_to_string(opened.unwrap()).unwrap(), "", "its child is gone too");
    }

    #[tokio::test]
    async fn what_opens_the_server_is_not_passed_on() {
        let script = "printf \"%s\" \"${KEYFERRY_TOKEN-none}${KEYFERRY_MASTER_KEY-none}\"";
        assert_eq!(printed(script).await.as_deref(), Ok("nonenone"));
    }
}
