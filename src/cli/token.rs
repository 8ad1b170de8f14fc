//! `keyferry token`: access tokens.

mod create;
mod generate;
mod list;
mod revoke;

use super::output::{Failure, Shape};
use super::server::Whom;
use crate::config::{Environment, Options};

/// What to do with tokens.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Makes a token that the server knows from now on, and prints it this once
    Create(create::Arguments),
    /// Lists the tokens that the server keeps; the tokens themselves are never shown again
    List(list::Arguments),
    /// Revokes a token, by its id or its name
    Revoke(revoke::Arguments),
    /// Prints a fresh token, to be declared in a configuration
    Generate(generate::Arguments),
}

/// What those take that ask a server.
#[derive(clap::Args)]
struct Common {
    #[command(flatten)]
    whom: Whom,
    /// How the result is printed
    #[arg(long, value_enum, default_value = "table", value_name = "FORMAT")]
    output: Shape,
}

/// Does it.
pub(super) fn run(
    arguments: &Arguments,
    options: &Options,
    environment: &Environment,
) -> Result<(), Failure> {
    match &arguments.command {
        Command::Create(arguments) => create::run(arguments, options, environment),
        Command::List(arguments) => list::run(arguments, options, environment),
        Command::Revoke(arguments) => revoke::run(arguments, options, environment),
        Command::Generate(arguments) => generate::run(arguments),
    }
}
