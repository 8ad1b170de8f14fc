//! The program: it ends with the exit code that the command line gives.

use std::process::ExitCode;

fn main() -> ExitCode {
    keyferry::cli::run()
}
