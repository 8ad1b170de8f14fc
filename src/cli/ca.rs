//! `keyferry ca`: the interception CA of a running server.

use std::time::Duration;

use serde_json::json;

use super::context::CliContext;
use super::examples;
use super::output::{self, CliError};
use super::server::{ApiPath, ServerArgs};
use crate::wire::{CaRotationRequest, NextCaAnswer};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    server: ServerArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Prints the certificates that programs must trust (PEM); no token is needed
    #[command(after_help = examples::CA_EXPORT)]
    Export,
    /// Makes another CA, which is published now and signs when the overlap is over
    #[command(after_help = examples::CA_ROTATE)]
    Rotate {
        /// Time for which the new CA is known before it signs
        #[arg(long, default_value = "7d", value_name = "DURATION", value_parser = humantime::parse_duration)]
        overlap: Duration,
    },
}

pub(super) fn run(arguments: &Arguments, context: &CliContext) -> Result<(), CliError> {
    match arguments.command {
        Command::Export => export(&arguments.server, context),
        Command::Rotate { overlap } => rotate(&arguments.server, overlap, context),
    }
}

fn export(server: &ServerArgs, context: &CliContext) -> Result<(), CliError> {
    let answer = server.open_client(context)?.get(&ApiPath::root(&["ca.pem"]))?;
    let certificates = answer.text()?.trim_end();
    let json = json!({ "certificates": certificates }).to_string();
    context.emit(&json, || Ok(certificates.to_owned()))
}

fn rotate(server: &ServerArgs, overlap: Duration, context: &CliContext) -> Result<(), CliError> {
    let overlap_text = humantime::format_duration(overlap).to_string();
    let request = CaRotationRequest { overlap: overlap_text.into() };
    let path = ApiPath::keyferry(&["ca", "rotate"]);
    let answer = server.client(context)?.post(&path, &request)?;
    context.emit(answer.text()?, || {
        let NextCaAnswer { ca } = answer.read()?;
        Ok(announcement(overlap, &output::printable(&ca.signs_from)))
    })
}

/// Says what must be done with the new CA.
fn announcement(overlap: Duration, signs_from: &str) -> String {
    if overlap.is_zero() {
        return "made another CA, which signs now: programs fail until they trust what `keyferry \
                ca export` prints"
            .to_owned();
    }
    format!(
        "made another CA, which signs from {signs_from}: have programs trust what `keyferry ca \
         export` prints by then"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_that_signs_at_once_leaves_no_time_to_trust_it() {
        let later = announcement(Duration::from_mins(1), "2026-01-01T00:00:00Z");
        assert!(later.contains("from 2026-01-01T00:00:00Z") && later.ends_with("by then"));
        let now = announcement(Duration::ZERO, "2026-01-01T00:00:00Z");
        assert!(now.contains("signs now: programs fail until") && !now.contains("2026"), "{now}");
    }
}
