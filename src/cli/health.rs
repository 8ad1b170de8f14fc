//! `keyferry health`: asks a running server whether it is ready.

mod ask;
mod target;

use std::time::Duration;

use serde_json::json;

use super::faulty;
use super::output::{self, Failure, Format};
use crate::clock;
use crate::config::{self, Environment, Options};
use target::Target;

/// Whom to ask.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The server
    #[arg(long, value_name = "URL", value_parser = target::parse, help = URL_HELP)]
    url: Option<http::Uri>,
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
    let target = find(arguments.url.as_ref(), options, environment)?;
    let verdict = match ask::status(&target, clock::instant() + PATIENCE) {
        Ok(200) => Ok(()),
        Ok(status) => Err(format!("it answered with status {status}")),
        Err(why) => Err(why.to_string()),
    };
    let shown = target.to_string();
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

/// The command line, then the environment, then where the configuration has the API listen.
fn find(
    url: Option<&http::Uri>,
    options: &Options,
    environment: &Environment,
) -> Result<Target, Failure> {
    let named = match (url, environment.text("KEYFERRY_URL")) {
        (Some(url), _) => Some(url.clone()),
        (None, Some(text)) => {
            let wrong = |why| Failure::Because(format!("KEYFERRY_URL {why}: mend it or unset it"));
            Some(target::parse(text).map_err(wrong)?)
        }
        (None, None) => None,
    };
    if let Some(url) = named {
        return Ok(Target::of_url(&url));
    }
    let api = config::load_api(options, environment).map_err(|faults| faulty(&faults))?;
    Ok(Target::of_api(&api))
}

const URL_HELP: &str = "The server [environment: KEYFERRY_URL] [default: api.listen]";

/// Less than what container runtimes wait for a check by default.
const PATIENCE: Duration = Duration::from_secs(3);
