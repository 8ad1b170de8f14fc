//! The context of a command: what the command line and the environment say to all commands alike,
//! and the one way in which results are printed.

use super::output::{self, CliError, OutputFormat};
use crate::config::{self, Environment, Loaded, Options, Whereabouts};

/// The sources of the configuration, and the form of the output.
pub(super) struct CliContext {
    pub(super) options: Options,
    pub(super) environment: Environment,
    pub(super) format: OutputFormat,
}

impl CliContext {
    /// Reads the configuration for a command that needs all of it, and prints its warnings.
    pub(super) fn configuration(&self) -> Result<Loaded, CliError> {
        let loaded = config::load(&self.options, &self.environment).map_err(CliError::Faults)?;
        output::warn(&loaded.warnings);
        Ok(loaded)
    }

    /// Reads from the configuration where a running server is.
    pub(super) fn whereabouts(&self) -> Result<Whereabouts, CliError> {
        config::whereabouts(&self.options, &self.environment).map_err(CliError::Faults)
    }

    /// The integration that the command line names, else the environment's.
    pub(super) fn integration<'t>(&'t self, named: Option<&'t str>) -> Option<&'t str> {
        named.or_else(|| self.environment.text(INTEGRATION))
    }

    /// The integration that a list is of, where it is not of all: the one that the command line
    /// names, else the environment's, which is said. `*` is all of them.
    pub(super) fn listed_integration<'t>(&'t self, named: Option<&'t str>) -> Option<&'t str> {
        let found = self.integration(named).filter(|name| *name != EVERY_INTEGRATION);
        if let (None, Some(name)) = (named, found) {
            output::note(&output::printable(&format!(
                "keyferry: only of {name} ({INTEGRATION}); --integration '*' shows all"
            )));
        }
        found
    }

    /// Prints a result: this JSON document, or what `text` makes of it for people. An empty one
    /// prints nothing.
    pub(super) fn emit(
        &self,
        json: &str,
        text: impl FnOnce() -> Result<String, CliError>,
    ) -> Result<(), CliError> {
        let made;
        let result = match self.format {
            OutputFormat::Json => json,
            OutputFormat::Text => {
                made = text()?;
                &made
            }
        };
        if result.is_empty() { Ok(()) } else { output::result(result) }
    }
}

/// The name for all integrations.
pub(super) const EVERY_INTEGRATION: &str = "*";

pub(super) const INTEGRATION: &str = "KEYFERRY_INTEGRATION";
