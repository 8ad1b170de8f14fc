//! `keyferry token generate`

use serde_json::json;

use crate::cli::context::CliContext;
use crate::cli::output::CliError;
use crate::model::token;

pub(super) fn run(context: &CliContext) -> Result<(), CliError> {
    let token = token::generate().map_err(|why| CliError::of(&why))?;
    // Printed for the operator to keep: there is no other copy.
    let text = String::from_utf8_lossy(token.expose());
    context.emit(&json!({ "token": text }).to_string(), || Ok(text.clone().into_owned()))
}
