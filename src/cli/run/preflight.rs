//! A look at what the program will find: a mistake in it is told before the program meets a refusal
//! that it may not show.

use std::path::Path;

use http::Uri;

use crate::cli::output::{self, CliError, note_defect};
use crate::cli::server::{ApiClient, ApiPath};
use crate::wire::{ConnectionAnswer, ServerAnswer, TypedConnection, TypedConnectionPage};

/// Looks for the connection that the program is to use, and says so where it can't be used. A token
/// that may not look sees nothing, and the program learns it from the proxy.
pub(super) fn need(
    api: &ApiClient<'_>,
    integration: &str,
    connection: &str,
) -> Result<(), CliError> {
    let path = ["integrations", integration, "connections", connection];
    match api.find(&ApiPath::keyferry(&path)) {
        Ok(None) => {}
        // It is there; whether it can be used is another question.
        Ok(Some(answer)) => {
            let (name, defect) =
                answer.read::<ConnectionAnswer>()?.connection.into_name_and_defect();
            note_defect("connection", &name, defect.as_deref());
            return Ok(());
        }
        // The token may not look.
        Err(CliError::Api(_)) => return Ok(()),
        Err(failure) => return Err(failure),
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
    let path = ApiPath::keyferry(&["integrations", integration, "connections"]);
    let page = api.get(&path).and_then(|answer| answer.read::<TypedConnectionPage>());
    let Ok(TypedConnectionPage { connections, .. }) = page else { return };
    // Of connections that are there, the defects are told.
    if !connections.is_empty() {
        for (name, defect) in connections.into_iter().map(TypedConnection::into_name_and_defect) {
            note_defect("connection", &name, defect.as_deref());
        }
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

/// The addresses of the server's proxy, without unix sockets.
pub(super) fn proxies(api: &ApiClient<'_>) -> Result<Vec<Uri>, CliError> {
    let ServerAnswer { server } = api.get(&ApiPath::keyferry(&["server"]))?.read()?;
    let addresses = server.proxy.iter().filter_map(|text| text.parse::<Uri>().ok());
    Ok(addresses.filter(|address| address.scheme().is_some()).collect())
}
