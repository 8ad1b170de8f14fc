//! Events: everything that changes something leaves one, and nobody takes one away unnoticed.

use std::collections::BTreeSet;

use http::Response;
use http_body_util::Full;
use serde_json::{Value, json};
use sqlx::{ConnectOptions as _, Executor as _};

use super::{of_each_type, stored};
use crate::support::ask::stranger;
use crate::support::authorized::{OAUTH, parameter, prepared, target};
use crate::support::documents::{Documents, ISSUER_HOST, MCP_HOST, registered, server_metadata};
use crate::support::operator::CONNECTIONS;
use crate::support::origin::{Origin, ok};
use crate::support::postgres::Postgres;
use crate::support::provider::{Provider, origin_accepting};
use crate::support::world::{Running, World};

const EVENTS: &str = "/api/keyferry/v1/events";

/// The events that a query selects, newest first.
async fn events(server: &Running, query: &str) -> Vec<Value> {
    let answer = server.manage(&format!("GET {EVENTS}{query}"), None).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["events"].as_array().unwrap().clone()
}

async fn verified(server: &Running) -> Value {
    let answer = server.manage(&format!("GET {EVENTS}/verify"), None).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// The ids of the events at which something is wrong.
async fn faulty(server: &Running) -> BTreeSet<String> {
    let check = verified(server).await;
    let faults = check["faults"].as_array().unwrap();
    assert_eq!(check["intact"], json!(faults.is_empty()), "{check}");
    faults.iter().map(|fault| fault["id"].as_str().unwrap().to_owned()).collect()
}

/// A walk through the operations that change something.
struct Walk {
    server: Running,
    seen: usize,
    done: BTreeSet<&'static str>,
}

impl Walk {
    /// Asks as the operator, and finds one event of this kind.
    async fn step(
        &mut self,
        operation: &'static str,
        kind: &str,
        line: &str,
        body: Option<Value>,
    ) -> Value {
        let answer = self.server.manage(line, body).await;
        assert!(answer.status < 400, "{operation}: {answer:?}");
        self.found(operation, kind).await;
        serde_json::from_slice(&answer.body).unwrap_or_default()
    }

    /// Finds one event of this kind that was not there before.
    async fn found(&mut self, operation: &'static str, kind: &str) {
        let all = events(&self.server, "").await;
        let new: Vec<_> = all[..all.len() - self.seen].iter().map(|event| &event["kind"]).collect();
        assert_eq!(new, [kind], "{operation}");
        let event = &all[0];
        assert_eq!(event["operator"], "admin", "{event}");
        assert_eq!(event["address"], "127.0.0.1", "{event}");
        assert!(event["instance"].as_str().is_some_and(|name| !name.is_empty()), "{event}");
        self.seen = all.len();
        self.done.insert(operation);
    }
}

/// A server with a provider and an MCP server.
async fn walk(provider: &Provider, documents: &Documents) -> (Origin, Origin, Walk) {
    let issuer = format!("https://{ISSUER_HOST}");
    let described = json!({
        "resource": format!("https://{MCP_HOST}"), "authorization_servers": [issuer],
    });
    documents.set("GET /.well-known/oauth-authorization-server", 200, &server_metadata(&issuer));
    documents.set("POST /register", 201, &registered());
    let challenge = format!("Bearer resource_metadata=\"https://{MCP_HOST}/described\"");
    let mcp = Origin::answering(&["http/1.1"], move |seen| {
        if seen.target == "/described" {
            return ok(&described.to_string());
        }
        let head = Response::builder().status(401).header("www-authenticate", &challenge);
        head.body(Full::from("no")).unwrap()
    })
    .await;
    let api = origin_accepting(provider).await;
    let world = prepared(provider, &api).keeping().set("api.requests_per_minute", "0");
    let server = world.pin(ISSUER_HOST, &documents.origin).pin(MCP_HOST, &mcp).run().await;
    (api, mcp, Walk { server, seen: 0, done: BTreeSet::new() })
}

async fn static_types(walk: &mut Walk) {
    let operations = [
        ["create_bearer_token", "update_bearer_token", "delete_bearer_token"],
        ["create_api_key", "update_api_key", "delete_api_key"],
        ["create_basic_auth", "update_basic_auth", "delete_basic_auth"],
    ];
    for ((kind, whole, change), [create, update, delete]) in
        of_each_type().into_iter().zip(operations)
    {
        let (all, name) = (format!("{CONNECTIONS}/{kind}"), whole["name"].as_str().unwrap());
        let one = format!("{all}/{name}");
        walk.step(create, "connection.create", &format!("POST {all}"), Some(whole.clone())).await;
        let update_line = format!("PATCH {one}");
        walk.step(update, "connection.update", &update_line, Some(change.clone())).await;
        let event = &events(&walk.server, "?kind=connection.update").await[0];
        assert_eq!((&event["connection"], &event["integration"]), (&json!(name), &json!("acme")));
        let has_secret = change.get("token").or(change.get("api_key")).is_some();
        assert_eq!(event.get("secret_changed"), has_secret.then_some(&json!(true)), "{event}");
        let text = change.get("username").or(change.get("header_name"));
        if let Some(text) = text {
            let member = if kind == "api_key" { "header_name" } else { "username" };
            assert_eq!(event["after"][member], *text, "{event}");
            assert_eq!(event["before"][member], whole[member], "{event}");
        }
        walk.step(delete, "connection.delete", &format!("DELETE {one}"), None).await;
    }
}

async fn clients_and_flows(walk: &mut Walk, provider: &Provider) {
    let all = format!("{OAUTH}/oauth/clients/acme");
    let body = Some(provider.registration());
    let made =
        walk.step("create_oauth_client", "client.create", &format!("POST {all}"), body).await;
    let one = format!("{all}/{}", made["uuid"].as_str().unwrap());
    let change = Some(json!({"default_scopes": "read"}));
    walk.step("update_oauth_client", "client.update", &format!("PATCH {one}"), change).await;
    // A flow, whose browser comes back by GET, and one by POST.
    let start = format!("POST {OAUTH}/oauth/start/acme");
    for (name, operation) in [("one", "oauth_callback"), ("two", "posted_oauth_callback")] {
        let flow = Some(Running::flow(name));
        let begun = walk.step("start_oauth_flow", "flow.start", &start, flow).await;
        let begun = begun["redirect_url"].as_str().unwrap().to_owned();
        let callback = walk.server.consent(provider, &begun).await;
        walk.found("start_oauth_redirect", "flow.redirect").await;
        let ended = if name == "one" {
            walk.server.stroll(target(&callback)).await
        } else {
            let (path, query) = target(&callback).split_once('?').unwrap();
            let form = stranger(&format!("POST {path}")).body(query);
            let form = form.field("Content-Type", "application/x-www-form-urlencoded");
            crate::support::raw::Raw::tcp(walk.server.api_address()).await.send(&form).await
        };
        assert_eq!(ended.status, 303, "{ended:?}");
        walk.found(operation, "flow.callback").await;
        let event =
            &events(&walk.server, &format!("?connection={name}&kind=flow.callback")).await[0];
        assert_eq!(event["after"]["access_token"], "*****", "{event}");
        let code = parameter(&ended.location(), "verification_code").unwrap();
        let line = format!("GET {OAUTH}/oauth/access_codes/acme?verification_code={code}");
        walk.step("exchange_verification_code", "flow.exchange", &line, None).await;
    }
    // What has come of it.
    let connection = format!("{OAUTH}/acme?name=one");
    let line = format!("GET {connection}");
    walk.step("show_oauth_connection", "connection.reveal", &line, None).await;
    let line = format!("GET {CONNECTIONS}/all?page[after]=one");
    walk.step("list_connections", "connection.reveal", &line, None).await;
    let typed = "/api/keyferry/v1/integrations/acme/connections";
    let line = format!("GET {typed}?page[after]=one");
    walk.step("list_all_connections", "connection.reveal", &line, None).await;
    lists_of_several(walk, typed).await;
    let line = format!("GET {typed}/one");
    walk.step("show_any_connection", "connection.reveal", &line, None).await;
    let line = format!("GET {OAUTH}/refresh/acme?name=one");
    walk.step("refresh_oauth_token", "connection.refresh", &line, None).await;
    let change = Some(json!({"description": "the first"}));
    let line = format!("PATCH {connection}");
    walk.step("bind_oauth_connection", "connection.update", &line, change).await;
    let line = format!("DELETE {connection}");
    walk.step("delete_oauth_connection", "connection.delete", &line, None).await;
    walk.step("delete_oauth_client", "client.delete", &format!("DELETE {one}"), None).await;
    let event = &events(&walk.server, "?kind=client.delete").await[0];
    assert_eq!(event["before"]["connections"], json!(["two"]), "{event}");
}

/// A list with the tokens of several connections leaves an event for each; without tokens, none.
async fn lists_of_several(walk: &mut Walk, typed: &str) {
    let all = format!("{CONNECTIONS}/all");
    for (path, field) in [(typed, "false"), (&all, "false"), (typed, "true"), (&all, "yes")] {
        let list = stranger(&format!("GET {path}")).field("X-Keyferry-Redact-Tokens", field);
        let list = walk.server.admin().send(list).await;
        let in_clear = !list.text().contains("\"access_token\":\"*****\"");
        assert!(list.status == 200 && in_clear == (field == "false"), "{list:?}");
        for name in ["one", "two"] {
            let new = events(&walk.server, &format!("?connection={name}")).await;
            let is_new = new[0]["id"].as_str().unwrap().parse::<usize>().unwrap() > walk.seen;
            assert_eq!(is_new, in_clear, "{path}: {new:?}");
            assert!(!in_clear || new[0]["kind"] == "connection.reveal", "{new:?}");
        }
        let all = events(&walk.server, "").await.len();
        assert_eq!(all, walk.seen + if in_clear { 2 } else { 0 }, "{path}");
        walk.seen = all;
    }
}

async fn custom_type(walk: &mut Walk) {
    let all = "/api/keyferry/v1/integrations/acme/connections";
    let whole = json!({
        "type": "custom", "name": "several", "allowed_domains": ["api.example.com"],
        "secrets": {"key": "MY_API_KEY"},
        "inject": [{"in": "header", "name": "x-key", "value": "{key}"}],
    });
    let line = format!("POST {all}");
    walk.step("create_typed_connection", "connection.create", &line, Some(whole)).await;
    let (line, change) =
        (format!("PATCH {all}/several"), json!({"secrets": {"key": "ANOTHER_KEY"}}));
    walk.step("update_typed_connection", "connection.update", &line, Some(change)).await;
    let event = &events(&walk.server, "?kind=connection.update").await[0];
    assert_eq!(event["after"]["allowed_domains"], json!(["api.example.com"]), "{event}");
    let line = format!("DELETE {all}/several");
    walk.step("delete_typed_connection", "connection.delete", &line, None).await;
}

async fn administration(walk: &mut Walk) {
    let line = "POST /api/keyferry/v1/integrations/acme/mcp-clients";
    let body = Some(json!({"url": format!("https://{MCP_HOST}/mcp")}));
    walk.step("create_mcp_client", "client.create", line, body).await;
    let line = "POST /api/keyferry/v1/tokens";
    let body = Some(json!({"name": "ci", "integration": "acme", "scopes": ["read"]}));
    let made = walk.step("create_token", "token.create", line, body).await;
    let id = made["token"]["id"].as_str().unwrap();
    let line = format!("DELETE /api/keyferry/v1/tokens/{id}");
    walk.step("revoke_token", "token.revoke", &line, None).await;
    walk.step("rotate_keys", "key.rotate", "POST /api/keyferry/v1/keys/rotate", None).await;
    let line = "POST /api/keyferry/v1/ca/rotate";
    walk.step("rotate_ca", "ca.rotate", line, Some(json!({}))).await;
}

#[tokio::test]
async fn every_operation_that_changes_something_leaves_exactly_one_event() {
    let (provider, documents) = (Provider::start().await, Documents::start().await);
    let (_api, _mcp, mut walk) = walk(&provider, &documents).await;
    static_types(&mut walk).await;
    custom_type(&mut walk).await;
    clients_and_flows(&mut walk, &provider).await;
    administration(&mut walk).await;
    // The description has no other operation that changes something.
    let document = walk.server.api("/openapi.json").await.json();
    let mut changing = BTreeSet::new();
    for item in document["paths"].as_object().unwrap().values() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            if (method != "get" && !QUIET.contains(&id)) || CHANGING_GETS.contains(&id) {
                changing.insert(id.to_owned());
            }
        }
    }
    let done: BTreeSet<_> = walk.done.iter().map(|id| (*id).to_owned()).collect();
    assert_eq!(done, changing);
    // Who signs in and out is noted too.
    let admin = walk.server.admin().token;
    let visitor = walk.server.sign_in(&admin).await;
    walk.found("sign_in", "session.sign_in").await;
    visitor.post("/console/sign-out", &[]).await;
    walk.found("sign_out", "session.sign_out").await;
    assert_eq!(verified(&walk.server).await["events"], json!(walk.seen));
    // No secret is in any of them.
    let text = json!(events(&walk.server, "").await).to_string();
    let tokens = ["MY_BEARER_TOKEN", "ANOTHER_TOKEN", "MY_API_KEY", "ANOTHER_KEY", "MY_PASSWORD"];
    let client = provider.registration();
    for secret in tokens.into_iter().chain([client["client_secret"].as_str().unwrap(), &admin]) {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
}

