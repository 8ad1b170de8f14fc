//! A look at what the program will find: a mistake in it is told before the program meets a refusal
//! that it may not show.

use std::path::Path;

use http::Uri;

use crate::cli::output::{self, CliError, note_defect};
use crate::cli::server::{ApiClient, ApiPath};
use crate::model::connection::ConnectionType;
use crate::wire::{ConnectionPage, OAuthItem, ServerAnswer, StaticAnswer};

/// Looks for the connection that the program is to use, and says so where it can't be used. A token
/// that may not look sees nothing, and the program learns it from the proxy.
pub(super) fn need(
    api: &ApiClient<'_>,
    integration: &str,
    connection: &str,
) -> Result<(), CliError> {
    for kind in ConnectionType::ALL {
        match api.find(&ApiPath::connection(integration, kind, connection)) {
            Ok(None) => {}
            // It is there; whether it can be used is another question.
            Ok(Some(answer)) => {
                if kind == ConnectionType::OAuth {
                    let it: OAuthItem = answer.read()?;
                    note_defect("connection", &it.name, it.defect.as_deref());
                } else if let Some(it) = answer.read::<StaticAnswer>()?.get(kind.as_str()) {
                    note_defect("connection", &it.name, it.defect.as_deref());
                }
                return Ok(());
            }
            // The token may not look.
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
    let page = api.get(&path).and_then(|answer| answer.read::<ConnectionPage>());
    let Ok(ConnectionPage { api_key, basic_auth, bearer_token, oauth, .. }) = page else { return };
    let entered = api_key.into_iter().chain(basic_auth).chain(bearer_token);
    let entered = entered.map(|it| (it.name, it.defect));
    let connections: Vec<_> =
        entered.chain(oauth.into_iter().map(|it| (it.name, it.defect))).collect();
    // Of connections that are there, the defects are told.
    if !connections.is_empty() {
        for (name, defect) in connections {
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
