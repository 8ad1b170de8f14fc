//! A look at what the program will find: a mistake in it is told before the program meets a refusal
//! that it may not show.

use std::path::Path;

use http::Uri;
use serde_json::Value;

use crate::cli::output::{self, CliError};
use crate::cli::server::{ApiClient, ApiPath};
use crate::cli::table::cell;
use crate::model::connection::ConnectionType;

/// Looks for the connection that the program is to use, and says so where it can't be used. A token
/// that may not look sees nothing, and the program learns it from the proxy.
///
/// # Errors
/// When there is no such connection.
pub(super) fn need(
    api: &ApiClient<'_>,
    integration: &str,
    connection: &str,
) -> Result<(), CliError> {
    for kind in ConnectionType::ALL {
        match api.find(&ApiPath::connection(integration, kind, connection)) {
            Ok(None) => {}
            Ok(Some(answer)) => {
                let answer = answer.json()?;
                note_unusable(answer.get(kind.as_str()).unwrap_or(&answer));
                return Ok(());
            }
            Err(CliError::Api(_)) => return Ok(()),
            Err(failure) => return Err(failure),
        }
    }
    Err(CliError::Message(format!(
        "the integration {integration} has no connection {connection}: `keyferry connection list` \
         shows those that it has"
    )))
}

/// Says so where the integration has no connection, for more often than not another was meant, and
/// which of its connections can't be used, as far as the first page tells. `data` is the data
/// directory of a server that was started for the program alone.
pub(super) fn warn(api: &ApiClient<'_>, integration: &str, data: Option<&Path>) {
    // A token that may not look sees nothing, and nothing is said then.
    let path = ApiPath::zis(&["integrations", integration, "connections", "all"]);
    let listing = api.get(&path).and_then(|answer| answer.json());
    let Ok(listing) = listing else { return };
    let lists = ConnectionType::ALL.iter().filter_map(|kind| listing.get(kind.as_str()));
    let connections: Vec<_> = lists.filter_map(Value::as_array).flatten().collect();
    // Of connections that are there, the defects are told.
    if !connections.is_empty() {
        connections.into_iter().for_each(note_unusable);
        return;
    }

    // Of none, the server that lacks them.
    let nothing = format!("has no connection in the integration {integration}");
    output::note(&match data {
        None => format!(
            "keyferry: the server {nothing}: name another with --integration or \
             KEYFERRY_INTEGRATION"
        ),
        Some(data) => {
            let data = std::path::absolute(data).unwrap_or_else(|_same| data.to_owned());
            let data = data.display();
            format!(
                "keyferry: no server answers, and the one that was started for this program \
                 {nothing}; its data is in {data}: name another with --data-dir, or a server with \
                 --url"
            )
        }
    });
}

fn note_unusable(connection: &Value) {
    if connection.get("defect").is_some() {
        let (name, why) = (cell(connection, "name"), cell(connection, "defect"));
        output::note(&format!("keyferry: the connection {name} can't be used: {why}"));
    }
}

/// The addresses of the server's proxy, without unix sockets.
pub(super) fn proxies(api: &ApiClient<'_>) -> Result<Vec<Uri>, CliError> {
    let answer = api.get(&ApiPath::keyferry(&["server"]))?.json()?;
    let told = answer.pointer("/server/proxy").and_then(Value::as_array);
    let parsed = told.into_iter().flatten().filter_map(Value::as_str);
    let addresses = parsed.filter_map(|text| text.parse::<Uri>().ok());
    Ok(addresses.filter(|address| address.scheme().is_some()).collect())
}
