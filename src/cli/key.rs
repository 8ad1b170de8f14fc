//! `keyferry key`: the master keys of a running server.

use super::context::CliContext;
use super::examples;
use super::output::{self, CliError, OutputFormat};
use super::server::{ApiClient, ApiPath, ServerArgs};
use super::table::{TextTable, yes_or_no};
use crate::wire::{KeyList, KeyRotation, KeyView};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    server: ServerArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Shows the master keys, and how many records each of them wraps
    #[command(visible_alias = "ls", after_help = examples::KEY_LIST)]
    List,
    /// Reads the key file again, and wraps every record under its first key
    #[command(after_help = examples::KEY_ROTATE)]
    Rotate,
}

pub(super) fn run(arguments: &Arguments, context: &CliContext) -> Result<(), CliError> {
    let api = arguments.server.client(context)?;
    match arguments.command {
        Command::List => list(&api),
        Command::Rotate => rotate(&api),
    }
}

fn list(api: &ApiClient<'_>) -> Result<(), CliError> {
    let answer = api.get(&ApiPath::keyferry(&["keys"]))?;
    api.context.emit(answer.text()?, || {
        let mut table = TextTable::new(&["ID", "SEALS", "AT HAND", "RECORDS"]);
        for key in answer.read::<KeyList>()?.keys {
            let at_hand = at_hand(&key).to_owned();
            table.add([key.id, yes_or_no(key.active), at_hand, key.records.to_string()]);
        }
        Ok(table.text())
    })
}

fn rotate(api: &ApiClient<'_>) -> Result<(), CliError> {
    let answer = api.post_empty(&ApiPath::keyferry(&["keys", "rotate"]))?;
    let KeyRotation { key, rewrapped, failed } = answer.read()?;
    api.context.emit(answer.text()?, || {
        let records = usize::try_from(rewrapped).unwrap_or(usize::MAX);
        let (records, key) = (output::count(records, "record"), output::printable(&key));
        Ok(format!("brought {records} under the key {key}"))
    })?;
    match (api.context.format, failed) {
        (OutputFormat::Json, _) | (_, 0) => Ok(()),
        (_, 1) => {
            Err(CliError::Message(format!("1 record can't be opened and is as it was: {KEEP}")))
        }
        (_, failed) => Err(CliError::Message(format!(
            "{failed} records can't be opened and are as they were: {KEEP}"
        ))),
    }
}

/// Says where a key is: the server goes by its memory, and its next start by the file.
fn at_hand(key: &KeyView) -> &'static str {
    match (key.present, key.in_file) {
        (true, Some(false)) => "not in the file any more",
        (true, _) => "yes",
        (false, Some(true)) => "in the file, not used yet",
        (false, _) => "no",
    }
}

const KEEP: &str = "the server's log names it; delete the record that was changed by hand, and \
                    keep the old key until then";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_where_the_server_and_the_file_have_it() {
        for (present, in_file, said) in [
            (true, None, "yes"),
            (true, Some(true), "yes"),
            (true, Some(false), "not in the file any more"),
            (false, Some(true), "in the file, not used yet"),
            (false, Some(false), "no"),
            (false, None, "no"),
        ] {
            let key = KeyView { present, in_file, ..KeyView::default() };
            assert_eq!(at_hand(&key), said, "{key:?}");
        }
    }
}
