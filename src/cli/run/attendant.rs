//! A server for one program: started before it and ended after it, from the same configuration.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::cli::output::{self, Failure};
use crate::config::{Options, StoreUrl, Whereabouts};

/// A server that runs until it is told to end.
pub(super) struct Attendant {
    child: Child,
    /// Where its API listens.
    pub(super) api: String,
    /// Where its proxy listens.
    pub(super) proxy: String,
    /// Where it keeps its files.
    pub(super) options: Options,
    /// Gone with the server, where nothing is to be kept.
    _data: Option<TempDir>,
}

impl Attendant {
    /// Starts it on free ports and waits until it is ready.
    pub(super) fn start(options: &Options, found: &Whereabouts) -> Result<Self, Failure> {
        let program = std::env::current_exe();
        let program = program.map_err(|why| failed(&format!("it does not find itself: {why}")))?;
        let mut command = Command::new(program);
        let mut options = options.clone();
        // What keeps nothing keeps no token either, so it is given a place of its own to do so.
        let data = if found.store == StoreUrl::Memory {
            let data = super::private_directory().map_err(|why| failed(&why.to_string()))?;
            options.data_dir = Some(data.path().to_owned());
            command.env("KEYFERRY_STORE__URL", "sqlite:keyferry.db");
            Some(data)
        } else {
            None
        };
        command.arg("serve");
        for (name, value) in [("--config", &options.config), ("--data-dir", &options.data_dir)] {
            if let Some(value) = value {
                command.arg(name).arg(value);
            }
        }
        command.env("KEYFERRY_PROXY__LISTEN", "[\"127.0.0.1:0\"]");
        command.env("KEYFERRY_API__LISTEN", "127.0.0.1:0");
        command.env("KEYFERRY_LOG__LEVEL", "warn");
        // In a group of its own: what a terminal tells the program is not for the server.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|why| failed(&why.to_string()))?;
        let Some((proxy, api)) = read_greeting(&mut child) else {
            let _ended_by_itself = child.wait();
            return Err(failed("it says why above"));
        };
        Ok(Self { child, api, proxy, options, _data: data })
    }

    /// Tells it to finish and waits until it has.
    pub(super) fn end(mut self) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(id) = id {
            let _ended_by_itself = kill_process(id, Signal::TERM);
        }
        if let Err(why) = self.child.wait() {
            output::note(&format!("keyferry: the server can't be waited for: {why}"));
        }
    }
}

/// The addresses of the proxy and the API, once the server says them.
fn read_greeting(child: &mut Child) -> Option<(String, String)> {
    let (mut proxy, mut lines) = (None, BufReader::new(child.stdout.as_mut()?).lines());
    while let Some(Ok(line)) = lines.next() {
        match line.trim().split_once(' ') {
            Some(("proxy", address)) => proxy = proxy.or_else(|| Some(address.trim().to_owned())),
            Some(("API", address)) => return Some((proxy?, address.trim().to_owned())),
            _ => {}
        }
    }
    None
}

fn failed(why: &str) -> Failure {
    Failure::Because(format!(
        "no server is running, and none can be started for the program: {why}; start one with \
         `keyferry serve`"
    ))
}
