//! `keyferry config`: the keys of the configuration, for other programs.

use super::examples;
use super::output::{self, CliError};
use crate::config;

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Prints a JSON Schema of the configuration, by which editors complete and check it
    #[command(after_help = examples::CONFIG_SCHEMA)]
    Schema,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), CliError> {
    match arguments.command {
        Command::Schema => output::result(&format!("{:#}", config::schema())),
    }
}
