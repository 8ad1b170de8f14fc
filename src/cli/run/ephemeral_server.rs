//! A server for one program: started before it and ended after it, from the same configuration.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::cli::context::CliContext;
use crate::cli::output::{self, CliError};
use crate::config::{StoreUrl, Whereabouts};

/// A server that runs until it is told to end.
pub(super) struct EphemeralServer {
    child: Child,
    pub(super) api: String,
    pub(super) proxy: String,
    /// The context of the commands that talk to it.
    pub(super) context: CliContext,
    /// Gone with the server, where nothing is to be kept.
    _data: Option<TempDir>,
}

impl EphemeralServer {
    /// Starts it on free ports and waits until it is ready.
    pub(super) fn start(context: &CliContext, found: &Whereabouts) -> Result<Self, CliError> {
        // The same program, with the same configuration.
        let program = std::env::current_exe();
        let program = program.map_err(|why| failed(&format!("it does not find itself: {why}")))?;
        let mut command = Command::new(program);
        let mut options = context.options.clone();
        // A server without a store keeps no token either, so it is given a place to do so.
        let data = if found.store == StoreUrl::Memory {
            let data = super::private_directory().map_err(|why| failed(&why.to_string()))?;
            options.data_dir = Some(data.path().to_owned());
            command.env("KEYFERRY_STORE__URL", "sqlite:keyferry.db");
            Some(data)
        } else {
            None
        };
        command.args(["serve", "--output", "json"]);
        for (name, value) in [("--config", &options.config), ("--data-dir", &options.data_dir)] {
            if let Some(value) = value {
                command.arg(name).arg(value);
            }
        }

        // Free ports, which it says once it is ready.
        command.env("KEYFERRY_PROXY__LISTEN", "[\"127.0.0.1:0\"]");
        command.env("KEYFERRY_API__LISTEN", "127.0.0.1:0");
        command.env("KEYFERRY_LOG__LEVEL", "warn");
        // In a group of its own: the terminal's signals are the program's alone.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|why| failed(&why.to_string()))?;
        let Some((proxy, api)) = read_greeting(&mut child) else {
            let _ended_by_itself = child.wait();
            return Err(failed("it says why above"));
        };
        let (environment, format) = (context.environment.clone(), context.format);
        let context = CliContext { options, environment, format };
        Ok(Self { child, api, proxy, context, _data: data })
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

/// Reads the URLs of the proxy and the API, once the server is ready.
fn read_greeting(child: &mut Child) -> Option<(String, String)> {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut()?).read_line(&mut line).ok()?;
    let greeting: Value = serde_json::from_str(&line).ok()?;
    let proxy = greeting.pointer("/proxy/0")?.as_str()?.to_owned();
    Some((proxy, greeting.get("api")?.as_str()?.to_owned()))
}

fn failed(why: &str) -> CliError {
    CliError::Message(format!(
        "no server is running, and none can be started for the program: {why}; start one with \
         `keyferry serve`"
    ))
}
