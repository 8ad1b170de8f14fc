//! The command line: its words, its output and its exit codes.
//!
//! Owns arguments and everything that is printed, promises exit code 0 for done, 1 for failed and
//! 2 for wrong usage, and must never know how a command does its work.

mod audit;
mod backup;
mod ca;
mod check;
mod client;
mod completions;
mod config;
mod confirm;
mod connection;
mod context;
mod examples;
mod explain;
mod health;
mod integration;
mod key;
mod man;
mod newest;
mod output;
mod provider;
mod requests;
mod rules;
mod run;
mod secret;
mod serve;
mod server;
mod table;
mod token;
mod unset;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

use self::context::CliContext;
use self::output::{CliError, OutputFormat};
use crate::config::{Environment, Options};

/// Runs the command that the process was started with, and says how the process should end.
pub fn run() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    match Arguments::try_parse_from(&words) {
        Ok(Arguments { command, common }) => {
            let options = Options { config: common.config, data_dir: common.data_dir };
            let (environment, format) = (Environment::of_the_process(), common.output);
            let context = CliContext { options, environment, format };
            output::exit_code(command.run(&context), format)
        }
        Err(usage) => output::usage(&usage, format_of(&words)),
    }
}

/// An outbound proxy that adds the credential, so that the program calling the API never holds it.
#[derive(Parser)]
#[command(name = "keyferry", version, after_help = examples::KEYFERRY)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

/// The options of every command.
#[derive(Args)]
struct Common {
    #[arg(long, global = true, value_name = "FILE", help = CONFIG_HELP, help_heading = GLOBAL)]
    config: Option<PathBuf>,
    /// Directory of the database, the keys and admin.token [default: keyferry-data]
    #[arg(long, global = true, value_name = "DIR", help_heading = GLOBAL)]
    data_dir: Option<PathBuf>,
    /// Form of results and errors
    #[arg(long, global = true, value_enum, default_value = "text", value_name = "FORMAT", help_heading = GLOBAL)]
    output: OutputFormat,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the proxy, the management API and the console
    #[command(after_help = examples::SERVE)]
    Serve,
    /// Reads the configuration, not the store, and reports every fault in it; starts nothing
    #[command(after_help = examples::CHECK)]
    Check,
    /// Asks a running server whether it is ready; for health checks of containers
    #[command(after_help = examples::HEALTH)]
    Health(health::Arguments),
    /// Says what the proxy would do with a request and why
    #[command(after_help = examples::EXPLAIN)]
    Explain(explain::Arguments),
    /// Runs a program whose requests go through the proxy
    #[command(after_help = examples::RUN)]
    Run(run::Arguments),
    /// Manages the connections of a running server
    #[command(after_help = examples::CONNECTION)]
    Connection(connection::Arguments),
    /// Manages OAuth clients: how an integration is registered with a provider
    #[command(after_help = examples::CLIENT)]
    Client(client::Arguments),
    /// Shows the catalogue of OAuth providers, of which clients are made by name
    #[command(after_help = examples::PROVIDER)]
    Provider(provider::Arguments),
    /// Manages access tokens
    #[command(after_help = examples::TOKEN)]
    Token(token::Arguments),
    /// Shows what requests did, and why one failed
    #[command(after_help = examples::REQUESTS)]
    Requests(requests::Arguments),
    /// Shows what operators did: what they created, changed, deleted or were shown
    #[command(after_help = examples::AUDIT)]
    Audit(audit::Arguments),
    /// Prints or replaces the certificate that programs trust inside tunnels
    #[command(after_help = examples::CA)]
    Ca(ca::Arguments),
    /// Shows and rotates the master keys of a running server
    #[command(after_help = examples::KEY)]
    Key(key::Arguments),
    /// Copies the embedded store into a new file, while the server runs or not
    #[command(after_help = examples::BACKUP)]
    Backup(backup::Arguments),
    /// Restores a backup into a data directory that has no store
    #[command(after_help = examples::RESTORE)]
    Restore(backup::Arguments),
    /// Describes the keys of the configuration
    #[command(after_help = examples::CONFIG)]
    Config(config::Arguments),
    /// Prints a script by which a shell completes this command line
    #[command(after_help = examples::COMPLETIONS)]
    Completions(completions::Arguments),
    /// Writes the manual, a page for each command
    #[command(after_help = examples::MAN)]
    Man(man::Arguments),
}

