//! `keyferry token revoke`

use serde_json::Value;

use super::Common;
use crate::cli::output::{self, Failure, Shape};
use crate::cli::server::{Path, Server};
use crate::cli::table::cell;
use crate::config::{Environment, Options};

/// Which token.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    common: Common,
    /// The token's id, or its name where no other token is called so
    #[arg(value_name = "ID")]
    named: String,
}

pub(super) fn run(
    arguments: &Arguments,
    options: &Options,
    environment: &Environment,
) -> Result<(), Failure> {
    let server = arguments.common.whom.find(options, environment)?;
    let id = find(&server, &arguments.named)?;
    if server.delete(&Path::keyferry(&["tokens", &id]))?.is_none() {
        return Err(missing(&arguments.named));
    }
    match arguments.common.output {
        Shape::Table => output::result(&format!("revoked {}", output::printable(&arguments.named))),
        Shape::Json => Ok(()),
    }
}

/// The id of the token that is meant.
fn find(server: &Server, named: &str) -> Result<String, Failure> {
    let whole = server.pages(&Path::keyferry(&["tokens"]))?;
    let whole: Value = serde_json::from_str(&whole).unwrap_or_default();
    let tokens = whole.get("tokens").and_then(Value::as_array);
    let called = |member| {
        let tokens = tokens.into_iter().flatten();
        let found = tokens.filter(move |token| cell(token, member) == named);
        found.map(|token| cell(token, "id")).collect::<Vec<_>>()
    };
    match (called("id").as_slice(), called("name").as_slice()) {
        ([id, ..], _) | ([], [id]) => Ok(id.clone()),
        ([], []) => Err(missing(named)),
        ([], several) => Err(Failure::Because(format!(
            "{} tokens are called so: name one by its id, which is one of {}",
            several.len(),
            several.join(", ")
        ))),
    }
}

fn missing(named: &str) -> Failure {
    let named = output::printable(named);
    Failure::Because(format!("there is no token {named}: `keyferry token list` shows all"))
}
