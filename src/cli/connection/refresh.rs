//! `keyferry connection refresh`

use super::print;
use crate::cli::output::Failure;
use crate::cli::server::Path;
use crate::cli::shelf::Common;
use crate::config::{Environment, Options};
use crate::model::connection::ConnectionType;
use crate::model::name::ConnectionName;

/// Which connection; only those by OAuth have tokens that can be had anew.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    common: Common,
    /// The connection's name
    #[arg(value_name = "NAME", value_parser = ConnectionName::parse)]
    name: ConnectionName,
}

pub(super) fn run(
    arguments: &Arguments,
    options: &Options,
    environment: &Environment,
) -> Result<(), Failure> {
    let shelf = arguments.common.shelf(options, environment)?;
    let (name, kind) = (&arguments.name, ConnectionType::OAuth);
    let path = Path::zis(&["connections", "refresh", shelf.integration.as_str()]);
    // A GET that changes something: so the API has it.
    let answer = shelf.server.look(&path.with("name", name.as_str()))?;
    let Some(answer) = answer else { return Err(shelf.missing(name, Some(kind))) };
    print(&answer, kind, arguments.common.output)
}