impl Command {
    fn run(self, context: &CliContext) -> Result<(), CliError> {
        match self {
            Self::Serve => serve::run(context),
            Self::Check => check::run(context),
            Self::Health(arguments) => health::run(&arguments, context),
            Self::Explain(arguments) => explain::run(&arguments, context),
            Self::Run(arguments) => run::run(&arguments, context),
            Self::Connection(arguments) => connection::run(&arguments, context),
            Self::Client(arguments) => client::run(&arguments, context),
            Self::Provider(arguments) => provider::run(&arguments, context),
            Self::Token(arguments) => token::run(&arguments, context),
            Self::Requests(arguments) => requests::run(&arguments, context),
            Self::Audit(arguments) => audit::run(&arguments, context),
            Self::Ca(arguments) => ca::run(&arguments, context),
            Self::Key(arguments) => key::run(&arguments, context),
            Self::Backup(arguments) => backup::back_up(&arguments, context),
            Self::Restore(arguments) => backup::restore(&arguments, context),
            Self::Config(arguments) => config::run(&arguments),
            Self::Completions(arguments) => completions::run(&arguments, Arguments::command()),
            Self::Man(arguments) => man::run(&arguments, Arguments::command(), context),
        }
    }
}

/// The form of the error where the arguments can't be read: the one that they ask for all the same.
fn format_of(words: &[OsString]) -> OutputFormat {
    let own = words.iter().take_while(|word| *word != "--").map(|word| word.to_string_lossy());
    let own: Vec<_> = own.collect();
    let is_json = own.iter().any(|word| word == "--output=json")
        || own
            .windows(2)
            .any(|pair| matches!(pair, [name, value] if name == "--output" && value == "json"));
    if is_json { OutputFormat::Json } else { OutputFormat::Text }
}

/// The variables that are the operator's, and are taken from every program that is started.
const OPERATOR_VARIABLES: [&str; 2] = ["KEYFERRY_TOKEN", "KEYFERRY_MASTER_KEY"];

const GLOBAL: &str = "Global options";

const CONFIG_HELP: &str = "The configuration file [env: KEYFERRY_CONFIG] [default: none]";

#[cfg(test)]
mod tests {
    use super::*;

    /// A command and all below it.
    fn all(command: &clap::Command) -> Vec<clap::Command> {
        let below = command.get_subcommands().filter(|below| below.get_name() != "help");
        std::iter::once(command.clone()).chain(below.flat_map(all)).collect()
    }

    fn commands() -> Vec<clap::Command> {
        let mut program = Arguments::command();
        program.build();
        all(&program)
    }

    #[test]
    fn no_two_arguments_have_one_name() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn no_help_shows_marks_that_documentation_pages_hide() {
        let commands = commands();
        assert!(commands.len() > 30);
        let marks = |text: &str| {
            let is_link = |rest: &str| rest.starts_with(|c: char| c.is_ascii_lowercase());
            text.contains('`') || text.split('<').skip(1).any(is_link)
        };
        let helps = commands.into_iter().map(|mut command| command.render_long_help().to_string());
        let helps: Vec<_> = helps.collect();
        let lines = helps.iter().flat_map(|help| help.lines()).filter(|line| marks(line));
        assert_eq!(lines.collect::<Vec<_>>(), Vec::<&str>::new());
    }

    /// The words of an example, as a shell splits it, up to a redirection.
    fn words(line: &str) -> Vec<String> {
        let quoted = |(number, part): (usize, &str)| match number % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        };
        let words = line.split('\'').enumerate().flat_map(quoted);
        words.take_while(|word: &String| word != ">").collect()
    }

    #[test]
    fn every_command_has_examples_which_it_understands() {
        for command in commands() {
            let name = command.get_display_name().unwrap_or_else(|| command.get_name());
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let help = help.replace(" \\\n", " ");
            let examples: Vec<_> = help.lines().filter(|line| line.starts_with("  ")).collect();
            assert!(help.starts_with("Examples:\n") && !examples.is_empty(), "{name}");
            for example in examples {
                let (_before, own) = example.split_once("keyferry ").unwrap();
                let words = ["keyferry".to_owned()].into_iter().chain(words(own));
                let read = Arguments::try_parse_from(words);
                assert!(read.is_ok(), "{example}: {}", read.err().unwrap());
            }
        }
    }

    #[test]
    fn the_form_of_an_error_is_the_one_that_is_asked_for() {
        let of = |line: &str| format_of(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        for line in ["keyferry check --output json extra", "keyferry --output=json"] {
            assert!(of(line) == OutputFormat::Json, "{line}");
        }
        for line in ["keyferry check --output text", "keyferry run -- a --output json"] {
            assert!(of(line) == OutputFormat::Text, "{line}");
        }
    }
}
