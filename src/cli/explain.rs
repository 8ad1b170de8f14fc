//! `keyferry explain`

use super::output::{Failure, Format};
use crate::config::{Environment, Options};

/// The request to judge.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The connection to use; else the one that covers the host
    #[arg(long, value_name = "NAME")]
    pub(super) connection: Option<String>,
    /// The integration of the connection; needed where several are declared
    #[arg(long, value_name = "NAME")]
    pub(super) integration: Option<String>,
    /// How the result is printed
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
    pub(super) output: Format,
    /// The method, as GET
    pub(super) method: String,
    /// The URL
    #[arg(help = "The URL, as https://api.example.com/v1")]
    pub(super) url: String,
}

/// Says what the proxy would do.
pub(super) fn run(
    _arguments: &Arguments,
    _options: &Options,
    _environment: &Environment,
) -> Result<(), Failure> {
    Err(Failure::Because("explain is not part of this build".to_owned()))
}
