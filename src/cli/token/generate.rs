//! `keyferry token generate`

use serde_json::json;

use crate::cli::output::{self, Failure, Format};
use crate::model::token;

/// Nothing but how it is printed.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// How the result is printed
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
    output: Format,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let token = token::generate().map_err(|why| Failure::of(&why))?;
    // Printed for the operator to keep: there is no other copy.
    let text = String::from_utf8_lossy(token.expose());
    match arguments.output {
        Format::Text => output::result(&text),
        Format::Json => output::result(&json!({ "token": text }).to_string()),
    }
}
