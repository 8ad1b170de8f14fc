//! `keyferry connection refresh`

use super::print;
use crate::cli::integration::IntegrationClient;
use crate::cli::output::CliError;
use crate::cli::server::ApiPath;
use crate::model::connection::ConnectionType;
use crate::model::name::ConnectionName;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The connection's name
    #[arg(value_name = "NAME", value_parser = ConnectionName::parse)]
    name: ConnectionName,
}

pub(super) fn run(arguments: &Arguments, client: &IntegrationClient<'_>) -> Result<(), CliError> {
    let (name, kind) = (&arguments.name, ConnectionType::OAuth);
    let path = ApiPath::zis(&["connections", "refresh", client.integration.as_str()]);
    // A GET that changes something: so the API has it.
    let answer = client.api.find(&path.with("name", name.as_str()))?;
    print(client, &answer.ok_or_else(|| client.missing(name, Some(kind)))?, kind)
}