/// Operations by other methods than GET that change nothing.
const QUIET: [&str; 2] = ["account_token", "explain"];

/// Operations by GET that take a flow on, or show provider tokens.
const CHANGING_GETS: [&str; 8] = [
    "exchange_verification_code",
    "list_all_connections",
    "list_connections",
    "oauth_callback",
    "refresh_oauth_token",
    "show_any_connection",
    "show_oauth_connection",
    "start_oauth_redirect",
];

/// A server that has had six events.
async fn with_six(world: World) -> Running {
    let server = world.run().await;
    for name in ["one", "two", "three"] {
        server.keep_bearer(name, "api.example.test", "a-secret").await;
        server.replace_bearer(name, "other-secret").await;
    }
    server
}

#[tokio::test]
async fn events_are_selected_and_come_in_pages() {
    let server = with_six(stored()).await;
    let ids = |events: &[Value]| -> Vec<String> {
        events.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
    };
    let all = events(&server, "").await;
    assert_eq!(ids(&all), ["6", "5", "4", "3", "2", "1"]);
    let middle = all[2]["time"].as_str().unwrap();
    for (query, expected) in [
        ("?connection=two", vec!["4", "3"]),
        ("?kind=connection.update", vec!["6", "4", "2"]),
        ("?kind=connection&connection=one", vec!["2", "1"]),
        ("?integration=other", vec![]),
        ("?operator=admin&integration=acme&page[size]=1", vec!["6"]),
        ("?operator=nobody", vec![]),
        (&format!("?since={middle}"), vec!["6", "5", "4"]),
        (&format!("?until={middle}"), vec!["3", "2", "1"]),
        ("?page[size]=2&page[after]=4", vec!["3", "2"]),
        ("?page[size]=2&page[before]=2", vec!["4", "3"]),
        ("?page[after]=5&page[before]=2", vec!["4", "3"]),
    ] {
        assert_eq!(ids(&events(&server, query).await), expected, "{query}");
    }
    for query in ["kind=connections", "since=soon", "page[after]=x", "who=me", "kind=a&kind=b"] {
        let answer = server.manage(&format!("GET {EVENTS}?{query}"), None).await;
        assert_eq!(answer.status, 400, "{query}: {answer:?}");
    }
}

