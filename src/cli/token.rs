//! `keyferry token`: access tokens.

mod create;
mod generate;
mod list;
mod revoke;

use super::context::CliContext;
use super::examples;
use super::output::CliError;

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Makes a token that the server knows from now on, and prints it this once
    #[command(after_help = examples::TOKEN_CREATE)]
    Create(create::Arguments),
    /// Lists the tokens that the server keeps; the tokens themselves are never shown again
    #[command(visible_alias = "ls", after_help = examples::TOKEN_LIST)]
    List(list::Arguments),
    /// Revokes a token, by its id or its name
    #[command(visible_aliases = ["rm", "delete"], after_help = examples::TOKEN_REVOKE)]
    Revoke(revoke::Arguments),
    /// Prints a new token, to be declared in a configuration; asks no server
    #[command(after_help = examples::TOKEN_GENERATE)]
    Generate,
}

pub(super) fn run(arguments: &Arguments, context: &CliContext) -> Result<(), CliError> {
    match &arguments.command {
        Command::Create(arguments) => create::run(arguments, context),
        Command::List(arguments) => list::run(arguments, context),
        Command::Revoke(arguments) => revoke::run(arguments, context),
        Command::Generate => generate::run(context),
    }
}
