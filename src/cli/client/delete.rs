//! `keyferry client delete`

use crate::cli::output::{self, Failure, Shape};
use crate::cli::shelf::Common;
use crate::cli::table::cell;
use crate::config::{Environment, Options};

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
    if shelf.server.delete(&shelf.client(&uuid))?.is_none() {
        return Err(shelf.no_client(&arguments.named));
    }
    match arguments.common.output {
        Shape::Table => output::result(&format!(
            "deleted {}, and with it every connection that it had",
            output::printable(&arguments.named)
        )),
        Shape::Json => Ok(()),
    }
}
