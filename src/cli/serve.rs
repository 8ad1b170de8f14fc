//! `keyferry serve`

use super::output::Failure;
use crate::config::{Environment, Options};

/// Nothing but what every command takes.
#[derive(clap::Args)]
pub(super) struct Arguments {}

/// Runs until a signal says to stop.
pub(super) fn run(
    _arguments: Arguments,
    _options: Options,
    _environment: Environment,
) -> Result<(), Failure> {
    Err(Failure::Because("serve is not part of this build".to_owned()))
}
