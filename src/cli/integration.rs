//! One integration at a running server, for the commands about its connections and clients.

use super::context::{CliContext, INTEGRATION};
use super::output::CliError;
use super::server::{ApiClient, ServerArgs};
use crate::model::name::IntegrationName;

/// The integration, and its server.
#[derive(clap::Args)]
pub(super) struct IntegrationArgs {
    #[arg(long, global = true, value_name = "NAME", value_parser = IntegrationName::parse, help = INTEGRATION_HELP)]
    integration: Option<IntegrationName>,
    #[command(flatten)]
    server: ServerArgs,
}

/// The API of a running server, for one integration.
pub(super) struct IntegrationClient<'c> {
    pub(super) api: ApiClient<'c>,
    pub(super) integration: IntegrationName,
}

impl IntegrationArgs {
    /// The integration that the command line or the environment names, and its server. Nothing is
    /// sent yet.
    pub(super) fn client<'c>(
        &self,
        context: &'c CliContext,
    ) -> Result<IntegrationClient<'c>, CliError> {
        let integration = match (&self.integration, context.integration(None)) {
            (Some(name), _) => name.clone(),
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