#[tokio::test]
async fn who_reads_events_sees_those_within_reach_and_changes_nothing() {
    let server = with_six(stored()).await;
    let admin = server.admin();
    let body = json!({"name": "auditor", "integration": "acme", "scopes": ["audit"]});
    let (auditor, _) = admin.grant(&body).await;
    assert_eq!(auditor.get(EVENTS).await.json()["events"].as_array().unwrap().len(), 7);
    assert_eq!(auditor.get(&format!("{EVENTS}?integration=other")).await.status, 401);
    assert_eq!(auditor.get("/api/keyferry/v1/audit").await.status, 200);
    // The chain is of all integrations, and everything else needs another scope.
    for path in [
        &format!("{EVENTS}/verify"),
        "/api/keyferry/v1/tokens",
        "/api/keyferry/v1/keys",
        "acme/connections/all",
        "acme/connections/bearer_token/one",
    ] {
        assert_eq!(auditor.get(path).await.status, 403, "{path}");
    }
    assert_eq!(auditor.delete("acme/connections/bearer_token/one").await.status, 403);
    let body = json!({"name": "other", "integration": "other", "scopes": ["audit"]});
    let (other, _) = admin.grant(&body).await;
    let seen = other.get(EVENTS).await.json();
    assert_eq!(seen["events"].as_array().unwrap().len(), 1, "its own making alone: {seen}");
    let body = json!({"name": "some", "integration": "acme", "scopes": ["audit"],
        "connections": ["one"]});
    let (some, _) = admin.grant(&body).await;
    assert_eq!(some.get(EVENTS).await.status, 403);
    let seen = some.get(&format!("{EVENTS}?connection=one")).await.json();
    assert_eq!(seen["events"].as_array().unwrap().len(), 2, "{seen}");
    for scope in ["read", "write", "proxy"] {
        let body = json!({"name": scope, "integration": "*", "scopes": [scope]});
        let (holder, _) = admin.grant(&body).await;
        assert_eq!(holder.get(EVENTS).await.status, 403, "{scope}");
    }
}

