//! `keyferry health`: asks a running server whether it is ready.

use http::StatusCode;
use serde_json::json;

use super::context::CliContext;
use super::output::CliError;
use super::server::{ServerAddrArgs, port_of_proxy};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    server: ServerAddrArgs,
}

pub(super) fn run(arguments: &Arguments, context: &CliContext) -> Result<(), CliError> {
    let (server, answer) = arguments.server.readiness(context)?;
    let not_ready = |reason: &str| {
        format!(
            "{server} is not ready: {reason}; look at the server's log, or name another server \
             with --url"
        )
    };
    // The reason, and what to do about it.
    let (reason, sentence) = match answer {
        Ok(answer) if answer.is_of_proxy => {
            let sentence = port_of_proxy(&server, context);
            (sentence.clone(), sentence)
        }
        Ok(answer) if answer.status == StatusCode::OK => {
            let json = json!({ "ready": true, "url": server }).to_string();
            return context.emit(&json, || Ok(format!("{server} is ready")));
        }
        Ok(answer) => {
            let reason = format!("it answered with status {}", answer.status.as_u16());
            (reason.clone(), not_ready(&reason))
        }
        Err(why) => (why.to_string(), not_ready(&why.to_string())),
    };
    // As JSON it is a result, as text an error.
    let json = json!({ "ready": false, "url": server, "reason": reason }).to_string();
    context.emit(&json, || Err(CliError::Message(sentence)))?;
    Err(CliError::Printed)
}
