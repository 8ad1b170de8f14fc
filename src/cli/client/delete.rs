//! `keyferry client delete`

use serde_json::Value;

use crate::cli::output::{self, Failure, Shape};
use crate::cli::shelf::{Common, Shelf};
use crate::cli::table::cell;
use crate::config::{Environment, Options};
use crate::model::connection::ConnectionType;

/// Which client. Every connection that it has is deleted with it.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    common: Common,
    /// The client's name or uuid
    #[arg(value_name = "CLIENT")]
    named: String,
}

pub(super) fn run(
    arguments: &Arguments,
    options: &Options,
    environment: &Environment,
) -> Result<(), Failure> {
    let shelf = arguments.common.shelf(options, environment)?;
    let uuid = cell(&shelf.find_client(&arguments.named)?.json()?, "uuid");
    let is_table = arguments.common.output == Shape::Table;
    let may_have_connections = is_table && has_authorized(&shelf)?;
    if shelf.server.delete(&shelf.client(&uuid))?.is_none() {
        return Err(shelf.no_client(&arguments.named));
    }
    if !is_table {
        return Ok(());
    }
    let named = output::printable(&arguments.named);
    output::result(&if may_have_connections {
        format!("deleted {named}, and with it every connection that it had")
    } else {
        format!("deleted {named}")
    })
}

/// Looks for connections by OAuth in the integration. The list does not say of which client each
/// is, and the answer to the deletion does not say how many there were.
fn has_authorized(shelf: &Shelf) -> Result<bool, Failure> {
    let whole = shelf.server.pages(&shelf.connections("all"))?;
    let whole: Value = serde_json::from_str(&whole).unwrap_or_default();
    let authorized = whole.get(ConnectionType::OAuth.as_str()).and_then(Value::as_array);
    Ok(authorized.is_none_or(|connections| !connections.is_empty()))
}