/// What somebody does who can write to the database, and the events at which that is found.
const EDITS: [(&str, &[&str]); 8] = [
    ("UPDATE events SET content = replace(content, 'one', 'two') WHERE number = 2", &["2"]),
    ("UPDATE events SET operator = 'nobody' WHERE number = 3", &["3"]),
    ("DELETE FROM events WHERE number = 1", &["1", "2"]),
    ("DELETE FROM events WHERE number IN (3, 4)", &["3", "5"]),
    ("DELETE FROM events WHERE number = 6", &["6"]),
    (
        "UPDATE events SET number = 60 WHERE number = 2; \
         UPDATE events SET number = 2 WHERE number = 3; \
         UPDATE events SET number = 3 WHERE number = 60",
        &["2", "3", "4"],
    ),
    ("UPDATE events SET hash = mac WHERE number = 4", &["4", "5"]),
    (
        "DELETE FROM events WHERE number = 6; UPDATE event_chain SET last = 5, \
         last_hash = (SELECT hash FROM events WHERE number = 5), \
         mac = (SELECT mac FROM events WHERE number = 5)",
        &["", "6"],
    ),
];

/// Edits events by `edit`, which runs SQL, and finds each edit; then the last one for good.
async fn each_edit_is_found(server: &Running, edit: impl AsyncFn(&str)) {
    assert_eq!(faulty(server).await, BTreeSet::new());
    edit(
        "CREATE TABLE kept AS SELECT * FROM events; CREATE TABLE ends AS SELECT * FROM event_chain",
    )
    .await;
    for (sql, found) in EDITS {
        edit(sql).await;
        let found = found.iter().map(|id| (*id).to_owned()).collect();
        assert_eq!(faulty(server).await, found, "{sql}");
        edit(
            "DELETE FROM events; INSERT INTO events SELECT * FROM kept; \
              DELETE FROM event_chain; INSERT INTO event_chain SELECT * FROM ends",
        )
        .await;
        assert_eq!(faulty(server).await, BTreeSet::new(), "{sql}");
    }
    // What comes after does not cover it up.
    let (last, _) = EDITS.last().unwrap();
    edit(last).await;
    server.keep_bearer("four", "api.example.test", "a-secret").await;
    assert_eq!(faulty(server).await, BTreeSet::from(["6".to_owned(), "7".to_owned()]));
}

