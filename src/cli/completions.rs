//! `keyferry completions`: the command line as a shell completes it.

use clap_complete::Shell;

use super::output::{self, CliError};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The shell that reads the script
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments, mut program: clap::Command) -> Result<(), CliError> {
    let (name, mut script) = (program.get_name().to_owned(), Vec::new());
    clap_complete::generate(arguments.shell, &mut program, name, &mut script);
    output::result(String::from_utf8_lossy(&script).trim_end())
}
