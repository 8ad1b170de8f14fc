//! `keyferry connection list`

use serde_json::{Map, Value, json};

use super::health::NeedingConnections;
use super::state::EnteredState;
use super::{custom, declared, health, state};
use crate::cli::integration::IntegrationClient;
use crate::cli::output::{self, CliError, OutputFormat};
use crate::cli::server::ApiAnswer;
use crate::cli::table::TextTable;
use crate::clock::Clock;
use crate::model::connection::ConnectionType;
use crate::wire::{ConnectionPage, StaticConnection, TypedConnection, TypedConnectionPage};

/// A row of the table, and why its connection can't be used.
type Row = ([String; 6], Option<String>);

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Only the connections in which somebody must act: why, who, and what they do; with
    /// --integration '*' of all integrations
    #[arg(long)]
    pub(super) attention: bool,
}

pub(super) fn run(
    arguments: &Arguments,
    mut client: IntegrationClient<'_>,
) -> Result<(), CliError> {
    if arguments.attention {
        return health::list(&client.api, Some(&client.integration));
    }
    // 1. Both lists of the API, of which the second has those by OAuth.
    let typed: TypedConnectionPage = client.api.pages(&client.typed())?.read()?;
    if client.api.context.format == OutputFormat::Json {
        client.api = client.api.revealing_tokens();
    }
    let answer = client.api.pages(&client.connections("all"))?;
    let beyond = typed.connections.into_iter().filter(is_beyond).collect();
    let (json, beyond) = with_others(&answer, beyond)?;
    // 2. The connections, and those in which somebody must act.
    let mut defects = Vec::new();
    let mut needing = NeedingConnections::default();
    client.emit(&json, || {
        needing = client.needing()?;
        let head = ["NAME", "TYPE", "ALLOWED DOMAIN", "STATE", "UPDATED AT", "DECLARED"];
        let mut table = TextTable::new(&head);
        let mut all = rows(answer.read()?, &needing);
        all.extend(beyond.into_iter().filter_map(|it| custom::listed(it, &needing)));
        all.sort();
        for (row, defect) in all {
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
    // 3. A defect is a sentence, which no column holds: it is told below the table.
    for (name, defect) in &defects {
        output::note_defect("connection", name, defect.as_deref());
    }
    let usable = defects.iter().filter(|(_, defect)| defect.is_none());
    needing.note(usable.map(|(name, _)| name.as_str()));
    Ok(())
}

/// Tells whether a connection is of a type that ZIS has not.
fn is_beyond(it: &TypedConnection) -> bool {
    matches!(it, TypedConnection::Custom(_) | TypedConnection::AwsSigV4(_))
}

/// The page in JSON, with an array for each further type of which there are connections.
fn with_others(
    answer: &ApiAnswer,
    others: Vec<TypedConnection>,
) -> Result<(String, Vec<TypedConnection>), CliError> {
    if others.is_empty() {
        return Ok((answer.text()?.to_owned(), others));
    }
    let mut page: Map<String, Value> = answer.read()?;
    for other in &others {
        let Ok(Value::Object(mut it)) = serde_json::to_value(other) else { continue };
        let Some(Value::String(kind)) = it.remove("type") else { continue };
        if let Some(array) = page.entry(kind).or_insert_with(|| json!([])).as_array_mut() {
            array.push(Value::Object(it));
        }
    }
    Ok((Value::Object(page).to_string(), others))
}

/// The rows of ZIS's types in the order of the API, which is that of the bytes of their names.
fn rows(page: ConnectionPage, needing: &NeedingConnections) -> Vec<Row> {
    let ConnectionPage { api_key, basic_auth, bearer_token, oauth, meta: _ } = page;
    // 1. Those whose secret was entered, and those by OAuth.
    let now = Clock::system().now();
    let of_type = |kind: ConnectionType, list: Vec<StaticConnection>| {
        list.into_iter().map(move |it| {
            let not_after = it.not_after.as_deref();
            let state = EnteredState::of(&it.options, it.defect.as_deref(), not_after);
            let state = state.words(needing.of(&it.name), now);
            let (kind, declared) = (kind.to_string(), declared(it.declared));
            ([it.name, kind, it.allowed_domain, state, it.updated_at, declared], it.defect)
        })
    };
    let by_oauth = oauth.into_iter().map(|it| {
        let (state, none) = (state::of(&it, needing.of(&it.name), now), String::new());
        let domain = it.allowed_domain.unwrap_or_default();
        let kind = ConnectionType::OAuth.to_string();
        ([it.name, kind, domain, state, none.clone(), none], it.defect)
    });
    // 2. All of them.
    let mut rows: Vec<Row> = of_type(ConnectionType::ApiKey, api_key)
        .chain(of_type(ConnectionType::BasicAuth, basic_auth))
        .chain(of_type(ConnectionType::BearerToken, bearer_token))
        .chain(by_oauth)
        .collect();
    rows.sort();
    rows
}
