//! What an integration has, as a server keeps it: where it is found, for the commands that ask
//! for it.

use super::output::{Failure, Shape};
use super::server::{Server, Whom};
use crate::config::{Environment, Options};
use crate::model::name::IntegrationName;

/// What every command about one integration takes.
#[derive(clap::Args)]
pub(super) struct Common {
    #[command(flatten)]
    whom: Whom,
    /// The integration [environment: `KEYFERRY_INTEGRATION`]
    #[arg(long, value_name = "NAME", value_parser = IntegrationName::parse, help = INTEGRATION_HELP)]
    integration: Option<IntegrationName>,
    /// How the result is printed
    #[arg(long, value_enum, default_value = "table", value_name = "FORMAT")]
    pub(super) output: Shape,
}

/// What one integration has, as a server keeps it.
pub(super) struct Shelf {
    pub(super) server: Server,
    pub(super) integration: IntegrationName,
}

impl Common {
    /// The integration that the command line or the environment names, and its server. Nothing is
    /// sent yet.
    pub(super) fn shelf(
        &self,
        options: &Options,
        environment: &Environment,
    ) -> Result<Shelf, Failure> {
        let integration = match (&self.integration, environment.text(INTEGRATION)) {
            (Some(name), _) => name.clone(),
            (None, Some(text)) => IntegrationName::parse(text).map_err(|rule| {
                Failure::Because(format!("{rule}: mend {INTEGRATION} or unset it"))
            })?,
            (None, None) => {
                return Err(Failure::Usage(format!(
                    "which integration? Name it with --integration or {INTEGRATION}"
                )));
            }
        };
        Ok(Shelf { server: self.whom.find(options, environment)?, integration })
    }
}

const INTEGRATION: &str = "KEYFERRY_INTEGRATION";

const INTEGRATION_HELP: &str = "The integration [environment: KEYFERRY_INTEGRATION]";
