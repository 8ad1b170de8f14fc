//! `keyferry ca`: the interception CA of a running server.

use std::time::Duration;

use serde_json::json;

use super::output::{self, Failure, Format, Shape};
use super::server::{Path, Whom};
use super::table::cell;
use crate::config::{Environment, Options};
use crate::secret::Secret;

/// The command line.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Prints the certificates to trust (PEM)
    Export(Export),
    /// Makes another CA, which is published now and signs when the overlap is over
    Rotate(Rotate),
}

#[derive(clap::Args)]
struct Export {
    #[command(flatten)]
    whom: Whom,
    /// How the result is printed
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
    output: Format,
}

#[derive(clap::Args)]
struct Rotate {
    #[command(flatten)]
    whom: Whom,
    /// For how long the new CA is known before it signs
    #[arg(long, default_value = "7d", value_name = "DURATION", value_parser = humantime::parse_duration)]
    overlap: Duration,
    /// How the result is printed
    #[arg(long, value_enum, default_value = "table", value_name = "FORMAT")]
    output: Shape,
}

/// Does it.
pub(super) fn run(
    arguments: &Arguments,
    options: &Options,
    environment: &Environment,
) -> Result<(), Failure> {
    match &arguments.command {
        Command::Export(arguments) => export(arguments, options, environment),
        Command::Rotate(rotate) => succeed(rotate, options, environment),
    }
}

/// The certificates are no secret, so whoever runs programs needs no token for them.
fn export(arguments: &Export, options: &Options, environment: &Environment) -> Result<(), Failure> {
    let server = arguments.whom.find_open(options, environment)?;
    let answer = server.get(&Path::root(&["ca.pem"]))?;
    let certificates = answer.text()?.trim_end();
    output::result(&match arguments.output {
        Format::Text => certificates.to_owned(),
        Format::Json => json!({ "certificates": certificates }).to_string(),
    })
}

fn succeed(
    arguments: &Rotate,
    options: &Options,
    environment: &Environment,
) -> Result<(), Failure> {
    let server = arguments.whom.find(options, environment)?;
    let overlap = humantime::format_duration(arguments.overlap).to_string();
    let answer = server.post(
        &Path::keyferry(&["ca", "rotate"]),
        Some(Secret::new(json!({"overlap": overlap}).to_string())),
    )?;
    if arguments.output == Shape::Json {
        return output::result(answer.text()?);
    }
    let told = answer.json()?;
    let signs_from = told.get("ca").map(|ca| cell(ca, "signs_from")).unwrap_or_default();
    output::result(&announcement(arguments.overlap, &signs_from))
}

/// Says what is to be done now that there is another CA.
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
