//! The program itself: its own streams, the signals that are for it, and the code with which it
//! ends.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use super::variables::Variable;
use crate::cli::output::{self, CliError};

/// Runs the program to its end; the code is its own, 128 and the number of the signal that has
/// ended it, 127 when there is no such program, 126 when it can't be run.
pub(super) fn run(program: &[OsString], variables: &[Variable]) -> Result<u8, CliError> {
    let failed =
        |why: io::Error| CliError::Message(format!("the program can't be waited for: {why}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(failed)?.block_on(async {
        let mut signals = ForwardedSignals::listen().map_err(failed)?;
        let mut child = match start(program, variables) {
            Ok(child) => child,
            Err(code) => return Ok(code),
        };
        loop {
            tokio::select! {
                ended = child.wait() => return Ok(code(ended.map_err(failed)?)),
                signal = signals.next() => pass_on(&child, signal),
            }
        }
    })
}

fn start(program: &[OsString], variables: &[Variable]) -> Result<Child, u8> {
    let Some((program, arguments)) = program.split_first() else { return Err(NOT_FOUND) };
    let mut command = Command::new(program);
    command.args(arguments);
    for (name, value) in variables {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.spawn().map_err(|why| {
        let program = program.to_string_lossy();
        output::note(&format!("keyferry: {} can't be run: {why}", output::printable(&program)));
        if why.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_RUNNABLE }
    })
}

fn code(ended: ExitStatus) -> u8 {
    let killed = || ended.signal().map(|number| number + 128);
    ended.code().or_else(killed).and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

fn pass_on(child: &Child, signal: Signal) {
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(id) = id {
        let _ended_meanwhile = kill_process(id, signal);
    }
}

struct ForwardedSignals {
    kinds: Vec<(Signal, tokio::signal::unix::Signal)>,
    /// A terminal has told the program itself.
    from_terminal: bool,
}

impl ForwardedSignals {
    fn listen() -> io::Result<Self> {
        let kinds = [
            (Signal::TERM, SignalKind::terminate()),
            (Signal::HUP, SignalKind::hangup()),
            (Signal::USR1, SignalKind::user_defined1()),
            (Signal::USR2, SignalKind::user_defined2()),
            (Signal::INT, SignalKind::interrupt()),
            (Signal::QUIT, SignalKind::quit()),
        ];
        let kinds = kinds.into_iter().map(|(number, kind)| Ok((number, signal(kind)?)));
        let kinds = kinds.collect::<io::Result<_>>()?;
        Ok(Self { kinds, from_terminal: io::stdin().is_terminal() })
    }

    /// The next signal that must be passed on. Cancel-safe.
    async fn next(&mut self) -> Signal {
        loop {
            let all = self.kinds.iter_mut().map(|(number, stream)| {
                Box::pin(async {
                    stream.recv().await;
                    *number
                })
            });
            let (number, ..) = futures_util::future::select_all(all).await;
            let told = self.from_terminal && [Signal::INT, Signal::QUIT].contains(&number);
            if !told {
                return number;
            }
        }
    }
}

const NOT_FOUND: u8 = 127;
const NOT_RUNNABLE: u8 = 126;
