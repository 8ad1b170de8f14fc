//! `keyferry health`: asks a running server whether it is ready.

use http::StatusCode;
use serde_json::json;

use super::output::{self, Failure, Format};
use super::server::Address;
use crate::config::{Environment, Options};

/// Whom to ask.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    address: Address,
    /// How the result is printed
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
    output: Format,
}

/// Succeeds when the server answers that it is ready.
pub(super) fn run(
    arguments: &Arguments,
    options: &Options,
    environment: &Environment,
) -> Result<(), Failure> {
    let (shown, answer) = arguments.address.readiness(options, environment)?;
    let verdict = match answer {
        Ok(StatusCode::OK) => Ok(()),
        Ok(status) => Err(format!("it answered with status {}", status.as_u16())),
        Err(why) => Err(why.to_string()),
    };
    match (arguments.output, verdict) {
        (Format::Text, Ok(())) => output::result(&format!("{shown} is ready")),
        (Format::Text, Err(why)) => Err(Failure::Because(format!(
            "{shown} is not ready: {why}; look at the server's log, or name another server with \
             --url"
        ))),
        (Format::Json, Ok(())) => {
            output::result(&json!({ "ready": true, "url": shown }).to_string())
        }
        (Format::Json, Err(why)) => {
            output::result(&json!({ "ready": false, "url": shown, "reason": why }).to_string())?;
            Err(Failure::AsPrinted)
        }
    }
}
