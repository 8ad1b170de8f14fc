//! `keyferry client delete`

use super::ClientArgs;
use crate::cli::confirm::ConfirmArgs;
use crate::cli::integration::IntegrationClient;
use crate::cli::output::{self, CliError, OutputFormat, count};
use crate::model::connection::ConnectionType;
use crate::model::name::ConnectionName;
use crate::wire::{ConnectionPage, OAuthClient, OAuthConnection};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

pub(super) fn run(arguments: &Arguments, client: &IntegrationClient<'_>) -> Result<(), CliError> {
    let named = &arguments.client.named;
    let OAuthClient { uuid, .. } = client.find_client(named)?.read()?;
    arguments.confirm.ask(|| question(client, named, &uuid))?;

    // The answer to the deletion does not say what goes with it, but the lists around it do.
    let is_told = client.api.context.format == OutputFormat::Text;
    let before = if is_told { authorized(client)? } else { Vec::new() };
    if client.api.delete(&client.client(&uuid))?.is_none() {
        return Err(client.no_client(named));
    }
    client.emit("", || {
        let deleted = format!("deleted {}", output::printable(named));
        // It is done: a list that can't be had changes nothing about that.
        let after = if before.is_empty() { Ok(Vec::new()) } else { authorized(client) };
        let Ok(after) = after else { return Ok(deleted) };
        let gone: Vec<_> = before.into_iter().filter(|name| !after.contains(name)).collect();
        Ok(if gone.is_empty() {
            deleted
        } else {
            let connections = count(gone.len(), "connection");
            format!("{deleted}, and with it {connections}: {}", gone.join(", "))
        })
    })
}

fn question(client: &IntegrationClient<'_>, named: &str, uuid: &str) -> Result<String, CliError> {
    let (named, integration) = (output::printable(named), &client.integration);
    let mut with_it = Vec::new();
    for name in authorized(client)? {
        // A name of the API is one.
        let Ok(parsed) = ConnectionName::parse(&name) else { continue };
        let path = client.connection(ConnectionType::OAuth, &parsed);
        let Some(answer) = client.api.find(&path)? else { continue };
        if answer.read::<OAuthConnection>()?.oauth_client_uuid == uuid {
            with_it.push(name);
        }
    }
    let deletes = format!("This deletes the client {named} of {integration}");
    Ok(if with_it.is_empty() {
        format!("{deletes}; it has no connection.")
    } else {
        let connections = count(with_it.len(), "connection");
        format!(
            "{deletes}, and with it {connections}, whose requests are refused from then on: {}.",
            with_it.join(", ")
        )
    })
}

/// The names of the integration's connections by OAuth, of any client.
fn authorized(client: &IntegrationClient<'_>) -> Result<Vec<String>, CliError> {
    let ConnectionPage { oauth, .. } = client.api.pages(&client.connections("all"))?.read()?;
    Ok(oauth.into_iter().map(|connection| output::printable(&connection.name)).collect())
}
