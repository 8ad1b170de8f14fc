//! `keyferry client list`

use crate::cli::integration::IntegrationClient;
use crate::cli::output::{self, CliError};
use crate::cli::table::TextTable;
use crate::wire::ClientPage;

pub(super) fn run(client: &IntegrationClient<'_>) -> Result<(), CliError> {
    let answer = client.api.pages(&client.clients())?;
    client.emit(answer.text()?, || {
        let mut table = TextTable::new(&["NAME", "CLIENT ID", "GRANT TYPE", "TOKEN URL", "UUID"]);
        for item in answer.read::<ClientPage>()?.clients {
            table.add([item.name, item.client_id, item.grant_type, item.token_url, item.uuid]);
        }
        if table.is_empty() {
            output::note(&format!(
                "the integration {} has no client: `keyferry client create` makes one",
                client.integration
            ));
        }
        Ok(table.text())
    })
}
