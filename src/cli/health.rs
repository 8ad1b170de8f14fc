//! `keyferry health`: asks a running server whether it is ready.

use http::StatusCode;
use serde_json::json;

use super::context::CliContext;
use super::output::{CliError, OutputFormat};
use super::server::{ReadinessAnswer, ServerAddrArgs, port_of_proxy};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    server: ServerAddrArgs,
}

/// Succeeds when the server answers that it is ready.
pub(super) fn run(arguments: &Arguments, context: &CliContext) -> Result<(), CliError> {
    let ReadinessAnswer { server, answer } = arguments.server.readiness(context)?;
    let (reason, advice) = match answer {
        Ok(answer) if answer.is_of_proxy => (port_of_proxy(&server, context), ""),
        Ok(answer) if answer.status == StatusCode::OK => {
            let json = json!({ "ready": true, "url": server }).to_string();
            return context.emit(&json, || Ok(format!("{server} is ready")));
        }
        Ok(answer) => (format!("it answered with status {}", answer.status.as_u16()), ADVICE),
        Err(why) => (why.to_string(), ADVICE),
    };
    if context.format == OutputFormat::Text {
        return Err(CliError::Message(format!("{server} is not ready: {reason}{advice}")));
    }
    let json = json!({ "ready": false, "url": server, "reason": reason }).to_string();
    context.emit(&json, || Ok(String::new()))?;
    Err(CliError::Printed)
}

const ADVICE: &str = "; look at the server's log, or name another server with --url";
