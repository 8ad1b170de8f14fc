//! `keyferry serve`

mod next_steps;

use std::fmt::Write as _;

use serde_json::json;

use self::next_steps::NextSteps;
use super::context::CliContext;
use super::output::{self, CliError};
use crate::app::{Server, StartError, Started, harden};
use crate::clock::Clock;

/// Runs until a signal says to stop.
pub(super) fn run(context: &CliContext) -> Result<(), CliError> {
    for refused in harden() {
        output::note(&format!("warning: {refused}"));
    }
    let loaded = context.configuration()?;
    let next = NextSteps::of(&loaded.config, loaded.file.as_deref(), Clock::system().now());
    let (options, environment) = (context.options.clone(), context.environment.clone());
    let started = Server::start(loaded.config, options, environment);
    let server = started.map_err(|why| match why {
        StartError::Secrets(faults) => CliError::Faults(faults),
        why => why.into(),
    })?;
    context.emit(&as_json(server.started()), || Ok(greeting(server.started(), &next)))?;
    Ok(server.run()?)
}

fn as_json(started: &Started) -> String {
    json!({
        "proxy": started.proxy,
        "api": started.api,
        "data_dir": started.data_dir.display().to_string(),
        "admin_token_file": started.admin_token.path.display().to_string(),
        "ca_file": started.ca.display().to_string(),
        "connections": started.connections,
        "unusable_connections": started.unusable,
    })
    .to_string()
}

/// Says where things are, and what to try next.
fn greeting(started: &Started, next: &NextSteps) -> String {
    // What there is, a line each.
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
    // How much of the store is in force.
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
    // What leads to a first request.
    text.push_str("Try next:\n");
    text.push_str(&next.commands(started));
    text
}
