//! `keyferry client show`

use super::print;
use crate::cli::output::Failure;
use crate::cli::shelf::Common;
use crate::config::{Environment, Options};

/// Which client.
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
    print(&shelf.find_client(&arguments.named)?, arguments.common.output)
}
