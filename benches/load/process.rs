//! Child processes: pinned to a core, and never left behind.

use std::{
    env,
    ffi::OsStr,
    fs::{self, File},
    io::{self, BufRead, BufReader},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::meter;

/// The core of the proxy under test, which it has to itself.
pub(crate) const PROXY_CORE: &str = "0";

/// The core of the origin and the generator.
pub(crate) const LOAD_CORE: &str = "1";

/// A child that is stopped when it goes out of scope, and its own children with it.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with everything it says going to `log`.
    ///
    /// # Errors
    /// When it can't be started.
    pub(crate) fn start(mut command: Command, log: PathBuf) -> io::Result<Self> {
        let output = File::create(&log)?;
        command.stdin(Stdio::null()).stderr(output.try_clone()?).stdout(output);
        Ok(Self { child: command.spawn()?, log })
    }

    /// Starts another role of this program, which prints the address it listens on.
    ///
    /// # Errors
    /// When it can't be started, or prints no address.
    pub(crate) fn start_role(mut command: Command, log: PathBuf) -> io::Result<(Self, SocketAddr)> {
        command.stdin(Stdio::null()).stderr(File::create(&log)?).stdout(Stdio::piped());
        let mut process = Self { child: command.spawn()?, log };
        let mut line = String::new();
        if let Some(output) = process.child.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let address =
            line.trim().parse().map_err(|_unreadable| process.complaint("printed no address"))?;
        Ok((process, address))
    }

    /// Returns when it accepts conns on `address`.
    ///
    /// # Errors
    /// When it ends instead, or takes too long.
    pub(crate) fn await_listening(&mut self, address: SocketAddr) -> io::Result<()> {
        let deadline = Instant::now() + START;
        while TcpStream::connect_timeout(&address, START).is_err() {
            if let Some(status) = self.child.try_wait()? {
                return Err(self.complaint(&format!("ended at the start ({status})")));
            }
            if Instant::now() > deadline {
                return Err(self.complaint("did not listen in time"));
            }
            sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Its id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its id and those of its children.
    ///
    /// # Errors
    /// When the processes can't be listed.
    pub(crate) fn family(&self) -> io::Result<Vec<u32>> {
        meter::family(self.id())
    }

    fn complaint(&self, what: &str) -> io::Error {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let last: Vec<_> = log.lines().rev().take(5).collect();
        let last: Vec<_> = last.into_iter().rev().collect();
        io::Error::other(format!("{what}; the last it said: {}", last.join(" | ")))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let children = self.family().unwrap_or_default();
        signal("TERM", self.id());
        let deadline = Instant::now() + STOP;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            sleep(Duration::from_millis(5));
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            // Only what has not been waited for is sure to be ours still.
            for process in children {
                signal("KILL", process);
            }
            drop(self.child.wait());
        }
    }
}

/// A command that runs `program` on one core, as long as this program lives.
///
/// It may open as many files as it is allowed to, because a thousand conns on either side are more
/// than many shells grant at first.
pub(crate) fn pinned(core: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "prlimit", &format!("--nofile={}:", files())]);
    command.args(["taskset", "--cpu-list", core]).arg(program);
    command.env_remove("RUST_LOG");
    command
}

/// Where a program is: on the path, or where servers are that only root is expected to start.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}

/// What a program says about its version, on whichever stream.
pub(crate) fn version(program: &Path, option: &str) -> String {
    let output = Command::new(program).arg(option).output();
    let said = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    String::from_utf8_lossy(&said).lines().next().unwrap_or_default().trim().to_owned()
}

/// A port of the loopback address that was free a moment ago.
///
/// # Errors
/// When there is none.
pub(crate) fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?.local_addr()
}

fn signal(name: &str, process: u32) {
    // A shell's own `kill` is everywhere, the program is not.
    let script = format!("kill -{name} {process}");
    drop(Command::new("sh").args(["-c", &script]).stderr(Stdio::null()).status());
}

fn files() -> u64 {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let hard = line.and_then(|line| line.split_ascii_whitespace().nth(1));
    hard.and_then(|hard| hard.parse().ok()).map_or(FILES, |hard: u64| hard.min(FILES))
}

/// Enough for a thousand conns on either side of a proxy.
const FILES: u64 = 16_384;

/// How long a program may take to listen.
const START: Duration = Duration::from_secs(10);

/// How long a program may take to stop.
const STOP: Duration = Duration::from_secs(5);
