//! `keyferry token`: access tokens.

use serde_json::json;

use super::output::{self, Failure, Format};
use crate::model::token;

/// What to do with tokens.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Prints a fresh token, to be declared in a configuration
    Generate {
        /// How the result is printed
        #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
        output: Format,
    },
}

/// Does it.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    match arguments.command {
        Command::Generate { output } => generate(output),
    }
}

fn generate(format: Format) -> Result<(), Failure> {
    let token = token::generate().map_err(|why| Failure::of(&why))?;
    // Printed for the operator to keep: there is no other copy.
    let text = String::from_utf8_lossy(token.expose());
    match format {
        Format::Text => output::result(&text),
        Format::Json => output::result(&json!({ "token": text }).to_string()),
    }
}
