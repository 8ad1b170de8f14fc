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
        let at_hand = at_hand(key).to_owned();
        table.add([cell(key, "id"), cell(key, "active"), at_hand, cell(key, "records")]);
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
    let key = cell(&told, "key");
    let rewrapped = told.get("rewrapped").and_then(Value::as_u64).unwrap_or_default();
    let records = output::count(usize::try_from(rewrapped).unwrap_or(usize::MAX), "record");
    output::result(&format!("brought {records} under the key {key}"))?;
    match told.get("failed").and_then(Value::as_u64).unwrap_or_default() {
        0 => Ok(()),
        1 => Err(Failure::Because(format!("1 record can't be opened and is as it was: {KEEP}"))),
        failed => Err(Failure::Because(format!(
            "{failed} records can't be opened and are as they were: {KEEP}"
        ))),
    }
}

/// Where a key is: the server goes by what it has read, and its next start by the file.
fn at_hand(key: &Value) -> &'static str {
    let is = |member| key.get(member).and_then(Value::as_bool);
    match (is("present").unwrap_or_default(), is("in_file")) {
        (true, Some(false)) => "not in the file any more",
        (true, _) => "yes",
        (false, Some(true)) => "in the file, not used yet",
        (false, _) => "no",
    }
}

const KEEP: &str = "the server's log names what it is; delete what was changed by hand, and keep \
                    the old key until then";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_key_is_where_the_server_and_the_file_have_it() {
        for (key, said) in [
            (json!({"present": true}), "yes"),
            (json!({"present": true, "in_file": true}), "yes"),
            (json!({"present": true, "in_file": false}), "not in the file any more"),
            (json!({"present": false, "in_file": true}), "in the file, not used yet"),
            (json!({"present": false, "in_file": false}), "no"),
            (json!({"present": false}), "no"),
        ] {
            assert_eq!(at_hand(&key), said, "{key}");
        }
    }
}
