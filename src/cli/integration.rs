//! One integration at a running server, for the commands about its connections and clients.

use super::context::{CliContext, EVERY_INTEGRATION, INTEGRATION};
use super::output::CliError;
use super::server::{ApiClient, ServerArgs};
use crate::model::name::IntegrationName;

/// The integration, and its server.
#[derive(clap::Args)]
pub(super) struct IntegrationArgs {
    #[arg(long, global = true, value_name = "NAME", value_parser = NamedIntegration::parse, help = INTEGRATION_HELP)]
    integration: Option<NamedIntegration>,
    #[command(flatten)]
    server: ServerArgs,
}

/// The integration that the command line names, or all of them.
#[derive(Clone, Debug)]
enum NamedIntegration {
    Every,
    One(IntegrationName),
}

impl NamedIntegration {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            EVERY_INTEGRATION => Ok(Self::Every),
            name => IntegrationName::parse(name).map(Self::One).map_err(|rule| rule.to_string()),
        }
    }
}

/// The API of a running server, for one integration.
pub(super) struct IntegrationClient<'c> {
    pub(super) api: ApiClient<'c>,
    pub(super) integration: IntegrationName,
}

impl IntegrationArgs {
    /// Tells whether the command line or the environment names all integrations.
    pub(super) fn is_every(&self, context: &CliContext) -> bool {
        match &self.integration {
            Some(named) => matches!(named, NamedIntegration::Every),
            None => context.integration(None) == Some(EVERY_INTEGRATION),
        }
    }

    /// The API of its server.
    pub(super) fn api<'c>(&self, context: &'c CliContext) -> Result<ApiClient<'c>, CliError> {
        self.server.client(context)
    }

    /// The integration that the command line or the environment names, and its server. Nothing is
    /// sent yet.
    pub(super) fn client<'c>(
        &self,
        context: &'c CliContext,
    ) -> Result<IntegrationClient<'c>, CliError> {
        let integration = match (&self.integration, context.integration(None)) {
            (Some(NamedIntegration::One(name)), _) => name.clone(),
            (Some(NamedIntegration::Every), _) | (None, Some(EVERY_INTEGRATION)) => {
                return Err(CliError::Usage(
                    "which integration? * is for lists of what needs attention".to_owned(),
                ));
            }
            (None, Some(text)) => IntegrationName::parse(text).map_err(|rule| {
                CliError::Message(format!("{rule}: correct {INTEGRATION} or unset it"))
            })?,
            (None, None) => {
                return Err(CliError::Usage(format!(
                    "which integration? Name it with --integration or {INTEGRATION}"
                )));
            }
        };
        Ok(IntegrationClient { api: self.server.client(context)?, integration })
    }
}

impl IntegrationClient<'_> {
    /// Prints a result, as [`CliContext::emit`] does.
    pub(super) fn emit(
        &self,
        json: &str,
        text: impl FnOnce() -> Result<String, CliError>,
    ) -> Result<(), CliError> {
        self.api.context.emit(json, text)
    }
}

const INTEGRATION_HELP: &str =
    "The integration; needed here or in the environment [env: KEYFERRY_INTEGRATION]";