#[tokio::test]
async fn an_event_that_was_edited_removed_or_moved_is_found_in_sqlite() {
    let server = with_six(stored()).await;
    let file = server.data("keyferry.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
    each_edit_is_found(&server, async |sql: &str| {
        let mut conn = options.connect().await.unwrap();
        conn.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()))).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_event_that_was_edited_removed_or_moved_is_found_in_postgres() {
    let postgres = Postgres::start().await;
    let server = with_six(World::empty().keeping_in(&postgres)).await;
    each_edit_is_found(&server, async |sql: &str| {
        let mut conn = postgres.connect().await;
        conn.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()))).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn three_instances_have_one_chain_and_tell_the_same() {
    let postgres = Postgres::start().await;
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(World::empty().keeping_in(&postgres).run().await);
    }
    let each = servers.iter().enumerate().map(|(number, server)| async move {
        for round in 0..5 {
            let name = format!("c{number}-{round}");
            server.keep_bearer(&name, "api.example.test", "a-secret").await;
        }
    });
    futures_util::future::join_all(each).await;
    let told = events(&servers[0], "").await;
    assert_eq!(told.len(), 15);
    let instances: BTreeSet<_> = told.iter().map(|event| event["instance"].to_string()).collect();
    assert_eq!(instances.len(), 3, "{told:?}");
    for server in &servers {
        assert_eq!(events(server, "").await, told);
        assert_eq!(faulty(server).await, BTreeSet::new());
    }
}

#[tokio::test]
async fn what_can_not_be_noted_is_not_done() {
    let server = with_six(stored()).await;
    let file = server.data("keyferry.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
    let mut conn = options.connect().await.unwrap();
    conn.execute("ALTER TABLE events RENAME TO elsewhere").await.unwrap();
    let body = json!({"name": "four", "allowed_domain": "api.example.test", "token": "s"});
    let refused = server.manage(&format!("POST {CONNECTIONS}/bearer_token"), Some(body)).await;
    assert_eq!(refused.status, 500, "{refused:?}");
    let line = format!("DELETE {CONNECTIONS}/bearer_token/one");
    assert_eq!(server.manage(&line, None).await.status, 500);
    conn.execute("ALTER TABLE elsewhere RENAME TO events").await.unwrap();
    let line = format!("GET {CONNECTIONS}/bearer_token/four");
    assert_eq!(server.manage(&line, None).await.status, 404);
    let line = format!("GET {CONNECTIONS}/bearer_token/one");
    assert_eq!(server.manage(&line, None).await.status, 200);
    assert_eq!(faulty(&server).await, BTreeSet::new());
}
