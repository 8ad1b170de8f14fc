//! The street: the command line, its words and its exit codes.
//!
//! Owns arguments and everything that is printed, promises exit code 0 for done, 1 for failed and
//! 2 for wrong usage, and must never know how a command does its work.

mod backup;
mod body;
mod ca;
mod check;
mod client;
mod connection;
mod explain;
mod health;
mod key;
mod output;
mod run;
mod secret;
mod serve;
mod server;
mod shelf;
mod table;
mod token;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{self, Environment, Fault, Faults, Loaded, Options};
use output::Failure;

/// Runs the command that the process was started with, and says how the process should end.
#[must_use]
pub fn run() -> ExitCode {
    let environment = Environment::of_the_process();
    match Arguments::try_parse() {
        Ok(arguments) => output::exit_code(arguments.run(environment)),
        Err(usage) => output::usage(&usage),
    }
}

/// An outbound proxy that adds the credential, so that the program calling the API never holds it.
#[derive(Parser)]
#[command(name = "keyferry", version, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

/// What every command takes.
#[derive(Args)]
struct Common {
    /// The configuration file
    #[arg(long, global = true, value_name = "FILE", help = CONFIG_HELP)]
    config: Option<PathBuf>,
    /// Where the database, the keys and admin.token are kept [default: keyferry-data]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

const CONFIG_HELP: &str = "The configuration file [environment: KEYFERRY_CONFIG] [default: none]";

#[derive(Subcommand)]
enum Command {
    /// Runs the proxy and the management API
    Serve(serve::Arguments),
    /// Reads the configuration, not the store, and reports every fault in it; starts nothing
    Check(check::Arguments),
    /// Asks a running server whether it is ready; for health checks of containers
    Health(health::Arguments),
    /// Says what the proxy would do with a request and why
    Explain(explain::Arguments),
    /// Runs a program whose requests go through the proxy
    Run(run::Arguments),
    /// Manages the connections that a running server keeps
    Connection(connection::Arguments),
    /// Manages OAuth clients: how an integration is registered with a provider
    Client(client::Arguments),
    /// Manages access tokens
    Token(token::Arguments),
    /// Prints or replaces the certificate that programs trust inside tunnels
    Ca(ca::Arguments),
    /// Shows and rotates the master keys of a running server
    Key(key::Arguments),
    /// Copies the embedded store into a new file, while the server runs or not
    Backup(backup::Arguments),
    /// Brings a backup into a data directory that has no store
    Restore(backup::Arguments),
}

impl Arguments {
    fn run(self, environment: Environment) -> Result<(), Failure> {
        let options = Options { config: self.common.config, data_dir: self.common.data_dir };
        match self.command {
            Command::Serve(arguments) => serve::run(arguments, options, environment),
            Command::Check(arguments) => check::run(&arguments, &options, &environment),
            Command::Health(arguments) => health::run(&arguments, &options, &environment),
            Command::Explain(arguments) => explain::run(&arguments, &options, &environment),
            Command::Connection(arguments) => connection::run(&arguments, &options, &environment),
            Command::Client(arguments) => client::run(&arguments, &options, &environment),
            Command::Run(arguments) => run::run(&arguments, &options, &environment),
            Command::Token(arguments) => token::run(&arguments, &options, &environment),
            Command::Ca(arguments) => ca::run(&arguments, &options, &environment),
            Command::Key(arguments) => key::run(&arguments, &options, &environment),
            Command::Backup(arguments) => backup::back_up(&arguments, &options, &environment),
            Command::Restore(arguments) => backup::restore(&arguments, &options, &environment),
        }
    }
}

/// Reads the configuration for a command that needs all of it; warnings are said at once.
fn configuration(options: &Options, environment: &Environment) -> Result<Loaded, Failure> {
    let loaded = config::load(options, environment).map_err(|faults| faulty(&faults))?;
    warn(&loaded.warnings);
    Ok(loaded)
}

fn warn(warnings: &[Fault]) {
    for warning in warnings {
        output::note(&format!("warning: {warning}"));
    }
}

fn faulty(faults: &Faults) -> Failure {
    warn(&faults.warnings);
    for fault in &faults.faults {
        output::note(&fault.to_string());
    }
    let count = output::count(faults.faults.len(), "fault");
    Failure::Because(format!("the configuration has {count}: mend what is listed above"))
}

/// What the operator has, and no program that is started for them may have.
const OURS: [&str; 2] = ["KEYFERRY_TOKEN", "KEYFERRY_MASTER_KEY"];

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn no_argument_stands_in_anothers_way() {
        super::Arguments::command().debug_assert();
    }

    /// The help of a command and of all below it, as a terminal shows it.
    fn helps(command: &clap::Command) -> Vec<String> {
        let own = command.clone().render_long_help().to_string();
        let below = command.get_subcommands().flat_map(helps);
        std::iter::once(own).chain(below).collect()
    }

    #[test]
    fn no_help_shows_marks_that_documentation_pages_hide() {
        let helps = helps(&super::Arguments::command());
        assert!(helps.len() > 30);
        let marks = |text: &str| {
            let is_link = |rest: &str| rest.starts_with(|c: char| c.is_ascii_lowercase());
            text.contains('`') || text.split('<').skip(1).any(is_link)
        };
        let lines = helps.iter().flat_map(|help| help.lines()).filter(|line| marks(line));
        assert_eq!(lines.collect::<Vec<_>>(), Vec::<&str>::new());
    }
}
