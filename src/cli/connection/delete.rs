//! `keyferry connection delete`

use super::ConnectionArgs;
use crate::cli::confirm::ConfirmArgs;
use crate::cli::integration::IntegrationClient;
use crate::cli::output::CliError;

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

pub(super) fn run(arguments: &Arguments, client: &IntegrationClient<'_>) -> Result<(), CliError> {
    let name = &arguments.connection.name;
    let (kind, _shown) = client.find(name, arguments.connection.kind)?;
    arguments.confirm.ask(|| {
        Ok(format!(
            "This deletes the connection {name} ({kind}) of {}, and the secret that it holds. \
             Requests that use it are refused from then on.",
            client.integration
        ))
    })?;
    if client.api.delete(&client.connection(kind, name))?.is_none() {
        return Err(client.missing(name, Some(kind)));
    }
    client.emit("", || Ok(format!("deleted {name}")))
}
