//! `keyferry key`: the master keys of a running server.

use serde_json::Value;

use super::output::{self, Failure, Shape};
use super::server::{Path, Whom};
use super::table::{Table, cell};
use crate::config::{Environment, Options};

/// What to do with master keys.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Shows the master keys, and how many records each of them wraps
    List(Common),
    /// Reads the key file again, and brings every record under its first key
    Rotate(Common),
}

/// What both take.
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
        Command::List(common) => list(common, options, environment),
        Command::Rotate(common) => rotate(common, options, environment),
    }
}

fn list(common: &Common, options: &Options, environment: &Environment) -> Result<(), Failure> {
    let server = common.whom.find(options, environment)?;
    let answer = server.get(&Path::keyferry(&["keys"]))?;
    if common.output == Shape::Json {
        return output::result(answer.text()?);
    }
    let answer = answer.json()?;
    let mut table = Table::new(&["ID", "SEALS", "AT HAND", "RECORDS"]);
    for key in answer.get("keys").and_then(Value::as_array).into_iter().flatten() {
        table.add(["id", "active", "present", "records"].map(|member| cell(key, member)));
    }
    output::result(&table.text())
}

fn rotate(common: &Common, options: &Options, environment: &Environment) -> Result<(), Failure> {
    let server = common.whom.find(options, environment)?;
    let answer = server.post(&Path::keyferry(&["keys", "rotate"]), None)?;
    if common.output == Shape::Json {
        return output::result(answer.text()?);
    }
    let told = answer.json()?;
    let (key, failed) = (cell(&told, "key"), cell(&told, "failed"));
    let rewrapped = told.get("rewrapped").and_then(Value::as_u64).unwrap_or_default();
    let records = output::count(usize::try_from(rewrapped).unwrap_or(usize::MAX), "record");
    output::result(&format!("brought {records} under the key {key}"))?;
    if failed == "0" {
        return Ok(());
    }
    Err(Failure::Because(format!(
        "{failed} records can't be opened and are as they were: look at the server's log, and keep \
         the old key"
    )))
}
