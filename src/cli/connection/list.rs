//! `keyferry connection list`

use super::{declared, state};
use crate::cli::integration::IntegrationClient;
use crate::cli::output::{self, CliError};
use crate::cli::table::TextTable;
use crate::clock::Clock;
use crate::model::connection::ConnectionType;
use crate::wire::{ConnectionPage, StaticConnection};

/// A row of the table, and why its connection can't be used.
type Row = ([String; 6], Option<String>);

pub(super) fn run(client: &IntegrationClient<'_>) -> Result<(), CliError> {
    let answer = client.api.pages(&client.connections("all"))?;
    let mut defects = Vec::new();
    client.emit(answer.text()?, || {
        let head = ["NAME", "TYPE", "ALLOWED DOMAIN", "STATE", "UPDATED AT", "DECLARED"];
        let mut table = TextTable::new(&head);
        for (row, defect) in rows(answer.read()?) {
            let [name, ..] = &row;
            defects.push((name.clone(), defect));
            table.add(row);
        }
        if table.is_empty() {
            output::note(&format!(
                "the integration {} has no connection: `keyferry connection create` makes one",
                client.integration
            ));
        }
        Ok(table.text())
    })?;
    // A defect is a sentence, which no column holds: it is told below the table.
    for (name, defect) in defects {
        output::note_defect("connection", &name, defect.as_deref());
    }
    Ok(())
}

/// The rows of all types in the order of the API, which is that of the bytes of their names.
fn rows(page: ConnectionPage) -> Vec<Row> {
    let ConnectionPage { api_key, basic_auth, bearer_token, oauth, meta: _ } = page;
    let now = Clock::system().now();
    let of_type = |kind: ConnectionType, list: Vec<StaticConnection>| {
        list.into_iter().map(move |it| {
            let state = state::of_static(&it).to_owned();
            let (kind, declared) = (kind.to_string(), declared(it.declared));
            ([it.name, kind, it.allowed_domain, state, it.updated_at, declared], it.defect)
        })
    };
    let by_oauth = oauth.into_iter().map(|it| {
        let (state, none) = (state::of(&it, now), String::new());
        let domain = it.allowed_domain.unwrap_or_default();
        let kind = ConnectionType::OAuth.to_string();
        ([it.name, kind, domain, state, none.clone(), none], it.defect)
    });
    let mut rows: Vec<Row> = of_type(ConnectionType::ApiKey, api_key)
        .chain(of_type(ConnectionType::BasicAuth, basic_auth))
        .chain(of_type(ConnectionType::BearerToken, bearer_token))
        .chain(by_oauth)
        .collect();
    rows.sort();
    rows
}
