//! `keyferry serve`

mod next;

use std::fmt::Write as _;

use self::next::Next;
use super::output::{self, Failure};
use crate::app::{Server, Started, harden};
use crate::clock::Clock;
use crate::config::{Environment, Options};

/// Nothing but what every command takes.
#[derive(clap::Args)]
pub(super) struct Arguments {}

/// Runs until a signal says to stop.
pub(super) fn run(
    Arguments {}: Arguments,
    options: Options,
    environment: Environment,
) -> Result<(), Failure> {
    for refused in harden() {
        output::note(&format!("warning: {refused}"));
    }
    let loaded = super::configuration(&options, &environment)?;
    let next = Next::of(&loaded.config, loaded.file.as_deref(), Clock::system().now());
    let server =
        Server::start(loaded.config, options, environment).map_err(|error| Failure::of(&error))?;
    output::result(&greeting(server.started(), &next))?;
    server.run().map_err(|error| Failure::of(&error))
}

/// Where things are, and what to try next.
fn greeting(started: &Started, next: &Next) -> String {
    let mut text = String::from("Keyferry is ready.\n");
    let mut say = |name: &str, value: &str| {
        let _infallible = writeln!(text, "  {name:<12} {value}");
    };
    for address in &started.proxy {
        say("proxy", address);
    }
    say("API", &started.api);
    say("console", &format!("{}/", started.api));
    say("data", &started.data_dir.display().to_string());
    let token = &started.admin_token;
    let made = if token.is_new { " (made now; readable by you alone)" } else { "" };
    say("admin token", &format!("{}{made}", token.path.display()));
    say("CA", &started.ca.display().to_string());
    let connections = output::count(started.connections, "connection");
    let unusable = match started.unusable {
        0 => String::new(),
        count => {
            format!(
                ", of which {count} can't be used: `keyferry connection list` says which and why"
            )
        }
    };
    say("store", &format!("{:?} ({connections} in force{unusable})", started.store));
    text.push_str("Try next:\n");
    text.push_str(&next.commands(started));
    text
}
