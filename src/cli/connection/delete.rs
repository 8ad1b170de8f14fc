//! `keyferry connection delete`

use super::kind_parser;
use crate::cli::output::{self, Failure, Shape};
use crate::cli::shelf::Common;
use crate::config::{Environment, Options};
use crate::model::connection::ConnectionType;
use crate::model::name::ConnectionName;

/// Which connection.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    common: Common,
    /// The connection's name
    #[arg(value_name = "NAME", value_parser = ConnectionName::parse)]
    name: ConnectionName,
    /// Only if it is of this type
    #[arg(long = "type", value_name = "TYPE", value_parser = kind_parser())]
    kind: Option<ConnectionType>,
}

pub(super) fn run(
    arguments: &Arguments,
    options: &Options,
    environment: &Environment,
) -> Result<(), Failure> {
    let shelf = arguments.common.shelf(options, environment)?;
    let name = &arguments.name;
    let (kind, _shown) = shelf.find(name, arguments.kind)?;
    if shelf.server.delete(&shelf.connection(kind, name))?.is_none() {
        return Err(shelf.missing(name, Some(kind)));
    }
    match arguments.common.output {
        Shape::Table => output::result(&format!("deleted {name}")),
        Shape::Json => Ok(()),
    }
}
